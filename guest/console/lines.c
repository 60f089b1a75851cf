#include "guest/console/lines.h"

#include "arch/x86/lib/string.h"
#include "drivers/serial.h"
#include "guest/console/port.h"

struct lines lines;

static const char were_lost[] =
    "corbel: warning: lines were lost here: the monitor's log has more\r\n";

/* Bytes of the oldest line that is kept; 0: none is. */
static size_t first_length(void)
{
    const char *end = memchr(lines.text, '\n', lines.length);

    return end ? (size_t)(end - lines.text) + 1 : 0;
}

static void drop(size_t length)
{
    lines.length -= length;
    memmove(lines.text, lines.text + length, lines.length);
}

static void keep(const char *line, size_t length)
{
    if (length > LINES_SIZE - lines.length) {
        lines.lost++;
        return;
    }
    memcpy(lines.text + lines.length, line, length);
    lines.length += length;
}

static bool send(const char *line, size_t length, enum lines_gate gate)
{
    if (gate == LINES_BARRED || serial_room(&com1) < length + PORT_RESERVE)
        return false;
    serial_write(&com1, line, length);
    return true;
}

void lines_send(enum lines_gate gate)
{
    size_t length;

    while ((length = first_length()) && send(lines.text, length, gate))
        drop(length);
    if (!lines.length && lines.lost && send(were_lost, sizeof(were_lost) - 1, gate))
        lines.lost = 0;
}

void lines_write(const char *line, size_t length, enum lines_gate gate)
{
    if (gate == LINES_ALONE) {
        if (lines.length || serial_room(&com1) < length)
            serial_flush(&com1);
        lines_send(gate);
        serial_write(&com1, line, length);
        return;
    }
    if (lines.length || !send(line, length, gate))
        keep(line, length);
}

size_t lines_take(char line[LINES_MAX])
{
    size_t length = MIN(first_length(), LINES_MAX);

    if (length) {
        memcpy(line, lines.text, length);
        drop(length);
        return length;
    }
    lines.lost = 0;
    memcpy(line, were_lost, sizeof(were_lost) - 1);
    return sizeof(were_lost) - 1;
}
