/* Where firmware finds what a device has to start a system from. */
#pragma once

#include "guest/board/class.h"

/* path: NULL, there are not so many. */
static inline void expect_boots(const struct device_list *list, const struct device_class *class,
                                enum device_boot kind, unsigned index, const char *path)
{
    struct device *d = device_list_find(list, class, 0);
    char found[DEVICE_BOOT_PATH] = "";

    assert_int_equal(class->boots(d, kind, index, found), path != NULL);
    assert_string_equal(found, path ? path : "");
}
