/* `capture`: what passes at a switch or a VM's network cards goes over the second serial port. */
#include "guest/capture/capture.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/monitor/commands.h"
#include "guest/monitor/text.h"
#include "guest/vm/control.h"
#include "guest/vm/nets.h"

#define KEEP_BY_DEFAULT 128u /* headers, mostly: the line carries some 60 such packets a second */

/* --- what there is --- */

const char *capture_choice(unsigned n)
{
    struct net_switch *s = n > 0 ? nets_get(n - 1) : NULL;
    unsigned switches = 0;

    if (n == 0)
        return "off";
    if (s)
        return s->name;
    while (nets_get(switches))
        switches++;
    n -= 1 + switches;
    return n < control_count() ? control_slot(n)->name : NULL;
}

static void print_row(const char *const *cells)
{
    static const struct column columns[] = {{"CARD", 16, false}, {"SWITCH", 16, false},
                                            {"VLAN", 4, true},   {"SEEN", 9, true},
                                            {"TAKEN", 9, true},  {"LOST", 9, true}};
    char row[TEXT_ROW];

    text_row(row, columns, ARRAY_SIZE(columns), cells);
    job_line("%s", row);
}

static void print_interface(const struct packets_interface *i)
{
    char vlan[TEXT_CELL], seen[TEXT_CELL], taken[TEXT_CELL], lost[TEXT_CELL];
    const char *const cells[] = {i->name,
                                 i->on->name,
                                 i->vlan ? text_number(vlan, i->vlan) : "-",
                                 text_number(seen, i->seen),
                                 text_number(taken, i->matched - i->lost),
                                 text_number(lost, i->lost)};

    print_row(cells);
}

/* Step by step: what it is, each interface, what waits. */
static bool show(const struct job *job)
{
    struct capture_state s = capture_state();
    struct packets_interface i;
    char size[TEXT_CELL];

    if (!s.sending) {
        job_line("nothing is captured");
        return false;
    }
    if (job->step == 0) {
        job_line("capture: %s%s", s.about, s.on ? "" : ", which is off");
        if (s.interfaces)
            print_row(NULL);
        return true;
    }
    if (capture_interface(job->step - 1, &i)) {
        print_interface(&i);
        return true;
    }
    if (s.beyond)
        job_line("%lu frames of more cards than %u are not captured", s.beyond, PACKETS_INTERFACES);
    job_line("%u packets, %s, have yet to be sent", s.held, text_size(size, s.bytes));
    return false;
}

static void stop(void)
{
    struct capture_state s = capture_state();

    if (!s.on) {
        job_line("nothing is captured");
        return;
    }
    capture_stop();
    job_line("capture: off; %u packets have yet to be sent", s.held);
}

/* --- beginning --- */

/* A switch by its name; else the cards of a VM, or one of them: "vm", "vm/0". */
static bool find(struct word w, struct capture_what *what)
{
    const char *slash = memchr(w.text, '/', w.length);
    struct word name = {w.text, slash ? (size_t)(slash - w.text) : w.length};
    struct net_switch *s;
    const struct vm_slot *slot;
    uint64_t card;

    for (unsigned i = 0; (s = nets_get(i)); i++) {
        if (word_is(w, s->name)) {
            what->on = s;
            return true;
        }
    }
    slot = control_find(name.text, name.length);
    if (!slot) {
        job_line("there is no switch and no VM '%.*s': nets and list show them",
                 (int)MIN(name.length, 40), name.text);
        return false;
    }
    if (!slot->config->nets.count) {
        job_line("%s has no network card", slot->name);
        return false;
    }
    format(what->card, sizeof(what->card), "%s/", slot->name);
    if (!slash)
        return true;
    name = (struct word){slash + 1, w.length - name.length - 1};
    if (word_number(name, slot->config->nets.count - 1, &card) < 0) {
        job_line("%s has the network cards 0 to %u", slot->name,
                 (unsigned)slot->config->nets.count - 1);
        return false;
    }
    format(what->card, sizeof(what->card), "%s/%lu", slot->name, card);
    return true;
}

/* `snap N`, where the rest begins so: the rest of that in *rest. */
static bool read_keep(struct word *rest, uint32_t *keep)
{
    struct words w;
    uint64_t n;

    *keep = KEEP_BY_DEFAULT;
    (void)words_cut(&w, rest->text, rest->length);
    if (w.count == 0 || !word_is(w.word[0], "snap"))
        return true;
    if (w.count < 2 || word_number(w.word[1], PACKETS_KEEP_MOST, &n) < 0 ||
        n < PACKETS_KEEP_LEAST) {
        job_line("snap is how many bytes of each frame are kept, %u to %u: snap 1514",
                 PACKETS_KEEP_LEAST, PACKETS_KEEP_MOST);
        return false;
    }
    *keep = (uint32_t)n;
    n = (size_t)(w.word[1].text + w.word[1].length - rest->text);
    while (n < rest->length && rest->text[n] == ' ')
        n++;
    *rest = (struct word){rest->text + n, rest->length - n};
    return true;
}

static void start(const struct job *job)
{
    const struct words *w = &job->words;
    struct word rest = {w->word[1].text + w->word[1].length, 0};
    struct capture_what what = {.keep = 0};
    char error[FILTER_ERROR];
    int result;

    if (w->count > 2)
        rest = w->word[2];
    if (!find(w->word[1], &what) || !read_keep(&rest, &what.keep))
        return;
    if (filter_parse(rest.text, rest.length, &what.filter, error) < 0) {
        job_line("%s", error);
        return;
    }
    format(what.about, sizeof(what.about), "%.*s, %u bytes of each frame%s%.*s",
           (int)w->word[1].length, w->word[1].text, what.keep, what.filter.count ? ", " : "",
           (int)rest.length, rest.text);
    result = capture_start(&what);
    if (result == -ENODEV)
        job_line("what is captured goes over the second serial port (2F8h), which carries it with "
                 "`com2 = framed` in [host]");
    else if (result < 0)
        job_line("there is no memory for it");
    else
        job_line("capture: %s: on; `tools/com2 LINE --capture FILE` at the other end of COM2 keeps "
                 "it",
                 what.about);
}

bool command_capture(struct job *job)
{
    if (job->words.count == 1)
        return show(job);
    if (job->words.count == 2 && word_is(job->words.word[1], "off"))
        stop();
    else
        start(job);
    return false;
}
