/* See e1000.h. Names are the manual's. */
#include "drivers/e1000.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/tsc.h"

#define CTRL         0x0000
#define CTRL_NO_GIO  BIT(2) /* GIO Master Disable */
#define CTRL_LRST    BIT(3)
#define CTRL_ASDE    BIT(5)
#define CTRL_SLU     BIT(6)
#define CTRL_ILOS    BIT(7)
#define CTRL_FORCE   (BIT(11) | BIT(12)) /* speed, duplex */
#define CTRL_RST     BIT(26)
#define CTRL_PAUSE   (BIT(27) | BIT(28))
#define CTRL_VME     BIT(30)
#define CTRL_PHY     BIT(31)
#define STATUS       0x0008
#define STATUS_LU    BIT(1)
#define STATUS_GIO   BIT(19)
#define EERD         0x0014
#define EERD_START   BIT(0)
#define CTRL_EXT     0x0018
#define CTRL_EXT_DRV BIT(28) /* a driver is there: management keeps off */
#define MDIC         0x0020
#define MDIC_PHY     (1u << 21)
#define MDIC_WRITE   BIT(26)
#define MDIC_READ    BIT(27)
#define MDIC_READY   BIT(28)
#define MDIC_ERROR   BIT(30)
#define FCAL         0x0028
#define FCAH         0x002c
#define FCT          0x0030
#define ICR          0x00c0
#define ITR          0x00c4
#define ICS          0x00c8
#define IMS          0x00d0
#define IMC          0x00d8
#define CAUSE_LSC    BIT(2)
#define CAUSE_RXDMT  BIT(4)
#define CAUSE_RXO    BIT(6)
#define CAUSE_RXT    BIT(7)
#define CAUSES       (CAUSE_LSC | CAUSE_RXDMT | CAUSE_RXO | CAUSE_RXT)
#define RCTL         0x0100
#define RCTL_EN      BIT(1)
#define RCTL_UPE     BIT(3)
#define RCTL_MPE     BIT(4)
#define RCTL_LPE     BIT(5)
#define RCTL_BAM     BIT(15)
#define RCTL_SECRC   BIT(26)
#define FCTTV        0x0170
#define TCTL         0x0400
#define TCTL_EN      BIT(1)
#define TCTL_VALUE   (BIT(3) | 0x0fu << 4 | 0x40u << 12 | BIT(24)) /* PSP, CT, COLD, RTLC */
#define TIPG         0x0410
#define TIPG_VALUE   0x00602008
#define RDBAL        0x2800
#define RDBAH        0x2804
#define RDLEN        0x2808
#define RDH          0x2810
#define RDT          0x2818
#define RDTR         0x2820
#define RADV         0x282c
#define TDBAL        0x3800
#define TDBAH        0x3804
#define TDLEN        0x3808
#define TDH          0x3810
#define TDT          0x3818
#define TIDV         0x3820
#define TXDCTL       0x3828
#define TXDCTL_DESC  BIT(22)
#define DCTL_ENABLE  BIT(25) /* of either queue, where it is by itself */
#define RFCTL        0x5008
#define RAL          0x5400
#define RAH          0x5404
#define RAH_AV       BIT(31)

/* The 82576's, and of its kin. */
#define GPIE           0x1514
#define EIMC           0x1528
#define EITR           0x1680
#define EITR_VALUE     (125u << 2 | BIT(31)) /* microseconds; the counter is not touched */
#define IVAR           0x1700
#define IVAR_VALUE     0x8080u /* both queues' causes are bit 0 of EICR, which is masked */
#define RXPBS          0x2404
#define RXPBS_VALUE    0xa2u
#define TXPBS          0x3404
#define TXPBS_VALUE    0x04000014u
#define SRRCTL         0x280c
#define SRRCTL_VALUE   (E1000_BUFFER / KIB | BIT(25)) /* one buffer, advanced descriptors */
#define RXDCTL         0x2828
#define RXDCTL_VALUE   (8u | 8u << 8 | 1u << 16) /* thresholds: each one is written back at once */
#define TXDCTL_VALUE   (8u | 1u << 8)
#define RLPML          0x5004
#define CHECKSUM_BYTES 4u
/* IEEE 802.3's register 0 of a PHY. */
#define BMCR_RESTART   BIT(9)
#define BMCR_OFF       BIT(11)
#define BMCR_NEGOTIATE BIT(12)
/* I219's. */
#define FEXTNVM11      0x5bbc
#define FEXTNVM11_MULR BIT(13)

#define ITR_UNIT_NS 256
#define ITR_RATE    8000 /* interrupts a second */

#define RESET_MS  20
#define QUIET_MS  100
#define ENABLE_MS 10
#define PHY_MS    10

static struct e1000 *of(struct net_card *c)
{
    return CONTAINER_OF(c, struct e1000, card);
}

static uint32_t get(const struct e1000 *e, unsigned reg)
{
    return io_read32(&e->registers, reg);
}

static void put(const struct e1000 *e, unsigned reg, uint64_t value)
{
    io_write32(&e->registers, reg, (uint32_t)value);
}

