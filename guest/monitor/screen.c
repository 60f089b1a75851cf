/* `screenshot`: what a VM's display shows. Text is printed; points go over the second serial port.
 */
#include "guest/monitor/commands.h"

#include "arch/x86/lib/crc32.h"
#include "arch/x86/lib/string.h"
#include "guest/com2/com2.h"
#include "guest/monitor/screen_stream.h"
#include "guest/vm/screens.h"
#include "mm/heap.h"

/* Rows up to the last one that is not empty. */
static unsigned used_rows(const struct vm_slot *slot, const struct screen *s)
{
    char row[SCREEN_COLUMNS];
    unsigned used = 0;

    for (unsigned y = 0; y < s->height && screen_text(slot, s, y, row); y++)
        for (unsigned x = 0; x < s->width; x++)
            if (row[x] != ' ')
                used = y + 1;
    return used;
}

/* Step by step: what it is, and each row. Whether there is more. */
static bool print_text(struct job *job, const struct vm_slot *slot, const struct screen *s)
{
    unsigned y = job->step - 1, length = s->width;
    char row[SCREEN_COLUMNS];

    if (job->step == 0) {
        job->next = used_rows(slot, s);
        job_line("%s shows %u by %u letters%s", slot->name, s->width, s->height,
                 job->next ? ":" : ", all of them blanks");
        return job->next > 0;
    }
    if (y >= job->next || !screen_text(slot, s, y, row))
        return false;
    while (length && row[length - 1] == ' ')
        length--;
    job_line("%.*s", (int)length, row);
    return y + 1 < job->next;
}

/* --- points --- */

#define ROWS_AT_ONCE 16
#define POINT        3 /* bytes */

/* A picture on its way, in the job's data. */
struct sending {
    struct screen screen;
    uint8_t number;
    uint32_t crc;
    uint64_t bytes;
    uint8_t row[2][SCREEN_WIDTH * POINT]; /* the last two, by turns; zeroes at first */
    uint8_t record[SCREEN_STREAM_ROW(SCREEN_WIDTH)];
};

static void send(struct sending *s, size_t length)
{
    com2_write(COM2_SCREEN, s->record, length);
    s->bytes += length;
}

static bool begin(struct job *job, const struct vm_slot *slot, const struct screen *screen)
{
    static uint8_t numbers;
    struct sending *s;

    if (!com2_framed() || com2_open(COM2_SCREEN) < 0) {
        job_line("%s shows %u by %u points: with `com2 = framed` in [host] they are sent to "
                 "tools/com2, which makes a picture of them",
                 slot->name, screen->width, screen->height);
        return false;
    }
    job->data = s = heap_alloc(sizeof(*s));
    if (!s) {
        job_line("there is no memory for it");
        return false;
    }
    s->screen = *screen;
    s->number = ++numbers;
    return true;
}

/* The beginning and the next rows, as far as there is room for them: what a picture that was given
 * up has left is sent first. false: rows cannot be had any more. */
static bool send_rows(struct job *job, const struct vm_slot *slot)
{
    struct sending *s = job->data;
    unsigned width = s->screen.width;

    if (s->bytes == 0) {
        if (com2_room(COM2_SCREEN) < SCREEN_STREAM_SMALL)
            return true;
        send(s, screen_stream_begin(s->record, s->number, width, s->screen.height, slot->name));
    }
    for (unsigned i = 0; i < ROWS_AT_ONCE && job->next < s->screen.height; i++) {
        uint8_t *row = s->row[job->next % 2];

        if (com2_room(COM2_SCREEN) < SCREEN_STREAM_ROW(width))
            return true;
        if (!screen_points(slot, &s->screen, job->next, row))
            return false;
        s->crc = crc32(s->crc, row, (size_t)POINT * width);
        send(s, screen_stream_row(s->record, s->number, job->next, width, row,
                                  s->row[!(job->next % 2)]));
        job->next++;
    }
    return true;
}

/* Whether there is more of it to be sent. */
static bool go_on(struct job *job, const struct vm_slot *slot)
{
    struct sending *s = job->data;

    if (!send_rows(job, slot)) {
        job_line("%s shows something else by now: what was sent is no whole picture", slot->name);
        return false;
    }
    if (job->next < s->screen.height || com2_room(COM2_SCREEN) < SCREEN_STREAM_SMALL) {
        job_progress(job, "%s: %u of %u rows are sent", slot->name, job->next, s->screen.height);
        return true;
    }
    send(s, screen_stream_end(s->record, s->number, s->crc));
    job_end_progress(job, "\r" JOB_ERASE_TO_END);
    job_line("%s: %u by %u points are sent, in %lu bytes: `tools/com2 --screens FOLDER` keeps them",
             slot->name, s->screen.width, s->screen.height, s->bytes);
    return false;
}

bool command_screenshot(struct job *job)
{
    struct vm_slot *slot = job_vm(job, 1);
    char error[CONTROL_ERROR];
    struct screen s;

    if (!slot)
        return false;
    if (job->data)
        return go_on(job, slot);
    if (screen_find(slot, &s, error) < 0)
        job_line("%s", error);
    else if (s.kind == SCREEN_TEXT)
        return print_text(job, slot, &s);
    else if (job->step > 0)
        job_line("%s shows something else by now", slot->name);
    else if (s.kind == SCREEN_BLANK)
        job_line("%s: its screen is blank", slot->name);
    else
        return begin(job, slot, &s);
    return false;
}
