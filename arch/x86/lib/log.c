#include "arch/x86/lib/log.h"

#include "arch/x86/lib/format.h"

#define LINE_MAX 256

static log_sink current_sink;
static enum log_level threshold = LOG_INFO;

void log_set_sink(log_sink sink)
{
    current_sink = sink;
}

void log_set_level(enum log_level level)
{
    threshold = level;
}

enum log_level log_get_level(void)
{
    return threshold;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    char line[LINE_MAX + 1];
    va_list args;
    int length;

    if (level > threshold || !current_sink)
        return;
    va_start(args, fmt);
    length = vformat(line, sizeof(line), fmt, args);
    va_end(args);
    current_sink(level, line, MIN((size_t)length, (size_t)LINE_MAX));
}
