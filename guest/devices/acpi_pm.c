/* See acpi_pm.h. */
#include "guest/devices/acpi_pm.h"
#include "arch/x86/lib/errno.h"
#include "guest/board/clock.h"
#include "guest/board/ports.h"

#define EVENT_TIMER        BIT(0)
#define EVENT_GLOBAL       BIT(5)
#define EVENT_POWER_BUTTON BIT(8)
#define EVENT_SLEEP_BUTTON BIT(9)
#define EVENT_RTC          BIT(10)
#define EVENT_ENABLES                                                                              \
    (EVENT_TIMER | EVENT_GLOBAL | EVENT_POWER_BUTTON | EVENT_SLEEP_BUTTON | EVENT_RTC)

#define CONTROL_SCI_EN        BIT(0) /* always: the platform has no legacy mode to come from */
#define CONTROL_BUS_RELOAD    BIT(1)
#define CONTROL_SLP_TYP_SHIFT 10
#define CONTROL_SLP_TYP       (7 << CONTROL_SLP_TYP_SHIFT)
#define CONTROL_SLP_EN        BIT(13) /* reads as zero, like the global lock's GBL_RLS */
#define CONTROL_KEPT          (CONTROL_BUS_RELOAD | CONTROL_SLP_TYP)

/* Ports as offsets from the block's start. */
enum {
    OFFSET_STATUS = 0,
    OFFSET_ENABLE = PM1A_EVENT_SIZE / 2,
    OFFSET_CONTROL = PORT_PM1A_CONTROL - PORT_PM1A_EVENT,
    OFFSET_TIMER = PORT_PM_TIMER - PORT_PM1A_EVENT,
    OFFSET_GPE_STATUS = PORT_GPE0 - PORT_PM1A_EVENT,
    OFFSET_GPE_ENABLE = OFFSET_GPE_STATUS + GPE0_SIZE / 2,
};

static uint64_t timer_ticks(struct acpi_pm *pm)
{
    return clock_ticks(device_now(&pm->dev), device_tsc_hz(&pm->dev), ACPI_PM_TIMER_HZ);
}

/* The timer raises its status whenever bit 31 changes. */
static uint64_t next_carry(uint64_t ticks)
{
    return (ticks | (BIT(31) - 1)) + 1;
}

static void drive_sci(struct acpi_pm *pm)
{
    bool level = (pm->status & pm->enable) || (pm->gpe_status & pm->gpe_enable);

    if (level == pm->irq)
        return;
    pm->irq = level;
    device_irq(&pm->dev, GSI_SCI, level);
}

static void update_sci(struct acpi_pm *pm)
{
    uint64_t ticks = timer_ticks(pm);

    if (ticks >= pm->carry) {
        pm->status |= EVENT_TIMER;
        pm->carry = next_carry(ticks);
    }
    drive_sci(pm);
    device_timer_set(&pm->dev, 0,
                     (pm->enable & EVENT_TIMER) && !(pm->status & EVENT_TIMER)
                         ? clock_deadline(pm->carry, device_tsc_hz(&pm->dev), ACPI_PM_TIMER_HZ)
                         : TIMER_OFF);
}

void acpi_pm_power_button(struct acpi_pm *pm)
{
    device_lock(&pm->dev);
    pm->status |= EVENT_POWER_BUTTON;
    update_sci(pm);
    device_unlock(&pm->dev);
}

bool acpi_pm_event(struct acpi_pm *pm, unsigned gpe)
{
    device_lock(&pm->dev);
    bool heard = pm->gpe_enable >> gpe & 1;
    pm->gpe_status |= (uint16_t)(1u << gpe);
    update_sci(pm);
    device_unlock(&pm->dev);
    return heard;
}

static void acpi_pm_timer(struct device *d, unsigned timer, uint64_t now)
{
    update_sci(CONTAINER_OF(d, struct acpi_pm, dev));
}

/* --- registers: bytes of any register may be read and written alone --- */

static uint8_t read_byte(const struct acpi_pm *pm, unsigned offset, uint64_t ticks)
{
    unsigned shift = 8 * (offset & 1);

    switch (offset & ~1u) {
    case OFFSET_STATUS:
        return (uint8_t)(pm->status >> shift);
    case OFFSET_ENABLE:
        return (uint8_t)(pm->enable >> shift);
    case OFFSET_CONTROL:
        return (uint8_t)((pm->control | CONTROL_SCI_EN) >> shift);
    case OFFSET_TIMER:
    case OFFSET_TIMER + 2:
        return (uint8_t)(ticks >> (8 * (offset - OFFSET_TIMER)));
    case OFFSET_GPE_STATUS:
        return (uint8_t)(pm->gpe_status >> shift);
    case OFFSET_GPE_ENABLE:
        return (uint8_t)(pm->gpe_enable >> shift);
    default:
        return 0xff;
    }
}

static uint32_t acpi_pm_read(struct device *d, uint16_t port, unsigned size)
{
    struct acpi_pm *pm = CONTAINER_OF(d, struct acpi_pm, dev);
    uint64_t ticks = timer_ticks(pm);
    uint32_t value = 0;

    if (LIKELY(port == pm->timer_port && size == 4))
        return (uint32_t)ticks;
    update_sci(pm);
    for (unsigned i = 0; i < size; i++)
        value |= (uint32_t)read_byte(pm, port + i - pm->base, ticks) << (8 * i);
    return value;
}

