/* Functions that are linked, and called by nothing of what a test does; after cmocka.h. */
#pragma once

#define UNUSED_VOID(declaration)                                                                   \
    declaration                                                                                    \
    {                                                                                              \
        fail_msg("%s", __func__);                                                                  \
    }
#define UNUSED(declaration)                                                                        \
    declaration                                                                                    \
    {                                                                                              \
        fail_msg("%s", __func__);                                                                  \
        return 0;                                                                                  \
    }
