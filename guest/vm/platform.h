/*
 * The virtual machine's devices: a table of classes (guest/board/class.h) of which a VM has
 * instances, and what the rest of Corbel wants of one of them. Nobody else knows which devices
 * there are.
 */
#pragma once

#include "arch/x86/lib/types.h"

struct device;
struct device_class;
struct vm;

/* Let the config's parser ask the classes what a line with their key may say. Before it runs. */
void platform_set_checks(void);

/* Its board, and everything on it. 0, -ENOMEM, or -EINVAL with a line on the log. */
int platform_create(struct vm *vm) MUST_CHECK;
/* Whether none of its devices has anything in flight, now that its vCPUs have left and a reset or
 * its end follows: nothing new begins any more. Asked again and again it comes to a yes. */
bool platform_idle(struct vm *vm);
/* The same, and waits for it; its devices call no vCPU any more. */
void platform_stop(struct vm *vm);
void platform_destroy(struct vm *vm);

/* The first instance of a class that every VM has one of. */
struct device *platform_device(const struct vm *vm, const struct device_class *class);
/* A person presses the power button: the guest's kernel is asked to shut down. With no device's
 * lock. */
void platform_power_button(struct vm *vm);
