/* A VM's kernel whose file is packed: unpacked into memory of the machine's, for as long as it is
 * loaded. */
#pragma once

#include "mm/frame.h"

struct file;
struct vm;

struct vm_unpacked {
    const char *with; /* what it is packed with, such as "gzip"; NULL: it is not */
    void *work;       /* of guest/load/unpack.h; NULL: it is not under way */
    paddr frames;     /* what has come out, with `work` */
    uint64_t pages;   /* how many; 0: there are none yet */
};

/* Unpack until all is done or the host TSC is `until`. 1: there is more to do; 0: *kernel is what
 * it is in the end, packed or not; or an error that has been logged. */
int vm_unpack_some(struct vm *vm, struct file *kernel, uint64_t until) MUST_CHECK;
/* It is not needed any more; or has never been there. */
void vm_unpack_drop(struct vm *vm);
