/*
 * Writes to its two IDE disks, and remembers in memory what it has written where: for a VM that is
 * kept and put back (tests/machine/moments.py), whose memory and disks are to be of one moment. By
 * a key: 'w' writes to a quarter of the sectors, some of which it has never written to, and flushes
 * them; 'r' reads all, and fails where a sector is not what memory says; 'q' ends it. What it says
 * begins with that key, and tells how often it has written.
 */
#include "guest.h"

#define DISKS   2u
#define SECTORS 96u  /* of each that it uses, every STRIDE-th: */
#define STRIDE  3u   /* of a block of 4 KiB some are never written to */
#define WORDS   128u /* of a sector */

#define DATA    0x1f0
#define COUNT   0x1f2
#define LBA     0x1f3
#define DEVICE  0x1f6
#define COMMAND 0x1f7
#define CONTROL 0x3f6

#define BUSY  0x80
#define DRQ   0x08
#define ERROR 0x21 /* or a fault */

static uint32_t written[DISKS][SECTORS]; /* at which turn; 0: never */
static uint32_t first[DISKS][SECTORS];   /* what was there at the start */
static uint32_t turn;
static uint32_t sector[WORDS];

static void wait(uint8_t wanted, const char *what)
{
    uint8_t status;

    do {
        status = inb(COMMAND);
    } while (status & BUSY);
    if ((status & ERROR) || (status & DRQ) != wanted)
        fail("%s: status %x", what, status);
}

static void command(unsigned disk, unsigned n, uint8_t what)
{
    uint32_t lba = n * STRIDE;

    outb(DEVICE, (uint8_t)(0xe0 | disk << 4));
    wait(0, "before a command");
    outb(COUNT, 1);
    outb(LBA, (uint8_t)lba);
    outb(LBA + 1, (uint8_t)(lba >> 8));
    outb(LBA + 2, (uint8_t)(lba >> 16));
    outb(COMMAND, what);
}

static void read_sector(unsigned disk, unsigned n)
{
    void *to = sector;
    uint64_t words = WORDS;

    command(disk, n, 0x20);
    wait(DRQ, "read");
    asm volatile("rep insl" : "+D"(to), "+c"(words) : "d"(DATA) : "memory");
}

static void write_sector(unsigned disk, unsigned n)
{
    const void *from = sector;
    uint64_t words = WORDS;

    command(disk, n, 0x30);
    wait(DRQ, "write");
    asm volatile("rep outsl" : "+S"(from), "+c"(words) : "d"(DATA) : "memory");
    wait(0, "written");
}

static uint32_t content(unsigned disk, unsigned n)
{
    return written[disk][n] * 0x10000 + disk * 0x1000 + n;
}

static void write_some(void)
{
    turn++;
    for (unsigned disk = 0; disk < DISKS; disk++) {
        for (unsigned n = turn % 4; n < SECTORS; n += 4 + n % 3) {
            written[disk][n] = turn;
            for (unsigned i = 0; i < WORDS; i++)
                sector[i] = content(disk, n) + i * 0x01000000;
            write_sector(disk, n);
        }
        command(disk, 0, 0xe7);
        wait(0, "flush");
    }
}

static void read_all(void)
{
    for (unsigned disk = 0; disk < DISKS; disk++)
        for (unsigned n = 0; n < SECTORS; n++) {
            read_sector(disk, n);
            if (written[disk][n] == 0 && sector[0] != first[disk][n])
                fail("disk %u, sector %u: %x, and %x at first", disk, n * STRIDE, sector[0],
                     first[disk][n]);
            for (unsigned i = 0; i < WORDS && written[disk][n]; i++)
                if (sector[i] != content(disk, n) + i * 0x01000000)
                    fail("disk %u, sector %u: %x at word %u, written at turn %u", disk, n * STRIDE,
                         sector[i], i, written[disk][n]);
        }
}

void test(void)
{
    outb(CONTROL, 2); /* no interrupts */
    for (unsigned disk = 0; disk < DISKS; disk++)
        for (unsigned n = 0; n < SECTORS; n++) {
            read_sector(disk, n);
            first[disk][n] = sector[0];
        }
    say("ready\n");
    for (;;) {
        uint8_t key;

        while (!(inb(COM1 + 5) & 1))
            ;
        key = inb(COM1);
        if (key == 'w')
            write_some();
        if (key == 'r')
            read_all();
        say("%c: turn %u\n", key, turn);
        if (key == 'q')
            pass();
    }
}
