/* See keys.h. */
#include "guest/vm/keys.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/devices/ps2/input.h"
#include "guest/vm/platform.h"

#define SHIFT 0x2a

struct typing {
    uint16_t key[INPUT_TYPED];
    unsigned count;
};

static struct device *input_of(const struct vm_slot *slot, char *error)
{
    struct device *d = NULL;

    if (!slot->vm || slot->state == SLOT_MAKING)
        format(error, CONTROL_ERROR, "%s is not on", slot->name);
    else if (slot->state == SLOT_KEEPING) /* it would be lost where the VM is put back */
        format(error, CONTROL_ERROR, "%s is just being kept, or put back: try again", slot->name);
    else if (!(d = platform_device(slot->vm, &input_class)))
        format(error, CONTROL_ERROR,
               "%s has no keyboard: `display = vga` in its section gives it one", slot->name);
    return d;
}

static bool add(struct typing *t, unsigned key)
{
    if (t->count == INPUT_TYPED)
        return false;
    t->key[t->count++] = (uint16_t)key;
    return true;
}

static bool add_character(struct typing *t, char c)
{
    bool shift;
    uint16_t key = ps2_key_of(c, &shift);

    return (!shift || add(t, SHIFT)) && add(t, key) && add(t, key | PS2_RELEASE) &&
           (!shift || add(t, SHIFT | PS2_RELEASE));
}

/* All of it, or nothing. */
static int send(const struct vm_slot *slot, struct device *d, const struct typing *t, bool fits,
                char *error)
{
    if (fits && input_type(d, t->key, t->count))
        return 0;
    format(error, CONTROL_ERROR,
           "%s: so much is not taken at once; %u keys wait for the guest to read them", slot->name,
           input_waiting(d));
    return -EBUSY;
}

static char escaped(char c)
{
    return c == 'n' ? '\n' : c == 't' ? '\t' : c == '\\' ? '\\' : '\0';
}

int keys_type(const struct vm_slot *slot, const char *text, size_t length, char *error)
{
    struct device *d = input_of(slot, error);
    struct typing t = {.count = 0};
    bool fits = true, shift;

    if (!d)
        return -EINVAL;
    for (size_t i = 0; i < length && fits; i++) {
        bool escape = text[i] == '\\' && i + 1 < length;
        char c = escape ? escaped(text[++i]) : text[i];

        if (!ps2_key_of(c, &shift)) {
            format(error, CONTROL_ERROR,
                   escape ? "'\\%c' is none of \\n (Enter), \\t (Tab) and \\\\ (a backslash)"
                          : "'%c' is on no key of a keyboard of the United States",
                   text[i] >= ' ' && text[i] <= '~' ? text[i] : '?');
            return -EINVAL;
        }
        fits = add_character(&t, c);
    }
    return send(slot, d, &t, fits, error);
}

int keys_press(const struct vm_slot *slot, const char *text, size_t length, char *error)
{
    struct device *d = input_of(slot, error);
    struct typing t = {.count = 0};
    uint16_t keys[PS2_KEYS];
    unsigned count;

    if (!d)
        return -EINVAL;
    count = ps2_chord(text, length, keys);
    if (count == 0) {
        format(error, CONTROL_ERROR,
               "'%.*s' names no keys, such as ctrl-alt-del, f10, pagedown, enter or a",
               (int)MIN(length, 40), text);
        return -EINVAL;
    }
    for (unsigned i = 0; i < count; i++)
        (void)add(&t, keys[i]);
    for (unsigned i = count; i-- > 0;)
        (void)add(&t, keys[i] | PS2_RELEASE);
    return send(slot, d, &t, true, error);
}

int keys_mouse(const struct vm_slot *slot, int x, int y, enum keys_button button, char *error)
{
    static const uint8_t buttons[] = {0, PS2_LEFT, PS2_RIGHT, PS2_MIDDLE};
    struct device *d = input_of(slot, error);

    if (!d)
        return -EINVAL;
    input_mouse(d, x, y, 0);
    if (button) {
        input_mouse(d, 0, 0, buttons[button]);
        input_mouse(d, 0, 0, 0);
    }
    return 0;
}
