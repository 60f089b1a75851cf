#include "guest/gdb/stub.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/gdb/words.h"

#define SIGNAL_INT  2
#define SIGNAL_TRAP 5

void gdb_stub_init(struct gdb_stub *s, const struct gdb_target *target,
                   void (*send)(const void *data, size_t size))
{
    memset(s, 0, sizeof(*s));
    s->target = target;
    s->send = send;
}

static void send_reply(struct gdb_stub *s)
{
    s->frame_length = gdb_frame(s->frame, s->reply, s->length);
    s->send(s->frame, s->frame_length);
}

/* --- registers --- */

static void read_registers(struct gdb_stub *s)
{
    int result = s->target->get(s->thread, &s->registers);

    if (result < 0) {
        gdb_answer_result(s, result);
        return;
    }
    for (unsigned i = 0; i < gdb_register_count(); i++) {
        size_t size = 0;
        const void *at = gdb_register(&s->registers, i, &size);
        gdb_answer_hex(s, at, size);
    }
}

static void write_registers(struct gdb_stub *s, struct gdb_cursor *c)
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
    gdb_stub_changed(s);
    gdb_answer_result(s, result);
}

static void read_register(struct gdb_stub *s, struct gdb_cursor *c)
{
    uint64_t n;
    size_t size = 0;
    const void *at = gdb_number(c, &n) && n < gdb_register_count()
                         ? gdb_register(&s->registers, (unsigned)n, &size)
                         : NULL;
    int result = at ? s->target->get(s->thread, &s->registers) : -EINVAL;

    if (result < 0)
        gdb_answer_result(s, result);
    else
        gdb_answer_hex(s, at, size);
}

static void write_register(struct gdb_stub *s, struct gdb_cursor *c)
{
    uint64_t n;
    size_t size = 0;
    void *at = gdb_number(c, &n) && n < gdb_register_count()
                   ? gdb_register(&s->registers, (unsigned)n, &size)
                   : NULL;
    int result = at && gdb_skip(c, '=') && gdb_register_writable((unsigned)n) ? 0 : -EINVAL;

    if (result == 0)
        result = s->target->get(s->thread, &s->registers);
    if (result >= 0 && ((size_t)(c->end - c->at) != 2 * size || !gdb_get_hex(c->at, at, size)))
        result = -EINVAL;
    if (result >= 0)
        result = s->target->set(s->thread, &s->registers);
    gdb_stub_changed(s);
    gdb_answer_result(s, result);
}

/* --- breakpoints and watchpoints --- */

static bool point(struct gdb_cursor *c, struct gdb_point *p, bool *known)
{
    uint64_t kind, size;

    if (!gdb_number(c, &kind) || !gdb_skip(c, ',') || !gdb_number(c, &p->address) ||
        !gdb_skip(c, ',') || !gdb_number(c, &size))
        return false;
    p->size = (unsigned)MIN(size, 9);
    /* 3 is a watch on reads alone, which the processor has not. */
    *known = kind == 0 || kind == 1 || kind == 2 || kind == 4;
    p->kind = kind == 4 ? GDB_POINT_ACCESS : (enum gdb_point_kind)(kind & 3);
    return true;
}

static void change_point(struct gdb_stub *s, struct gdb_cursor *c, bool insert)
{
    struct gdb_point p;
    bool known;

    if (!point(c, &p, &known))
        gdb_answer_result(s, -EINVAL);
    else if (known)
        gdb_answer_result(s, insert ? s->target->insert(s->thread, &p) : s->target->remove(&p));
}

/* --- running and stopping --- */

/* Words for whoever sits at gdb, which waits. */
static void send_news(struct gdb_stub *s)
{
    if (!s->news.length)
        return;
    s->length = 0;
    gdb_answer(s, "O");
    gdb_answer_hex(s, s->news.text, s->news.length);
    s->news.length = 0;
    send_reply(s);
}

void gdb_stub_tell(struct gdb_stub *s)
{
    gdb_stub_changed(s);
    if (s->running)
        send_news(s);
}

/* What gdb knows of the target is not so any more: instead of going on it stops at once, and gdb
 * looks anew. */
