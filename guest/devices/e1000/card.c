/* See nic.h: its registers, its function on the PCI bus, its life. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/e1000/e1000.h"
#include "guest/devices/e1000/nic.h"
#include "mm/heap.h"

#define VENDOR    0x8086
#define DEVICE    0x100e
#define CLASS     0x020000
#define REVISION  2
#define SUBSYSTEM 0x11001af4

#define REGISTERS  0x20000u /* bytes of BAR 0 */
#define PORTS      64u      /* of BAR 1 */
#define IO_ADDRESS 0
#define IO_DATA    4

/* Registers that do something. */
enum {
    CTRL = 0x0000,
    STATUS = 0x0008,
    EECD = 0x0010,
    EERD = 0x0014,
    MDIC = 0x0020,
    ICR = 0x00c0,
    ITR = 0x00c4,
    ICS = 0x00c8,
    IMS = 0x00d0,
    IMC = 0x00d8,
    RCTL = 0x0100,
    TCTL = 0x0400,
    PBA = 0x1000,
    RDBAL = 0x2800,
    RDT = 0x2818,
    TDBAL = 0x3800,
    TDT = 0x3818,
    STATISTICS = 0x4000,
    STATISTICS_END = 0x4100,
    MTA = 0x5200,
    RAL = 0x5400,
    VFTA = 0x5600,
};

/* Those that do nothing here, and are what the driver has written: flow control, LEDs, delays of
 * interrupts, thresholds, checksums, waking up, management. All others read 0. */
static const uint16_t plain_at[NIC_PLAIN] = {
    0x0018, 0x0028, 0x002c, 0x0030, 0x0038, 0x0170, 0x0178, 0x0410, 0x0458,
    0x0e00, PBA,    0x2160, 0x2168, 0x2820, 0x2828, 0x282c, 0x2c00, 0x3820,
    0x3828, 0x382c, 0x3830, 0x5000, 0x5800, 0x5808, 0x5810, 0x5820,
};
#define PBA_VALUE 0x00100030u

#define CTRL_VALUE  0x00000a09u /* full duplex, 1000 Mb/s */
#define CTRL_RST    BIT(26)
#define CTRL_PHYRST BIT(31)
#define STATUS_FD   BIT(0)
#define STATUS_LU   BIT(1)
#define STATUS_1000 BIT(7)
#define RAH_AV      0x80000000u
#define LENGTH_MASK 0xfff80u
#define PLACE_MASK  0xffffu
#define ITR_MASK    0xffffu

_Static_assert(sizeof(struct nic_state) == 256 + 16 * NIC_SEGMENTS + 28 + 8 * NIC_ADDRESSES +
                                               8 * NIC_TABLE + 4 + 8 + 8 * NIC_COUNTS,
               "no padding");

/* Whether the cable is in: its driver is told where that is another than before. */
static void follow_link(struct nic *n)
{
    bool in = net_port_plugged(n->port);

    if (in == !!n->s.linked)
        return;
    n->s.linked = in;
    nic_cause(n, ICR_LSC);
}

/* --- reading --- */

static uint32_t *plain(struct nic *n, unsigned at)
{
    for (unsigned i = 0; i < NIC_PLAIN; i++)
        if (plain_at[i] == at)
            return &n->s.plain[i];
    return NULL;
}

/* Base, length, head and tail; NULL: none of them is there. */
static uint32_t *ring_register(struct nic_ring *r, unsigned at)
{
    switch (at) {
    case 0x00:
    case 0x04:
        return &r->base[at / 4];
    case 0x08:
        return &r->length;
    case 0x10:
        return &r->head;
    case 0x18:
        return &r->tail;
    default:
        return NULL;
    }
}

/* Tables that say what is wanted. */
static uint32_t *filter(struct nic *n, unsigned at)
{
    if (at >= MTA && at < MTA + 4 * NIC_TABLE)
        return &n->s.groups[(at - MTA) / 4];
    if (at >= RAL && at < RAL + 8 * NIC_ADDRESSES)
        return &n->s.filter[(at - RAL) / 8][at / 4 % 2];
    if (at >= VFTA && at < VFTA + 4 * NIC_TABLE)
        return &n->s.vlans[(at - VFTA) / 4];
    return NULL;
}

