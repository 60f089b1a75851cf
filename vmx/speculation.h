/*
 * Errata of speculation on this machine: what each processor says of itself (arch/x86/errata.h),
 * what is done about it (arch/x86/mitigations.h), and the doing: the microkernel's text is patched
 * once, before the first guest runs, and vCPUs take the guarded road through entry.asm where they
 * have to.
 */
#pragma once

#include "vmx/spec_guest.h"

struct vmx_vcpu;

/* Of one processor in VMX operation. */
struct vmx_speculation {
    struct cpu_speculation cpu;
    struct mitigations chosen;
    uint32_t missing; /* steps that it needs and that the config has switched off */
};

/* The calling processor's, as it enters VMX operation; its microcode's revision. */
void speculation_look(struct vmx_speculation *s, uint32_t microcode);
/*
 * All processors have; none has run a guest yet. Choose, for each of them, patch the text, and set
 * each up. off: nothing is done; forced: steps that are carried out whoever needs them, BIT(enum
 * mitigation). 0; -ENOTSUP when these cannot be had, and none of them is carried out: the reason is
 * on the log.
 */
int speculation_begin(bool off, uint32_t forced) MUST_CHECK;
/* Say on the log what is done, and what is left open. */
void speculation_log(void);

/* Processors of one model to which the same is done. */
struct speculation_kind {
    const struct vmx_speculation *of;
    unsigned count;
};

/* The next kind; *n is 0 at first. False: there is none. */
bool speculation_next_kind(unsigned *n, struct speculation_kind *kind);
/* Line 0 says what is done, line 1 what is left open; false: there is no such line. */
bool speculation_text(char *text, size_t size, const struct speculation_kind *kind, unsigned line);

/* What guests are shown; read-only after speculation_begin(). */
extern struct spec_guest spec_guest;

/* Which road the loaded vCPU takes on this processor. */
void speculation_guard(struct vmx_vcpu *v);
/* Whether VMs are kept apart on a processor that changes from one to another: speculation_part().
 */
bool speculation_parts(void);
/* A vCPU of this domain (a VM; not 0) is to be loaded here. */
void speculation_part(uint64_t domain);
