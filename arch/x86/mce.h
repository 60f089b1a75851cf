/*
 * Machine checks (SDM volume 3, "Machine-Check Architecture"): what a processor's banks say, and
 * what is to be done about it. Pure: machine_check.h reads them.
 */
#pragma once

#include "arch/x86/lib/types.h"

#define MCG_CAP_BANKS 0xffu
#define MCG_CAP_CTL   BIT(8)
#define MCG_CAP_SER   BIT(24) /* software error recovery: S and AR are valid */
#define MCG_CAP_LMCE  BIT(27)

#define MCG_STATUS_RIPV BIT(0) /* the interrupted program may be gone on with */
#define MCG_STATUS_EIPV BIT(1) /* and its instruction has to do with the error */
#define MCG_STATUS_MCIP BIT(2)
#define MCG_STATUS_LMCE BIT(3) /* no other processor was told */

#define MCI_STATUS_CODE          0xffffu
#define MCI_STATUS_COUNT(status) ((unsigned)((status) >> 38 & 0x7fff)) /* of corrected errors */
#define MCI_STATUS_AR            BIT(55)                               /* action required */
#define MCI_STATUS_S             BIT(56)                               /* signalled by #MC */
#define MCI_STATUS_PCC           BIT(57) /* the processor's context is corrupt */
#define MCI_STATUS_ADDRV         BIT(58)
#define MCI_STATUS_MISCV         BIT(59)
#define MCI_STATUS_EN            BIT(60)
#define MCI_STATUS_UC            BIT(61)
#define MCI_STATUS_OVER          BIT(62) /* another one was lost */
#define MCI_STATUS_VAL           BIT(63)

#define MCE_BANKS 64

struct mce_bank {
    uint64_t status, addr, misc;
};

/* What one processor's registers said. */
struct mce_state {
    uint64_t cap, status; /* IA32_MCG_CAP, IA32_MCG_STATUS */
    unsigned count;       /* of banks */
    struct mce_bank bank[MCE_BANKS];
};

/* Of one bank, what is worse behind what is less bad. */
enum mce_kind {
    MCE_NONE,
    MCE_CORRECTED,
    MCE_UNUSED,   /* wrong data, which nobody has used: known by a look at the bank only */
    MCE_OPTIONAL, /* wrong data in memory that was found before anybody used it */
    MCE_REQUIRED, /* the instruction that was interrupted wants wrong data */
    MCE_FATAL
};

enum mce_kind mce_kind_of(uint64_t cap, const struct mce_bank *bank);

/* Who was interrupted; or nobody: the banks are just looked at. */
enum mce_where { MCE_IN_ROOT, MCE_IN_GUEST, MCE_LOOK };

#define MCE_PAGES 4

struct mce_result {
    bool stop;         /* nothing here can be relied upon any more */
    int worst;         /* the bank to be told of, or -1 */
    uint64_t clear;    /* BIT(bank): has been dealt with, and may be used again */
    uint64_t required; /* the page that the guest cannot go on without; MCE_NO_PAGE */
    uint64_t optional[MCE_PAGES];
    unsigned optionals;         /* pages whose content is lost */
    unsigned corrected, unused; /* errors */
};
#define MCE_NO_PAGE UINT64_MAX

struct mce_result mce_decide(const struct mce_state *s, enum mce_where where);

/* How the registers are reached. */
struct mce_msrs {
    uint64_t (*read)(uint32_t msr);
    void (*write)(uint32_t msr, uint64_t value);
};

void mce_read(struct mce_state *s, const struct mce_msrs *m);
/* The banks that have been dealt with take errors again, and the processor machine checks. */
void mce_clear(const struct mce_result *r, enum mce_where where, const struct mce_msrs *m);

/* What a bank says, in words. */
void mce_describe(unsigned number, const struct mce_bank *bank, char *out, size_t size);
