/*
 * All of a VM but its RAM as one stream (guest/moments/stream.h): what it needs of a processor,
 * what it is made of, its devices, its vCPUs. On processor 0, all its vCPUs are away, and none of
 * them is loaded there (run_unload()).
 */
#pragma once

#include "guest/vm/vm.h"

#define VM_STREAM_ERROR 240

struct vm_stream {
    void *data;
    size_t size;
};

/* Waits until its disks have answered. 0, -ENOMEM. */
int vm_stream_save(struct vm *vm, struct vm_stream *out) MUST_CHECK;
void vm_stream_free(struct vm_stream *s);
/*
 * Put the VM into that state; its clock goes on where it was. All of the stream is checked before
 * anything of the VM changes, and where a device refuses a value all the same the VM gets back what
 * it had. 0, -ENOMEM, -EBADMSG; or -EIO: it did not come back either, and is as after power-on.
 * error: what is wrong, behind "the saved state ...".
 */
int vm_stream_load(struct vm *vm, const struct vm_stream *s, char *error) MUST_CHECK;
/*
 * That stream once more, which this VM has been loaded from: takes no memory, so that it cannot
 * fail for want of it. 0; or -EIO, and the VM is as after power-on.
 */
int vm_stream_load_again(struct vm *vm, const struct vm_stream *s, char *error) MUST_CHECK;
