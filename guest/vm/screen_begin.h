/* What a boot loader's firmware would do of a VM's display, for a kernel that asks for a screen. */
#pragma once

#include "guest/board/device.h"
#include "guest/load/image.h"

/* Points, in the mode that is nearest to what *screen asks for, which then says which it is: by the
 * graphics card's registers on that bus, as a guest would. The VM has that card, and its vCPUs are
 * away. */
void screen_begin(struct bus *bus, struct guest_screen *screen);
