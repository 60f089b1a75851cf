#include "guest/gdb/stub.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/gdb/words.h"

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
    gdb_answer_result(s, result);
}

/* --- memory --- */

static void read_memory(struct gdb_stub *s, struct gdb_cursor *c)
{
    uint8_t data[MEMORY_MAX];
    uint64_t address, size;
    size_t done;

    if (!gdb_number(c, &address) || !gdb_skip(c, ',') || !gdb_number(c, &size)) {
        gdb_answer_result(s, -EINVAL);
        return;
    }
    /* Less than was asked for is a valid answer: 4 GiB are asked for again piece by piece. */
    size = MIN(size, sizeof(data));
    done = s->target->read(s->thread, s->physical, address, data, size);
    if (done || !size)
        gdb_answer_hex(s, data, done);
    else
        gdb_answer_result(s, -EFAULT);
}

static void write_memory(struct gdb_stub *s, struct gdb_cursor *c)
{
    uint8_t data[GDB_PAYLOAD / 2];
    uint64_t address, size;
    bool ok = gdb_number(c, &address) && gdb_skip(c, ',') && gdb_number(c, &size) &&
              gdb_skip(c, ':') && size <= sizeof(data) && (size_t)(c->end - c->at) == 2 * size &&
              gdb_get_hex(c->at, data, size);

    if (!ok)
        gdb_answer_result(s, -EINVAL);
    else if (s->target->write(s->thread, s->physical, address, data, size) == size)
        gdb_answer_result(s, 0);
    else
        gdb_answer_result(s, -EFAULT);
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

static void resume(struct gdb_stub *s, const enum gdb_action *action)
{
    int result = s->target->resume(action);

    if (result < 0)
        gdb_answer_result(s, result);
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
static void resume_each(struct gdb_stub *s, struct gdb_cursor *c)
{
    enum gdb_action action[GDB_THREADS] = {GDB_STAY};

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

void gdb_stub_stopped(struct gdb_stub *s, const struct gdb_stop *stop)
{
    if (!s->running)
        return;
    s->running = false;
    s->length = 0;
    if (stop->why != GDB_EXITED && stop->why != GDB_KILLED) {
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
    case GDB_WATCH_WRITE:
        gdb_answer(s, "watch:%lx;", stop->address);
        break;
    case GDB_WATCH_ACCESS:
        gdb_answer(s, "awatch:%lx;", stop->address);
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
    s->physical = false;
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
