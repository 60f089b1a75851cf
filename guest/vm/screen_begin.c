/* The graphics card is found and set up by ports. */
#include "guest/vm/screen_begin.h"

#include "guest/board/pci.h"
#include "guest/board/ports.h"
#include "guest/devices/vga/chip.h"

#define CARD    0x11111234u /* device and vendor: the "standard VGA" */
#define DEVICES 32u
#define ENABLED 0x80000000u /* of a configuration address */

/* The VGA's own: */
#define PORT_ATTRIBUTE PORT_VGA
#define PORT_MISC      (PORT_VGA + 0x02)
#define PORT_STATUS    (PORT_VGA + 0x1a) /* with MISC_COLOUR */

static void choose_register(struct bus *bus, unsigned device, unsigned reg)
{
    bus_port_write(bus, PORT_PCI_ADDRESS, 4, ENABLED | device << 11 | reg);
}

static uint32_t config_read(struct bus *bus, unsigned device, unsigned reg)
{
    choose_register(bus, device, reg);
    return bus_port_read(bus, PORT_PCI_DATA, 4);
}

static void dispi_write(struct bus *bus, enum dispi index, uint32_t value)
{
    bus_port_write(bus, PORT_DISPI, 2, index);
    bus_port_write(bus, PORT_DISPI + 1, 2, value);
}

static uint32_t dispi_read(struct bus *bus, enum dispi index)
{
    bus_port_write(bus, PORT_DISPI, 2, index);
    return bus_port_read(bus, PORT_DISPI + 1, 2);
}

/* The VGA leaves the screen blank until it is told not to. */
static void switch_on(struct bus *bus)
{
    bus_port_write(bus, PORT_MISC, 1, MISC_COLOUR | MISC_RAM);
    (void)bus_port_read(bus, PORT_STATUS, 1); /* an index is what is written next */
    bus_port_write(bus, PORT_ATTRIBUTE, 1, ATTRIBUTE_ON);
}

void screen_begin(struct bus *bus, struct guest_screen *screen)
{
    unsigned device = 0;

    while (device < DEVICES - 1 && config_read(bus, device, PCI_VENDOR_ID) != CARD)
        device++;
    screen->gpa = config_read(bus, device, PCI_BAR0) & ~0xfu;
    choose_register(bus, device, PCI_COMMAND);
    bus_port_write(bus, PORT_PCI_DATA, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
    dispi_write(bus, DISPI_ENABLE, 0);
    dispi_write(bus, DISPI_WIDTH, MIN(screen->width, VGA_WIDTH_MAX));
    dispi_write(bus, DISPI_HEIGHT, MIN(screen->height, VGA_HEIGHT_MAX));
    dispi_write(bus, DISPI_BITS, screen->depth);
    dispi_write(bus, DISPI_ENABLE, DISPI_ON | DISPI_LINEAR);
    switch_on(bus);
    screen->width = dispi_read(bus, DISPI_WIDTH);
    screen->height = dispi_read(bus, DISPI_HEIGHT);
    screen->depth = (uint8_t)dispi_read(bus, DISPI_BITS);
    screen->pitch = dispi_read(bus, DISPI_VIRTUAL_WIDTH) * ((screen->depth + 7u) / 8);
}
