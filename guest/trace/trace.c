#include "guest/trace/trace.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"
#include "arch/x86/smp.h"
#include "arch/x86/spinlock.h"
#include "arch/x86/trap.h"
#include "arch/x86/tsc.h"
#include "drivers/serial.h" /* SERIAL_FIFO */
#include "guest/com2/com2.h"
#include "guest/run/run.h"
#include "guest/trace/block.h"
#include "guest/trace/ring.h"
#include "guest/trace/wire.h"
#include "guest/cpu/probe.h"
#include "guest/vm/disks.h"
#include "mm/heap.h"

/* A FIFO of the port at 115200 baud, ten bits a byte. */
#define FIFO_PER_SECOND (11520 / SERIAL_FIFO)
/* Who joins the stream late has to wait so long for names and clock. */
#define INFO_PER_SECOND 2

uint32_t trace_events;
unsigned trace_vm = TRACE_ALL_VMS;

static struct trace_ring *rings[SMP_CPUS_MAX];
static size_t ring_bytes;
static bool port; /* there is one, and it is ours, too */
static struct trace_info info;
static uint64_t block_since; /* when class BLOCK was switched on */

/* The stream: whoever holds the lock sends. */
static struct spinlock stream_lock = SPINLOCK(RANK_TRACE);
static unsigned next_ring;
static size_t next_name;
static uint16_t sequence;
static uint64_t next_send, next_info;
/* What is sent once more, by ring: records up to here were sent before; the last one's number, and
 * one. */
static struct saved {
    uint64_t sent, end;
} saved[SMP_CPUS_MAX];

/* --- on and off --- */

void trace_init(const struct vm_config *vms, size_t vm_count, size_t bytes)
{
    info.vms = vms;
    info.vm_count = vm_count;
    ring_bytes = bytes;
}

static int allocate_rings(void)
{
    for (unsigned i = 0; i < info.cpus; i++) {
        struct trace_ring *r;

        if (rings[i])
            continue;
        r = heap_alloc(sizeof(*r));
        void *records = r ? heap_alloc(ring_bytes) : NULL;
        if (!records) {
            heap_free(r);
            log_error("trace: no memory for processor %u: %lu KiB", i, ring_bytes / KIB);
            return -ENOMEM;
        }
        trace_ring_init(r, records, ring_bytes);
        rings[i] = r;
    }
    return 0;
}

static void interrupt_taken(unsigned vector)
{
    const struct trace_record r = {
        .time = rdtsc(), .kind = TRACE_INTERRUPTS, .code = vector, .vm = TRACE_NO_VM};

    trace_put(&r);
}

static uint32_t wanted(const struct vm *vm)
{
    return trace_vm == TRACE_ALL_VMS || trace_vm == vm->id ? trace_events : 0;
}

static void disk_request(const struct vm *vm, unsigned disk, const struct device_disk_event *event)
{
    if (!(wanted(vm) & BIT(TRACE_BLOCK)))
        return;
    const struct trace_record r = trace_block_record(rdtsc(), block_since, vm->id, disk, event);

    trace_put(&r);
}

/* vCPUs come to their processors' loops, where they adopt what is wanted. */
static void tell_processors(void)
{
    for (unsigned i = 0; i < info.cpus; i++)
        run_attention(i);
}

int trace_on(unsigned vm, uint32_t events)
{
    int error, opened;

    info.cpus = (uint16_t)smp_cpus;
    error = allocate_rings();
    if (error)
        return error;
    info.tsc_hz = tsc_hz;
    if (!info.start)
        info.start = rdtsc();
    info.events = events;
    next_info = 0;
    trace_vm = vm;
    interrupt_set_observer(events & BIT(TRACE_INTERRUPTS) ? interrupt_taken : NULL);
    block_since = rdtsc();
    vm_disks_set_observer(events & BIT(TRACE_BLOCK) ? disk_request : NULL);
    trace_events = events;
    probes_begin();
    tell_processors();
    opened = com2_open(COM2_TRACE);
    port = opened == 0;
    if (opened < 0)
        log_warn("trace: %s: records stay in memory",
                 opened == -EBUSY
                     ? "the second serial port has the debugger (with `com2 = framed` both do)"
                     : "there is no second serial port (2F8h)");
    return 0;
}

