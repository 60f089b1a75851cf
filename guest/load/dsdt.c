/* See dsdt.h. */
#include "guest/load/dsdt.h"
#include "arch/x86/lib/string.h"
#include "guest/board/pci.h"
#include "guest/board/ports.h"

#define PCI_PINS 4 /* of a device: INTA to INTD */

/* INTx pins lead straight to the interrupt controllers' inputs: level-triggered and active low, as
 * PCI's are. */
static void build_interrupt_routing(struct aml *a)
{
    size_t routing, entry;

    aml_name(a, "_PRT");
    routing = aml_package(a, PCI_DEVICES * PCI_PINS);
    for (unsigned device = 0; device < PCI_DEVICES; device++) {
        for (unsigned pin = 0; pin < PCI_PINS; pin++) {
            entry = aml_package(a, 4);
            aml_integer(a, device << 16 | 0xffff); /* all its functions */
            aml_integer(a, pin);
            aml_integer(a, 0); /* no link device: the next is the input's number */
            aml_integer(a, GSI_PIRQ(pci_intx_line(device, pin)));
            aml_close(a, entry);
        }
    }
    aml_close(a, routing);
}

static void build_pci(struct aml *a)
{
    size_t crs;

    aml_hid(a, "PNP0A03");
    aml_name_integer(a, "_UID", 0);
    aml_name_integer(a, "_BBN", 0);
    crs = aml_resources(a);
    aml_bus_window(a, 0, 0);
    aml_io(a, PORT_PCI_ADDRESS, 8);
    aml_io_window(a, 0, PORT_PCI_ADDRESS - 1);
    aml_io_window(a, PORT_PCI_ADDRESS + 8, UINT16_MAX);
    aml_memory_window(a, GPA_PCI_MEMORY, GPA_PCI_MEMORY_END - 1);
    aml_close_resources(a, crs);
    build_interrupt_routing(a);
}

/* --- devices that come and go: slots as Linux' acpiphp knows them --- */

#define NOTIFY_DEVICE_CHECK  1
#define NOTIFY_EJECT_REQUEST 3
enum { COME, GO, EJECT, HOTPLUG_FIELDS };
static const char *const hotplug_fields[HOTPLUG_FIELDS] = {"PCIU", "PCID", "PCEJ"};
_Static_assert(HOTPLUG_COME == 4 * COME && HOTPLUG_GO == 4 * GO && HOTPLUG_EJECT == 4 * EJECT,
               "fields of 32 bits, one after the other");

static void slot_name(char name[5], unsigned device)
{
    static const char digits[] = "0123456789ABCDEF";

    memcpy(name, "SL", 2);
    name[2] = digits[device / 16];
    name[3] = digits[device % 16];
    name[4] = '\0';
}

static void build_slot(struct aml *a, unsigned device)
{
    char name[5];
    size_t slot, method;

    slot_name(name, device);
    slot = aml_device(a, name);
    aml_name_integer(a, "_ADR", device << 16);
    aml_name_integer(a, "_SUN", device);
    method = aml_method(a, "_EJ0", 1);
    aml_store(a, hotplug_fields[EJECT], 1u << device);
    aml_close(a, method);
    aml_close(a, slot);
}

/* What happened is read once, and told to the slots that it happened to. */
static void build_notifications(struct aml *a, uint32_t slots)
{
    static const uint8_t told[] = {[COME] = NOTIFY_DEVICE_CHECK, [GO] = NOTIFY_EJECT_REQUEST};
    size_t method = aml_method(a, "PCNT", 0), block;
    char name[5];

    for (unsigned which = COME; which <= GO; which++)
        aml_load(a, which, hotplug_fields[which]);
    for (unsigned device = 0; device < PCI_DEVICES; device++) {
        slot_name(name, device);
        for (unsigned which = COME; which <= GO && slots >> device & 1; which++) {
            block = aml_if_bit(a, which, 1u << device);
            aml_notify(a, name, told[which]);
            aml_close(a, block);
        }
    }
    aml_close(a, method);
}

