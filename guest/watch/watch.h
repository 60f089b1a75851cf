/*
 * Watching a guest from outside: events that exit although the guest runs as it would without, told
 * on the log, counted, ending in a pause, or given to a handler.
 *
 * A VM that nobody watches pays nothing: what exits is put into a vCPU's VMCS when it comes to its
 * processor next (watch_run), and its exits lead to vcpu_exit_watched() (guest/cpu/exit_watched.c)
 * from then on. Pages are watched by their rights in EPT (guest/memory/rights.h); the vCPU that
 * touches one gets them for one instruction, in an EPT of its own (struct ept_window), so that none
 * of the others slips through.
 */
#pragma once

#include "guest/vm/vm.h"
#include "guest/watch/handler.h"
#include "guest/cpu/exit.h"

struct watch {
    bool used; /* atomic: the rest was there before it is set */
    struct watch_spec spec;
    uint64_t gpa;  /* WATCH_READ, _WRITE, _EXECUTE: where spec.length bytes begin */
    uint64_t hits; /* atomic */
    uint64_t said; /* lines on the log; atomic */
    uint64_t lost; /* lines that were too many; atomic */
};

struct watch_set {
    struct watch item[WATCHES_MAX];
    uint32_t needs;    /* BIT(enum watch_kind) of all of them */
    unsigned revision; /* changes with each change */
    struct watch_limit limit;
};

/* --- set.c: on processor 0 --- */

/*
 * Watch a VM that runs, is paused or has just been made: text as in watch_parse(). Returns the
 * watch's number; -EINVAL, -ENOSPC, -ENOMEM, -ENOTSUP with a sentence in error[WATCH_ERROR].
 */
int watch_add(struct vm *vm, const char *text, size_t length, char *error) MUST_CHECK;
/* 0; -ENOENT. */
int watch_remove(struct vm *vm, unsigned number);
/* The watch of that number, NULL when there is none. */
const struct watch *watch_get(const struct vm *vm, unsigned number);
/* What the config says. Negative errno where one is not possible here, after the log has said why.
 */
int watch_configured(struct vm *vm) MUST_CHECK;

/* --- events.c: on the processor that runs the vCPU --- */

void watch_arm(struct vcpu *v);

/* Before each stay in the guest. */
static inline void watch_run(struct vcpu *v)
{
    if (UNLIKELY(v->vm->watches))
        watch_arm(v);
}

/* INIT or reset of the loaded vCPU. */
void watch_reset(struct vcpu *v);
/* The MSR bitmap has been built anew. */
void watch_msr_bitmap(struct vcpu *v);
/* Before an exit is handled: whether it is not to be, since the VM pauses before the instruction.
 */
bool watch_exit(struct vcpu *v, uint64_t reason);
/* RAM: whether rights were missing that watches have taken. */
bool watch_ept_violation(struct vcpu *v, const struct vm_exit *e);
/* #UD while SYSCALL is watched: whether it was one, and has been carried out. */
bool watch_undefined(struct vcpu *v);
/* Corbel reads or writes RAM for an instruction of the guest's. */
void watch_touched(struct vcpu *v, uint64_t linear, uint64_t gpa, size_t size, bool write);
/* The step that was asked for has ended, with the instruction carried out or by a fault. */
void watch_step_done(struct vcpu *v, bool carried_out);
enum exit_result watch_descriptor_table(struct vcpu *v, struct vm_exit *e);

/* --- syscall.c --- */

enum syscall_kind { SYSCALL_NONE, SYSCALL_CALL, SYSCALL_RETURN, SYSCALL_RETURN_32 };

/* Whether the instruction at RIP is SYSCALL or SYSRET, and its length. */
enum syscall_kind syscall_at_rip(struct vcpu *v, unsigned *length);
/* Carry it out, or raise its #GP. */
void syscall_carry_out(struct vcpu *v, enum syscall_kind kind, unsigned length);
