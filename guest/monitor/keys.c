/* `type`, `keys` and `mouse`: what a person at a VM's keyboard and mouse would do. */
#include "guest/monitor/commands.h"

#include "guest/vm/keys.h"

bool command_type(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    const struct word *text = &job->words.word[2];
    char error[CONTROL_ERROR];

    if (slot && keys_type(slot, text->text, text->length, error) < 0)
        job_line("%s", error);
    return false;
}

/* One chord after another. */
bool command_keys(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    char error[CONTROL_ERROR];

    for (unsigned i = 2; slot && i < job->words.count; i++) {
        const struct word *w = &job->words.word[i];

        if (keys_press(slot, w->text, w->length, error) < 0) {
            job_line("%s", error);
            return false;
        }
    }
    return false;
}

static bool distance(struct word w, int *out)
{
    bool negative = w.length && w.text[0] == '-';
    uint64_t n;

    if (negative)
        w = (struct word){w.text + 1, w.length - 1};
    if (word_number(w, KEYS_FURTHEST, &n) < 0)
        return false;
    *out = negative ? -(int)n : (int)n;
    return true;
}

static bool button_named(const struct job *job, enum keys_button *out)
{
    static const char *const names[] = {
        [KEYS_LEFT] = "left", [KEYS_RIGHT] = "right", [KEYS_MIDDLE] = "middle"};

    *out = KEYS_NO_BUTTON;
    for (unsigned i = KEYS_LEFT; i <= KEYS_MIDDLE && job->words.count > 4; i++)
        if (word_is(job->words.word[4], names[i]))
            *out = i;
    return job->words.count == 4 || *out != KEYS_NO_BUTTON;
}

bool command_mouse(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    enum keys_button button;
    char error[CONTROL_ERROR];
    int x, y;

    if (!slot)
        return false;
    if (!distance(job->words.word[2], &x) || !distance(job->words.word[3], &y))
        job_line("the mouse is moved by so much to the right and down: -%u to %u each",
                 KEYS_FURTHEST, KEYS_FURTHEST);
    else if (!button_named(job, &button))
        job_line("the mouse has the buttons left, right and middle");
    else if (keys_mouse(slot, x, y, button, error) < 0)
        job_line("%s", error);
    return false;
}