/* What of the receiver's is under the port's lock. */
static uint32_t *receiver(struct nic *n, unsigned at)
{
    if (at == RCTL)
        return &n->s.rctl;
    if (at >= RDBAL && at <= RDT)
        return ring_register(&n->s.in_ring, at - RDBAL);
    return filter(n, at);
}

static uint32_t read_and_clear_icr(struct nic *n)
{
    uint32_t icr = n->s.icr;

    n->s.icr = 0;
    nic_interrupt(n);
    return icr;
}

static uint32_t read_register(struct nic *n, unsigned at)
{
    const uint32_t *simple = plain(n, at);

    switch (at) {
    case CTRL:
        return n->s.ctrl;
    case STATUS:
        return (uint32_t)(STATUS_FD | STATUS_1000 | (net_port_plugged(n->port) ? STATUS_LU : 0));
    case EECD:
        return nic_eecd_read(n);
    case EERD:
        return n->s.eerd;
    case MDIC:
        return n->s.mdic;
    case ICR:
        return read_and_clear_icr(n);
    case IMS:
        return n->s.ims;
    case ITR:
        return n->s.itr;
    case TCTL:
        return n->s.tctl;
    default:
        break;
    }
    if (at >= STATISTICS && at < STATISTICS_END)
        return nic_statistic(n, at);
    if (!simple)
        simple = receiver(n, at);
    if (!simple && at >= TDBAL && at <= TDT)
        simple = ring_register(&n->s.out_ring, at - TDBAL);
    return simple ? *simple : 0;
}

static uint64_t mmio_read(struct device *d, uint64_t offset, unsigned size)
{
    unsigned at = (unsigned)offset & (REGISTERS - 4);
    uint64_t value = read_register(nic_of(d), at);

    if (size == 8)
        return value | (uint64_t)read_register(nic_of(d), at + 4) << 32;
    return value >> 8 * (offset & 3);
}

/* --- writing --- */

static uint32_t of_ring(unsigned at, uint32_t value)
{
    switch (at) {
    case 0x00:
        return value & ~15u;
    case 0x08:
        return value & LENGTH_MASK;
    case 0x10:
    case 0x18:
        return value & PLACE_MASK;
    default:
        return value;
    }
}

/* Frames come, where the driver wants any. */
static void open_port(struct nic *n)
{
    if (n->s.rctl & RCTL_EN)
        net_port_open(n->port, 0);
    else
        net_port_close(n->port);
}

static bool write_receiver(struct nic *n, unsigned at, uint32_t value)
{
    uint32_t *what = receiver(n, at);

    if (!what)
        return false;
    net_port_lock(n->port);
    *what = at >= RDBAL && at <= RDT ? of_ring(at - RDBAL, value) : value;
    net_port_unlock(n->port);
    if (at == RCTL)
        open_port(n);
    return true;
}

static void reset_receiver(struct nic *n)
{
    struct nic_state *s = &n->s;

    net_port_close(n->port);
    net_port_lock(n->port);
    s->rctl = s->strips = 0;
    s->in_ring = (struct nic_ring){0};
    memset(s->filter, 0, sizeof(s->filter));
    memset(s->groups, 0, sizeof(s->groups));
    memset(s->vlans, 0, sizeof(s->vlans));
    memcpy(s->filter[0], n->port->what.mac, NET_MAC);
    s->filter[0][1] |= RAH_AV;
    n->arrived = 0;
    net_port_unlock(n->port);
}

/* "Device Reset": the PHY stays as it is. */
static void reset_card(struct nic *n)
{
    struct nic_state *s = &n->s;

    reset_receiver(n);
    memset(s->plain, 0, sizeof(s->plain));
    *plain(n, PBA) = PBA_VALUE;
    s->ctrl = CTRL_VALUE;
    s->icr = s->ims = s->itr = s->tctl = s->address = s->mdic = s->eerd = s->eecd = 0;
    s->shifted = s->out = s->bits = s->reading = 0;
    s->segments = s->begun = s->bad = s->options = s->tagged = s->waiting = 0;
    s->tag = s->sum_field = s->sum_start = 0;
    s->command = s->raised = 0;
    s->quiet = 0;
    memset(s->count, 0, sizeof(s->count));
    s->out_ring = (struct nic_ring){0};
    s->context = (struct nic_context){0};
    memset(s->segment, 0, sizeof(s->segment));
    s->linked = net_port_plugged(n->port);
    __atomic_store_n(&n->pending, 0, __ATOMIC_SEQ_CST);
    device_timer_set(&n->dev, NIC_TIMER_GO_ON, TIMER_OFF);
    device_timer_set(&n->dev, NIC_TIMER_TELL, TIMER_OFF);
}

