/*
 * Memory, as gdb reads and writes it: in digits or in bytes. It often asks for neighbouring bytes
 * one by one; what is around the first is read with it, and kept until something may have changed.
 */
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/gdb/words.h"

void gdb_stub_changed(struct gdb_stub *s)
{
    s->window.length = 0;
}

/* --- reading --- */

static bool in_window(const struct gdb_stub *s, uint64_t address, size_t size)
{
    const struct gdb_window *w = &s->window;

    return w->length && w->thread == s->thread && w->physical == s->physical &&
           address - w->address < w->length && size <= w->length - (address - w->address);
}

static void fill_window(struct gdb_stub *s, uint64_t address)
{
    struct gdb_window *w = &s->window;

    w->address = ALIGN_DOWN(address, GDB_WINDOW);
    w->thread = s->thread;
    w->physical = s->physical;
    w->length = s->target->read(s->thread, s->physical, w->address, w->data, GDB_WINDOW);
}

static size_t read_memory(struct gdb_stub *s, uint64_t address, void *data, size_t size)
{
    if (size > GDB_WINDOW / 2)
        return s->target->read(s->thread, s->physical, address, data, size);
    if (!in_window(s, address, size))
        fill_window(s, address);
    if (!in_window(s, address, size))
        return s->target->read(s->thread, s->physical, address, data, size);
    memcpy(data, s->window.data + (address - s->window.address), size);
    return size;
}

/* "m" or "x": address and size. Less than was asked for is a valid answer: 4 GiB are asked for
 * again piece by piece. */
void gdb_read_memory(struct gdb_stub *s, struct gdb_cursor *c, bool binary)
{
    uint8_t data[GDB_PAYLOAD / 2 - 16];
    uint64_t address, size;
    size_t done;

    if (!gdb_number(c, &address) || !gdb_skip(c, ',') || !gdb_number(c, &size)) {
        gdb_answer_result(s, -EINVAL);
        return;
    }
    size = MIN(size, binary ? sizeof(s->reply) - 1 : sizeof(data));
    done = read_memory(s, address, binary ? (uint8_t *)s->reply + 1 : data, size);
    if (!done && size) {
        gdb_answer_result(s, -EFAULT);
    } else if (binary) {
        s->reply[0] = 'b';
        s->length = 1 + done;
    } else {
        gdb_answer_hex(s, data, done);
    }
}

/* --- writing --- */

/* "M" or "X": address, size and what it is to be. */
void gdb_write_memory(struct gdb_stub *s, struct gdb_cursor *c, bool binary)
{
    uint8_t digits[GDB_PAYLOAD / 2];
    const void *data = digits;
    uint64_t address, size;
    size_t given;
    bool ok =
        gdb_number(c, &address) && gdb_skip(c, ',') && gdb_number(c, &size) && gdb_skip(c, ':');

    given = (size_t)(c->end - c->at);
    if (binary) {
        ok = ok && size == given;
        data = c->at;
    } else {
        ok = ok && size <= sizeof(digits) && 2 * size == given && gdb_get_hex(c->at, digits, size);
    }
    gdb_stub_changed(s);
    if (!ok)
        gdb_answer_result(s, -EINVAL);
    else if (s->target->write(s->thread, s->physical, address, data, size) == size)
        gdb_answer_result(s, 0);
    else
        gdb_answer_result(s, -EFAULT);
}