static bool stopped_by_news(struct gdb_stub *s)
{
    const struct gdb_stop stop = {.why = (enum gdb_why)s->gone};

    if (!s->gone && !s->news.length)
        return false;
    s->running = s->silent = true;
    send_news(s);
    if (s->gone)
        gdb_stub_stopped(s, &stop);
    else
        s->target->stop();
    return true;
}

static void resume(struct gdb_stub *s, const enum gdb_action *action)
{
    int result = s->target->resume(action);

    gdb_stub_changed(s);
    if (result < 0)
        gdb_answer_result(s, result);
    else
        s->running = s->silent = true;
}

static void resume_all(struct gdb_stub *s, enum gdb_action this_one)
{
    enum gdb_action action[GDB_THREADS];

    if (stopped_by_news(s))
        return;
    for (unsigned i = 0; i < GDB_THREADS; i++)
        action[i] = i == s->thread ? this_one : GDB_CONTINUE;
    resume(s, action);
}

/* "vCont;s:1;c": for each thread the first that names it. Signals mean nothing to a VM. */
static void resume_each(struct gdb_stub *s, struct gdb_cursor *c)
{
    enum gdb_action action[GDB_THREADS] = {GDB_STAY};

    if (stopped_by_news(s))
        return;
    while (gdb_skip(c, ';')) {
        char letter = c->at < c->end ? *c->at++ : 0;
        uint64_t signal;
        int thread = GDB_ALL_THREADS;

        if (letter == 'C' || letter == 'S')
            (void)gdb_number(c, &signal);
        if (!letter || !strchr("cCsS", letter) ||
            (gdb_skip(c, ':') && !gdb_thread_id(s, c, &thread))) {
            gdb_answer_result(s, -EINVAL);
            return;
        }
        for (int i = 0; i < GDB_THREADS; i++)
            if (action[i] == GDB_STAY && (thread == GDB_ALL_THREADS || thread == i))
                action[i] = letter == 'c' || letter == 'C' ? GDB_CONTINUE : GDB_STEP;
    }
    resume(s, action);
}

unsigned gdb_stub_hits(const struct gdb_stub *s, unsigned hits)
{
    return MIN(hits, s->all_watches ? GDB_HITS : 1);
}

void gdb_stub_stopped(struct gdb_stub *s, const struct gdb_stop *stop)
{
    bool end = stop->why == GDB_EXITED || stop->why == GDB_KILLED;

    gdb_stub_changed(s);
    if (end)
        s->gone = (uint8_t)stop->why;
    if (!s->running)
        return;
    send_news(s);
    s->running = false;
    s->gone = 0;
    s->length = 0;
    if (!end) {
        s->thread = stop->thread;
        gdb_answer(s, "T%02xthread:%x;", stop->why == GDB_STOPPED ? SIGNAL_INT : SIGNAL_TRAP,
                   stop->thread + 1);
    }
    switch (stop->why) {
    case GDB_SOFTWARE_BREAK:
        gdb_answer(s, "swbreak:;");
        break;
    case GDB_HARDWARE_BREAK:
        gdb_answer(s, "hwbreak:;");
        break;
    case GDB_WATCH:
        for (unsigned i = 0; i < gdb_stub_hits(s, stop->hits); i++)
            gdb_answer(s, "%s:%lx;", stop->hit[i].access ? "awatch" : "watch",
                       stop->hit[i].address);
        break;
    case GDB_EXITED:
        gdb_answer(s, "W00");
        break;
    case GDB_KILLED:
        gdb_answer(s, "X09");
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
    s->news.length = 0;
    s->gone = 0;
    s->running = s->silent = true;
    s->target->stop();
}

static void choose_thread(struct gdb_stub *s, struct gdb_cursor *c)
{
    bool registers = gdb_skip(c, 'g');
    int thread;

    if ((!registers && !gdb_skip(c, 'c')) || !gdb_thread_id(s, c, &thread)) {
        gdb_answer_result(s, -EINVAL);
        return;
    }
    if (registers && thread >= 0 && (unsigned)thread < s->target->threads())
        s->thread = (unsigned)thread;
    gdb_answer_result(s, 0);
}

/* --- commands --- */

/* An empty answer: what is not known here. */
static void obey(struct gdb_stub *s)
{
    struct gdb_cursor c = {s->in.payload, s->in.payload + s->in.length};
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
    case 'x':
        gdb_read_memory(s, &c, letter == 'x');
        break;
    case 'M':
    case 'X':
        gdb_write_memory(s, &c, letter == 'X');
        break;
    case 'Z':
    case 'z':
        change_point(s, &c, letter == 'Z');
        break;
    case 'H':
        choose_thread(s, &c);
        break;
    case 'T':
        gdb_answer_result(s, gdb_thread_id(s, &c, &thread) ? 0 : -EINVAL);
        break;
    case 'c':
    case 's':
        resume_all(s, letter == 'c' ? GDB_CONTINUE : GDB_STEP);
        break;
    case 'v':
        if (gdb_skip_word(&c, "Cont?"))
            gdb_answer(s, "vCont;c;C;s;S");
        else if (gdb_skip_word(&c, "Cont"))
            resume_each(s, &c);
        break;
    case 'D':
    case 'k': /* "kill", as a gdb that quits may say: no VM ends by accident */
        s->target->detach();
        s->running = false;
        s->news.length = 0;
        s->gone = 0;
        s->silent = letter == 'k';
        gdb_answer_result(s, 0);
        break;
    case 'q':
        gdb_question(s, &c);
        break;
    case 'Q':
        gdb_setting(s, &c);
        break;
    default:
        break;
    }
}