static void write_ctrl(struct nic *n, uint32_t value)
{
    if (value & CTRL_RST) {
        reset_card(n);
        return;
    }
    if (value & CTRL_PHYRST)
        nic_phy_reset(n);
    n->s.ctrl = (uint32_t)(value & ~CTRL_PHYRST);
    net_port_lock(n->port);
    n->s.strips = (uint32_t)(value & CTRL_VME);
    net_port_unlock(n->port);
}

static void write_sender(struct nic *n, unsigned at, uint32_t value)
{
    uint32_t *what = ring_register(&n->s.out_ring, at - TDBAL);

    if (what)
        *what = of_ring(at - TDBAL, value);
    if (at == TDT)
        nic_send(n);
}

static void write_register(struct nic *n, unsigned at, uint32_t value)
{
    uint32_t *simple = plain(n, at);

    switch (at) {
    case CTRL:
        write_ctrl(n, value);
        break;
    case EECD:
        nic_eecd_write(n, value);
        break;
    case EERD:
        nic_eerd_write(n, value);
        break;
    case MDIC:
        nic_mdic_write(n, value);
        break;
    case ICR:
        n->s.icr &= ~value;
        break;
    case ICS:
        n->s.icr |= value & ICR_ALL;
        break;
    case IMS:
        n->s.ims |= value & ICR_ALL;
        break;
    case IMC:
        n->s.ims &= ~value;
        break;
    case ITR:
        n->s.itr = value & ITR_MASK;
        break;
    case TCTL:
        n->s.tctl = value;
        nic_send(n);
        break;
    default:
        if (simple)
            *simple = value;
        else if (at >= TDBAL && at <= TDT)
            write_sender(n, at, value);
        else
            (void)write_receiver(n, at, value);
    }
    nic_interrupt(n);
}

/* All registers are dwords. */
static void mmio_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    unsigned at = (unsigned)offset & (REGISTERS - 1);

    if (size < 4 || at % 4)
        return;
    write_register(nic_of(d), at, (uint32_t)value);
    if (size == 8 && at + 4 < REGISTERS)
        write_register(nic_of(d), at + 4, (uint32_t)(value >> 32));
}

/* --- the same by ports: "I/O-Mapped Internal Register" --- */

static unsigned port_offset(const struct nic *n, uint16_t port)
{
    return (unsigned)(port - pci_function_bar_base(&n->function, 1)) % PORTS;
}

static uint32_t port_read(struct device *d, uint16_t port, unsigned size)
{
    struct nic *n = nic_of(d);
    unsigned at = port_offset(n, port);

    if (size != 4 || (at != IO_ADDRESS && at != IO_DATA))
        return 0;
    return at == IO_ADDRESS ? n->s.address : read_register(n, n->s.address);
}

static void port_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct nic *n = nic_of(d);
    unsigned at = port_offset(n, port);

    if (size == 4 && at == IO_ADDRESS)
        n->s.address = value & (REGISTERS - 4);
    else if (size == 4 && at == IO_DATA)
        write_register(n, n->s.address, value);
}

/* --- life --- */

static void timer(struct device *d, unsigned number, uint64_t now)
{
    struct nic *n = nic_of(d);

    if (number == NIC_TIMER_GO_ON) {
        nic_go_on(n);
        return;
    }
    nic_tell(n);
    nic_interrupt(n); /* which may have had to wait */
    follow_link(n);
    open_port(n); /* which is closed since idle() or load() */
}

