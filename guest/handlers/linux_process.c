/*
 * linux-process: each switch of a Linux guest to another process, with its name. An example of a
 * handler (docs/RESEARCH.md), for the event cr3.
 *
 * When the scheduler loads CR3, the run queue's `curr` is the next task already, while the task
 * that runs is still the one before. `rq` is the run queue's place in the per-CPU area, to which
 * the GS base points in the kernel; `comm` and `pid` are places in task_struct. They depend on the
 * kernel: tools/linux-offsets finds them in its file. A Linux with page-table isolation writes CR3
 * at each system call, too: the same task with the same name again is not told.
 */
#include "arch/x86/lib/string.h"
#include "guest/cpu/linear.h"
#include "guest/vm/vm.h"
#include "guest/watch/handler.h"

#define COMM 16 /* TASK_COMM_LEN */

enum { RQ, COMM_AT, PID_AT };

static bool get(struct vcpu *v, uint64_t linear, void *data, size_t size)
{
    return linear_peek(v, linear, data, size) == size;
}

static enum watch_verdict process_switch(struct vcpu *v, const struct watch_event *e)
{
    struct vmx_segment gs;
    char comm[COMM + 1] = "";
    uint64_t task, name[2];
    uint32_t pid;

    vmx_get_segment(SEG_GS, &gs);
    if (!get(v, gs.base + e->parameter[RQ], &task, sizeof(task)) ||
        !get(v, task + e->parameter[COMM_AT], comm, COMM) ||
        !get(v, task + e->parameter[PID_AT], &pid, sizeof(pid)))
        return WATCH_GO_ON;
    memcpy(name, comm, sizeof(name));
    task ^= name[0] ^ name[1] << 1; /* execve() gives the same task another name */
    if (task == *e->memory)
        return WATCH_GO_ON;
    *e->memory = task;
    watch_say(v, e, "vcpu %u runs %s (pid %u)", v->id, comm, pid);
    return WATCH_GO_ON;
}

WATCH_HANDLER(process_switch, "linux-process", "log each switch to another process", BIT(WATCH_CR3),
              "rq", "comm", "pid");
