/*
 * What a VM and its vCPUs have of KVM's paravirtual interfaces (docs/PARAVIRT.md): which of them
 * are offered, and what the guest has made of those. Pure.
 */
#pragma once

#include "arch/x86/lib/types.h"
#include "guest/board/state.h"

/* What is offered: KVM's feature bits, as CPUID 40000101h shows them in EAX. */
#define PV_IO_DELAY     BIT(1)  /* writes to port 80h need not pass time */
#define PV_CLOCK        BIT(3)  /* by the MSRs 4B564D00h and 4B564D01h */
#define PV_STEAL        BIT(5)  /* how long a vCPU that could run did not, and that it is away */
#define PV_EOI          BIT(6)  /* an interrupt may be completed without an exit */
#define PV_UNHALT       BIT(7)  /* call 5 ends another vCPU's HLT */
#define PV_TLB_FLUSH    BIT(9)  /* one that is away can be asked to flush when it comes back */
#define PV_SEND_IPI     BIT(11) /* call 10 sends one to several */
#define PV_POLL         BIT(12) /* the guest may say who polls before HLT */
#define PV_YIELD        BIT(13) /* call 11 gives the processor to another vCPU */
#define PV_CLOCK_STABLE BIT(24) /* whether it is stable is told in its page */

enum pv_msr {
    PV_MSR_WALL_CLOCK = 0x4b564d00,
    PV_MSR_CLOCK = 0x4b564d01,
    PV_MSR_STEAL = 0x4b564d03,
    PV_MSR_EOI = 0x4b564d04,
    PV_MSR_POLL = 0x4b564d05,
};

/* Those that are calls. */
#define PV_CALLS (PV_UNHALT | PV_SEND_IPI | PV_YIELD)

/* Bit 0 of the MSRs that name a page: on. */
#define PV_ON BIT(0)

struct pv_vm {
    uint64_t clock_start; /* the board's clock at the last RESET: where the guest's begins */
};

struct pv_vcpu {
    uint32_t offered; /* PV_ bits */
    bool steady;      /* the processors' TSCs are invariant and agree */
    bool kicked;      /* its next HLT is over at once */
    bool eoi_left;    /* in its guest: it may complete what is in service by its byte */
    /* The MSRs as written. */
    uint64_t wall_clock, clock, steal, eoi, poll;
    uint64_t waited; /* ns of the vCPU's waiting that have been told, or are not to be */
    uint64_t clocks_written, stolen, flushes, eois, ipis, kicks, yields; /* for `stats` */
};

/* What `pv` in the config (a bit for each of enum config_pv) offers. */
uint32_t pv_offered(uint32_t config);
/* RESET and INIT switch all of it off. */
void pv_reset(struct pv_vcpu *pv);
/* Whether WRMSR may write that: else it is #GP. The MSR is one that is offered. */
bool pv_valid(uint32_t msr, uint64_t value);

/* One section, "pv". */
void pv_save(const struct pv_vcpu *pv, struct state_writer *w);
/* 0, or -EBADMSG with nothing changed. */
int pv_load(struct pv_vcpu *pv, struct state_reader *r) MUST_CHECK;
