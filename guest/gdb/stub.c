#include "guest/gdb/stub.h"

#include <stdarg.h>

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

#define SIGNAL_INT  2
#define SIGNAL_TRAP 5
#define MEMORY_MAX  (GDB_PAYLOAD / 2 - 16) /* bytes in one packet, as digits */

void gdb_stub_init(struct gdb_stub *s, const struct gdb_target *target,
                   void (*send)(const void *data, size_t size))
{
    memset(s, 0, sizeof(*s));
    s->target = target;
    s->send = send;
}

/* --- answers --- */

void gdb_say(struct gdb_text *t, const char *fmt, ...)
{
    va_list args;
    int length;

    va_start(args, fmt);
    length = vformat(t->text + t->length, sizeof(t->text) - t->length, fmt, args);
    va_end(args);
    if (length > 0)
        t->length = MIN(t->length + (size_t)length, sizeof(t->text) - 1);
}

static PRINTF(2, 3) void answer(struct gdb_stub *s, const char *fmt, ...)
{
    va_list args;
    int length;

    va_start(args, fmt);
    length = vformat(s->reply + s->length, sizeof(s->reply) - s->length, fmt, args);
    va_end(args);
    if (length > 0)
        s->length = MIN(s->length + (size_t)length, sizeof(s->reply) - 1);
}

static void answer_hex(struct gdb_stub *s, const void *data, size_t size)
{
    size = MIN(size, (sizeof(s->reply) - s->length) / 2);
    gdb_put_hex(s->reply + s->length, data, size);
    s->length += 2 * size;
}

/* gdb prints the number of an "E" answer as it is: the errno. */
static void answer_result(struct gdb_stub *s, int result)
{
    if (result < 0)
        answer(s, "E%02x", (unsigned)-result & 0xff);
    else
        answer(s, "OK");
}

static void send_reply(struct gdb_stub *s)
{
    s->frame_length = gdb_frame(s->frame, s->reply, s->length);
    s->send(s->frame, s->frame_length);
}

/* --- words of the protocol --- */

struct cursor {
    const char *at, *end;
};

static bool skip(struct cursor *c, char what)
{
    if (c->at >= c->end || *c->at != what)
        return false;
    c->at++;
    return true;
}

static bool skip_word(struct cursor *c, const char *word)
{
    size_t length = strlen(word);

    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
        return false;
    c->at += length;
    return true;
}

static bool number(struct cursor *c, uint64_t *value)
{
    return gdb_get_number(&c->at, c->end, value);
}

/* A thread of the protocol: -1 is all of them, 0 any, n the thread n - 1. */
enum { ALL_THREADS = -1 };

static bool thread_id(struct gdb_stub *s, struct cursor *c, int *thread)
{
    uint64_t n;

    if (skip_word(c, "-1")) {
        *thread = ALL_THREADS;
        return true;
    }
    if (!number(c, &n) || n > s->target->threads())
        return false;
    *thread = n ? (int)n - 1 : (int)s->thread;
    return true;
}

/* --- registers --- */

static void read_registers(struct gdb_stub *s)
{
    int result = s->target->get(s->thread, &s->registers);

    if (result < 0) {
        answer_result(s, result);
        return;
    }
    for (unsigned i = 0; i < gdb_register_count(); i++) {
        size_t size = 0;
        const void *at = gdb_register(&s->registers, i, &size);
        answer_hex(s, at, size);
    }
}

static void write_registers(struct gdb_stub *s, struct cursor *c)
{
    int result = s->target->get(s->thread, &s->registers);

    for (unsigned i = 0; i < gdb_register_count() && result >= 0; i++) {
        uint8_t value[16];
        size_t size = 0;
        void *at = gdb_register(&s->registers, i, &size);
        if ((size_t)(c->end - c->at) < 2 * size || !gdb_get_hex(c->at, value, size))
            result = -EINVAL;
        else if (gdb_register_writable(i))
            memcpy(at, value, size);
        c->at += MIN((size_t)(c->end - c->at), 2 * size);
    }
    if (result >= 0)
        result = s->target->set(s->thread, &s->registers);
    answer_result(s, result);
}

