/*
 * Layers (guest/storage/layer.h) below the disks of VMs that write to drives of the machine: what
 * snapshots have of these disks. A layer outlasts its VM as long as a snapshot has something of it:
 * nobody else gets what is below it. On processor 0, all of it.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct block_device;
struct source_claim;
struct source_wish;
struct vm;

#define LAYERS_ERROR 352 /* as MOMENT_ERROR */

struct vm_layer;

/* What the wish names, with its layer: the one that it had when it was closed, or a new one. 0, or
 * an error as source_claim() has it. */
int vm_layer_open(const struct vm *vm, const struct source_wish *wish, struct vm_layer **out,
                  char *why) MUST_CHECK;
/* Nothing of it is under way any more. */
void vm_layer_close(struct vm_layer *l);
/* What is claimed, and its block device. */
struct source_claim *vm_layer_claim(struct vm_layer *l);

/* --- for snapshots, which `of` stands for; sentences are in error[LAYERS_ERROR] --- */

/* Whether each disk of a drive that the VM writes to has a layer. */
int vm_layers_possible(const struct vm *vm, char *error) MUST_CHECK;
/* The VM stands still, nothing of it is in flight: its disks' contents are kept from now on. 0,
 * -ENOMEM. */
int vm_layers_keep(const struct vm *vm, const void *of) MUST_CHECK;
/* Nothing is just being put back to it, see vm_layers_quiet(). */
void vm_layers_forget(const void *of);
/* Bytes of memory that it takes. */
uint64_t vm_layers_size(const void *of);
/* Whether the VM has the disks that it had then, and there is memory for putting them back. */
int vm_layers_fit(const struct vm *vm, const void *of, char *error) MUST_CHECK;
/* Put them back, in pieces: -EAGAIN: call again soon; 0: all is written and flushed. Else something
 * has failed: what is on the disks is of two moments. */
int vm_layers_restore(const struct vm *vm, const void *of, char *error) MUST_CHECK;
/* Nobody wants that any more, and nothing more of it is begun. Whether it had begun. */
bool vm_layers_stop(const struct vm *vm);
/* Whether nothing is under way any more of what was stopped. */
bool vm_layers_quiet(const struct vm *vm);
/*
 * Whether its disks are not of one moment, as they were being put back and that came to nothing:
 * until they are put back, to whatever snapshot, or none is left that they could be put back to. It
 * outlasts the VM.
 */
bool vm_layers_torn(const struct vm *vm);

/* --- memory that is out: what the guest writes waits --- */

/* The VM runs, or runs again: what waits is tried again. */
void vm_layers_go_on(const struct vm *vm);
/* Until then nothing waits: it fails. */
void vm_layers_give_up(const struct vm *vm);
/* Snapshots have nothing of its disks any more, and nothing waits. */
void vm_layers_lose(const struct vm *vm);
/* What processor 0 is to do when a disk of somebody's has begun to wait; vm_layers_starve() tells
 * which. */
void vm_layers_set_attention(void (*fn)(void));
/* Whether one of the VM's has, since this was asked last, and what there is to say of that. */
bool vm_layers_starve(const struct vm *vm, char *said);
/* Whether what its guest writes waits for memory. */
bool vm_layers_wait(const struct vm *vm);
/* Whether any snapshot has something of its disks. */
bool vm_layers_any(const struct vm *vm);
