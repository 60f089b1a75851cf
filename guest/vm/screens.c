/* See screens.h. */
#include "guest/vm/screens.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "guest/devices/vga/vga.h"
#include "guest/vm/platform.h"

_Static_assert(SCREEN_COLUMNS == PICTURE_COLUMNS && SCREEN_WIDTH == VGA_WIDTH_MAX &&
                   SCREEN_HEIGHT == VGA_HEIGHT_MAX,
               "who asks has room for what is shown");

static struct device *display_of(const struct vm_slot *slot)
{
    return slot->vm && slot->state != SLOT_MAKING ? platform_device(slot->vm, &vga_class) : NULL;
}

static struct screen screen_of(const struct picture *p)
{
    return (struct screen){.kind = p->kind == PICTURE_BLANK  ? SCREEN_BLANK
                                   : p->kind == PICTURE_TEXT ? SCREEN_TEXT
                                                             : SCREEN_POINTS,
                           .width = p->width,
                           .height = p->height};
}

int screen_find(const struct vm_slot *slot, struct screen *s, char *error)
{
    struct device *d = display_of(slot);

    if (!d) {
        if (!slot->vm || slot->state == SLOT_MAKING)
            format(error, CONTROL_ERROR, "%s is not on", slot->name);
        else
            format(error, CONTROL_ERROR,
                   "%s has no display: `display = vga` in its section gives it one", slot->name);
        return -EINVAL;
    }
    device_lock(d);
    struct picture p = picture_of(vga_chip_of(d));
    device_unlock(d);
    *s = screen_of(&p);
    return 0;
}

/* It still is a picture as s says. */
static bool is_still(const struct screen *s, const struct picture *p)
{
    struct screen now = screen_of(p);

    return now.kind == s->kind && now.width == s->width && now.height == s->height;
}

/* Row y of what s says, by the function for its kind. */
static bool row_of(const struct vm_slot *slot, const struct screen *s, unsigned y, void *out)
{
    struct device *d = display_of(slot);
    bool still;

    if (!d)
        return false;
    device_lock(d);
    struct picture p = picture_of(vga_chip_of(d));
    still = is_still(s, &p) && y < p.height;
    if (still && s->kind == SCREEN_TEXT)
        picture_text(vga_chip_of(d), &p, y, out);
    else if (still)
        picture_row(vga_chip_of(d), &p, y, out);
    device_unlock(d);
    return still;
}

bool screen_text(const struct vm_slot *slot, const struct screen *s, unsigned y, char *out)
{
    return s->kind == SCREEN_TEXT && row_of(slot, s, y, out);
}

bool screen_points(const struct vm_slot *slot, const struct screen *s, unsigned y, uint8_t *out)
{
    return s->kind == SCREEN_POINTS && row_of(slot, s, y, out);
}