static void read_register(struct gdb_stub *s, struct cursor *c)
{
    uint64_t n;
    size_t size = 0;
    const void *at = number(c, &n) && n < gdb_register_count()
                         ? gdb_register(&s->registers, (unsigned)n, &size)
                         : NULL;
    int result = at ? s->target->get(s->thread, &s->registers) : -EINVAL;

    if (result < 0)
        answer_result(s, result);
    else
        answer_hex(s, at, size);
}

static void write_register(struct gdb_stub *s, struct cursor *c)
{
    uint64_t n;
    size_t size = 0;
    void *at = number(c, &n) && n < gdb_register_count()
                   ? gdb_register(&s->registers, (unsigned)n, &size)
                   : NULL;
    int result = at && skip(c, '=') && gdb_register_writable((unsigned)n) ? 0 : -EINVAL;

    if (result == 0)
        result = s->target->get(s->thread, &s->registers);
    if (result >= 0 && ((size_t)(c->end - c->at) != 2 * size || !gdb_get_hex(c->at, at, size)))
        result = -EINVAL;
    if (result >= 0)
        result = s->target->set(s->thread, &s->registers);
    answer_result(s, result);
}

/* --- memory --- */

static void read_memory(struct gdb_stub *s, struct cursor *c)
{
    uint8_t data[MEMORY_MAX];
    uint64_t address, size;
    size_t done;

    if (!number(c, &address) || !skip(c, ',') || !number(c, &size)) {
        answer_result(s, -EINVAL);
        return;
    }
    /* Less than was asked for is a valid answer: 4 GiB are asked for again piece by piece. */
    size = MIN(size, sizeof(data));
    done = s->target->read(s->thread, s->physical, address, data, size);
    if (done || !size)
        answer_hex(s, data, done);
    else
        answer_result(s, -EFAULT);
}

static void write_memory(struct gdb_stub *s, struct cursor *c)
{
    uint8_t data[GDB_PAYLOAD / 2];
    uint64_t address, size;
    bool ok = number(c, &address) && skip(c, ',') && number(c, &size) && skip(c, ':') &&
              size <= sizeof(data) && (size_t)(c->end - c->at) == 2 * size &&
              gdb_get_hex(c->at, data, size);

    if (!ok)
        answer_result(s, -EINVAL);
    else if (s->target->write(s->thread, s->physical, address, data, size) == size)
        answer_result(s, 0);
    else
        answer_result(s, -EFAULT);
}

/* --- breakpoints and watchpoints --- */

static bool point(struct cursor *c, struct gdb_point *p, bool *known)
{
    uint64_t kind, size;

    if (!number(c, &kind) || !skip(c, ',') || !number(c, &p->address) || !skip(c, ',') ||
        !number(c, &size))
        return false;
    p->size = (unsigned)MIN(size, 9);
    /* 3 is a watch on reads alone, which the processor has not. */
    *known = kind == 0 || kind == 1 || kind == 2 || kind == 4;
    p->kind = kind == 4 ? GDB_POINT_ACCESS : (enum gdb_point_kind)(kind & 3);
    return true;
}

static void change_point(struct gdb_stub *s, struct cursor *c, bool insert)
{
    struct gdb_point p;
    bool known;

    if (!point(c, &p, &known))
        answer_result(s, -EINVAL);
    else if (known)
        answer_result(s, insert ? s->target->insert(s->thread, &p) : s->target->remove(&p));
}

/* --- running and stopping --- */

static void resume(struct gdb_stub *s, const enum gdb_action *action)
{
    int result = s->target->resume(action);

    if (result < 0)
        answer_result(s, result);
    else
        s->running = s->silent = true;
}

static void resume_all(struct gdb_stub *s, enum gdb_action this_one)
{
    enum gdb_action action[GDB_THREADS];

    for (unsigned i = 0; i < GDB_THREADS; i++)
        action[i] = i == s->thread ? this_one : GDB_CONTINUE;
    resume(s, action);
}

