#include "guest/cpu/pv_state.h"

#include "arch/x86/lib/errno.h"
#include "guest/config/config.h"

uint32_t pv_offered(uint32_t config)
{
    static const uint32_t bits[CONFIG_PV_COUNT] = {
        [CONFIG_PV_CLOCK] = PV_CLOCK | PV_CLOCK_STABLE,
        [CONFIG_PV_STEAL] = PV_STEAL,
        [CONFIG_PV_TLB_FLUSH] = PV_TLB_FLUSH,
        [CONFIG_PV_EOI] = PV_EOI,
        [CONFIG_PV_POLL] = PV_POLL,
        [CONFIG_PV_IPI] = PV_SEND_IPI,
        [CONFIG_PV_UNHALT] = PV_UNHALT,
        [CONFIG_PV_YIELD] = PV_YIELD,
        [CONFIG_PV_IO_DELAY] = PV_IO_DELAY,
    };
    uint32_t offered = 0;

    if (config & BIT(CONFIG_PV_NONE))
        return 0;
    for (unsigned i = 0; i < CONFIG_PV_COUNT; i++)
        if (config & (BIT(i) | BIT(CONFIG_PV_ALL)))
            offered |= bits[i];
    return offered;
}

void pv_reset(struct pv_vcpu *pv)
{
    pv->wall_clock = 0;
    pv->clock = 0;
    pv->steal = 0;
    pv->eoi = 0;
    pv->poll = 1;
    pv->kicked = false;
}

bool pv_valid(uint32_t msr, uint64_t value)
{
    switch (msr) {
    case PV_MSR_WALL_CLOCK:
        return !(value & 3);
    case PV_MSR_CLOCK:
        return !(value & 2);
    case PV_MSR_STEAL:
        return !(value & 0x3e);
    case PV_MSR_EOI:
        return !(value & 2);
    case PV_MSR_POLL:
        return value <= 1;
    default:
        return false;
    }
}

void pv_save(const struct pv_vcpu *pv, struct state_writer *w)
{
    state_begin(w, "pv", 1);
    state_put_u64(w, pv->wall_clock);
    state_put_u64(w, pv->clock);
    state_put_u64(w, pv->steal);
    state_put_u64(w, pv->eoi);
    state_put_u64(w, pv->poll);
    state_put_u8(w, pv->kicked);
    state_end(w);
}

int pv_load(struct pv_vcpu *pv, struct state_reader *r)
{
    struct pv_vcpu in = *pv;

    if (state_enter(r, "pv", 1))
        return -EBADMSG;
    in.wall_clock = state_get_u64(r);
    in.clock = state_get_u64(r);
    in.steal = state_get_u64(r);
    in.eoi = state_get_u64(r);
    in.poll = state_get_u64(r);
    uint8_t kicked = state_get_u8(r);
    in.kicked = kicked;
    bool valid = pv_valid(PV_MSR_WALL_CLOCK, in.wall_clock) && pv_valid(PV_MSR_CLOCK, in.clock) &&
                 pv_valid(PV_MSR_STEAL, in.steal) && pv_valid(PV_MSR_EOI, in.eoi) &&
                 pv_valid(PV_MSR_POLL, in.poll) && kicked <= 1;
    bool offered = (in.offered & PV_CLOCK || !(in.wall_clock | in.clock)) &&
                   (in.offered & PV_STEAL || !in.steal) && (in.offered & PV_EOI || !in.eoi) &&
                   (in.offered & PV_POLL || in.poll == 1) && (in.offered & PV_UNHALT || !kicked);
    if (state_leave(r) || !valid || !offered)
        return -EBADMSG;
    *pv = in;
    return 0;
}
