/* Which cards e1000.c drives. Copper only; what has been seen to work is in docs/HARDWARE.md. */
#include "drivers/e1000.h"

#define NORMAL (1500 + NET_CARD_HEADER)
#define PCI    (9216 + NET_CARD_HEADER)
#define PCIE   (9000 + NET_CARD_HEADER)
#define IGB    (9216 + NET_CARD_HEADER)

/* The chipset's PHY would want to be told of longer frames. */
#define CHIPSET (E1000_PCIE | E1000_PCH | E1000_NO_EERD | E1000_NOT_TRIED)
#define I210    (E1000_PCIE | E1000_ADVANCED | E1000_PBS | E1000_NO_EERD | E1000_NOT_TRIED)

static const struct e1000_model models[] = {
    {"82540EM", PCI, 0, {0x100e}},
    {"82545EM", PCI, E1000_NOT_TRIED, {0x100f}},
    {"82574L", PCIE, E1000_PCIE, {0x10d3}},
    {"82574LA", PCIE, E1000_PCIE | E1000_NOT_TRIED, {0x10f6}},
    {"82576", IGB, E1000_PCIE | E1000_ADVANCED, {0x10c9}},
    {"82576", IGB, E1000_PCIE | E1000_ADVANCED | E1000_NOT_TRIED, {0x10e8, 0x150a, 0x1526}},
    {"I210", IGB, I210, {0x1533, 0x157b}},
    {"I211", IGB, I210, {0x1539}},
    {"I217", NORMAL, CHIPSET, {0x153a, 0x153b}},
    {"I218", NORMAL, CHIPSET, {0x155a, 0x1559, 0x15a0, 0x15a1, 0x15a2, 0x15a3}},
    {"I219", NORMAL, CHIPSET | E1000_MULR, {0x156f, 0x1570, 0x15b7, 0x15b8, 0x15b9, 0x15d6,
                                            0x15d7, 0x15d8, 0x15e3, 0x15bb, 0x15bc, 0x15bd,
                                            0x15be, 0x15df, 0x15e0, 0x15e1, 0x15e2, 0x15f4,
                                            0x15f9, 0x15fa, 0x15fb, 0x15fc, 0x1a1c, 0x1a1d,
                                            0x1a1e, 0x1a1f, 0x550a, 0x550b, 0x550c, 0x550d}},
};

const struct e1000_model *e1000_find(uint16_t device)
{
    for (unsigned i = 0; device && i < ARRAY_SIZE(models); i++)
        for (unsigned n = 0; n < E1000_DEVICES && models[i].device[n]; n++)
            if (models[i].device[n] == device)
                return &models[i];
    return NULL;
}
