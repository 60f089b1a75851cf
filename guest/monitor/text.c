#include "guest/monitor/text.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

#define GAP 2

void text_row(char *row, const struct column *columns, unsigned count, const char *const *cells)
{
    size_t used = 0, end = 0;

    for (unsigned i = 0; i < count; i++) {
        const char *cell = cells ? cells[i] : columns[i].title;
        size_t length = strlen(cell);
        size_t blanks = length < columns[i].width ? columns[i].width - length : 0;
        size_t before = (columns[i].right ? blanks : 0) + (i ? GAP : 0);

        while (before-- && used < TEXT_ROW - 1)
            row[used++] = ' ';
        length = MIN(length, TEXT_ROW - 1 - used);
        memcpy(row + used, cell, length);
        used += length;
        if (length)
            end = used;
        for (blanks = columns[i].right ? 0 : blanks; blanks && used < TEXT_ROW - 1; blanks--)
            row[used++] = ' ';
    }
    row[end] = '\0';
}

char *text_number(char *cell, uint64_t n)
{
    format(cell, TEXT_CELL, "%lu", n);
    return cell;
}

char *text_percent(char *cell, uint64_t part, uint64_t whole)
{
    uint64_t tenths;

    if (!whole) {
        format(cell, TEXT_CELL, "-");
        return cell;
    }
    while (part > UINT64_MAX / 2000) {
        part >>= 1;
        whole = MAX(whole >> 1, 1);
    }
    tenths = (part * 2000 / whole + 1) / 2;
    format(cell, TEXT_CELL, "%lu.%lu", tenths / 10, tenths % 10);
    return cell;
}

char *text_size(char *cell, uint64_t bytes)
{
    static const char units[] = {' ', 'K', 'M', 'G', 'T', 'P', 'E'};
    unsigned unit = 0;
    uint64_t rest = 0;

    while (bytes >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
        rest = bytes % 1024;
        bytes /= 1024;
        unit++;
    }
    if (rest && bytes < 100)
        format(cell, TEXT_CELL, "%lu.%lu%c", bytes, rest * 10 / 1024, units[unit]);
    else if (unit)
        format(cell, TEXT_CELL, "%lu%c", bytes, units[unit]);
    else
        format(cell, TEXT_CELL, "%lu", bytes);
    return cell;
}

char *text_duration(char *cell, uint64_t ms)
{
    uint64_t s = ms / 1000, minutes = s / 60, hours = minutes / 60;

    if (s < 10)
        format(cell, TEXT_CELL, "%lu.%03lu s", s, ms % 1000);
    else if (s < 60)
        format(cell, TEXT_CELL, "%lu.%lu s", s, ms % 1000 / 100);
    else if (hours < 1)
        format(cell, TEXT_CELL, "%lu:%02lu", minutes, s % 60);
    else if (hours < 24)
        format(cell, TEXT_CELL, "%lu:%02lu:%02lu", hours, minutes % 60, s % 60);
    else
        format(cell, TEXT_CELL, "%lud %02lu:%02lu", hours / 24, hours % 24, minutes % 60);
    return cell;
}

char *text_latency(char *cell, uint64_t ns)
{
    uint64_t us = ns / 1000, ms = us / 1000;

    if (us < 1000)
        format(cell, TEXT_CELL, "%lu us", us);
    else if (ms < 100)
        format(cell, TEXT_CELL, "%lu.%lu ms", ms, us % 1000 / 100);
    else if (ms < 1000)
        format(cell, TEXT_CELL, "%lu ms", ms);
    else if (ms < 100000)
        format(cell, TEXT_CELL, "%lu.%lu s", ms / 1000, ms % 1000 / 100);
    else
        format(cell, TEXT_CELL, "%lu s", ms / 1000);
    return cell;
}
