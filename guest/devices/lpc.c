/*
 * The chipset's bridge to the devices of a PC (Intel I/O Controller Hub 9 Family, "LPC Interface
 * Bridge Registers (D31:F0)"): OVMF and SeaBIOS know the platform by it, and set up where the
 * registers of power management are and where PCI's interrupts lead. It says at once what they
 * would set, for a VM starts without them, too. A VM with nothing on PCI and without firmware does
 * not have it: nobody there could want anything of it.
 */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/class.h"
#include "guest/board/pci.h"
#include "guest/board/ports.h"
#include "guest/devices/acpi_pm.h"

#define SUBSYSTEM 0x11001af4u
#define REVISION  2
#define CLASS     0x060100 /* a bridge to ISA */

#define PMBASE        0x40
#define PMBASE_IO     BIT(0) /* always */
#define PMBASE_BASE   0xff80u
#define ACPI_CNTL     0x44
#define ACPI_CNTL_EN  BIT(7)
#define ACPI_CNTL_SCI 7u /* SCI_IRQ_SEL: 0 is IRQ 9 */
#define PIRQ_A_TO_D   0x60
#define PIRQ_E_TO_H   0x68
#define PIRQ_BITS     0x8f8f8f8fu /* of four registers: IRQEN, which is active low, and the IRQ */
#define PIRQ(a, b)    ((uint32_t)GSI_PIRQ(a) << 8 * (a) | (uint32_t)GSI_PIRQ(b) << 8 * (b))
#define PIRQ_ROUTES   (PIRQ(0, 1) | PIRQ(2, 3))
#define RCBA          0xf0
#define RCBA_BITS     0xffffc001u

struct lpc {
    struct device dev; /* first */
    struct pci_function function;
    struct acpi_pm *pm;
};

static const struct {
    uint8_t at;
    uint32_t value, writable;
} registers[] = {
    {PCI_SUBSYSTEM_VENDOR_ID, SUBSYSTEM, 0},
    {PMBASE, PORT_PM1A_EVENT | PMBASE_IO, PMBASE_BASE},
    {ACPI_CNTL, ACPI_CNTL_EN, ACPI_CNTL_EN | ACPI_CNTL_SCI},
    {PIRQ_A_TO_D, PIRQ_ROUTES, PIRQ_BITS},
    {PIRQ_E_TO_H, PIRQ_ROUTES, PIRQ_BITS},
    {RCBA, 0, RCBA_BITS},
};

/* Of what is written, this is what something follows. */
static void written(struct pci_function *f, unsigned offset, unsigned size)
{
    struct lpc *l = CONTAINER_OF(f, struct lpc, function);
    uint16_t base;

    memcpy(&base, f->config + PMBASE, sizeof(base));
    base &= f->config[ACPI_CNTL] & ACPI_CNTL_EN ? PMBASE_BASE : 0;
    (void)acpi_pm_place(l->pm, base); /* without memory for it, it is nowhere */
}

static const struct pci_function_ops function_ops = {.written = written};

/* What it is, is in its config space. */
static void reset(struct device *d)
{
}

static void save(struct device *d, struct state_writer *w)
{
}

static int load(struct device *d, struct state_reader *r)
{
    return 0;
}

static const struct device_ops lpc_ops = {
    .name = "lpc",
    .version = 1,
    .reset = reset,
    .save = save,
    .load = load,
};

static int create(struct device *d, struct device_setup *s)
{
    struct lpc *l = CONTAINER_OF(d, struct lpc, dev);
    struct pci_function *f = &l->function;

    l->pm = s->pm;
    if (pci_is_bare(s->pci) && !s->host->firmware)
        return 0;
    pci_function_init(f, &function_ops, 0x8086, 0x2918, CLASS);
    f->config[PCI_REVISION] = REVISION;
    for (unsigned i = 0; i < ARRAY_SIZE(registers); i++) {
        memcpy(f->config + registers[i].at, &registers[i].value, 4);
        memcpy(f->writable + registers[i].at, &registers[i].writable, 4);
    }
    return pci_add_function(s->pci, PCI_LPC, f);
}

const struct device_class lpc_class = {
    .ops = &lpc_ops,
    .size = sizeof(struct lpc),
    .create = create,
};
