/* cmocka as of version 2, also where 1.1 is installed: what 2 deprecates has new names, and the old
 * ones are errors in both. */
#pragma once
#include_next <cmocka.h>

#ifndef assert_int_in_range
#define assert_uint_in_range(value, minimum, maximum)                                              \
    _assert_in_range(cast_to_largest_integral_type(value), cast_to_largest_integral_type(minimum), \
                     cast_to_largest_integral_type(maximum), __FILE__, __LINE__)
/* How far above the minimum: 1.1 knows unsigned numbers only. */
#define assert_int_in_range(value, minimum, maximum)                                               \
    assert_uint_in_range((intmax_t)(value) - (minimum), 0, (intmax_t)(maximum) - (minimum))
#endif

#undef assert_in_range
#undef assert_in_set
#define assert_in_range(value, minimum, maximum)                                                   \
    _Static_assert(0, "cmocka 2 wants assert_int_in_range or assert_uint_in_range instead")
#define assert_in_set(value, values, count)                                                        \
    _Static_assert(0, "cmocka 2 wants assert_int_in_set or assert_uint_in_set instead")