static void build_slots(struct aml *a, uint32_t slots)
{
    aml_ports(a, "PCHP", PORT_HOTPLUG, HOTPLUG_SIZE);
    aml_port_fields(a, "PCHP", hotplug_fields, HOTPLUG_FIELDS);
    for (unsigned device = 0; device < PCI_DEVICES; device++)
        if (slots >> device & 1)
            build_slot(a, device);
    build_notifications(a, slots);
}

/* The general-purpose event behind which they are; its status is cleared before. */
static void build_events(struct aml *a)
{
    static const char *const path[] = {"_SB_", "PCI0", "PCNT"};
    size_t scope = aml_scope(a, "_GPE"), method = aml_method(a, "_E01", 0);

    _Static_assert(GPE_HOTPLUG == 1, "which stands in the method's name");
    aml_call(a, path, ARRAY_SIZE(path));
    aml_close(a, method);
    aml_close(a, scope);
}

static void build_isa_device(struct aml *a, const char *name, const char *hid, uint32_t uid,
                             uint16_t port, uint8_t ports, unsigned irq)
{
    size_t device = aml_device(a, name), crs;

    aml_hid(a, hid);
    aml_name_integer(a, "_UID", uid);
    crs = aml_resources(a);
    aml_io(a, port, ports);
    aml_irq(a, irq);
    aml_close_resources(a, crs);
    aml_close(a, device);
}

/* The 8042's two ports: its registers are the keyboard's. */
static void build_ps2(struct aml *a)
{
    size_t device = aml_device(a, "PS2K"), crs;

    aml_hid(a, "PNP0303");
    aml_name_integer(a, "_UID", 0);
    crs = aml_resources(a);
    aml_io(a, PORT_KEYBOARD_DATA, 1);
    aml_io(a, PORT_KEYBOARD, 1);
    aml_irq(a, GSI_KEYBOARD);
    aml_close_resources(a, crs);
    aml_close(a, device);
    device = aml_device(a, "PS2M");
    aml_hid(a, "PNP0F13");
    aml_name_integer(a, "_UID", 0);
    crs = aml_resources(a);
    aml_irq(a, GSI_MOUSE);
    aml_close_resources(a, crs);
    aml_close(a, device);
}

/* Configuration space in memory, and registers, are the board's own, not a place for BARs. */
static void build_motherboard(struct aml *a)
{
    size_t device = aml_device(a, "MBRD"), crs;

    aml_hid(a, "PNP0C02");
    aml_name_integer(a, "_UID", 0);
    crs = aml_resources(a);
    aml_memory(a, GPA_ECAM, GPA_ECAM_SIZE);
    aml_io(a, PORT_HOTPLUG, HOTPLUG_SIZE);
    aml_close_resources(a, crs);
    aml_close(a, device);
}

void dsdt_build(struct aml *a, uint32_t slots, bool display)
{
    size_t scope, pci, s5;

    aml_name(a, "_S5_");
    s5 = aml_package(a, 4);
    aml_integer(a, PM_SLP_TYP_S5); /* PM1a */
    aml_integer(a, PM_SLP_TYP_S5); /* PM1b, which does not exist */
    aml_integer(a, 0);
    aml_integer(a, 0);
    aml_close(a, s5);
    scope = aml_scope(a, "_SB_");
    pci = aml_device(a, "PCI0");
    build_pci(a);
    build_slots(a, slots);
    build_isa_device(a, "RTC_", "PNP0B00", 0, PORT_RTC, 2, GSI_RTC);
    build_isa_device(a, "COM1", "PNP0501", 1, PORT_UART1, 8, GSI_UART1);
    if (display)
        build_ps2(a);
    aml_close(a, pci);
    build_motherboard(a);
    aml_close(a, scope);
    build_events(a);
}
