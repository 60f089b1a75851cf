#include "guest/monitor/monitor.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/string.h"
#include "guest/console/console.h"
#include "guest/vm/control.h"
#include "guest/vm/down.h"
#include "guest/monitor/commands.h"
#include "guest/monitor/editor.h"
#include "guest/monitor/login.h"
#include "guest/monitor/users.h"
#include "guest/watch/watch.h"
#include "mm/heap.h"

#define CTRL_C      0x03
#define TYPED_AHEAD 256u /* a power of two */
#define STEPS       8    /* of a command in one go */

static const char prompt[] = "corbel> ";

static struct editor editor;
static bool in_front;
static struct job job; /* command is NULL while the prompt waits */
static char job_words[EDITOR_LINE + 1];
/* What is typed while a command runs. */
static uint8_t ahead[TYPED_AHEAD];
static unsigned ahead_head, ahead_tail; /* free-running */

/* --- the prompt --- */

static void editor_send(void *ctx, const char *text, size_t length)
{
    console_write(text, length);
}

static bool hide(void)
{
    if (!job.command)
        editor_erase(&editor);
    else
        job_end_progress(&job, "\r" JOB_ERASE_TO_END);
    return !job.keys;
}

static void show(void)
{
    if (!job.command)
        editor_redraw(&editor);
    else if (!job.keys && job.show)
        job.wake = job.show = 1; /* it writes its progress again, at once */
}

/* --- completion --- */

static const char *setting(unsigned n)
{
    static const char *const settings[] = {"weight=", "cap=", "affinity="};

    return n < ARRAY_SIZE(settings) ? settings[n] : NULL;
}

static const char *trace_verb(unsigned n)
{
    static const char *const verbs[] = {"on", "off", "show", "save"};

    return n < ARRAY_SIZE(verbs) ? verbs[n] : NULL;
}

static const char *choice(void *ctx, const char *before, size_t length, unsigned n)
{
    switch (command_expects(commands, command_count, before, length)) {
    case ARGUMENT_COMMAND:
        return n < command_count ? commands[n].name : NULL;
    case ARGUMENT_VM:
        return n < control_count() ? control_slot(n)->name : NULL;
    case ARGUMENT_MOMENT:
        return moments_choice(before, length, n);
    case ARGUMENT_DISK:
        return disks_choice(n);
    case ARGUMENT_CAPTURE:
        return capture_choice(n);
    case ARGUMENT_SETTING:
        return setting(n);
    case ARGUMENT_TRACE:
        return trace_verb(n);
    case ARGUMENT_EVENT:
        return watch_kind_name(n);
    case ARGUMENT_POLICY:
        return watch_policy_name(n, &watch_handlers);
    default:
        return NULL;
    }
}

/* --- commands --- */

static void end_job(void)
{
    if (job.keys)
        job_text("\x1b[?25h", 6); /* the cursor, which it may have hidden */
    job_end_progress(&job, "\r\n");
    heap_free(job.data);
    users_asked();
    memset(&job, 0, sizeof(job));
    if (in_front)
        editor_begin(&editor);
}

static void start_job(void)
{
    char error[COMMAND_ERROR];
    const struct command *c;

    memcpy(job_words, editor.line, sizeof(job_words));
    c = command_parse(commands, command_count, job_words, editor.length, &job.words, error);
    if (!c && error[0])
        job_line("%s", error);
    if (c && !command_is_permitted(c, &job.words, users_permit())) {
        job_line(LOGIN_NO_CHANGES);
        c = NULL;
    }
    if (!c) {
        editor_begin(&editor);
        return;
    }
    job.command = c;
}

static void type(uint8_t byte)
{
    enum editor_event event = editor_input(&editor, byte);

    if (event == EDITOR_ENTER)
        start_job();
    else if (event == EDITOR_END)
        console_back();
}

static void input(uint8_t byte)
{
    if (!job.command) {
        type(byte);
        if (byte == CTRL_C && users_permit())
            down_cancel();
    } else if (byte == CTRL_C) {
        job_end_progress(&job, "");
        job_text("^C\r\n", 4);
        ahead_tail = ahead_head;
        if (job.stop && users_permit())
            job.stop(&job);
        end_job();
    } else if (job.typed) {
        job.typed(byte);
    } else if (job.keys) {
        job.key = byte;
    } else if (ahead_head - ahead_tail < TYPED_AHEAD) {
        ahead[ahead_head++ % TYPED_AHEAD] = byte;
    }
}

static uint64_t obey(void)
{
    for (unsigned i = 0; in_front && console_room() >= CONSOLE_ROOM; i++) {
        if (i == STEPS)
            return rdtsc(); /* again soon, but guests first */
        if (!job.command) {
            if (ahead_tail == ahead_head)
                return CONSOLE_NEVER;
            type(ahead[ahead_tail++ % TYPED_AHEAD]);
            continue;
        }
        if (!job.key && job.wake > rdtsc())
            return job.wake;
        if (!job.command->run(&job)) {
            end_job();
            continue;
        }
        job.step++;
        job.key = 0;
        while (job.typed && ahead_tail != ahead_head)
            job.typed(ahead[ahead_tail++ % TYPED_AHEAD]);
    }
    return CONSOLE_NEVER;
}

static uint64_t work(void)
{
    uint64_t users = users_work(), next = obey();

    return MIN(users, next);
}

/* --- coming and going --- */

void monitor_init(void)
{
    editor_init(&editor, prompt, editor_send, choice, NULL);
}

static void enter(void)
{
    in_front = true;
    editor_begin(&editor);
}

static void leave(void)
{
    in_front = false;
    if (job.command)
        end_job();
    else
        editor_erase(&editor);
}

const struct console_monitor monitor = {
    .enter = enter,
    .leave = leave,
    .input = input,
    .work = work,
    .typed = users_used,
    .permits = users_permit,
    .hide = hide,
    .show = show,
};
