/* links: guest/vm/vm_stream.c guest/moments/stream.c guest/cpu/needs.c guest/cpu/cpuid.c arch/x86/lib/crc32c.c arch/x86/lib/format.c guest/devices/uart.c guest/board/pic.c guest/board/pit.c guest/devices/rtc.c guest/devices/acpi_pm.c guest/devices/keyboard.c guest/devices/ps2/keyboard.c guest/devices/ps2/mouse.c guest/devices/reset.c guest/board/pci.c guest/board/class.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/*
 * Streams of saved state are loaded into a VM of classic devices: any bytes, or what the VM has
 * saved itself with some of them changed, checksums made right again or not. Either it is in that
 * state then, or in the one that it was in before: never in between. The sanitizers watch.
 */
#include <string.h>

#include "arch/x86/lib/crc32c.h"
#include "guest/cpu/vcpu.h"
#include "guest/devices/acpi_pm.h"
#include "guest/devices/keyboard.h"
#include "guest/board/pci.h"
#include "guest/board/pic.h"
#include "guest/board/pit.h"
#include "guest/devices/reset.h"
#include "guest/devices/rtc.h"
#include "guest/devices/uart.h"
#include "guest/vm/vm_state.h"
#include "guest/vm/vm_stream.h"
#include "mm/heap.h"
#include "tests/fuzz/require.h"
#include "tests/unit/mock_board.h"
#include "vmx/fpu.h"

#define SMALL 64u /* bytes that decide */

struct input {
    const uint8_t *data;
    size_t size;
};

static struct {
    struct board board;
    struct uart uart;
    struct pic pic;
    struct pit pit;
    struct rtc rtc;
    struct acpi_pm acpi_pm;
    struct keyboard keyboard;
    struct reset_control reset_control;
    struct pci pci;
} m;

static struct vm vm;
static struct vm_life life;
static struct vcpu vcpu;
static char error[VM_STREAM_ERROR];

uint64_t tsc_hz = 2000000000;

size_t fpu_size(void)
{
    return 832;
}

/* --- the VM, as far as it goes: its devices --- */

void vm_reset(struct vm *v)
{
    bus_reset(&m.board.bus);
}

void vm_save(struct vm *v, struct state_writer *w)
{
    bus_save(&m.board.bus, w);
}

int vm_load(struct vm *v, struct state_reader *r)
{
    int result = bus_load(&m.board.bus, r);

    if (result < 0)
        vm_reset(v);
    if (result < 0 && !r->error)
        r->error = "a value is out of its range";
    return result;
}

static bool put(void *context, uint8_t byte)
{
    return false;
}

static void on_intr(void *context, bool level)
{
}

/* As a processor that says nothing. */
static void no_cpuid(void *context, uint32_t leaf, uint32_t subleaf, struct cpuid_regs *out)
{
    *out = (struct cpuid_regs){.eax = leaf == 0 ? 0xd : leaf == 0x80000000 ? 0x80000008 : 0};
    if (leaf == 1)
        out->ecx = out->edx = 0x1fffffff;
}

static void build(void)
{
    const struct cpuid_inputs in = {.tsc_hz = tsc_hz, .vcpus = 1, .xcr0 = 7, .physical_bits = 39};
    int result = 0;

    memset(&m, 0, sizeof(m));
    mock_init(&m.board);
    m.board.hz = tsc_hz;
    m.board.host = (struct device_host){.memory_below_4g = 256 * MIB, .serial_put = put};
    result |= device_make(&uart_class, &m.uart.dev, &m.board.setup);
    pic_init(&m.pic, &m.board, on_intr, &m);
    result |= pic_attach(&m.pic, &m.board.bus);
    result |= device_make(&pit_class, &m.pit.dev, &m.board.setup);
    result |= device_make(&rtc_class, &m.rtc.dev, &m.board.setup);
    result |= device_make(&acpi_pm_class, &m.acpi_pm.dev, &m.board.setup);
    result |= device_make(&keyboard_class, &m.keyboard.dev, &m.board.setup);
    result |= device_make(&reset_control_class, &m.reset_control.dev, &m.board.setup);
    result |= device_make(&pci_class, &m.pci.dev, &m.board.setup);
    REQUIRE(result == 0);
    bus_reset(&m.board.bus);
    vm = (struct vm){.life = &life, .vcpu_count = 1, .vcpu = {&vcpu}};
    vm.memory.range_count = 1;
    vm.memory.ranges[0].size = 256 * MIB;
    life = (struct vm_life){.devices = {.count = 1}};
    life.devices.item[0] = (struct device_item){
        .class = &uart_class, .device = &m.uart.dev, .id = 1, .name = (char *)"a name"};
    cpuid_build(&vcpu.cpuid, &in, no_cpuid, NULL);
}

