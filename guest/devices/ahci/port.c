/* A port of the HBA: its registers, the link, the command list (Serial ATA AHCI 1.3.1
 * Specification, "Port Registers", "System Memory Structures", "Error Reporting and Recovery"). */
#include "guest/devices/ahci/ahci.h"

/* Registers. */
enum {
    CLB = 0x00,
    CLBU = 0x04,
    FB = 0x08,
    FBU = 0x0c,
    IS = 0x10,
    IE = 0x14,
    CMD = 0x18,
    TFD = 0x20,
    SIG = 0x24,
    SSTS = 0x28,
    SCTL = 0x2c,
    SERR = 0x30,
    SACT = 0x34,
    CI = 0x38,
};

#define CLB_BITS (~0x3ffull)
#define FB_BITS  (~0xffull)

#define IE_BITS  0x7dc000ffu
#define IS_CLEAR (IE_BITS & ~(uint32_t)(AHCI_IS_PCS | AHCI_IS_PRCS | BIT(4)))

#define CMD_ST    BIT(0)
#define CMD_SUD   BIT(1)
#define CMD_POD   BIT(2)
#define CMD_CLO   BIT(3)
#define CMD_CCS   8 /* 5 bits */
#define CMD_FR    BIT(14)
#define CMD_CR    BIT(15)
#define CMD_ATAPI BIT(24)
#define CMD_DLAE  BIT(25)
#define CMD_KEPT  (uint32_t)(CMD_ST | AHCI_CMD_FRE | CMD_ATAPI | CMD_DLAE)

#define NO_LINK      0x7f /* PxTFD.STS */
#define SSTS_DET     0xfu
#define LINK_UP      3u /* PxSSTS.DET, */
#define LINK_OFF     4u
#define LINK_SPEED   (2u << 4) /* .SPD: 3 Gb/s, */
#define LINK_SPEED_1 (1u << 4)
#define LINK_ACTIVE  (1u << 8) /* .IPM */
#define SCTL_DET     0xfu
#define SCTL_SPD     0xf0u
#define SCTL_BITS    0xfffu
#define SERR_NEW     (uint32_t)(BIT(26) | BIT(16)) /* DIAG.X, DIAG.N */
#define SERR_X       BIT(26)
#define SERR_N       BIT(16)

#define FIS_H2D     0x27
#define FLAG_C      0x80 /* the command register has been written */
#define CONTROL_RST 0x04 /* SRST */

/* "Command List Structure", "Command Table" */
struct header {
    uint16_t flags, entries;
    uint32_t bytes;
    uint64_t table;
} PACKED;
_Static_assert(sizeof(struct header) == 16, "AHCI: a command header, less what is reserved");
#define HEADER_SIZE 32
#define HEADER_CFL  0x1f
#define TABLE_BITS  (~0x7full)
#define FIS_DWORDS  (AHCI_FIS / 4)
#define MOST_DWORDS 16

static uint32_t bit(unsigned slot)
{
    return (uint32_t)1 << slot;
}

/* --- errors, and what comes after them --- */

void ahci_halt(struct ahci_port *p, uint32_t is)
{
    p->is |= is;
    p->halted = true;
    p->current = AHCI_NO_SLOT;
    disk_stop(&p->disk, true);
}

static void go_up(struct ahci_port *p)
{
    uint32_t limit = p->sctl & SCTL_SPD;

    p->coming_up = false;
    p->ssts = LINK_ACTIVE | LINK_UP | (limit == LINK_SPEED_1 ? LINK_SPEED_1 : LINK_SPEED);
    p->serr |= SERR_NEW;
    p->status = ATA_BSY;
    p->error = 0;
    p->unsent = true;
    ahci_drive_reset(p, true);
    if (p->cmd & AHCI_CMD_FRE)
        ahci_sign(p, false);
}

void ahci_port_drain(struct ahci_port *p)
{
    p->draining = true;
    p->done = 0;
    disk_stop(&p->disk, true);
}

bool ahci_port_drained(struct ahci_port *p)
{
    if (!p->draining)
        return true;
    if (!disk_idle(&p->disk))
        return false;
    p->draining = false;
    disk_stop(&p->disk, p->halted);
    if (p->current != AHCI_NO_SLOT) { /* the drive is through with it */
        p->current = AHCI_NO_SLOT;
        p->status = ATA_READY;
        p->error = 0;
    }
    if (p->coming_up)
        go_up(p);
    return true;
}

void ahci_port_reset(struct ahci_port *p)
{
    p->is = p->ie = p->cmd = p->sctl = p->serr = p->sact = p->ci = 0;
    p->sig = UINT32_MAX;
    p->last = AHCI_SLOTS - 1;
    p->current = AHCI_NO_SLOT;
    p->done = 0;
    p->halted = p->draining = false;
    disk_stop(&p->disk, false);
    go_up(p);
}

