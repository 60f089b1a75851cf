/* See nic.h: what is beside the controller, its EEPROM (Microwire, 64 words) and its PHY. */
#include "arch/x86/lib/string.h"
#include "guest/devices/e1000/nic.h"

/* "EEPROM Address Map" */
#define WORD_CONTROL   0x0a
#define CONTROL_SIGNED 0x4000
#define WORD_CHECKSUM  0x3f
#define CHECKSUM       0xbabau

#define EECD_SK      BIT(0)
#define EECD_CS      BIT(1)
#define EECD_DI      BIT(2)
#define EECD_DO      BIT(3)
#define EECD_REQUEST BIT(6)
#define EECD_GRANT   BIT(7)
#define EECD_PRESENT BIT(8)
#define EECD_KEPT    (EECD_SK | EECD_CS | EECD_DI | BIT(4) | BIT(5) | EECD_REQUEST)
#define COMMAND_BITS 9  /* a 1, an opcode of two, an address */
#define COMMAND_READ 6u /* with the 1 before it */

#define EERD_START BIT(0)
#define EERD_DONE  BIT(4)

#define MDIC_READ   BIT(27)
#define MDIC_WRITE  BIT(26)
#define MDIC_READY  BIT(28)
#define MDIC_TELL   BIT(29)
#define MDIC_ERROR  BIT(30)
#define PHY_ADDRESS 1u

/* IEEE 802.3, and Marvell's 88E1011. */
enum {
    PHY_CONTROL = 0,
    PHY_STATUS = 1,
    PHY_ID1 = 2,
    PHY_ID2 = 3,
    PHY_ADVERTISED = 4,
    PHY_PARTNER = 5,
    PHY_EXPANSION = 6,
    PHY_1000_CONTROL = 9,
    PHY_1000_STATUS = 10,
    PHY_EXTENDED = 15,
    PHY_SPECIFIC_CONTROL = 16,
    PHY_SPECIFIC_STATUS = 17,
    PHY_INTERRUPTS = 18,
    PHY_EXTENDED_CONTROL = 20,
    PHY_PAGE = 29,
    PHY_PAGED = 30,
};
#define CONTROL_SELF_CLEARING (BIT(15) | BIT(9))
#define STATUS_LINK           0x24u /* and negotiated */
#define SPECIFIC_LINK         0xac00u

/* --- the EEPROM --- */

void nic_eeprom_init(struct nic *n)
{
    uint16_t sum = 0;

    memcpy(n->eeprom, n->port->what.mac, NET_MAC);
    n->eeprom[WORD_CONTROL] = CONTROL_SIGNED;
    for (unsigned i = 0; i < WORD_CHECKSUM; i++)
        sum = (uint16_t)(sum + n->eeprom[i]);
    n->eeprom[WORD_CHECKSUM] = (uint16_t)(CHECKSUM - sum);
}

uint32_t nic_eecd_read(const struct nic *n)
{
    const struct nic_state *s = &n->s;
    uint32_t value = (uint32_t)(s->eecd | EECD_PRESENT);
    unsigned bit = s->out % 16u, word = s->out / 16u % NIC_WORDS;

    if (s->eecd & EECD_REQUEST)
        value |= (uint32_t)EECD_GRANT;
    if (!s->reading || (n->eeprom[word] >> (15 - bit) & 1))
        value |= (uint32_t)EECD_DO;
    return value;
}

/* Bits come with the clock's rising edge, and go with the falling one. */
void nic_eecd_write(struct nic *n, uint32_t value)
{
    struct nic_state *s = &n->s;
    uint32_t before = s->eecd;
    bool up = (value & EECD_SK) && !(before & EECD_SK), in = value & EECD_DI;

    s->eecd = (uint32_t)(value & EECD_KEPT);
    if (!(value & EECD_CS) || !(before & EECD_CS)) {
        s->shifted = s->bits = s->reading = 0;
        return;
    }
    if ((before & EECD_SK) && !(value & EECD_SK) && s->reading)
        s->out = (uint16_t)((s->out + 1) % (16 * NIC_WORDS));
    if (!up || s->bits == COMMAND_BITS || (!s->bits && !in))
        return;
    s->shifted = (uint16_t)(s->shifted << 1 | in);
    if (++s->bits == COMMAND_BITS && s->shifted / NIC_WORDS == COMMAND_READ) {
        s->reading = 1;
        s->out = (uint16_t)((s->shifted % NIC_WORDS * 16 + 16 * NIC_WORDS - 1) % (16 * NIC_WORDS));
    }
}

void nic_eerd_write(struct nic *n, uint32_t value)
{
    unsigned word = value >> 8 & 0xff;

    if (!(value & EERD_START))
        return;
    n->s.eerd = (uint32_t)(EERD_DONE | word << 8);
    if (word < NIC_WORDS)
        n->s.eerd |= (uint32_t)n->eeprom[word] << 16;
}

/* --- the PHY --- */

void nic_phy_reset(struct nic *n)
{
    static const uint16_t initial[NIC_PHY] = {
        [PHY_CONTROL] = 0x1140,   [PHY_STATUS] = 0x7949,           [PHY_ID1] = 0x0141,
        [PHY_ID2] = 0x0c20,       [PHY_ADVERTISED] = 0x0de1,       [PHY_PARTNER] = 0x45e1,
        [PHY_EXPANSION] = 0x0001, [PHY_1000_CONTROL] = 0x0e00,     [PHY_1000_STATUS] = 0x3c00,
        [PHY_EXTENDED] = 0x3000,  [PHY_SPECIFIC_CONTROL] = 0x0360, [PHY_EXTENDED_CONTROL] = 0x0d60,
    };

    memcpy(n->s.phy, initial, sizeof(initial));
}

static uint16_t phy_read(const struct nic *n, unsigned at)
{
    bool link = net_port_plugged(n->port);

    if (at == PHY_STATUS)
        return (uint16_t)(n->s.phy[at] | (link ? STATUS_LINK : 0));
    if (at == PHY_SPECIFIC_STATUS)
        return (uint16_t)(link ? SPECIFIC_LINK : 0);
    return n->s.phy[at];
}

static void phy_write(struct nic *n, unsigned at, uint16_t value)
{
    switch (at) {
    case PHY_CONTROL:
        if (value & BIT(15))
            nic_phy_reset(n);
        n->s.phy[at] = value & (uint16_t)~CONTROL_SELF_CLEARING;
        break;
    case PHY_ADVERTISED:
    case PHY_1000_CONTROL:
    case PHY_SPECIFIC_CONTROL:
    case PHY_INTERRUPTS:
    case PHY_EXTENDED_CONTROL:
    case PHY_PAGE:
    case PHY_PAGED:
        n->s.phy[at] = value;
        break;
    default:
        break;
    }
}

void nic_mdic_write(struct nic *n, uint32_t value)
{
    unsigned at = value >> 16 & 31;

    n->s.mdic = (uint32_t)((value & ~(MDIC_READY | MDIC_ERROR)) | MDIC_READY);
    if ((value >> 21 & 31) != PHY_ADDRESS)
        n->s.mdic |= (uint32_t)MDIC_ERROR;
    else if (value & MDIC_READ)
        n->s.mdic = (n->s.mdic & 0xffff0000u) | phy_read(n, at);
    else if (value & MDIC_WRITE)
        phy_write(n, at, (uint16_t)value);
    if (value & MDIC_TELL)
        nic_cause(n, ICR_MDAC);
}