/* --- sessions --- */

/* Somebody has connected, maybe behind one that died: nothing of what that one agreed on holds. */
static void begin_session(struct gdb_stub *s)
{
    s->no_ack = s->last_ack = s->greeted = s->all_watches = false;
    s->running = s->physical = s->waiting = false;
    s->news.length = 0;
    s->gone = 0;
    gdb_stub_changed(s);
}

static bool begins_with(const struct gdb_stub *s, const char *word)
{
    size_t length = strlen(word);

    return s->in.length >= length && memcmp(s->in.payload, word, length) == 0;
}

/* What a debugger says once: gdb asks what is supported, LLDB wants no acknowledgements before it
 * does. */
static void look_for_session(struct gdb_stub *s)
{
    bool supported = begins_with(s, "qSupported"), without = begins_with(s, "QStartNoAckMode");

    if ((supported && (s->greeted || s->running)) || (without && (s->no_ack || s->running)))
        begin_session(s);
    s->greeted |= supported;
}

/* Where acknowledgements are none of the session's, it is the next one's: each debugger begins
 * with one. */
static void acknowledged(struct gdb_stub *s, bool good)
{
    if (s->no_ack && !s->last_ack)
        begin_session(s);
    else if (!good && s->frame_length)
        s->send(s->frame, s->frame_length);
    if (good)
        s->last_ack = false;
}

static void packet(struct gdb_stub *s)
{
    look_for_session(s);
    if (!s->no_ack)
        s->send("+", 1);
    s->last_ack = false;
    s->waiting = true;
    if (s->running || s->target->ready())
        gdb_stub_ready(s);
}

void gdb_stub_ready(struct gdb_stub *s)
{
    if (!s->waiting)
        return;
    s->waiting = false;
    s->length = 0;
    s->silent = false;
    obey(s);
    if (!s->silent)
        send_reply(s);
}

void gdb_stub_input(struct gdb_stub *s, uint8_t byte)
{
    enum gdb_input input = gdb_receive(&s->in, byte);

    if (s->in.state != GDB_BETWEEN)
        s->waiting = false; /* another packet is in its place */
    switch (input) {
    case GDB_PACKET:
        packet(s);
        break;
    case GDB_DAMAGED:
        if (!s->no_ack)
            s->send("-", 1);
        break;
    case GDB_ACK:
    case GDB_NAK:
        acknowledged(s, input == GDB_ACK);
        break;
    case GDB_INTERRUPT:
        if (s->running)
            s->target->stop();
        break;
    case GDB_NOTHING:
        break;
    }
}
