/*
 * Says on its network (an 82540EM, by its first rings alone) what a letter on COM1 asks for, and
 * answers on COM1: 'a' an ARP request, 'u' a UDP datagram, 'x' a frame from an address that is not
 * its own, 'f' 240 datagrams of 1514 bytes at once; 'h': how many frames it has heard; 'q' ends it.
 * Its addresses are 52:00:00:00:00:0N and 10.0.0.N, those of whom it talks to the same with 3 - N.
 */
#include "guest.h"

#define CONFIG_ADDRESS 0xcf8
#define CONFIG_DATA    0xcfc
#define COMMAND        0x04
#define BAR            0x10
#define BAR_SPACE      0xc0000000u /* where nobody has placed it */

enum {
    RCTL = 0x0100,
    TCTL = 0x0400,
    RDBAL = 0x2800,
    RDLEN = 0x2808,
    RDH = 0x2810,
    RDT = 0x2818,
    TDBAL = 0x3800,
    TDLEN = 0x3808,
    TDH = 0x3810,
    TDT = 0x3818,
    RAL = 0x5400,
};
#define RCTL_VALUE 0x04008002u /* on, broadcasts, without the frame's own checksum */
#define TCTL_VALUE 0x0000000au /* on, padded */
#define TX_LAST    0x0b000000u /* the frame ends, with a checksum of the wire's; say so */
#define DONE       1u

#define HEARD   256u /* buffers */
#define BUFFER  2048u
#define SAID    8u
#define LONGEST 1514u
#define FLOOD   240u
#define VECTOR  0x40
#define LOOK_HZ 50

struct descriptor {
    uint64_t address;
    volatile uint32_t length, status;
};

static struct descriptor to_hear[HEARD] __attribute__((aligned(128)));
static struct descriptor to_say[SAID] __attribute__((aligned(128)));
static uint8_t buffers[HEARD][BUFFER] __attribute__((aligned(16)));
static uint8_t frame[LONGEST] __attribute__((aligned(16)));

static uint64_t card; /* where its registers are */
static uint8_t self;  /* N */
static unsigned next_heard, next_said, heard, datagrams;

static void on_timer(struct frame *f)
{
    lapic_eoi();
}

/* --- the card --- */

static uint32_t function;

static uint32_t config_read(unsigned at)
{
    outl(CONFIG_ADDRESS, function | at);
    return inl(CONFIG_DATA);
}

static void config_write(unsigned at, uint32_t value)
{
    outl(CONFIG_ADDRESS, function | at);
    outl(CONFIG_DATA, value);
}

static void find(void)
{
    for (unsigned slot = 0; slot < 32; slot++) {
        function = 0x80000000u | slot << 11;
        if (config_read(0) == 0x100e8086) {
            if ((config_read(BAR) & ~0xfu) == 0)
                config_write(BAR, BAR_SPACE);
            card = config_read(BAR) & ~0xfu;
            config_write(COMMAND, 0x406); /* memory, bus master, no INTx */
            return;
        }
    }
    fail("there is no 82540EM");
}

static void set_up(void)
{
    find();
    self = (uint8_t)(read32(card + RAL + 4) >> 8);
    for (unsigned i = 0; i < HEARD; i++)
        to_hear[i].address = (uint64_t)buffers[i];
    write32(card + RDBAL, (uint32_t)(uint64_t)to_hear);
    write32(card + RDLEN, sizeof(to_hear));
    write32(card + RDH, 0);
    write32(card + RDT, HEARD - 1);
    write32(card + RCTL, RCTL_VALUE);
    write32(card + TDBAL, (uint32_t)(uint64_t)to_say);
    write32(card + TDLEN, sizeof(to_say));
    write32(card + TDH, 0);
    write32(card + TDT, 0);
    write32(card + TCTL, TCTL_VALUE);
}

static void listen(void)
{
    for (; to_hear[next_heard].status & DONE; heard++) {
        to_hear[next_heard].status = 0;
        write32(card + RDT, next_heard);
        next_heard = (next_heard + 1) % HEARD;
    }
}

static void send(unsigned length)
{
    struct descriptor *d = &to_say[next_said];

    d->address = (uint64_t)frame;
    d->status = 0;
    d->length = length | TX_LAST;
    next_said = (next_said + 1) % SAID;
    asm volatile("" ::: "memory"); /* all of the frame is there */
    write32(card + TDT, next_said);
    for (unsigned i = 0; !(d->status & DONE); i++)
        if (i == 100000000)
            fail("nothing is sent");
}

/* --- what it says --- */

static void address(uint8_t *at, uint8_t n)
{
    memset(at, 0, 6);
    at[0] = 0x52;
    at[5] = n;
}

static void ip_address(uint8_t *at, uint8_t n)
{
    at[0] = 10;
    at[1] = at[2] = 0;
    at[3] = n;
}

static void put16(uint8_t *at, unsigned value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void ether(bool to_all, uint8_t from, unsigned type)
{
    memset(frame, 0, sizeof(frame));
    address(frame, (uint8_t)(3 - self));
    if (to_all)
        memset(frame, 0xff, 6);
    address(frame + 6, from);
    put16(frame + 12, type);
}

static void ask(void)
{
    static const uint8_t request[] = {0, 1, 8, 0, 6, 4, 0, 1};

    ether(true, self, 0x0806);
    memcpy(frame + 14, request, sizeof(request));
    address(frame + 22, self);
    ip_address(frame + 28, self);
    ip_address(frame + 38, (uint8_t)(3 - self));
    send(60);
}

static void say_datagram(unsigned length)
{
    uint8_t *ip = frame + 14, *udp = frame + 34;
    uint32_t sum = 0;

    ether(false, self, 0x0800);
    put16(ip, 0x4500);
    put16(ip + 2, length - 14);
    put16(ip + 4, ++datagrams);
    put16(ip + 8, 0x4011);
    ip_address(ip + 12, self);
    ip_address(ip + 16, (uint8_t)(3 - self));
    for (unsigned i = 0; i < 20; i += 2)
        sum += (uint32_t)ip[i] << 8 | ip[i + 1];
    sum = (sum & 0xffff) + (sum >> 16);
    put16(ip + 10, (uint16_t) ~((sum & 0xffff) + (sum >> 16)));
    put16(udp, 40000);
    put16(udp + 2, 7);
    put16(udp + 4, length - 34);
    memset(udp + 8, 'x', length - 42);
    send(length);
}

static void obey(char c)
{
    static unsigned count;

    if (c == 'a')
        ask();
    else if (c == 'u')
        say_datagram(142);
    else if (c == 'f')
        for (unsigned i = 0; i < FLOOD; i++)
            say_datagram(LONGEST);
    else if (c == 'x') {
        ether(true, 77, 0x1234);
        send(60);
    }
    say("%u: did '%c', heard %u\n", ++count, c, heard);
}

void test(void)
{
    set_up();
    handle(VECTOR, on_timer);
    lapic_on(true);
    lapic_write(0x3e0, 0xb);
    lapic_write(0x320, 0x20000 | VECTOR);
    lapic_write(0x380, (uint32_t)(apic_hz() / LOOK_HZ));
    say("listening\n");
    for (char c = 0; c != 'q';) {
        asm volatile("sti; hlt; cli" ::: "memory");
        listen();
        while (inb(COM1 + 5) & 1) {
            c = (char)inb(COM1);
            if (c != 'q')
                obey(c);
        }
    }
}