/* --- streams --- */

static uint8_t next(struct input *in)
{
    if (in->size == 0)
        return 0;
    in->size--;
    return *in->data++;
}

static void store(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

/* Its checksums are right, as far as its sections fit together. */
static void seal(uint8_t *data, size_t size)
{
    struct state_section s;
    size_t at = 0, sums[SMALL];
    unsigned count = 0;

    for (; at < size && size - at >= STATE_HEADER && count < SMALL; count++) {
        state_section(data + at, &s);
        sums[count] = at;
        if (s.length > size - at - STATE_HEADER)
            return;
        if (strcmp(s.name, "end") == 0)
            break;
        at += STATE_HEADER + s.length;
    }
    if (count == SMALL || at >= size || s.length != 4 + (count + 1) * 4 ||
        at + STATE_HEADER + s.length != size)
        return;
    for (unsigned i = 0; i < count; i++) {
        size_t end = i + 1 < count ? sums[i + 1] : at;

        store(data + at + STATE_HEADER + 4 + 4 * (size_t)i,
              crc32c(0, data + sums[i], end - sums[i]));
    }
    store(data + size - 4, crc32c(0, data, size - 4));
}

/* In memory of its own size, so that who reads beyond is seen. */
static struct vm_stream make(struct input *in)
{
    struct vm_stream s;
    uint8_t how = next(in);

    if (how == 0) {
        s = (struct vm_stream){malloc(in->size + 1), in->size};
        memcpy(s.data, in->data, in->size);
        return s;
    }
    REQUIRE(vm_stream_save(&vm, &s) == 0);
    uint8_t *exact = malloc(s.size);
    memcpy(exact, s.data, s.size);
    vm_stream_free(&s);
    s.data = exact;
    s.size = vm.life->stream_size;
    while (in->size >= 3) {
        size_t at = next(in) | (size_t)next(in) << 8;

        exact[at % s.size] = next(in);
    }
    if (how & 1)
        seal(exact, s.size);
    if (how & 2)
        s.size -= next(in) % s.size;
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct vm_stream s, before, after;
    int result;

    build();
    for (unsigned n = next(&in) % 8; n > 0; n--) { /* it is in one state or another */
        uint16_t port = (uint16_t)(next(&in) | next(&in) << 8);

        bus_port_write(&m.board.bus, port, 1, next(&in));
    }
    REQUIRE(vm_stream_save(&vm, &before) == 0);
    s = make(&in);
    memset(error, 0, sizeof(error));
    result = vm_stream_load(&vm, &s, error);
    REQUIRE(result == 0 || result == -EBADMSG);
    REQUIRE((result == 0) || (error[0] && memchr(error, 0, sizeof(error))));
    REQUIRE(vm_stream_save(&vm, &after) == 0);
    if (result < 0)
        REQUIRE(after.size == before.size && memcmp(after.data, before.data, after.size) == 0);
    else
        REQUIRE(vm_stream_load(&vm, &after, error) == 0);
    free(s.data);
    vm_stream_free(&before);
    vm_stream_free(&after);
    mock_destroy(&m.board);
    return 0;
}