/* "vCont;s:1;c": for each thread the first that names it. Signals mean nothing to a VM. */
static void resume_each(struct gdb_stub *s, struct cursor *c)
{
    enum gdb_action action[GDB_THREADS] = {GDB_STAY};

    while (skip(c, ';')) {
        char letter = c->at < c->end ? *c->at++ : 0;
        uint64_t signal;
        int thread = ALL_THREADS;

        if (letter == 'C' || letter == 'S')
            (void)number(c, &signal);
        if (!letter || !strchr("cCsS", letter) || (skip(c, ':') && !thread_id(s, c, &thread))) {
            answer_result(s, -EINVAL);
            return;
        }
        for (int i = 0; i < GDB_THREADS; i++)
            if (action[i] == GDB_STAY && (thread == ALL_THREADS || thread == i))
                action[i] = letter == 'c' || letter == 'C' ? GDB_CONTINUE : GDB_STEP;
    }
    resume(s, action);
}

void gdb_stub_stopped(struct gdb_stub *s, const struct gdb_stop *stop)
{
    if (!s->running)
        return;
    s->running = false;
    s->length = 0;
    if (stop->why != GDB_EXITED && stop->why != GDB_KILLED) {
        s->thread = stop->thread;
        answer(s, "T%02xthread:%x;", stop->why == GDB_STOPPED ? SIGNAL_INT : SIGNAL_TRAP,
               stop->thread + 1);
    }
    switch (stop->why) {
    case GDB_SOFTWARE_BREAK:
        answer(s, "swbreak:;");
        break;
    case GDB_HARDWARE_BREAK:
        answer(s, "hwbreak:;");
        break;
    case GDB_WATCH_WRITE:
        answer(s, "watch:%lx;", stop->address);
        break;
    case GDB_WATCH_ACCESS:
        answer(s, "awatch:%lx;", stop->address);
        break;
    case GDB_EXITED:
        answer(s, "W00");
        break;
    case GDB_KILLED:
        answer(s, "X09");
        break;
    default:
        break;
    }
    send_reply(s);
}

/* gdb has just connected, maybe behind one that died: what that one left is taken away. */
static void first_question(struct gdb_stub *s)
{
    s->target->remove_all();
    s->physical = false;
    s->running = s->silent = true;
    s->target->stop();
}

/* --- questions --- */

static void describe_target(struct gdb_stub *s, struct cursor *c)
{
    uint64_t offset, size;
    size_t got;

    if (!skip_word(c, "target.xml:") || !number(c, &offset) || !skip(c, ',') || !number(c, &size)) {
        answer_result(s, -EINVAL);
        return;
    }
    size = MIN(size, GDB_PAYLOAD / 2);
    got = gdb_target_xml(offset, s->reply + 1, size);
    s->reply[0] = got < size ? 'l' : 'm';
    s->length = 1 + got;
}

static void list_threads(struct gdb_stub *s)
{
    unsigned count = s->target->threads();

    for (unsigned i = 0; i < count; i++)
        answer(s, "%s%x", i ? "," : "m", i + 1);
    if (!count)
        answer(s, "l");
}

static void thread_text(struct gdb_stub *s, struct cursor *c)
{
    int thread;

    s->text.length = 0;
    if (thread_id(s, c, &thread) && thread >= 0 &&
        s->target->thread_text((unsigned)thread, &s->text))
        answer_hex(s, s->text.text, s->text.length);
    else
        answer_result(s, -EINVAL);
}

static void monitor(struct gdb_stub *s, struct cursor *c)
{
    char line[200];
    size_t length = (size_t)(c->end - c->at) / 2;

    if (length > sizeof(line) || !gdb_get_hex(c->at, line, length)) {
        answer_result(s, -EINVAL);
        return;
    }
    s->text.length = 0;
    if (length == 7 && memcmp(line, "phys on", 7) == 0) {
        s->physical = true;
        gdb_say(&s->text, "addresses of memory are guest-physical now\n");
    } else if (length == 8 && memcmp(line, "phys off", 8) == 0) {
        s->physical = false;
        gdb_say(&s->text, "addresses of memory are the vCPU's own again\n");
    } else {
        s->target->monitor(line, length, &s->text);
    }
    s->thread = MIN(s->thread, MAX(s->target->threads(), 1) - 1);
    if (s->text.length)
        answer_hex(s, s->text.text, s->text.length);
    else
        answer_result(s, 0);
}