static void sleep(struct acpi_pm *pm)
{
    if ((pm->control & CONTROL_SLP_TYP) >> CONTROL_SLP_TYP_SHIFT == PM_SLP_TYP_S5)
        device_vm_request(&pm->dev, VM_REQUEST_POWEROFF, "ACPI S5");
}

static void write_byte(struct acpi_pm *pm, unsigned offset, uint8_t byte)
{
    unsigned shift = 8 * (offset & 1);
    uint16_t value = (uint16_t)(byte << shift), kept = (uint16_t)(0xff00 >> shift);

    switch (offset & ~1u) {
    case OFFSET_STATUS:
        pm->status &= ~value;
        break;
    case OFFSET_ENABLE:
        pm->enable = (pm->enable & kept) | (value & EVENT_ENABLES);
        break;
    case OFFSET_CONTROL:
        pm->control = (pm->control & kept) | (value & CONTROL_KEPT);
        if (value & CONTROL_SLP_EN)
            sleep(pm);
        break;
    case OFFSET_GPE_STATUS:
        pm->gpe_status &= ~value;
        break;
    case OFFSET_GPE_ENABLE:
        pm->gpe_enable = (pm->gpe_enable & kept) | value;
        break;
    default: /* the timer cannot be written */
        break;
    }
}

static void acpi_pm_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct acpi_pm *pm = CONTAINER_OF(d, struct acpi_pm, dev);

    update_sci(pm); /* a carry that has come must be there to be cleared */
    for (unsigned i = 0; i < size; i++) {
        write_byte(pm, port + i - pm->base, (uint8_t)(value >> (8 * i)));
        if ((port + i) & 1)
            drive_sci(pm); /* one register may withdraw it and the next one raise it */
    }
    update_sci(pm);
}

/* --- life --- */

static void acpi_pm_reset(struct device *d)
{
    struct acpi_pm *pm = CONTAINER_OF(d, struct acpi_pm, dev);

    pm->status = pm->enable = pm->control = 0;
    pm->gpe_status = pm->gpe_enable = 0;
    pm->irq = false;
    pm->carry = next_carry(timer_ticks(pm));
}

static void acpi_pm_save(struct device *d, struct state_writer *w)
{
    struct acpi_pm *pm = CONTAINER_OF(d, struct acpi_pm, dev);

    state_put_u16(w, pm->status);
    state_put_u16(w, pm->enable);
    state_put_u16(w, pm->control);
    state_put_u16(w, pm->gpe_status);
    state_put_u16(w, pm->gpe_enable);
    state_put_u64(w, pm->carry);
    state_put_u8(w, pm->irq);
}

static int acpi_pm_load(struct device *d, struct state_reader *r)
{
    struct acpi_pm *pm = CONTAINER_OF(d, struct acpi_pm, dev);

    pm->status = state_get_u16(r) & EVENT_ENABLES;
    pm->enable = state_get_u16(r) & EVENT_ENABLES;
    pm->control = state_get_u16(r) & CONTROL_KEPT;
    pm->gpe_status = state_get_u16(r);
    pm->gpe_enable = state_get_u16(r);
    pm->carry = state_get_u64(r);
    pm->irq = state_get_u8(r) & 1;
    if ((pm->carry & (BIT(31) - 1)) != 0) {
        acpi_pm_reset(d);
        return -EBADMSG;
    }
    return 0;
}

static const struct device_ops acpi_pm_ops = {
    .name = "acpi-pm",
    .version = 1,
    .port_read = acpi_pm_read,
    .port_write = acpi_pm_write,
    .timer = acpi_pm_timer,
    .reset = acpi_pm_reset,
    .save = acpi_pm_save,
    .load = acpi_pm_load,
};

/* --- where it is --- */

static const struct {
    uint8_t offset, size;
} pieces[ACPI_PM_RANGES] = {
    {OFFSET_STATUS, PM1A_EVENT_SIZE},
    {OFFSET_CONTROL, PM1A_CONTROL_SIZE},
    {OFFSET_TIMER, PM_TIMER_SIZE},
    {OFFSET_GPE_STATUS, GPE0_SIZE},
};

int acpi_pm_place(struct acpi_pm *pm, uint16_t base)
{
    int result = 0;

    device_lock(&pm->dev);
    pm->base = base;
    pm->timer_port = base + OFFSET_TIMER;
    for (unsigned i = 0; i < ACPI_PM_RANGES; i++) {
        int error = base ? bus_place(pm->bus, &pm->range[i], base + pieces[i].offset) : 0;
        if (base == 0 || error < 0)
            bus_withdraw(pm->bus, &pm->range[i]);
        result = error < 0 ? error : result;
    }
    device_unlock(&pm->dev);
    return result;
}

/* What is fixed on the board is over it, wherever a guest puts it. */
static int acpi_pm_create(struct device *d, struct device_setup *s)
{
    struct acpi_pm *pm = CONTAINER_OF(d, struct acpi_pm, dev);
    int error = 0;

    pm->bus = s->bus;
    for (unsigned i = 0; i < ACPI_PM_RANGES && error == 0; i++) {
        pm->range[i] = (struct bus_range){
            .device = d, .size = pieces[i].size, .space = BUS_PORTS, .priority = BUS_MOVABLE};
        error = bus_add_range(s->bus, &pm->range[i]);
    }
    s->pm = pm;
    return error < 0 ? error : acpi_pm_place(pm, PORT_PM1A_EVENT);
}

const struct device_class acpi_pm_class = {
    .ops = &acpi_pm_ops,
    .size = sizeof(struct acpi_pm),
    .create = acpi_pm_create,
};
