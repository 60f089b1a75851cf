/* ACPI's fixed hardware: PM1a event and control block, PM timer, an empty GPE block (ACPI, "ACPI
 * Register Model"). */
#pragma once

#include "guest/board/class.h"

#define ACPI_PM_TIMER_HZ 3579545

struct acpi_pm {
    struct device dev;
    uint16_t status,
        enable; /* PM1a; bit 0 of status, the timer's, is worked out when somebody looks */
    uint16_t control;
    uint16_t gpe_status, gpe_enable;
    uint64_t carry; /* tick of the PM timer at which its top bit next changes and raises TMR_STS */
    bool irq;
};

extern const struct device_class acpi_pm_class;
/* The user presses the power button: the guest's kernel is asked to shut down. */
void acpi_pm_power_button(struct acpi_pm *pm);
