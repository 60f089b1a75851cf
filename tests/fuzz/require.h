/* What must hold whatever the input is: a fuzzer ends where it does not. */
#pragma once

#include <stdlib.h>

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)
