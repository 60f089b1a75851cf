/* links: guest/config/config.c guest/config/config_check.c guest/config/password.c guest/config/config_keys.c guest/config/config_text.c guest/config/config_value.c guest/config/disk.c guest/config/net.c guest/watch/spec.c arch/x86/lib/format.c */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "guest/config/config.h"
#include "guest/config/disk.h"
#include "guest/watch/handler.h"
#include "tests/fuzz/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int check_watch(const char *watch, size_t length, char *error)
{
    const struct watch_handlers none = {NULL, NULL};
    struct watch_spec spec;

    return watch_parse(watch, length, &none, &spec, error);
}

/* There is a controller for each bus but one; each text is for one of them, or for none. */
static int check_disk(const char *disk, size_t length, char *error)
{
    int result = config_disk_check(disk, length, error), one = 0;

    for (unsigned bus = CONFIG_DISK_VIRTIO; bus <= CONFIG_DISK_NVME; bus++) {
        int is = config_disk_is_at(bus, disk, length, error);
        REQUIRE(result == 0 ? is == 0 || is == 1 : is == result);
        one += is;
    }
    REQUIRE(result < 0 || one == 1);
    if (result == 0 && config_disk_is_at(CONFIG_DISK_NVME, disk, length, error) == 1)
        return config_disk_no_bus(disk, length, error);
    return result;
}

struct listener {
    unsigned reports;
    uint32_t lines;
};

static void listen(void *ctx, uint32_t line, const char *sentence)
{
    struct listener *l = ctx;
    size_t length = strnlen(sentence, CONFIG_MESSAGE);

    l->reports++;
    REQUIRE(line <= l->lines);
    REQUIRE(length > 0 && length < CONFIG_MESSAGE);
    for (size_t i = 0; i < length; i++) {
        REQUIRE(sentence[i] >= ' ' && sentence[i] <= '~');
    }
}

static const char *text;
static size_t text_size;

static void require_inside(struct config_span s, size_t max)
{
    REQUIRE(!s.data || (s.data >= text && s.data <= text + text_size &&
                        s.length <= (size_t)(text + text_size - s.data) && s.length <= max));
}

static void require_lines(const struct config_lines *l, size_t max, uint32_t lines)
{
    for (size_t i = 0; i < l->count; i++) {
        require_inside(l->item[i].text, max);
        REQUIRE(l->item[i].line >= 1 && l->item[i].line <= lines);
    }
}

/* Whatever the bytes are, what is not broken is within its ranges and every span within the text.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct listener listener = {0, 1};
    struct config config;
    size_t count = config_count_vms((const char *)data, size), runnable, alive = 0, most, files;
    struct vm_config *vms = calloc(count + 1, sizeof(*vms));
    struct config_file *found;

    text = (const char *)data;
    text_size = size;
    for (size_t i = 0; i < size; i++) {
        listener.lines += data[i] == '\n';
    }
    config_set_check("watch", check_watch);
    config_set_check("disk", check_disk);
    runnable = config_parse(text, size, &config, vms, count, listen, &listener);
    REQUIRE(listener.reports <= CONFIG_MAX_REPORTS + 1);
    REQUIRE((listener.reports > 0) == (config.problems > 0));
    REQUIRE(config.vm_count <= count && config.log <= LOG_DEBUG);
    REQUIRE(config.without < BIT(CONFIG_WITHOUT_COUNT));
    for (size_t i = 0; i < config.vm_count; i++) {
        const struct vm_config *vm = &vms[i];

        require_inside(vm->name, CONFIG_MAX_NAME);
        require_inside(vm->kernel, CONFIG_MAX_PATH);
        require_inside(vm->firmware, CONFIG_MAX_PATH);
        require_inside(vm->display, CONFIG_MAX_PATH);
        require_inside(vm->initrd, CONFIG_MAX_PATH);
        require_inside(vm->cmdline, CONFIG_MAX_CMDLINE);
        REQUIRE(vm->watches.count <= CONFIG_MAX_WATCHES);
        for (size_t j = 0; j < vm->watches.count; j++) {
            require_inside(vm->watches.item[j].text, CONFIG_MAX_WATCH);
            REQUIRE(vm->watches.item[j].text.length > 0);
        }
        REQUIRE(vm->modules.count <= CONFIG_MAX_MODULES);
        for (size_t j = 0; j < vm->modules.count; j++) {
            const struct config_module *m = &vm->modules.item[j];

            require_inside(m->file, CONFIG_MAX_PATH);
            REQUIRE(m->file.length > 0 && m->line >= 1 && m->line <= listener.lines);
            REQUIRE(m->args.length == 0 || m->args.data > m->file.data + m->file.length);
            REQUIRE(m->args.length <= CONFIG_MAX_MODULE);
            if (m->args.length) {
                require_inside(m->args, CONFIG_MAX_MODULE);
            }
        }
        REQUIRE(vm->cpus >= 1 && vm->cpus <= CONFIG_MAX_CPUS);
        REQUIRE(vm->memory >= 2 * MIB && vm->memory <= 1024 * GIB && vm->memory % PAGE_SIZE == 0);
        REQUIRE(vm->hole >= 16 * MIB && vm->hole <= 2816 * MIB && vm->hole % (2 * MIB) == 0);
        REQUIRE(vm->broken || (vm->kernel.length > 0) != (vm->firmware.length > 0));
        for (unsigned key = 0; key < CONFIG_VM_KEYS; key++) {
            REQUIRE(config_vm_line(vm, key) >= 1 && config_vm_line(vm, key) <= listener.lines);
        }
        REQUIRE(vm->disks.count <= CONFIG_MAX_LINES && vm->cdroms.count <= CONFIG_MAX_CDROMS);
        require_lines(&vm->disks, CONFIG_MAX_DISK, listener.lines);
        require_lines(&vm->cdroms, CONFIG_MAX_PATH, listener.lines);
        alive += !vm->broken;
    }
    REQUIRE(alive == runnable);
    most = config_files(vms, config.vm_count, NULL, 0);
    found = calloc(most + 1, sizeof(*found));
    files = config_files(vms, config.vm_count, found, most);
    REQUIRE(files <= most && (files > 0) == (runnable > 0));
    REQUIRE(most <= (2 + CONFIG_MAX_MODULES + CONFIG_MAX_LINES + CONFIG_MAX_CDROMS) * runnable);
    free(found);
    free(vms);
    return 0;
}
