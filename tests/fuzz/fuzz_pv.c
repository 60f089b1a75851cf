/* links: guest/cpu/pv.c guest/cpu/pv_page.c guest/cpu/pv_state.c guest/cpu/pv_call.c guest/cpu/pv_eoi.c guest/cpu/pv_exit.c guest/cpu/msr_policy.c guest/board/state.c mm/guest_memory.c mm/guest_layers.c mm/guest_ram.c mm/guest_balloon.c */
/*
 * A guest that uses KVM's paravirtual interfaces in any way: MSRs with any values, calls with any
 * registers, pages full of junk and pages that go away, vCPUs that come and go meanwhile. Nothing
 * is written but its memory, what its MSRs hold is what WRMSR takes, and its state comes back.
 */
#include <stdint.h>
#include <stddef.h>

#include "tests/fuzz/require.h"

#define assert_int_equal(a, b)     REQUIRE((a) == (b))
#define assert_int_not_equal(a, b) REQUIRE((a) != (b))

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/tsc.h"
#include "guest/board/wall_clock.h"
#include "guest/cpu/linear.h"
#include "guest/cpu/msr_policy.h"
#include "guest/cpu/exit.h"
#include "guest/cpu/pv.h"
#include "tests/unit/mock_frames.h"
#include "vmx/cpu.h"
#include "vmx/exit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CPUS = 3 };

#define RAM (4 * MIB)

static struct vm vm;
static struct board_front board;
static struct vcpu vcpus[CPUS];
static struct vm_config config;
static struct percpu processor;
static uint64_t now;
static unsigned cpl, width;

struct vmx_features vmx_features;
uint64_t tsc_hz = 2500000000;
unsigned smp_cpus = 1;

uint64_t test_tsc(void)
{
    return now;
}

void spin_wait(struct spinlock *l, uint16_t ticket)
{
    abort();
}

struct percpu *cpu_by_number(unsigned n)
{
    return &processor;
}

void wall_clock_now(int64_t *seconds, uint32_t *microseconds)
{
    *seconds = 1800000000 + (int64_t)(now / tsc_hz);
    *microseconds = 0;
}

uint64_t tsc_to_ns(uint64_t ticks)
{
    return (uint64_t)((unsigned __int128)ticks * 1000000000 / tsc_hz);
}

void log_line(enum log_level level, const char *fmt, ...)
{
}

void task_notify(struct task *t, uint32_t requests)
{
    pv_serve(CONTAINER_OF(t, struct vcpu, task), requests);
}

void vmx_flush_linear(struct vmx_vcpu *hw)
{
}

void vmx_wrap_exits(struct vmx_vcpu *hw, bool on)
{
    hw->wrapped = on;
}

unsigned vcpu_code_width(const struct vcpu *v)
{
    return width;
}

unsigned vcpu_cpl(void)
{
    return cpl;
}

bool lapic_matches(const struct lapic *l, uint32_t dest, bool logical)
{
    REQUIRE(dest == l->id);
    return true;
}

bool lapic_receive(struct lapic *l, const struct apic_message *m)
{
    REQUIRE(m->mode <= APIC_EXTINT);
    return m->vector >= 16;
}

bool lapic_eoi_is_plain(const struct lapic *l)
{
    return now & 1;
}

void lapic_eoi(struct lapic *l)
{
}

int vcpu_prepare(struct vcpu *v)
{
    v->task.requests = 0;
    return VCPU_PREEMPTED;
}

int vcpu_exit(struct vmx_vcpu *hw, uint64_t reason, uint64_t tsc)
{
    REQUIRE(!((struct vcpu *)hw)->pv.eoi_left);
    if (reason == EXIT_VMCALL)
        hw->gpr[RAX] = (uint64_t)NO_SUCH_HYPERCALL;
    return reason & 1 ? VCPU_PREEMPTED : VCPU_STAY;
}

int vcpu_exit_watched(struct vmx_vcpu *hw, uint64_t reason, uint64_t tsc)
{
    return vcpu_exit(hw, reason, tsc);
}

/* --- the input --- */

static const uint8_t *input, *input_end;

static uint8_t byte(void)
{
    return input < input_end ? *input++ : 0;
}

static uint64_t number(void)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < 8; i++)
        n = n << 8 | byte();
    return n;
}

/* Where memory is, ends, begins again, or is not. */
static uint64_t address(void)
{
    static const uint64_t places[] = {0,       0x1000, 2 * MIB - 32, 2 * MIB, RAM - 64,
                                      RAM - 4, RAM,    BIT(32),      BIT(46), BIT(63)};
    uint8_t which = byte();

    if (which == 255)
        return number();
    return places[which % ARRAY_SIZE(places)] + (uint64_t)byte() * 4 + (byte() & 3);
}

