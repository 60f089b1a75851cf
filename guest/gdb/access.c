#include "guest/gdb/access.h"

#include "arch/x86/lib/errno.h"
#include "guest/gdb/inspect.h"
#include "guest/gdb/points.h"
#include "guest/run/run.h"

struct vm_slot *gdb_slot;

static struct vm *vm(void)
{
    return gdb_slot ? gdb_slot->vm : NULL;
}

bool access_stands_still(void)
{
    return vm() && life_stands_still(gdb_slot->state);
}

/* --- looking at vCPUs --- */

struct request {
    struct gdb_registers *get;
    const struct gdb_registers *set;
    int result;
};

static void exchange(struct vcpu *v, void *arg)
{
    struct request *r = arg;

    if (r->get)
        gdb_get_registers(v, r->get);
    if (r->set)
        r->result = gdb_set_registers(v, r->set);
}

unsigned access_threads(void)
{
    return vm() ? MIN(vm()->vcpu_count, GDB_THREADS) : 0;
}

bool access_thread_text(unsigned thread, struct gdb_text *out)
{
    const struct vcpu *v = thread < access_threads() ? vm()->vcpu[thread] : NULL;

    if (!v)
        return false;
    gdb_say(out, "%s vCPU %u%s", gdb_slot->name, thread,
            v->wait_for_startup ? ", waits for its start-up"
            : v->halted         ? ", halted"
                                : "");
    return true;
}

int access_get(unsigned thread, struct gdb_registers *r)
{
    struct request request = {.get = r};

    return thread < access_threads() ? vcpu_inspect(vm()->vcpu[thread], exchange, &request)
                                     : -ENODEV;
}

int access_set(unsigned thread, const struct gdb_registers *r)
{
    struct request request = {.set = r};
    int result;

    if (!access_stands_still() || thread >= access_threads())
        return -EBUSY;
    result = vcpu_inspect(vm()->vcpu[thread], exchange, &request);
    return result < 0 ? result : request.result;
}

/* --- memory --- */

/* Page by page, as far as there is RAM. */
static size_t copy(unsigned thread, bool physical, uint64_t address, void *in, const void *out,
                   size_t size)
{
    static struct gdb_registers r;
    size_t done = 0;

    if (thread >= access_threads() || (!physical && access_get(thread, &r) < 0))
        return 0;
    while (done < size) {
        uint64_t at = address + done, gpa = at;
        size_t piece = MIN(size - done, PAGE_SIZE - at % PAGE_SIZE);

        if (!physical && gdb_translate(vm()->vcpu[thread], &r, at, &gpa) < 0)
            break;
        if ((out ? points_write(&vm()->memory, gpa, (const char *)out + done, piece)
                 : points_read(&vm()->memory, gpa, (char *)in + done, piece)) < 0)
            break;
        done += piece;
    }
    return done;
}

size_t access_read(unsigned thread, bool physical, uint64_t address, void *data, size_t size)
{
    return copy(thread, physical, address, data, NULL, size);
}

size_t access_write(unsigned thread, bool physical, uint64_t address, const void *data, size_t size)
{
    return access_stands_still() ? copy(thread, physical, address, NULL, data, size) : 0;
}
