/* links: guest/vm/variables.c guest/storage/store.c guest/storage/store_area.c arch/x86/lib/crc32.c arch/x86/lib/log.c arch/x86/lib/format.c tests/unit/mock_heap.c */
/* Which VM has which variables when the machine starts, and what is said of them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <limits.h>
#include <stdio.h>

#include "arch/x86/lib/log.h"
#include "drivers/drives.h"
#include "guest/devices/flash.h"
#include "guest/storage/sources.h"
#include "guest/vm/files.h"
#include "guest/vm/variables.h"
#include "guest/vm/vm.h"
#include "tests/unit/store_drive.h"

#define BLOCKS 8
#define VMS    7

/* --- what is around it --- */

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

static struct disk disk = {.block.name = "ata0"};
static bool claimed;

int source_claim(const struct source_wish *wish, struct source_claim *claim, char *why)
{
    assert_true(!wish->owner && !wish->read_only && !wish->whole_allowed);
    claim->disk = &disk;
    claim->slice.device = drive;
    strcpy(why, "no disk has a partition of this name or GUID");
    return claimed ? 0 : -ENOENT;
}

void drives_wait(void)
{
}

/* A firmware's file is named by how many blocks of variables it has. */
int files_find_one(struct config_span path, struct file *out)
{
    *out = (struct file){path.data, path.length};
    return path.length ? 0 : -ENOENT;
}

uint32_t flash_variables(const void *file, uint64_t size)
{
    return (uint32_t)atoi(file) * STORE_BLOCK;
}

static char said[4096];

static void keep(enum log_level level, const char *line, size_t length)
{
    strncat(said, line, length);
    strcat(said, "\n");
}

/* --- a machine --- */

static void leave(const char *name, uint32_t content)
{
    static const uint8_t block[STORE_BLOCK] = {1, 2, 3};
    struct store store;
    const char *why;

    assert_int_equal(store_open(&store, &drive, drive_wait, &why), 0);
    struct store_area *a = store_variables(&store, name, content);
    assert_int_equal(store_save(&store), 0);
    assert_int_equal(store_area_load(a), STORE_EMPTY);
    for (uint32_t i = 0; i < content; i++)
        store_area_put(a, i, block);
    store_area_write(a);
    store_close(&store);
}

static const struct vm_config vms[VMS] = {
    {.name = {"web", 3}, .firmware = {"8", 1}},
    {.name = {"bad", 3}, .firmware = {"8", 1}},
    {.name = {"new", 3}, .firmware = {"8", 1}},
    {.name = {"large", 5}, .firmware = {"300", 3}},
    {.name = {"bios", 4}, .firmware = {"0", 1}},
    {.name = {"kernel", 6}},
    {.name = {"broken", 6}, .firmware = {"8", 1}, .broken = true},
};

static int forget(const char *name)
{
    char error[CONFIG_MESSAGE] = "";
    int result = variables_forget(name, strlen(name), error);

    strcpy(said, error);
    return result;
}

static void test_a_machine(void **state)
{
    struct config config = {.vm_count = VMS};
    struct vm vm = {.name = "web"};
    struct store_area *a;
    uint32_t size;

    drive_init();
    leave("web", BLOCKS);
    leave("web", 2);
    leave("bad", BLOCKS);
    leave("old", 3);
    medium[(STORE_FIRST + 2 * (1 + BLOCKS) + 2 * (1 + 2)) * STORE_BLOCK] ^= 1;
    medium[(STORE_FIRST + 3 * (1 + BLOCKS) + 2 * (1 + 2)) * STORE_BLOCK] ^= 1;
    log_set_sink(keep);
    variables_begin(&config, vms); /* nobody has asked for it */
    assert_string_equal(said, "");
    assert_false(variables_are_kept());

    config.state = (struct config_span){"part:state", 10};
    config.key_line[CONFIG_HOST_STATE] = 5;
    variables_begin(&config, vms);
    assert_string_equal(said, "corbel.conf:5: state = part:state: no disk has a partition of this "
                              "name or GUID; UEFI variables end with their VM\n");
    assert_false(variables_are_kept());
    assert_null(variables_of(&vm, BLOCKS * STORE_BLOCK));

    said[0] = '\0';
    claimed = true;
    variables_begin(&config, vms);
    assert_string_equal(
        said, "state: no room for the variables of large, 1200 KiB in two copies: they "
              "end with the VM\n"
              "state: variables of bad: both copies are damaged: it starts with its "
              "firmware's own\n"
              "state: part:state on ata0, with variables of 1 VM; 1648 of 2048 KiB are free\n");
    assert_true(variables_are_kept());
    a = variables_of(&vm, BLOCKS * STORE_BLOCK);
    assert_memory_equal(store_area_content(a), "\1\2\3", 3);
    assert_null(variables_of(&vm, 2 * STORE_BLOCK)); /* it has other firmware now */
    strcpy(vm.name, "new");
    a = variables_of(&vm, BLOCKS * STORE_BLOCK);
    assert_null(store_area_content(a));
    strcpy(vm.name, "large");
    assert_null(variables_of(&vm, 300 * STORE_BLOCK));

    assert_string_equal(variables_get(0, &size), "web");
    assert_int_equal(size, BLOCKS * STORE_BLOCK);
    assert_string_equal(variables_get(1, &size), "web");
    assert_string_equal(variables_get(3, &size), "old");
    assert_null(variables_get(4, &size));
    assert_int_equal(forget("new"), -ENOENT);
    assert_string_equal(said, "new has no variables there");
    hold = true;
    assert_int_equal(forget("old"), 0);
    assert_int_equal(forget("old"), -EBUSY);
    assert_int_equal(variables_forgotten("old", 3), 0);
    for (unsigned n = 0; variables_forgotten("old", 3) == 0; n++)
        assert_true(n < 10);
    assert_int_equal(holding, 0);
    assert_int_equal(variables_forgotten("old", 3), 1);
    hold = false;
    next_error = -EIO;
    assert_int_equal(forget("web"), 0);
    assert_int_equal(variables_forgotten("web", 3), -EIO);
    assert_string_equal(variables_get(0, &size), "web"); /* the drive has it still */
    assert_int_equal(forget("web"), 0);
    assert_int_equal(variables_forgotten("web", 3), 1);
    assert_string_equal(variables_get(0, &size), "bad");
    assert_null(variables_get(1, &size));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_a_machine)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
