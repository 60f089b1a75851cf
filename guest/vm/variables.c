/* See variables.h. */
#include "guest/vm/variables.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "drivers/drives.h"
#include "guest/devices/flash.h"
#include "guest/storage/sources.h"
#include "guest/storage/store.h"
#include "guest/vm/files.h"
#include "guest/vm/vm.h"

static struct store store;
static struct source_claim claim;
static bool kept;

/* --- at the start --- */

static int open_store(const struct config *config)
{
    const struct source_wish wish = {.text = config->state.data, .length = config->state.length};
    char text[SOURCE_MESSAGE];
    const char *why = text;
    int result = source_claim(&wish, &claim, text);

    /* Whatever is wrong with it: nobody else gets it. */
    if (result == 0)
        result = store_open(&store, &claim.slice.device, drives_wait, &why);
    if (result < 0)
        log_error("corbel.conf:%u: state = %.*s: %s; UEFI variables end with their VM",
                  config->key_line[CONFIG_HOST_STATE], (int)config->state.length,
                  config->state.data, why);
    return result;
}

static uint32_t variables_in(const struct vm_config *vm)
{
    struct file file;

    if (vm->broken || !vm->firmware.data || files_find_one(vm->firmware, &file) < 0)
        return 0;
    return flash_variables(file.data, file.size);
}

static bool has_others(const char *name, const struct store_area *but)
{
    for (const struct store_area *a = store.first; a; a = a->next)
        if (a != but && !a->empty && strcmp(a->entry.name, name) == 0)
            return true;
    return false;
}

static void find_area(const struct vm_config *vm)
{
    uint32_t size = variables_in(vm);
    char name[CONFIG_MAX_NAME + 1];
    struct store_area *a;

    if (!size)
        return;
    format(name, sizeof(name), "%.*s", (int)vm->name.length, vm->name.data);
    a = store_variables(&store, name, size / STORE_BLOCK);
    if (!a)
        log_warn("state: no room for the variables of %s, %u KiB in two copies: they end with the "
                 "VM",
                 name, size / 1024);
    else if (a->empty && has_others(name, a))
        log_info("state: %s has firmware with %u KiB for variables now: those that are there are "
                 "for another one, and stay",
                 name, size / 1024);
}

static void load(struct store_area *a)
{
    static const char *const said[] = {
        [STORE_REPAIRED] = "the last write was cut off, or one copy is damaged: the other one is "
                           "taken",
        [STORE_DAMAGED] = "both copies are damaged: it starts with its firmware's own"};
    int result = store_area_load(a);

    if (result == -ENOMEM)
        log_warn("state: no memory for the variables of %s: they end with the VM", a->entry.name);
    else if (result == -EIO)
        log_warn("state: the variables of %s are there, but %s takes no writes: what changes ends "
                 "with the VM",
                 a->entry.name, a->store->device->name);
    else if (result == STORE_DAMAGED)
        log_warn("state: variables of %s: %s", a->entry.name, said[result]);
    else if (result == STORE_REPAIRED)
        log_info("state: variables of %s: %s", a->entry.name, said[result]);
}

void variables_begin(const struct config *config, const struct vm_config *vms)
{
    unsigned vms_found = 0;

    if (!config->state.data || open_store(config) < 0)
        return;
    kept = true;
    for (size_t i = 0; i < config->vm_count; i++)
        find_area(&vms[i]);
    if (store_save(&store) < 0)
        log_error("state: %s cannot be written: variables of VMs that are new to it end with the "
                  "VM",
                  store.device->name);
    for (struct store_area *a = store.first; a; a = a->next) {
        if (!a->wanted || a->fresh)
            continue;
        load(a);
        vms_found += store_area_content(a) != NULL;
    }
    log_info("state: %s on %s, with variables of %u VM%s; %lu of %lu KiB are free",
             store.device->name, claim.disk->block.name, vms_found, vms_found == 1 ? "" : "s",
             store_free(&store) * STORE_BLOCK / KIB, store.blocks * STORE_BLOCK / KIB);
}

struct store_area *variables_of(void *context, uint32_t size)
{
    const struct vm *vm = context;

    for (struct store_area *a = store.first; a; a = a->next)
        if (a->content && a->map && a->page != FRAME_NONE &&
            a->entry.content == size / STORE_BLOCK && strcmp(a->entry.name, vm->name) == 0)
            return a;
    return NULL;
}

/* --- for who looks at them --- */

bool variables_are_kept(void)
{
    return kept;
}

static bool is_there(const struct store_area *a)
{
    return !a->empty || store_area_content(a);
}

const char *variables_get(unsigned index, uint32_t *size)
{
    for (const struct store_area *a = store.first; a; a = a->next) {
        if (!is_there(a) || index-- > 0)
            continue;
        *size = a->entry.content * STORE_BLOCK;
        return a->entry.name;
    }
    return NULL;
}

static bool is_of(const struct store_area *a, const char *name, size_t length)
{
    return strlen(a->entry.name) == length && memcmp(a->entry.name, name, length) == 0;
}

static int refuse(char *error, int result, const char *name, size_t length, const char *why)
{
    format(error, CONFIG_MESSAGE, "%.*s %s", (int)MIN(length, (size_t)CONFIG_MAX_NAME), name, why);
    return result;
}

int variables_forget(const char *name, size_t length, char *error)
{
    bool any = false;

    for (struct store_area *a = store.first; a; a = a->next) {
        if (!is_of(a, name, length) || !is_there(a))
            continue;
        if (!store_area_idle(a))
            return refuse(error, -EBUSY, name, length, "has variables that are just written");
        if (store_area_forget(a) < 0)
            return refuse(error, -ENOMEM, name, length, "keeps them: no memory is left");
        any = true;
    }
    return any ? 0 : refuse(error, -ENOENT, name, length, "has no variables there");
}

int variables_forgotten(const char *name, size_t length)
{
    int result = 1;

    for (struct store_area *a = store.first; a; a = a->next) {
        if (!is_of(a, name, length))
            continue;
        if (!store_area_idle(a))
            return 0;
        if (a->failed)
            result = -EIO;
    }
    return result;
}
