/* What goes to the driver, and its memory: FISes from the drive, and data (Serial ATA AHCI 1.3.1
 * Specification, "System Memory Structures", "Data Transfer Operation"). */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/ahci/ahci.h"

/* "Received FIS Structure" */
#define AT_PIO      0x20
#define AT_REGISTER 0x40
#define AT_BITS     0x58
#define FIS_D2H     0x34
#define FIS_PIO     0x5f
#define FIS_BITS    0xa1
#define FLAG_I      0x40 /* interrupt */
#define FLAG_IN     0x20 /* data to the driver */
#define BITS_MASK   0x77 /* of the status register, that set device bits FISes change */

/* "Command List Structure", "Command Table" */
#define HEADER_BYTES 4 /* PRDBC */
#define TABLE_PRDT   0x80
#define ENTRY_LENGTH 0x3fffffu
#define ENTRY_I      BIT(31)
struct entry {
    uint64_t address;
    uint32_t reserved, length;
} PACKED;
_Static_assert(sizeof(struct entry) == 16, "AHCI: a PRDT entry");
#define ENTRIES_AT_ONCE 16u

#define SIG_DISK 0x101u

static uint32_t bit(const struct ahci_slot *s)
{
    return (uint32_t)1 << s->number;
}

/* --- answers --- */

/* A FIS from the drive into guest memory, which has been taken from where PxFB says. */
static bool receive(struct ahci_port *p, unsigned at, const void *fis, size_t size)
{
    if (!(p->cmd & AHCI_CMD_FRE) || device_memory_write(&p->hba->dev, p->fb + at, fis, size) == 0)
        return true;
    ahci_halt(p, AHCI_IS_HBFS);
    return false;
}

/* A register FIS with these contents, but for type, flags, status and error. */
static bool send_registers(struct ahci_port *p, uint8_t fis[AHCI_FIS], uint8_t status,
                           uint8_t error, bool interrupt)
{
    fis[FIS_TYPE] = FIS_D2H;
    fis[FIS_FLAGS] = interrupt ? FLAG_I : 0;
    fis[FIS_STATUS] = status;
    fis[FIS_ERROR] = error;
    fis[FIS_FEATURES_EXT] = 0;
    memset(fis + FIS_COUNT_EXT + 1, 0, AHCI_FIS - FIS_COUNT_EXT - 1);
    p->status = status;
    p->error = error;
    if (!receive(p, AT_REGISTER, fis, AHCI_FIS))
        return false;
    if (interrupt)
        p->is |= AHCI_IS_DHRS;
    return true;
}

static bool send_pio_setup(struct ahci_slot *s)
{
    struct ahci_port *p = s->port;
    uint8_t fis[AHCI_FIS];

    memcpy(fis, s->fis, sizeof(fis));
    fis[FIS_TYPE] = FIS_PIO;
    fis[FIS_FLAGS] = FLAG_I | FLAG_IN;
    fis[FIS_STATUS] = ATA_READY | ATA_DRQ;
    fis[FIS_ERROR] = 0;
    fis[11] = fis[14] = 0;
    fis[15] = ATA_READY; /* and so is the status behind the data, */
    fis[16] = (uint8_t)s->bytes;
    fis[17] = (uint8_t)(s->bytes >> 8); /* of which there are at most 16 blocks at a time */
    fis[18] = fis[19] = 0;
    p->status = ATA_READY;
    p->error = 0;
    if (!receive(p, AT_PIO, fis, sizeof(fis)))
        return false;
    p->is |= AHCI_IS_PSS;
    return true;
}

/* Those commands of PxSACT are over; with an error, another one is that is not among them. */
static void send_bits(struct ahci_port *p, uint8_t status, uint8_t error)
{
    struct {
        uint8_t type, flags, status, error;
        uint32_t done;
    } PACKED fis = {FIS_BITS, FLAG_I, status & BITS_MASK, error, p->done};

    p->status = (uint8_t)((p->status & ~BITS_MASK) | fis.status);
    p->error = error;
    if (!receive(p, AT_BITS, &fis, sizeof(fis)))
        return;
    p->sact &= ~p->done;
    p->done = 0;
    if (!(status & ATA_ERR))
        p->is |= AHCI_IS_SDBS;
}

void ahci_port_tell(struct ahci_port *p)
{
    if (p->done && !p->halted && !p->draining)
        send_bits(p, ATA_READY, 0);
}

void ahci_sign(struct ahci_port *p, bool interrupt)
{
    uint8_t fis[AHCI_FIS] = {[FIS_LBA] = 1, [FIS_COUNT] = 1};

    p->unsent = false;
    p->sig = SIG_DISK;
    send_registers(p, fis, ATA_READY, 1, interrupt);
}

bool ahci_accept(struct ahci_slot *s)
{
    struct ahci_port *p = s->port;
    uint8_t fis[AHCI_FIS];

    memcpy(fis, s->fis, sizeof(fis));
    s->queued = true;
    p->current = AHCI_NO_SLOT;
    p->ci &= ~bit(s);
    s->used = send_registers(p, fis, ATA_READY, 0, false);
    return s->used;
}

