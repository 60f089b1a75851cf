/* ACPI's fixed hardware: PM1a event and control block, PM timer, a GPE block (ACPI, "ACPI
 * Register Model"); all of it together wherever the chipset puts it. */
#pragma once

#include "guest/board/class.h"

#define ACPI_PM_TIMER_HZ 3579545
#define ACPI_PM_RANGES   4

struct acpi_pm {
    struct device dev;
    uint16_t status,
        enable; /* PM1a; bit 0 of status, the timer's, is worked out when somebody looks */
    uint16_t control;
    uint16_t gpe_status, gpe_enable;
    uint64_t carry; /* tick of the PM timer at which its top bit next changes and raises TMR_STS */
    bool irq;
    struct bus *bus;
    struct bus_range range[ACPI_PM_RANGES];
    uint16_t base, timer_port; /* where it is, and its timer */
};

extern const struct device_class acpi_pm_class;
/* The user presses the power button: the guest's kernel is asked to shut down. */
void acpi_pm_power_button(struct acpi_pm *pm);
/* A general-purpose event, 0-15; whether the guest has switched it on, and so hears of it now. */
bool acpi_pm_event(struct acpi_pm *pm, unsigned gpe);
/* From now on the block begins at port base; 0: it is nowhere. At first it is at PORT_PM1A_EVENT.
 * 0, or -ENOMEM: some of its registers are nowhere. */
int acpi_pm_place(struct acpi_pm *pm, uint16_t base);