/* --- issuing --- */

/* A register FIS that is no command: SRST, "Software Reset". */
static void control(struct ahci_slot *s)
{
    struct ahci_port *p = s->port;

    s->used = false;
    p->ci &= ~bit(s->number);
    p->current = AHCI_NO_SLOT;
    p->status = ATA_READY;
    if (s->fis[FIS_CONTROL] & CONTROL_RST) {
        ahci_port_drain(p); /* of queued commands, if there are any */
        p->held = true;
        (void)ahci_port_drained(p);
    } else if (p->held) {
        ahci_drive_reset(p, false);
        ahci_sign(p, false);
    }
}

static void issue(struct ahci_port *p, unsigned number)
{
    struct ahci_slot *s = &p->slot[number];
    struct device *d = &p->hba->dev;
    struct header h;
    uint64_t at = p->clb + number * HEADER_SIZE;

    p->last = (uint8_t)number;
    if (s->used) { /* a queued command of that number is under way */
        ahci_halt(p, AHCI_IS_IFS);
        return;
    }
    if (device_memory_read(d, at, &h, sizeof(h)) < 0 ||
        device_memory_read(d, h.table & TABLE_BITS, s->fis, sizeof(s->fis)) < 0) {
        ahci_halt(p, AHCI_IS_HBFS);
        return;
    }
    if ((h.flags & HEADER_CFL) < FIS_DWORDS || (h.flags & HEADER_CFL) > MOST_DWORDS ||
        s->fis[FIS_TYPE] != FIS_H2D) {
        ahci_halt(p, AHCI_IS_IFS);
        return;
    }
    s->header = at;
    s->table = h.table & TABLE_BITS;
    s->entries = h.entries;
    s->bytes = 0;
    s->more = NULL;
    s->queued = s->pio = s->dps = false;
    s->used = true;
    p->current = (uint8_t)number;
    p->status = ATA_BSY;
    if (s->fis[FIS_FLAGS] & FLAG_C)
        ahci_drive_execute(s);
    else
        control(s);
}

bool ahci_port_runnable(const struct ahci_port *p)
{
    return (p->cmd & CMD_ST) && p->ci && p->current == AHCI_NO_SLOT && !p->halted && !p->draining &&
           (p->ssts & SSTS_DET) == LINK_UP && !(p->status & (ATA_BSY | ATA_DRQ));
}

/* One after the other, from that behind the last on. */
static unsigned next_slot(const struct ahci_port *p)
{
    uint32_t behind = p->ci & ~(uint32_t)(BIT(p->last + 1) - 1);

    return (unsigned)__builtin_ctz(behind ? behind : p->ci);
}

void ahci_port_run(struct ahci_port *p)
{
    while (ahci_port_runnable(p))
        issue(p, next_slot(p));
    ahci_port_tell(p);
}

/* --- registers --- */

uint32_t ahci_port_interrupts(const struct ahci_port *p)
{
    return p->is | (p->serr & SERR_X ? (uint32_t)AHCI_IS_PCS : 0) |
           (p->serr & SERR_N ? (uint32_t)AHCI_IS_PRCS : 0);
}

static uint32_t read_cmd(const struct ahci_port *p)
{
    uint32_t value = p->cmd | CMD_SUD | CMD_POD;

    if (p->halted || p->current != AHCI_NO_SLOT)
        value |= (uint32_t)p->last << CMD_CCS;
    if (p->cmd & AHCI_CMD_FRE)
        value |= CMD_FR;
    if (p->cmd & CMD_ST || p->draining)
        value |= CMD_CR;
    return value;
}

uint32_t ahci_port_read(struct ahci_port *p, unsigned at)
{
    switch (at) {
    case CLB:
        return (uint32_t)p->clb;
    case CLBU:
        return (uint32_t)(p->clb >> 32);
    case FB:
        return (uint32_t)p->fb;
    case FBU:
        return (uint32_t)(p->fb >> 32);
    case IS:
        return ahci_port_interrupts(p);
    case IE:
        return p->ie;
    case CMD:
        return read_cmd(p);
    case TFD:
        return (uint32_t)p->error << 8 | p->status;
    case SIG:
        return p->sig;
    case SSTS:
        return p->ssts;
    case SCTL:
        return p->sctl;
    case SERR:
        return p->serr;
    case SACT:
        return p->sact;
    case CI:
        return p->ci;
    default:
        return 0;
    }
}

static void write_cmd(struct ahci_port *p, uint32_t value)
{
    uint32_t old = p->cmd;

    p->cmd = value & CMD_KEPT;
    if ((value & CMD_CLO) && !(old & CMD_ST))
        p->status &= ~(ATA_BSY | ATA_DRQ);
    if ((old & CMD_ST) && !(value & CMD_ST)) {
        p->ci = p->sact = 0;
        p->halted = false;
        p->last = AHCI_SLOTS - 1;
        ahci_port_drain(p);
        (void)ahci_port_drained(p);
    }
    if ((value & AHCI_CMD_FRE) && p->unsent)
        ahci_sign(p, false);
}

