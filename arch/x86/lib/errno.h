/* Error numbers: every fallible function returns 0 or more on success and a negative one of these
 * on failure. */
#pragma once

#if __STDC_HOSTED__
#include <errno.h>
#else
#define ENOENT    2   /* no such file, VM, device */
#define EIO       5   /* hardware or transport refused */
#define E2BIG     7   /* too large for what holds it */
#define EAGAIN    11  /* not now; try again */
#define ENOMEM    12  /* no memory left */
#define EFAULT    14  /* address outside the guest's memory */
#define EBUSY     16  /* in use */
#define EEXIST    17  /* already there */
#define ENODEV    19  /* hardware lacks it */
#define EISDIR    21  /* a folder, not a file */
#define EINVAL    22  /* value out of its range */
#define ENOSPC    28  /* no room left */
#define EROFS     30  /* may only be read */
#define ERANGE    34  /* number does not fit */
#define EBADMSG   74  /* malformed data */
#define ENOTSUP   95  /* not supported (by this CPU, by this build) */
#define ETIMEDOUT 110 /* no answer in time */
#endif
