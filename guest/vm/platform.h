/*
 * The virtual machine's devices: a table of classes (guest/board/class.h) of which a VM has
 * instances, and what the rest of Corbel wants of one of them. Nobody else knows which devices
 * there are.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct device;
struct device_item;
struct device_class;
struct vm;

/* Let the config's parser ask the classes what a line with their key may say. Before it runs. */
void platform_set_checks(void);

/* Its board, and everything on it. 0, -ENOMEM, or -EINVAL with a line on the log. */
int platform_create(struct vm *vm) MUST_CHECK;
/* Whether none of its devices has anything in flight, now that its vCPUs have left and a reset
 * follows: nothing new begins any more. Asked again and again it comes to a yes. */
bool platform_quiet(struct vm *vm);
/* The same where it may be its end that follows: and what outlasts it is kept. */
bool platform_idle(struct vm *vm);
/* The same, and waits for it; its devices call no vCPU any more. */
void platform_stop(struct vm *vm);
void platform_destroy(struct vm *vm);

/* The first instance of a class; NULL: the VM has none. */
struct device *platform_device(const struct vm *vm, const struct device_class *class);
/* Which class's a disk with that text is; NULL: none's. */
const struct device_class *platform_disk_class(const char *text, size_t length);
/* A person presses the power button: the guest's kernel is asked to shut down. With no device's
 * lock. */
void platform_power_button(struct vm *vm);

/* --- what comes and goes while the guest runs; on processor 0, with no lock --- */

#define PLATFORM_FREE_SLOTS 8 /* that a VM starts with */

/* Which devices of PCI can come and go from now on, a bit for each: those that are there, and some
 * free ones. The guest is about to start, and is told of them. */
uint32_t platform_slots(struct vm *vm);

struct platform_attached {
    unsigned id; /* of struct device_item */
    int device;  /* of PCI */
    bool heard;  /* the guest listens for it */
};

/*
 * What a line `key = text` would have made, now: 0; -ENOTSUP, that is nothing that can come while
 * the guest runs; -ENOSPC, no slot is free; -ENOMEM; -EINVAL with a sentence in
 * error[DEVICE_ERROR].
 */
int platform_attach(struct vm *vm, const char *key, const char *text, size_t length,
                    struct platform_attached *out, char *error) MUST_CHECK;
/* The next one that can go, from *index on, which is 0 at first; NULL: there is none. */
struct device_item *platform_item(const struct vm *vm, unsigned *index);
/* The number on the PCI bus of one that is not leaving. */
int platform_place(const struct vm *vm, const struct device_item *item);
/* Ask the guest to let go of it; whether it listens. */
bool platform_ask(struct vm *vm, struct device_item *item);
/* As device_item_unplug() and device_list_remove(). The guest hears of what has gone unasked. */
void platform_unplug(struct vm *vm, struct device_item *item, bool unasked);
bool platform_remove(struct vm *vm, struct device_item *item) MUST_CHECK;