/* Until these bits are that: false, they are not in time. */
static bool wait_for(const struct e1000 *e, unsigned reg, uint64_t bits, uint64_t what, unsigned ms)
{
    uint64_t until = rdtsc() + tsc_hz / 1000 * ms;

    while ((get(e, reg) & bits) != what)
        if (rdtsc() >= until)
            return false;
    return true;
}

static bool has(const struct e1000 *e, unsigned flag)
{
    return e->model->flags & flag;
}

/* What is written before is in memory before the card is told. */
static void publish(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

/* --- life --- */

/* Some models' reset leaves rings and masks as they are: so that is done by hand. */
static void stop(struct net_card *c)
{
    struct e1000 *e = of(c);

    put(e, IMC, UINT32_MAX);
    put(e, RCTL, 0);
    put(e, TCTL, 0);
    if (has(e, E1000_ADVANCED)) {
        put(e, EIMC, UINT32_MAX);
        put(e, RXDCTL, 0);
        put(e, TXDCTL, 0);
    }
    (void)get(e, STATUS);
    tsc_delay_us(10000); /* what it is writing now, it has written then */
    if (has(e, E1000_PCIE)) {
        put(e, CTRL, get(e, CTRL) | CTRL_NO_GIO);
        (void)wait_for(e, STATUS, STATUS_GIO, 0, QUIET_MS);
    }
    if (has(e, E1000_MULR))
        put(e, FEXTNVM11, get(e, FEXTNVM11) | FEXTNVM11_MULR);
    put(e, CTRL, get(e, CTRL) | CTRL_RST);
    tsc_delay_us(has(e, E1000_PCH) ? 20000 : 5000); /* until its EEPROM has been read */
    (void)wait_for(e, CTRL, CTRL_RST, 0, RESET_MS);
    put(e, IMC, UINT32_MAX);
    (void)get(e, ICR);
    for (unsigned reg = RDBAL; reg <= RDLEN; reg += 4) {
        put(e, reg, 0);
        put(e, reg + TDBAL - RDBAL, 0);
    }
    put(e, RDH, 0);
    put(e, RDT, 0);
    put(e, TDH, 0);
    put(e, TDT, 0);
}

static bool read_word(const struct e1000 *e, unsigned n, uint16_t *out)
{
    bool pcie = has(e, E1000_PCIE);
    uint32_t done = pcie ? BIT(1) : BIT(4), value;
    uint64_t until = rdtsc() + tsc_hz / 100;

    put(e, EERD, n << (pcie ? 2 : 8) | EERD_START);
    do {
        value = get(e, EERD);
        if (value & done) {
            *out = (uint16_t)(value >> 16);
            return true;
        }
    } while (rdtsc() < until);
    return false;
}

static int read_address(struct e1000 *e)
{
    uint32_t low = get(e, RAL), high = get(e, RAH);
    uint16_t word[3] = {(uint16_t)low, (uint16_t)(low >> 16), (uint16_t)high};
    bool good = high & RAH_AV;

    memcpy(e->card.mac, word, sizeof(word));
    if (good && net_card_is_address(e->card.mac))
        return 0;
    for (unsigned i = 0; i < 3; i++)
        if (has(e, E1000_NO_EERD) || !read_word(e, i, &word[i]))
            return -EIO;
    memcpy(e->card.mac, word, sizeof(word));
    return net_card_is_address(e->card.mac) ? 0 : -EIO;
}

int e1000_init(struct e1000 *e)
{
    if (get(e, STATUS) == UINT32_MAX)
        return -EIO;
    e->card.ops = &e1000_ops;
    e->card.model = e->model->name;
    e->card.tried = !has(e, E1000_NOT_TRIED);
    e->card.longest = e->model->longest;
    stop(&e->card);
    return read_address(e);
}

/* What is not the same in all of them. */
static void start_legacy(struct e1000 *e)
{
    uint64_t enable = has(e, E1000_PCH) ? DCTL_ENABLE : 0;

    if (has(e, E1000_PCIE)) {
        put(e, TXDCTL, get(e, TXDCTL) | TXDCTL_DESC | enable);
        put(e, RFCTL, 0);
    }
    if (enable)
        put(e, RXDCTL, get(e, RXDCTL) | enable);
    put(e, ITR, 1000000000 / ITR_UNIT_NS / ITR_RATE);
    put(e, RDTR, 0);
    put(e, RADV, 0);
    put(e, TIDV, 0);
}

static void start_advanced(struct e1000 *e)
{
    if (has(e, E1000_PBS)) {
        put(e, RXPBS, RXPBS_VALUE);
        put(e, TXPBS, TXPBS_VALUE);
    }
    put(e, GPIE, 0);
    put(e, IVAR, IVAR_VALUE);
    put(e, EITR, EITR_VALUE);
    put(e, RLPML, e->card.longest + CHECKSUM_BYTES);
    put(e, SRRCTL, SRRCTL_VALUE);
}

static bool phy(const struct e1000 *e, uint64_t command)
{
    put(e, MDIC, MDIC_PHY | command);
    return wait_for(e, MDIC, MDIC_READY | MDIC_ERROR, MDIC_READY, PHY_MS);
}

/* The older ones' PHY negotiates by itself after a reset of theirs; these want to be told, where
 * there is no link yet. */
static void negotiate(const struct e1000 *e)
{
    uint32_t control;

    if (!has(e, E1000_ADVANCED) || (get(e, STATUS) & STATUS_LU) || !phy(e, MDIC_READ))
        return;
    control = (uint32_t)((get(e, MDIC) & 0xffff & ~BMCR_OFF) | BMCR_NEGOTIATE | BMCR_RESTART);
    (void)phy(e, MDIC_WRITE | control);
}

/* A queue's tail may not be touched before the queue says that it is enabled. */
static bool enable_queues(struct e1000 *e)
{
    if (!has(e, E1000_ADVANCED))
        return true;
    put(e, TXDCTL, TXDCTL_VALUE | DCTL_ENABLE);
    put(e, RXDCTL, RXDCTL_VALUE | DCTL_ENABLE);
    return wait_for(e, TXDCTL, DCTL_ENABLE, DCTL_ENABLE, ENABLE_MS) &&
           wait_for(e, RXDCTL, DCTL_ENABLE, DCTL_ENABLE, ENABLE_MS);
}

static int start(struct net_card *c)
{
    struct e1000 *e = of(c);
    uint32_t control = get(e, CTRL);

    if (get(e, STATUS) == UINT32_MAX || (control & CTRL_RST))
        return -EIO;
    e1000_rings_init(e);
    control &= (uint32_t) ~(CTRL_LRST | CTRL_ILOS | CTRL_FORCE | CTRL_PAUSE | CTRL_VME | CTRL_PHY |
                            CTRL_NO_GIO);
    put(e, CTRL, control | CTRL_SLU | (has(e, E1000_ADVANCED) ? 0 : CTRL_ASDE));
    if (has(e, E1000_PCIE))
        put(e, CTRL_EXT, get(e, CTRL_EXT) | CTRL_EXT_DRV);
    put(e, FCAL, 0); /* nobody's pauses are heard: the switch drops instead */
    put(e, FCAH, 0);
    put(e, FCT, 0);
    put(e, FCTTV, 0);
    if (has(e, E1000_ADVANCED))
        start_advanced(e);
    else
        start_legacy(e);
    put(e, RDBAL, (uint32_t)e->in.at);
    put(e, RDBAH, e->in.at >> 32);
    put(e, RDLEN, PAGE_SIZE);
    put(e, TDBAL, (uint32_t)e->out.at);
    put(e, TDBAH, e->out.at >> 32);
    put(e, TDLEN, PAGE_SIZE);
    put(e, TIPG, TIPG_VALUE);
    put(e, TCTL, TCTL_VALUE | TCTL_EN);
    if (!enable_queues(e))
        return -EIO;
    put(e, RCTL,
        RCTL_EN | RCTL_UPE | RCTL_MPE | RCTL_BAM | RCTL_SECRC |
            (c->longest > 1500 + NET_CARD_HEADER ? RCTL_LPE : 0));
    publish();
    put(e, RDT, E1000_RING - 1); /* head and tail at the same place would be none */
    put(e, IMS, CAUSES);
    negotiate(e);
    return 0;
}

/* --- while it runs --- */

static void kick(struct net_card *c)
{
    struct e1000 *e = of(c);

    publish();
    put(e, TDT, e->out.next);
}

static unsigned causes(struct net_card *c)
{
    uint32_t icr = get(of(c), ICR);

    if (icr == 0 || icr == UINT32_MAX)
        return 0;
    return NET_CARD_CAUSE_ANY | (icr & CAUSE_LSC ? NET_CARD_CAUSE_LINK : 0) |
           (icr & CAUSE_RXO ? NET_CARD_CAUSE_OVERRUN : 0);
}

static void give(struct net_card *c)
{
    struct e1000 *e = of(c);
    unsigned tail = e1000_refill(e);

    publish();
    put(e, RDT, tail);
}

static bool link(struct net_card *c)
{
    uint32_t status = get(of(c), STATUS);

    return status != UINT32_MAX && (status & STATUS_LU);
}

static bool gone(struct net_card *c)
{
    return get(of(c), STATUS) == UINT32_MAX;
}

static void raise(struct net_card *c)
{
    put(of(c), IMS, CAUSE_LSC);
    put(of(c), ICS, CAUSE_LSC);
}

static void quiet(struct net_card *c, bool on)
{
    put(of(c), on ? IMC : IMS, CAUSES & ~CAUSE_LSC);
}

const struct net_card_ops e1000_ops = {
    .prepare = e1000_prepare,
    .start = start,
    .stop = stop,
    .send = e1000_send,
    .kick = kick,
    .settle = e1000_settle,
    .causes = causes,
    .take = e1000_take,
    .give = give,
    .link = link,
    .gone = gone,
    .raise = raise,
    .quiet = quiet,
};
