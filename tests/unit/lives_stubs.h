/* What guests of tests/unit/lives.h have no use for: consoles, drives, most commands. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "guest/console/console.h"
#include "guest/monitor/commands.h"
#include "guest/monitor/users.h"
#include "guest/run/run.h"
#include "guest/vm/hotplug.h"
#include "guest/vm/layers.h"
#include "guest/vm/making.h"
#include "guest/vm/summary.h"
#include "guest/vm/vm.h"
#include "guest/watch/watch.h"
#include "mm/heap.h"

unsigned vms_settling;

void hotplug_ejected(void *slot)
{
}

bool hotplug_settle(struct vm_slot *slot)
{
    return false;
}

void hotplug_end(struct vm_slot *slot)
{
}

/* A VM whose disk waits for memory; NULL: there is none. */
static const struct vm *starving;
static void (*tell_starving)(void);
static unsigned disks_lost, went_on;
static uint64_t torn_vms;  /* by number: their disks are of two moments */
static bool still_written; /* what is not to be put back any more */

void vm_layers_set_attention(void (*fn)(void))
{
    tell_starving = fn;
}

bool vm_layers_torn(const struct vm *vm)
{
    return torn_vms >> vm->id & 1;
}

bool vm_layers_quiet(const struct vm *vm)
{
    return !still_written;
}

bool vm_layers_starve(const struct vm *vm, char *said)
{
    if (starving != vm)
        return false;
    strcpy(said, "no memory is left to keep for its snapshots what is there");
    starving = NULL;
    return true;
}

void vm_layers_lose(const struct vm *vm)
{
    disks_lost++;
}

void vm_layers_go_on(const struct vm *vm)
{
    went_on++;
}

uint64_t vm_layers_size(const void *of)
{
    return 0;
}

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    abort(); /* there is nobody else */
}

void run_unload(void)
{
}

int slot_schedule(struct vm_slot *s)
{
    return 0;
}

int vcpu_inspect(struct vcpu *v, void (*fn)(struct vcpu *v, void *arg), void *arg)
{
    return 0;
}

void vm_print_summary(struct vm *vm)
{
    log_info("%s: ended: %s", vm->name, vm->ending.why);
}

void console_monitor(void)
{
}

bool config_change(struct vm_config *vm, enum config_vm_key key, struct config_span value,
                   char *error)
{
    return true;
}

void console_attach(struct vm_slot *slot, int port)
{
}

void console_back(void)
{
}

int console_front_port(void)
{
    return VM_SERIAL;
}

struct vm_slot *console_front(void)
{
    return NULL;
}

size_t console_room(void)
{
    return CONSOLE_ROOM;
}

const char *watch_kind_name(unsigned n)
{
    return NULL;
}

const char *watch_policy_name(unsigned n, const struct watch_handlers *handlers)
{
    return NULL;
}

void *heap_alloc(size_t size)
{
    return calloc(1, size);
}

void heap_free(void *p)
{
    free(p);
}

#define NO_COMMAND(name)                                                                           \
    bool command_##name(struct job *job)                                                           \
    {                                                                                              \
        return false;                                                                              \
    }
NO_COMMAND(attach)
NO_COMMAND(detach)
NO_COMMAND(screenshot)
NO_COMMAND(type)
NO_COMMAND(keys)
NO_COMMAND(mouse)
NO_COMMAND(eject)
NO_COMMAND(insert)
NO_COMMAND(list)
NO_COMMAND(show)
NO_COMMAND(cpus)
NO_COMMAND(memory)
NO_COMMAND(log)
NO_COMMAND(stats)
NO_COMMAND(top)
NO_COMMAND(trace)
NO_COMMAND(com2)
NO_COMMAND(dump)
NO_COMMAND(regs)
NO_COMMAND(read)
NO_COMMAND(write)
NO_COMMAND(walk)
NO_COMMAND(watch)
NO_COMMAND(watches)
NO_COMMAND(unwatch)
NO_COMMAND(variables)
NO_COMMAND(capture)
NO_COMMAND(nets)
NO_COMMAND(switch)
NO_COMMAND(link)
NO_COMMAND(balloon)
NO_COMMAND(ports)
NO_COMMAND(resize)
NO_COMMAND(login)
NO_COMMAND(logout)

bool users_permit(void)
{
    return true;
}

void users_used(void)
{
}

void users_asked(void)
{
}

uint64_t users_work(void)
{
    return CONSOLE_NEVER;
}

bool command_disks(struct job *job)
{
    if (job->words.count > 1)
        job_line("disks of %.*s", (int)job->words.word[1].length, job->words.word[1].text);
    return false;
}

const char *capture_choice(unsigned n)
{
    return NULL;
}

const char *disks_choice(unsigned n)
{
    static const char *const names[] = {"ata0", "ata1"};

    return n < ARRAY_SIZE(names) ? names[n] : NULL;
}
