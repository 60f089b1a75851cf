/* `com2`: who has the second serial port, what went over it, and what was lost. */
#include "guest/com2/com2.h"

#include "guest/monitor/commands.h"
#include "guest/monitor/text.h"

static void print_plain(const struct com2_state *s)
{
    if (!s->owner) {
        job_line(
            "the second serial port (2F8h) is nobody's: `trace on` takes it; so do, in [host],");
        job_line("`trace = all` or `gdb = com2`, and with `com2 = framed` both at once");
        return;
    }
    job_line("the second serial port (2F8h) is plain: %s has it, alone without `com2 = framed`",
             com2_user_name(s->owner));
    job_line("%lu bytes sent, %u on their way, %lu heard; %lu lost as there was no room", s->sent,
             s->backlog, s->heard, s->lost);
}

static void print_row(const char *const *cells, unsigned count)
{
    static const struct column columns[] = {
        {"CHANNEL", 8, false}, {"USED", 4, false}, {"SENT", 9, true},  {"BYTES", 10, true},
        {"WAIT", 6, true},     {"LOST", 7, true},  {"HEARD", 7, true}, {"BYTES", 8, true},
        {"LOST", 6, true},     {"MISSED", 6, true}};
    char row[TEXT_ROW];

    text_row(row, columns, count, cells);
    job_line("%s", row);
}

#define COLUMNS 10

static void print_channel(const struct com2_channel_state *c)
{
    const uint64_t numbers[COLUMNS - 2] = {
        c->sent.frames,          c->sent.bytes,      c->waiting,
        c->sent.lost_frames,     c->received.frames, c->received.bytes,
        c->received.lost_frames, c->received.missing};
    char text[COLUMNS - 2][TEXT_CELL];
    const char *cells[COLUMNS] = {c->name, c->used ? "yes" : "no"};

    for (unsigned i = 0; i < COLUMNS - 2; i++)
        cells[i + 2] = text_number(text[i], numbers[i]);
    print_row(cells, COLUMNS);
}

bool command_com2(struct job *job)
{
    struct com2_state s = com2_state();
    struct com2_channel_state c;

    if (!s.present) {
        job_line("this machine has no second serial port (2F8h)");
        return false;
    }
    if (!s.framed) {
        print_plain(&s);
        return false;
    }
    if (job->step == 0) {
        job_line("the second serial port (2F8h) carries frames: tools/com2 takes them apart");
        print_row(NULL, COLUMNS);
        return true;
    }
    if (com2_channel_state(job->step - 1, &c)) {
        print_channel(&c);
        return true;
    }
    job_line("%u bytes on their way; heard beside: %lu bytes of no frame, %lu damaged frames, %lu "
             "for no channel",
             s.backlog, s.skipped, s.damaged, s.strangers);
    return false;
}