static void question(struct gdb_stub *s, struct cursor *c)
{
    if (skip_word(c, "Supported"))
        answer(s,
               "PacketSize=%x;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;"
               "QStartNoAckMode+",
               GDB_PAYLOAD);
    else if (skip_word(c, "Xfer:features:read:"))
        describe_target(s, c);
    else if (skip_word(c, "fThreadInfo"))
        list_threads(s);
    else if (skip_word(c, "sThreadInfo"))
        answer(s, "l");
    else if (skip_word(c, "ThreadExtraInfo,"))
        thread_text(s, c);
    else if (skip_word(c, "Attached"))
        answer(s, "1");
    else if (skip_word(c, "Rcmd,"))
        monitor(s, c);
    else if (skip_word(c, "qemu.PhyMemMode"))
        answer(s, "%d", s->physical);
    else if (c->at + 1 == c->end && *c->at == 'C')
        answer(s, "QC%x", s->thread + 1);
}

static void setting(struct gdb_stub *s, struct cursor *c)
{
    if (skip_word(c, "StartNoAckMode")) {
        s->no_ack = true;
        answer_result(s, 0);
    } else if (skip_word(c, "qemu.PhyMemMode:")) {
        s->physical = skip(c, '1');
        answer_result(s, 0);
    }
}

static void choose_thread(struct gdb_stub *s, struct cursor *c)
{
    bool registers = skip(c, 'g');
    int thread;

    if ((!registers && !skip(c, 'c')) || !thread_id(s, c, &thread)) {
        answer_result(s, -EINVAL);
        return;
    }
    if (registers && thread >= 0 && (unsigned)thread < s->target->threads())
        s->thread = (unsigned)thread;
    answer_result(s, 0);
}

/* --- commands --- */

/* An empty answer: what is not known here. */
static void obey(struct gdb_stub *s)
{
    struct cursor c = {s->in.payload, s->in.payload + s->in.length};
    char letter = c.at < c.end ? *c.at++ : 0;
    int thread;

    switch (letter) {
    case '?':
        first_question(s);
        break;
    case 'g':
        read_registers(s);
        break;
    case 'G':
        write_registers(s, &c);
        break;
    case 'p':
        read_register(s, &c);
        break;
    case 'P':
        write_register(s, &c);
        break;
    case 'm':
        read_memory(s, &c);
        break;
    case 'M':
        write_memory(s, &c);
        break;
    case 'Z':
    case 'z':
        change_point(s, &c, letter == 'Z');
        break;
    case 'H':
        choose_thread(s, &c);
        break;
    case 'T':
        answer_result(s, thread_id(s, &c, &thread) ? 0 : -EINVAL);
        break;
    case 'c':
    case 's':
        resume_all(s, letter == 'c' ? GDB_CONTINUE : GDB_STEP);
        break;
    case 'v':
        if (skip_word(&c, "Cont?"))
            answer(s, "vCont;c;C;s;S");
        else if (skip_word(&c, "Cont"))
            resume_each(s, &c);
        break;
    case 'D':
    case 'k': /* "kill", as a gdb that quits may say: no VM ends by accident */
        s->target->detach();
        s->running = false;
        s->silent = letter == 'k';
        answer_result(s, 0);
        break;
    case 'q':
        question(s, &c);
        break;
    case 'Q':
        setting(s, &c);
        break;
    default:
        break;
    }
}

static void packet(struct gdb_stub *s)
{
    bool ack = !s->no_ack;

    /* A new gdb expects acknowledgements, whatever the last one agreed on. */
    if (s->in.length >= 10 && memcmp(s->in.payload, "qSupported", 10) == 0) {
        s->no_ack = false;
        s->running = false;
        ack = true;
    }
    if (ack)
        s->send("+", 1);
    s->length = 0;
    s->silent = false;
    obey(s);
    if (!s->silent)
        send_reply(s);
}

void gdb_stub_input(struct gdb_stub *s, uint8_t byte)
{
    switch (gdb_receive(&s->in, byte)) {
    case GDB_PACKET:
        packet(s);
        break;
    case GDB_DAMAGED:
        if (!s->no_ack)
            s->send("-", 1);
        break;
    case GDB_NAK:
        if (s->frame_length)
            s->send(s->frame, s->frame_length);
        break;
    case GDB_INTERRUPT:
        if (s->running)
            s->target->stop();
        break;
    case GDB_ACK:
    case GDB_NOTHING:
        break;
    }
}
