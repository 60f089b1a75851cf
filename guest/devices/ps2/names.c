/* See ps2.h: what people type, and how keys are called. */
#include "arch/x86/lib/string.h"
#include "guest/devices/ps2/ps2.h"

/* Keys beside one another have codes one after another. */
static const struct {
    uint8_t first;
    const char *plain, *shifted;
} rows[] = {
    {0x02, "1234567890-=", "!@#$%^&*()_+"},
    {0x10, "qwertyuiop[]", "QWERTYUIOP{}"},
    {0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"},
    {0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"},
    {0x39, " ", ""},
    {0x1c, "\n", ""},
    {0x0f, "\t", ""},
};

static const struct {
    char name[12];
    uint16_t key;
} names[] = {
    {"esc", 0x01},
    {"backspace", 0x0e},
    {"tab", 0x0f},
    {"enter", 0x1c},
    {"ctrl", 0x1d},
    {"shift", 0x2a},
    {"alt", 0x38},
    {"space", 0x39},
    {"capslock", 0x3a},
    {"f1", 0x3b},
    {"f2", 0x3c},
    {"f3", 0x3d},
    {"f4", 0x3e},
    {"f5", 0x3f},
    {"f6", 0x40},
    {"f7", 0x41},
    {"f8", 0x42},
    {"f9", 0x43},
    {"f10", 0x44},
    {"f11", 0x57},
    {"f12", 0x58},
    {"numlock", 0x45},
    {"scrolllock", 0x46},
    {"rshift", 0x36},
    {"rctrl", PS2_EXTENDED | 0x1d},
    {"ralt", PS2_EXTENDED | 0x38},
    {"sysrq", PS2_EXTENDED | 0x37},
    {"home", PS2_EXTENDED | 0x47},
    {"up", PS2_EXTENDED | 0x48},
    {"pageup", PS2_EXTENDED | 0x49},
    {"left", PS2_EXTENDED | 0x4b},
    {"right", PS2_EXTENDED | 0x4d},
    {"end", PS2_EXTENDED | 0x4f},
    {"down", PS2_EXTENDED | 0x50},
    {"pagedown", PS2_EXTENDED | 0x51},
    {"insert", PS2_EXTENDED | 0x52},
    {"del", PS2_EXTENDED | 0x53},
    {"delete", PS2_EXTENDED | 0x53},
    {"win", PS2_EXTENDED | 0x5b},
    {"menu", PS2_EXTENDED | 0x5d},
    {"minus", 0x0c},
};

uint16_t ps2_key_of(char c, bool *shift)
{
    for (unsigned i = 0; i < ARRAY_SIZE(rows) && c; i++) {
        const char *plain = memchr(rows[i].plain, c, strlen(rows[i].plain));
        const char *shifted = memchr(rows[i].shifted, c, strlen(rows[i].shifted));

        *shift = shifted;
        if (plain)
            return (uint16_t)(rows[i].first + (plain - rows[i].plain));
        if (shifted)
            return (uint16_t)(rows[i].first + (shifted - rows[i].shifted));
    }
    return 0;
}

static uint16_t key_named(const char *name, size_t length)
{
    bool shift = false;
    uint16_t key;

    for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
        if (strlen(names[i].name) == length && memcmp(names[i].name, name, length) == 0)
            return names[i].key;
    key = length == 1 ? ps2_key_of(*name, &shift) : 0;
    return shift ? 0 : key;
}

unsigned ps2_chord(const char *text, size_t length, uint16_t keys[PS2_KEYS])
{
    unsigned count = 0;

    for (size_t at = 0; at <= length; count++) {
        const char *end = memchr(text + at, '-', length - at);
        size_t size = end ? (size_t)(end - text) - at : length - at;

        if (count == PS2_KEYS)
            return 0;
        keys[count] = key_named(text + at, size);
        if (!keys[count])
            return 0;
        at += size + 1;
    }
    return count;
}