/* What others send goes on without the guest's processors: none of it comes until these go on. */
static bool idle(struct device *d, bool over)
{
    struct nic *n = nic_of(d);

    net_port_close(n->port);
    if (!over) {
        nic_settle(n);
        device_timer_soon(d, NIC_TIMER_TELL);
    }
    return true;
}

static void reset(struct device *d)
{
    struct nic *n = nic_of(d);

    reset_card(n);
    nic_phy_reset(n);
    n->left = NIC_AT_ONCE;
    n->work = NIC_WORK;
}

static void save(struct device *d, struct state_writer *w)
{
    state_put(w, &nic_of(d)->s, sizeof(struct nic_state));
}

static int load(struct device *d, struct state_reader *r)
{
    struct nic *n = nic_of(d);
    struct nic_state *s = &n->s;

    state_get(r, s, sizeof(*s));
    s->icr &= ICR_ALL;
    s->ims &= ICR_ALL;
    s->itr &= ITR_MASK;
    s->raised &= 1;
    s->address &= REGISTERS - 4;
    s->waiting &= 1; /* its timer is the bus's to load */
    if (s->segments > NIC_SEGMENTS || s->bits > 9) {
        reset(d);
        return -EBADMSG;
    }
    s->linked &= 1;
    /* Frames come when the guest goes on: what is loaded behind this one takes interrupts away. */
    device_timer_soon(d, NIC_TIMER_TELL);
    return 0;
}

static const struct device_ops device_ops = {
    .name = "e1000",
    .version = 3,
    .port_read = port_read,
    .port_write = port_write,
    .mmio_read = mmio_read,
    .mmio_write = mmio_write,
    .timer = timer,
    .idle = idle,
    .reset = reset,
    .save = save,
    .load = load,
};

void e1000_plug(struct device *d, bool in)
{
    struct nic *n = nic_of(d);

    device_lock(d);
    if (net_port_plugged(n->port) != in) {
        net_port_plug(n->port, in);
        follow_link(n);
    }
    device_unlock(d);
}

static int attach(struct nic *n, struct pci *pci)
{
    struct pci_function *f = &n->function;
    const uint32_t subsystem = SUBSYSTEM;
    int error;

    pci_function_init(f, NULL, VENDOR, DEVICE, CLASS);
    f->config[PCI_REVISION] = REVISION;
    f->config[PCI_INTERRUPT_PIN] = 1;
    memcpy(f->config + PCI_SUBSYSTEM_VENDOR_ID, &subsystem, sizeof(subsystem));
    n->registers = (struct bus_range){.device = &n->dev, .size = REGISTERS, .space = BUS_MEMORY};
    n->ports = (struct bus_range){.device = &n->dev, .size = PORTS, .space = BUS_PORTS};
    if ((error = pci_function_bar(f, 0, REGISTERS, 0)) < 0 ||
        (error = pci_function_bar(f, 1, PORTS, PCI_BAR_IO)) < 0 ||
        (error = pci_function_map(f, 0, pci->bus, &n->registers)) < 0 ||
        (error = pci_function_map(f, 1, pci->bus, &n->ports)) < 0)
        return error;
    return pci_add_device(pci, f);
}

static int create(struct device *d, struct device_setup *s)
{
    struct nic *n = nic_of(d);
    struct net_port_setup what = {.ops = &nic_port_ops, .owner = n};
    struct net_switch *on;
    int error;

    n->out.scratch = heap_alloc(NET_MAX_FRAME);
    error = n->out.scratch ? network_attach(s, &what, &on, &n->port) : -ENOMEM;
    if (error == 0) {
        nic_eeprom_init(n);
        error = attach(n, s->pci);
        if (error < 0)
            net_port_detach(n->port);
    }
    if (error < 0)
        heap_free(n->out.scratch);
    return error;
}

static void destroy(struct device *d)
{
    struct nic *n = nic_of(d);

    net_port_detach(n->port);
    heap_free(n->out.scratch);
}

static int check(const char *text, size_t length, char *error)
{
    return network_check(text, length, true, error);
}

const struct device_class e1000_class = {
    .ops = &device_ops,
    .size = sizeof(struct nic),
    .key = "net",
    .check = check,
    .create = create,
    .destroy = destroy,
};