static void begin(uint8_t pv)
{
    static bool made;

    if (!made) {
        mock_reset();
        REQUIRE(guest_memory_create(&vm.memory, FRAME_VM, &(struct guest_memory_region){0, RAM},
                                    1) == 0);
        REQUIRE(guest_memory_make_room(&vm.memory) == 0);
        for (uint64_t gpa = 0; gpa < RAM; gpa += 2 * MIB) /* so that the last byte's is taken last */
            REQUIRE(guest_memory_touch(&vm.memory, gpa) == 0);
        made = true;
    }
    guest_memory_set_layers(&vm.memory, NULL, 0);
    REQUIRE(guest_memory_zero(&vm.memory, 0, 0x2000) == 0);
    config.pv = pv & 1 ? BIT(CONFIG_PV_ALL) : pv >> 1;
    vm.config = &config;
    vm.board = (struct board *)&board;
    vm.vcpu_count = CPUS;
    now = 1000;
    for (unsigned i = 0; i < CPUS; i++) {
        struct vcpu *v = vm.vcpu[i] = &vcpus[i];
        memset(v, 0, sizeof(*v));
        v->vm = &vm;
        v->board = vm.board;
        v->id = v->lapic.id = i;
        pv_offer(v);
        pv_init(v);
        pv_reset(&v->pv);
        v->msr_env.features.pv = v->pv.offered;
    }
}

/* As msr_write() and msr_read() do it. */
static void access_msr(struct vcpu *v, uint32_t msr, bool write, uint64_t value)
{
    uint64_t kept = 0;

    if (!msr_find(&v->msr_env.features, msr))
        return;
    if (write && pv_write_msr(v, msr, value) < 0)
        return;
    REQUIRE(pv_read_msr(v, msr, &kept) == 0);
    REQUIRE(pv_valid(msr, kept));
    REQUIRE(!write || kept == value);
}

static void change_layers(uint8_t how)
{
    const struct guest_memory_layer l = {.gpa = how & 2 ? 0 : RAM - PAGE_SIZE,
                                         .size = PAGE_SIZE,
                                         .from = 0x10000,
                                         .shows = how & 4 ? GUEST_LAYER_RAM : GUEST_LAYER_NOTHING,
                                         .over_ram = true};

    guest_memory_set_layers(&vm.memory, &l, how & 1);
}

static void save_and_load(struct vcpu *v)
{
    uint8_t data[256];
    struct state_writer w = {.data = data, .capacity = sizeof(data)};
    struct pv_vcpu loaded = {.offered = v->pv.offered};

    pv_save(&v->pv, &w);
    struct state_reader r = {.data = data, .size = w.used};
    REQUIRE(pv_load(&loaded, &r) == 0);
    REQUIRE(loaded.clock == v->pv.clock && loaded.steal == v->pv.steal && loaded.eoi == v->pv.eoi &&
            loaded.kicked == v->pv.kicked && loaded.poll == v->pv.poll);
    /* damaged it is refused, or something else that could be */
    data[byte() % w.used] ^= byte();
    r = (struct state_reader){.data = data, .size = w.used};
    if (pv_load(&loaded, &r) == 0)
        REQUIRE(pv_valid(PV_MSR_STEAL, loaded.steal) && pv_valid(PV_MSR_CLOCK, loaded.clock));
}

static void call(struct vcpu *v)
{
    v->hw.gpr[RAX] = byte() & 1 ? byte() % 16 : number();
    v->hw.gpr[RBX] = number();
    v->hw.gpr[RCX] = byte() & 1 ? byte() % 4 : number();
    v->hw.gpr[RDX] = byte() & 1 ? byte() % 4 : number();
    v->hw.gpr[RSI] = number();
    cpl = byte() & 3;
    width = 16u << byte() % 3;
    pv_call(v, v->hw.gpr[RAX]);
    if (v->task.yields_to)
        REQUIRE(v->task.yields_to >= &vcpus[0].task && v->task.yields_to <= &vcpus[CPUS - 1].task);
}

static void step(uint8_t what, struct vcpu *v)
{
    uint64_t at;
    uint8_t junk;

    switch (what % 10) {
    case 0:
    case 1:
        at = address();
        access_msr(v, 0x4b564cff + byte() % 8, true, at);
        break;
    case 2:
        access_msr(v, 0x4b564cff + byte() % 8, false, 0);
        break;
    case 3:
        pv_runs(v);
        break;
    case 4:
        pv_stops(v);
        v->task.sched.stats.waited += number() >> 20;
        break;
    case 5: /* only memory can fail here, not the guest */
        at = address();
        junk = byte();
        (void)!guest_memory_write(&vm.memory, at, &junk, 1);
        break;
    case 6:
        call(v);
        break;
    case 7:
        change_layers(byte());
        break;
    case 8:
        v->lapic.tsc_offset += number();
        pv_tsc_moved(v);
        v->halted = byte() & 1;
        (void)pv_unhalts(v);
        save_and_load(v);
        break;
    default:
        now += number() >> 8;
        if (v->hw.wrapped)
            (void)vcpu_exit_wrapped(&v->hw, byte() % (EXIT_VMCALL + 1), now);
        if (byte() == 1)
            pv_reset(&v->pv);
    }
    REQUIRE(v->pv.offered == pv_offered(config.pv));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t around[64];

    if (size < 2)
        return 0;
    input = data;
    input_end = data + size;
    begin(byte());
    struct guest_frame f = {0};
    REQUIRE(guest_memory_lookup(&vm.memory, RAM - 1, &f) == 0);
    uint8_t *behind = (uint8_t *)phys_to_virt(f.hpa) + 1;
    memcpy(around, behind, sizeof(around));
    while (input < input_end) {
        uint8_t what = byte();
        step(what >> 2, &vcpus[what % 4 % CPUS]);
    }
    REQUIRE(memcmp(around, behind, sizeof(around)) == 0);
    return 0;
}
