/* gdb's questions about the target, and what it chooses. */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/gdb/words.h"

static void describe_target(struct gdb_stub *s, struct gdb_cursor *c)
{
    uint64_t offset, size;
    size_t got;

    if (!gdb_skip_word(c, "target.xml:") || !gdb_number(c, &offset) || !gdb_skip(c, ',') ||
        !gdb_number(c, &size)) {
        gdb_answer_result(s, -EINVAL);
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
        gdb_answer(s, "%s%x", i ? "," : "m", i + 1);
    if (!count)
        gdb_answer(s, "l");
}

static void thread_text(struct gdb_stub *s, struct gdb_cursor *c)
{
    int thread;

    s->text.length = 0;
    if (gdb_thread_id(s, c, &thread) && thread >= 0 &&
        s->target->thread_text((unsigned)thread, &s->text))
        gdb_answer_hex(s, s->text.text, s->text.length);
    else
        gdb_answer_result(s, -EINVAL);
}

static void monitor(struct gdb_stub *s, struct gdb_cursor *c)
{
    char line[200];
    size_t length = (size_t)(c->end - c->at) / 2;

    if (length > sizeof(line) || !gdb_get_hex(c->at, line, length)) {
        gdb_answer_result(s, -EINVAL);
        return;
    }
    s->text.length = 0;
    gdb_stub_changed(s);
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
        gdb_answer_hex(s, s->text.text, s->text.length);
    else
        gdb_answer_result(s, 0);
}

/* "qSupported:multiprocess+;swbreak+...": whether that is among them. */
static bool announced(struct gdb_cursor c, const char *feature)
{
    while (gdb_skip(&c, ':') || gdb_skip(&c, ';')) {
        if (gdb_skip_word(&c, feature) && (c.at == c.end || *c.at == ';'))
            return true;
        while (c.at < c.end && *c.at != ';')
            c.at++;
    }
    return false;
}

static void greet(struct gdb_stub *s, const struct gdb_cursor *c)
{
    s->all_watches = announced(*c, "multi-wp-addr+");
    gdb_answer(s,
               "PacketSize=%x;qXfer:features:read+;vContSupported+;swbreak+;hwbreak+;"
               "QStartNoAckMode+;binary-upload+",
               GDB_PAYLOAD);
}

void gdb_question(struct gdb_stub *s, struct gdb_cursor *c)
{
    if (gdb_skip_word(c, "Supported"))
        greet(s, c);
    else if (gdb_skip_word(c, "Xfer:features:read:"))
        describe_target(s, c);
    else if (gdb_skip_word(c, "fThreadInfo"))
        list_threads(s);
    else if (gdb_skip_word(c, "sThreadInfo"))
        gdb_answer(s, "l");
    else if (gdb_skip_word(c, "ThreadExtraInfo,"))
        thread_text(s, c);
    else if (gdb_skip_word(c, "Attached"))
        gdb_answer(s, "1");
    else if (gdb_skip_word(c, "Rcmd,"))
        monitor(s, c);
    else if (gdb_skip_word(c, "qemu.PhyMemMode"))
        gdb_answer(s, "%d", s->physical);
    else if (c->at + 1 == c->end && *c->at == 'C')
        gdb_answer(s, "QC%x", s->thread + 1);
}

void gdb_setting(struct gdb_stub *s, struct gdb_cursor *c)
{
    if (gdb_skip_word(c, "StartNoAckMode")) {
        s->no_ack = s->last_ack = true;
        gdb_answer_result(s, 0);
    } else if (gdb_skip_word(c, "qemu.PhyMemMode:")) {
        s->physical = gdb_skip(c, '1');
        gdb_answer_result(s, 0);
    }
}