void ahci_complete(struct ahci_slot *s)
{
    struct ahci_port *p = s->port;
    bool good;

    s->used = false;
    if (s->dps)
        p->is |= AHCI_IS_DPS;
    if (s->queued) {
        p->done |= bit(s);
        return;
    }
    if (device_memory_write(&p->hba->dev, s->header + HEADER_BYTES, &s->bytes, sizeof(s->bytes)) <
        0) {
        ahci_halt(p, AHCI_IS_HBFS);
        return;
    }
    good = s->pio ? send_pio_setup(s) : send_registers(p, s->fis, ATA_READY, 0, true);
    if (!good)
        return;
    p->ci &= ~bit(s);
    p->current = AHCI_NO_SLOT;
}

/* Serial ATA 2.6, "NCQ Command Error log" */
static void note_failure(struct ahci_slot *s, uint8_t status, uint8_t error)
{
    struct ahci_port *p = s->port;

    memcpy(p->log, s->fis, sizeof(p->log));
    p->log[0] = s->queued ? s->number : 0x80;
    p->log[1] = p->log[11] = 0;
    p->log[FIS_STATUS] = status;
    p->log[FIS_ERROR] = error;
    p->failed = true;
}

void ahci_fail(struct ahci_slot *s, uint8_t error)
{
    struct ahci_port *p = s->port;
    uint8_t status = ATA_READY | ATA_ERR;
    bool others = false;

    s->used = false;
    for (unsigned i = 0; i < AHCI_SLOTS; i++)
        others |= p->slot[i].used;
    if ((s->queued || others) && !p->failed) /* the log is of the first one until it was read */
        note_failure(s, status, error);
    if (s->queued)
        send_bits(p, status, error);
    else
        send_registers(p, s->fis, status, error, true);
    ahci_halt(p, AHCI_IS_TFES);
}

void ahci_port_finished(struct disk_io *d, struct disk_request *r, int error)
{
    struct ahci_slot *s = CONTAINER_OF(r, struct ahci_slot, disk);
    struct ahci_port *p = s->port;

    if (p->draining || p->halted) { /* nobody waits for it */
        s->used = false;
        return;
    }
    if (error == 0 && s->more && s->more(s))
        return;
    if (error == 0) {
        ahci_complete(s);
    } else if (error == -EFAULT) {
        s->used = false;
        ahci_halt(p, AHCI_IS_HBFS);
    } else {
        ahci_fail(s, ahci_drive_error(s, error));
    }
}

/* --- memory of a command --- */

bool ahci_map(struct ahci_slot *s, uint32_t bytes)
{
    struct ahci_port *p = s->port;
    struct entry entry[ENTRIES_AT_ONCE];
    uint32_t left = bytes;
    unsigned n = 0;

    for (; left > 0 && n < MIN(s->entries, AHCI_SEGMENTS); n++) {
        struct entry *e = &entry[n % ENTRIES_AT_ONCE];
        unsigned some = MIN(ENTRIES_AT_ONCE, s->entries - n);

        if (e == entry && device_memory_read(&p->hba->dev, s->table + TABLE_PRDT + n * sizeof(*e),
                                             entry, some * sizeof(*e)) < 0) {
            s->used = false;
            ahci_halt(p, AHCI_IS_HBFS);
            return false;
        }
        uint32_t length = ((e->length & ENTRY_LENGTH) | 1) + 1;
        s->segment[n] = (struct disk_segment){e->address & ~1ull, MIN(length, left)};
        s->dps |= (e->length & ENTRY_I) != 0;
        left -= s->segment[n].length;
    }
    if (left > 0 && n < s->entries) { /* more pieces than there is room for */
        ahci_fail(s, ATA_ABRT);
        return false;
    }
    if (left > 0) {
        s->used = false;
        ahci_halt(p, AHCI_IS_OFS | AHCI_IS_IFS);
        return false;
    }
    s->bytes = bytes;
    s->disk.segments = s->segment;
    s->disk.count = n;
    return true;
}

/* Between the command's memory and data: to the guest, or from it. */
static bool copy_page(struct ahci_slot *s, char *data, bool put)
{
    struct device *d = &s->port->hba->dev;
    uint32_t at = 0, length;
    int error = 0;

    for (unsigned i = 0; i < s->disk.count && error == 0; i++, at += length) {
        length = s->segment[i].length;
        error = put ? device_memory_write(d, s->segment[i].gpa, data + at, length)
                    : device_memory_read(d, s->segment[i].gpa, data + at, length);
    }
    if (error == 0)
        return true;
    s->used = false;
    ahci_halt(s->port, AHCI_IS_HBFS);
    return false;
}

bool ahci_put_page(struct ahci_slot *s, const void *data)
{
    return copy_page(s, (char *)data, true);
}

bool ahci_get_page(struct ahci_slot *s, void *data)
{
    return copy_page(s, data, false);
}