void trace_off(void)
{
    interrupt_set_observer(NULL);
    vm_disks_set_observer(NULL);
    trace_events = 0;
    info.events = 0;
    tell_processors();
}

/* --- the stream --- */

static size_t next_packet(uint64_t now, uint8_t packet[TRACE_PACKET_MAX])
{
    if (now >= next_info) {
        next_info = now + tsc_hz / INFO_PER_SECOND;
        info.now = now;
        return trace_pack_info(&info, &next_name, sequence++, packet);
    }
    for (unsigned i = 0; i < info.cpus; i++) {
        unsigned cpu = next_ring++ % info.cpus;
        size_t length = trace_pack_records(rings[cpu], (uint16_t)cpu, sequence, packet);

        if (length) {
            sequence++;
            return length;
        }
    }
    return 0;
}

/* With the lock held. Packets are made only as fast as they are sent: the more wait, the more go
 * into one. Returns whether something is left to send. Out of line: exits that send nothing, which
 * are most, need no room for a packet. */
static __attribute__((noinline)) bool send(uint64_t now)
{
    uint8_t packet[TRACE_PACKET_MAX];

    if (!com2_sending(COM2_TRACE)) {
        size_t length = next_packet(now, packet);

        if (!length)
            return false;
        com2_write(COM2_TRACE, packet, length);
    } else {
        com2_poll();
    }
    next_send = now + tsc_hz / FIFO_PER_SECOND;
    return true;
}

static bool streaming(void)
{
    return info.start && port;
}

uint64_t trace_pump(void)
{
    uint64_t now, next = UINT64_MAX;

    if (!streaming())
        return UINT64_MAX;
    now = rdtsc();
    if (now < next_send)
        return next_send;
    if (!spin_trylock(&stream_lock))
        return UINT64_MAX; /* another CPU sends */
    if (send(now))
        next = next_send;
    spin_unlock(&stream_lock);
    return next;
}

void trace_finish(void)
{
    if (!streaming())
        return;
    trace_off();
    next_info = 0;
}

/* Whether a second has passed since the port's ring or the records' rings have last changed. */
static bool stuck(uint64_t left)
{
    static uint64_t since, before, room;
    uint64_t now = rdtsc();

    if (left != before || com2_room(COM2_TRACE) != room || now - since > 2 * tsc_hz) {
        before = left;
        room = com2_room(COM2_TRACE);
        since = now;
    }
    return now - since > tsc_hz;
}

uint64_t trace_left(void)
{
    uint64_t left = streaming() ? trace_state().waiting : 0;

    if (!left && streaming())
        left = !next_info || com2_sending(COM2_TRACE);
    return left && !stuck(left) ? left : 0;
}

int64_t trace_save(void)
{
    int64_t records = 0;

    if (!streaming())
        return -ENODEV;
    if (!spin_trylock(&stream_lock))
        return -EBUSY;
    for (unsigned i = 0; i < info.cpus; i++) {
        struct trace_ring *r = rings[i];
        saved[i] = (struct saved){.sent = MAX(saved[i].sent, r->tail), .end = r->head};
        r->tail = MIN(r->tail, trace_ring_oldest(r));
        records += (int64_t)(saved[i].end - r->tail);
    }
    next_info = 0;
    spin_unlock(&stream_lock);
    return records;
}

uint64_t trace_save_left(void)
{
    uint64_t left = 0;

    for (unsigned i = 0; i < info.cpus && rings[i]; i++)
        left += saved[i].end - MIN(rings[i]->tail, saved[i].end);
    return left && !stuck(left) ? left : 0;
}

