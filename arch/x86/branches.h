/*
 * The microkernel's own indirect branches, patched. The build gives each of them prefixes, CS:
 * where it is shorter than five bytes, which change nothing (tools/branches.py), and a table of
 * where they are. Where a processor asks for it, each becomes a direct branch to a stub that does
 * the same, and cannot be led elsewhere by what a guest has taught the predictors. Pure: text is an
 * array.
 */
#pragma once

#include "arch/x86/lib/types.h"

enum branch_kind {
    BRANCH_RETPOLINE, /* a return, which is predicted to lead into a loop of nothing */
    BRANCH_ALIGNED    /* the branch, in the upper half of a line of 64 bytes */
};

#define BRANCH_STUB  64 /* bytes of a stub's place, aligned so; its code is in the upper half */
#define BRANCH_STUBS 256

struct branch_text {
    uint8_t *bytes;   /* where the text can be written */
    uint64_t address; /* where it runs */
    size_t size;
    size_t stubs; /* offset of BRANCH_STUBS places */
};

/*
 * Patch the branches at these offsets: 0, or what is wrong, of the table or of a branch, with
 * nothing changed: -EINVAL, or -ENOMEM when there are more different ones than stubs.
 */
int branches_patch(const struct branch_text *t, const uint32_t *sites, uint32_t count,
                   enum branch_kind kind) MUST_CHECK;

/* How many stubs that would take, or the same errors. */
int branches_count(const struct branch_text *t, const uint32_t *sites, uint32_t count) MUST_CHECK;

/* Five bytes at this offset become a jump to that one. */
void branch_put_jump(const struct branch_text *t, size_t from, size_t to);
