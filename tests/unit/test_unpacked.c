/* links: guest/vm/unpacked.c guest/load/unpack.c guest/load/unpack_gzip.c guest/load/unpack_xz.c guest/load/unpack_zstd.c arch/x86/lib/crc32.c arch/x86/lib/log.c arch/x86/lib/format.c */
/* A VM's packed kernel: what it takes while it is loaded, and that all of it is given back. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/log.h"
#include "guest/vm/vm.h"
#include "mm/heap.h"

#define PLAIN 60000

static struct vm vm;
static struct vm_life life;
static struct vm_config config;
static uint8_t plain[PLAIN], packed[PLAIN + 100];
static char said[1000];
static unsigned heap_blocks, runs;
static bool no_heap, no_frames;

/* --- what is around it --- */

void *heap_alloc(size_t size)
{
    heap_blocks += !no_heap;
    return no_heap ? NULL : aligned_alloc(4096, ALIGN_UP(size, 4096));
}

void heap_free(void *p)
{
    heap_blocks -= p != NULL;
    free(p);
}

void *phys_to_virt(paddr pa)
{
    return (void *)pa;
}

paddr frame_run_alloc(uint64_t pages, uint16_t owner)
{
    assert_int_equal(pages, ALIGN_UP(PLAIN, PAGE_SIZE) / PAGE_SIZE);
    runs += !no_frames;
    return no_frames ? FRAME_NONE : (paddr)aligned_alloc(PAGE_SIZE, pages * PAGE_SIZE);
}

void frame_run_free(paddr base)
{
    runs--;
    free((void *)base);
}

uint32_t config_vm_line(const struct vm_config *c, enum config_vm_key key)
{
    return key == CONFIG_VM_MEMORY ? 7 : 5;
}

static void keep(enum log_level level, const char *line, size_t length)
{
    strncat(said, line, MIN(length, sizeof(said) - 1 - strlen(said)));
}

/* --- tests --- */

static void put32(uint8_t *p, uint32_t value)
{
    memcpy(p, &value, sizeof(value));
}

/* One block that is stored as it is. */
static struct file make(void)
{
    static const uint8_t header[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1};
    uint8_t *p = packed;

    for (unsigned i = 0; i < PLAIN; i++)
        plain[i] = (uint8_t)(i * 7 + i / 256);
    memcpy(p, header, sizeof(header));
    p += sizeof(header);
    put32(p, PLAIN | (uint32_t)(uint16_t)~PLAIN << 16);
    memcpy(p + 4, plain, PLAIN);
    p += 4 + PLAIN;
    put32(p, crc32(0, plain, PLAIN));
    put32(p + 4, PLAIN);
    return (struct file){packed, (uint64_t)(p + 8 - packed)};
}

static int setup(void **state)
{
    vm = (struct vm){.life = &life, .config = &config, .name = "a"};
    life = (struct vm_life){0};
    config = (struct vm_config){.memory = 4 * MIB, .kernel = {"toy.gz", 6}};
    no_heap = no_frames = false;
    said[0] = '\0';
    log_set_sink(keep);
    return 0;
}

/* Whatever has happened, nothing is left. */
static int teardown(void **state)
{
    vm_unpack_drop(&vm);
    vm_unpack_drop(&vm);
    return heap_blocks || runs ? -1 : 0;
}

static void expect_error(struct file kernel, int number, const char *sentence)
{
    assert_int_equal(vm_unpack_some(&vm, &kernel, UINT64_MAX), number);
    assert_non_null(strstr(said, sentence));
    assert_int_equal(heap_blocks + runs, 0);
}

static void plain_files_stay(void **state)
{
    struct file kernel = {plain, PLAIN}, none = {NULL, 0};

    assert_int_equal(vm_unpack_some(&vm, &kernel, 0), 0);
    assert_ptr_equal(kernel.data, plain);
    assert_int_equal(vm_unpack_some(&vm, &none, 0), 0);
    assert_null(life.unpacked.with);
}

static void packed_files_come_out(void **state)
{
    for (unsigned i = 0; i < 3; i++) { /* as at each reset */
        struct file kernel = make(), file = kernel;
        unsigned pieces = 0;
        int result;

        while ((result = vm_unpack_some(&vm, &kernel, i ? UINT64_MAX : 0)) == 1) {
            assert_ptr_equal(kernel.data, file.data);
            pieces++;
        }
        assert_int_equal(result, 0);
        assert_true(i ? pieces == 0 : pieces > 2);
        assert_string_equal(life.unpacked.with, "gzip");
        assert_int_equal(kernel.size, PLAIN);
        assert_memory_equal(kernel.data, plain, PLAIN);
        vm_unpack_drop(&vm);
        assert_int_equal(heap_blocks + runs, 0);
        assert_string_equal(life.unpacked.with, "gzip"); /* for `show` */
    }
}

static void it_ends_in_between(void **state)
{
    struct file kernel = make();

    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(vm_unpack_some(&vm, &kernel, 0), 1);
    assert_true(heap_blocks == 1);
}

static void what_cannot_be(void **state)
{
    struct file kernel = make();

    no_frames = true;
    expect_error(kernel, -ENOMEM,
                 "corbel.conf:5: [vm a]: not enough memory to unpack toy.gz: it wants 58 KiB");
    no_heap = true;
    expect_error(kernel, -ENOMEM,
                 "corbel.conf:5: [vm a]: not enough memory to unpack toy.gz: it wants 192 KiB");
    no_heap = no_frames = false;
    packed[PLAIN / 2]++;
    expect_error(kernel, -EBADMSG,
                 "corbel.conf:5: [vm a]: toy.gz is packed with gzip and damaged; copy it again");
    config.memory = 4096;
    expect_error(
        kernel, -ENOMEM,
        "corbel.conf:7: [vm a]: toy.gz is packed with gzip, and more comes out than may: 1M");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(plain_files_stay, setup, teardown),
        cmocka_unit_test_setup_teardown(packed_files_come_out, setup, teardown),
        cmocka_unit_test_setup_teardown(it_ends_in_between, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