void trace_save_stop(void)
{
    spin_lock(&stream_lock);
    for (unsigned i = 0; i < info.cpus && rings[i]; i++) {
        rings[i]->tail = MAX(rings[i]->tail, saved[i].sent);
        saved[i] = (struct saved){0};
    }
    spin_unlock(&stream_lock);
}

/* --- for the monitor --- */

struct trace_state trace_state(void)
{
    struct trace_state s = {.port = com2_may_open(COM2_TRACE)};

    for (unsigned i = 0; i < info.cpus && rings[i]; i++) {
        s.recorded += rings[i]->head;
        s.waiting += rings[i]->head - rings[i]->tail;
        s.lost += rings[i]->lost;
    }
    return s;
}

void trace_show(struct trace_view *v)
{
    trace_view_open(v, rings, info.start ? info.cpus : 0);
}

bool trace_show_next(struct trace_view *v, char line[TRACE_TEXT])
{
    struct trace_record r;
    char name[CONFIG_MAX_NAME + 1] = "?";
    unsigned cpu;

    if (!trace_view_next(v, &r, &cpu))
        return false;
    if (r.vm < info.vm_count)
        format(name, sizeof(name), "%.*s", (int)info.vms[r.vm].name.length,
               info.vms[r.vm].name.data);
    trace_text(line, &r, cpu, name, tsc_to_ns(r.time - info.start) / 1000);
    return true;
}

/* --- where things happen --- */

void trace_put(const struct trace_record *r)
{
    struct trace_ring *ring = rings[this_cpu()->number];

    if (LIKELY(ring))
        trace_ring_put(ring, r);
}

static void record_sched(const struct vcpu *v, enum trace_sched code)
{
    const struct trace_record r = {.time = rdtsc(),
                                   .kind = TRACE_SCHEDULING,
                                   .code = code,
                                   .vm = (uint16_t)v->vm->id,
                                   .vcpu = (uint16_t)v->id};

    trace_put(&r);
}

void trace_run(struct vcpu *v)
{
    v->trace = wanted(v->vm);
    if (v->trace & BIT(TRACE_SCHEDULING))
        record_sched(v, TRACE_SCHED_RUN);
    if (v->trace & BIT(TRACE_INJECTIONS))
        trace_injection(v);
}

void trace_leave(struct vcpu *v, int leave)
{
    if (v->trace & BIT(TRACE_SCHEDULING))
        record_sched(v, leave == VCPU_HALTED      ? TRACE_SCHED_HALTED
                        : leave == VCPU_PREEMPTED ? TRACE_SCHED_PREEMPTED
                                                  : TRACE_SCHED_STOPPED);
}

void trace_device(const struct vm *vm, enum trace_device code, uint64_t a, uint64_t b)
{
    if (!(trace_events & BIT(TRACE_DEVICES)))
        return;
    const struct trace_record r = {.time = rdtsc(),
                                   .kind = TRACE_DEVICES,
                                   .code = code,
                                   .vm = (uint16_t)vm->id,
                                   .a = a,
                                   .b = b};

    if (wanted(vm))
        trace_put(&r);
}

/* --- words --- */

int trace_class_by_name(const char *name, size_t length, uint32_t *events)
{
#define TRACE_CLASS_NAME(symbol, word, what) word,
    static const char *const names[TRACE_CLASSES] = {TRACE_CLASS_LIST(TRACE_CLASS_NAME)};
#undef TRACE_CLASS_NAME

    if (length == 3 && memcmp(name, "all", 3) == 0) {
        *events |= TRACE_EVERYTHING;
        return 0;
    }
    for (unsigned i = 0; i < TRACE_CLASSES; i++) {
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0) {
            *events |= (uint32_t)BIT(i);
            return 0;
        }
    }
    return -ENOENT;
}
