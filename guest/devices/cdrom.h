/* The CD-ROM drive of a VM, for who changes the disc in it. With no device's lock. */
#pragma once

#include "guest/board/class.h"

#define CDROM_KEY "cdrom" /* of the config */

/* Whose instance these take. */
extern const struct device_class ide_class;

/* Open the tray. -ENODEV: there is no drive; -EBUSY: the guest has locked it, and is asked for it
 * now, unless `now`; -EAGAIN: it is just reading. */
int cdrom_eject(struct device *controller, bool now) MUST_CHECK;
/* Close the tray, with that disc in it, which is the drive's from then on, or with the one that was
 * in it (NULL). -ENODEV; -EEXIST: the tray is closed, with another one in it. */
int cdrom_insert(struct device *controller, const struct device_disk *disc) MUST_CHECK;