/* "Software Initiated COMRESET", and the link switched off. */
static void write_sctl(struct ahci_port *p, uint32_t value)
{
    uint32_t old = p->sctl & SCTL_DET, det = value & SCTL_DET;

    p->sctl = value & SCTL_BITS;
    if (det) {
        p->ssts = det == LINK_OFF ? LINK_OFF : 0;
        p->status = NO_LINK;
        p->error = 0;
        p->current = AHCI_NO_SLOT;
        p->coming_up = p->unsent = false;
        ahci_port_drain(p);
        (void)ahci_port_drained(p);
    } else if (old && p->draining) {
        p->coming_up = true;
    } else if (old) {
        go_up(p);
    }
}

static void set_low(uint64_t *address, uint32_t value, uint64_t bits)
{
    *address = (*address & ~(uint64_t)UINT32_MAX) | (value & (uint32_t)bits);
}

static void set_high(uint64_t *address, uint32_t value)
{
    *address = (uint32_t)*address | (uint64_t)value << 32;
}

void ahci_port_write(struct ahci_port *p, unsigned at, uint32_t value)
{
    switch (at) {
    case CLB:
        set_low(&p->clb, value, CLB_BITS);
        break;
    case CLBU:
        set_high(&p->clb, value);
        break;
    case FB:
        set_low(&p->fb, value, FB_BITS);
        break;
    case FBU:
        set_high(&p->fb, value);
        break;
    case IS:
        p->is &= ~value;
        break;
    case IE:
        p->ie = value & IE_BITS;
        break;
    case CMD:
        write_cmd(p, value);
        break;
    case SCTL:
        write_sctl(p, value);
        break;
    case SERR:
        p->serr &= ~value;
        break;
    case SACT:
        if (p->cmd & CMD_ST)
            p->sact |= value;
        break;
    case CI:
        if (p->cmd & CMD_ST)
            p->ci |= value;
        break;
    default:
        break;
    }
}

/* --- saved state: nothing is in flight --- */

static uint8_t flags_of(const struct ahci_port *p)
{
    return (uint8_t)(p->halted | p->unsent << 1 | p->write_cache << 2 | p->look_ahead << 3 |
                     p->standby << 4 | p->held << 5 | p->failed << 6);
}

void ahci_port_save(const struct ahci_port *p, struct state_writer *w)
{
    const uint32_t registers[] = {p->is,   p->ie,   p->cmd,  p->sig, p->ssts,
                                  p->sctl, p->serr, p->sact, p->ci};

    state_put_u64(w, p->clb);
    state_put_u64(w, p->fb);
    for (unsigned i = 0; i < ARRAY_SIZE(registers); i++)
        state_put_u32(w, registers[i]);
    state_put_u8(w, p->status);
    state_put_u8(w, p->error);
    state_put_u8(w, p->last);
    state_put_u8(w, flags_of(p));
    state_put_u8(w, p->multiple);
    state_put_u8(w, p->mode);
    state_put(w, p->log, sizeof(p->log));
}

void ahci_port_load(struct ahci_port *p, struct state_reader *r)
{
    uint32_t *const registers[] = {&p->is,   &p->ie,   &p->cmd,  &p->sig, &p->ssts,
                                   &p->sctl, &p->serr, &p->sact, &p->ci};
    uint8_t flags;

    p->clb = state_get_u64(r) & CLB_BITS;
    p->fb = state_get_u64(r) & FB_BITS;
    for (unsigned i = 0; i < ARRAY_SIZE(registers); i++)
        *registers[i] = state_get_u32(r);
    p->is &= IS_CLEAR;
    p->ie &= IE_BITS;
    p->cmd &= CMD_KEPT;
    p->sctl &= SCTL_BITS;
    p->status = state_get_u8(r);
    p->error = state_get_u8(r);
    p->last = state_get_u8(r) % AHCI_SLOTS;
    flags = state_get_u8(r);
    p->halted = flags & BIT(0);
    p->unsent = flags & BIT(1);
    p->write_cache = flags & BIT(2);
    p->look_ahead = flags & BIT(3);
    p->standby = flags & BIT(4);
    p->held = flags & BIT(5);
    p->failed = flags & BIT(6);
    p->multiple = state_get_u8(r);
    p->mode = state_get_u8(r);
    state_get(r, p->log, sizeof(p->log));
    p->current = AHCI_NO_SLOT;
    p->done = 0;
    p->draining = p->coming_up = false;
    disk_stop(&p->disk, p->halted);
}
