/* links: guest/gdb/memory.c guest/gdb/packet.c guest/gdb/query.c guest/gdb/registers.c guest/gdb/stub.c guest/gdb/words.c arch/x86/lib/format.c */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "guest/gdb/stub.h"
#include "tests/fuzz/require.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gdb_registers registers;
static uint8_t memory[256];
static unsigned threads;
static size_t sent;
static bool resumed, stop_wanted, away;

static void send(const void *data, size_t size)
{
    const char *bytes = data;

    sent += size;
    REQUIRE(size <= GDB_FRAME);
    if (size > 1)
        REQUIRE(bytes[0] == '$' && bytes[size - 3] == '#' && !memchr(bytes + 1, '$', size - 1));
}

static unsigned count_threads(void)
{
    return threads;
}

static bool thread_text(unsigned thread, struct gdb_text *out)
{
    REQUIRE(thread < threads || thread == 0);
    gdb_say(out, "vCPU %u", thread);
    return true;
}

static int get(unsigned thread, struct gdb_registers *r)
{
    if (thread >= threads)
        return -EBUSY;
    *r = registers;
    return 0;
}

static int set(unsigned thread, const struct gdb_registers *r)
{
    REQUIRE(thread < threads && r->cr3 == registers.cr3 && r->selector[0] == registers.selector[0]);
    registers = *r;
    return 0;
}

static size_t read_memory(unsigned thread, bool physical, uint64_t address, void *data, size_t size)
{
    REQUIRE(size < GDB_PAYLOAD);
    if (address >= sizeof(memory))
        return 0;
    size = MIN(size, sizeof(memory) - address);
    memcpy(data, memory + address, size);
    return size;
}

static size_t write_memory(unsigned thread, bool physical, uint64_t address, const void *data,
                           size_t size)
{
    REQUIRE(size <= GDB_PAYLOAD);
    if (address >= sizeof(memory))
        return 0;
    size = MIN(size, sizeof(memory) - address);
    memcpy(memory + address, data, size);
    return size;
}

static int insert(unsigned thread, const struct gdb_point *p)
{
    REQUIRE(p->kind <= GDB_POINT_ACCESS && p->size <= 9);
    return p->address & 1 ? -EFAULT : 0;
}

static int take_away(const struct gdb_point *p)
{
    REQUIRE(p->kind <= GDB_POINT_ACCESS);
    return 0;
}

static void remove_all(void)
{
}

static bool ready(void)
{
    return !away;
}

static int resume(const enum gdb_action *action)
{
    for (unsigned i = 0; i < GDB_THREADS; i++)
        REQUIRE(action[i] <= GDB_STEP);
    resumed = true;
    return threads ? 0 : -EBUSY;
}

static void stop(void)
{
    stop_wanted = true;
}

static void detach(void)
{
}

static void monitor(const char *line, size_t length, struct gdb_text *out)
{
    threads = length % 4; /* another VM */
    gdb_say(out, "%.*s", (int)length, line);
}

static const struct gdb_target target = {
    .threads = count_threads,
    .thread_text = thread_text,
    .get = get,
    .set = set,
    .read = read_memory,
    .write = write_memory,
    .insert = insert,
    .remove = take_away,
    .remove_all = remove_all,
    .ready = ready,
    .resume = resume,
    .stop = stop,
    .detach = detach,
    .monitor = monitor,
};

static void line(struct gdb_stub *s, uint8_t byte)
{
    const struct gdb_stop stopped = {.why = byte % (GDB_KILLED + 1),
                                     .thread = 0,
                                     .hits = byte % (GDB_HITS + 1),
                                     .hit = {{.address = byte}}};

    sent = 0;
    away = byte & 1;
    if (byte % 7 == 0) {
        gdb_say(&s->news, "%u", byte);
        gdb_stub_tell(s);
    }
    gdb_stub_input(s, byte);
    away = false;
    if (byte % 5)
        gdb_stub_ready(s);
    REQUIRE(sent <= 4 * GDB_FRAME + 1 && s->in.length <= GDB_PAYLOAD && s->length <= GDB_PAYLOAD);
    REQUIRE(s->thread < MAX(threads, 1) || s->thread < GDB_THREADS);
    if (stop_wanted)
        gdb_stub_stopped(s, &stopped);
    stop_wanted = resumed = false;
}

/* The bytes as they are; and lines of them as packets whose checksums are right. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gdb_stub *s = malloc(sizeof(*s));
    char frame[GDB_FRAME];

    threads = 2;
    memset(&registers, 0, sizeof(registers));
    gdb_stub_init(s, &target, send);
    for (size_t i = 0; i < size; i++)
        line(s, data[i]);
    gdb_stub_init(s, &target, send);
    for (size_t at = 0; at < size;) {
        const uint8_t *end = memchr(data + at, '\n', size - at);
        size_t length = end ? (size_t)(end - data) - at : size - at;
        size_t n = gdb_frame(frame, (const char *)data + at, MIN(length, GDB_PAYLOAD));
        for (size_t i = 0; i < n; i++)
            line(s, (uint8_t)frame[i]);
        at += length + 1;
    }
    free(s);
    return 0;
}
