/* links: guest/board/msi.c */
/* What becomes of an MSI's address and data (SDM, "Message Address Register Format" and "Message
 * Data Register Format"). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "guest/board/apic_message.h"

static struct apic_message m;

static void the_plainest(void **state)
{
    assert_true(apic_message_of_msi(&m, 0xfee03000, 0x41));
    assert_int_equal(m.dest, 3);
    assert_int_equal(m.vector, 0x41);
    assert_int_equal(m.mode, APIC_FIXED);
    assert_int_equal(m.shorthand, APIC_NO_SHORTHAND);
    assert_false(m.logical);
    assert_false(m.level);
}

static void where_it_goes(void **state)
{
    assert_true(apic_message_of_msi(&m, 0xfeeff000, 0x41));
    assert_int_equal(m.dest, APIC_BROADCAST);
    /* Linux's flat mode: a logical destination without a redirection hint. */
    assert_true(apic_message_of_msi(&m, 0xfee06004, 0x41));
    assert_true(m.logical);
    assert_int_equal(m.dest, 6);
    assert_int_equal(m.mode, APIC_FIXED);
    assert_true(apic_message_of_msi(&m, 0xfee0600c, 0x41));
    assert_int_equal(m.mode, APIC_LOWEST_PRIORITY);
    assert_true(apic_message_of_msi(&m, 0xfee06008, 0x441));
    assert_int_equal(m.mode, APIC_NMI);
}

static void how_it_is_delivered(void **state)
{
    assert_true(apic_message_of_msi(&m, 0xfee00000, 0x13f));
    assert_int_equal(m.mode, APIC_LOWEST_PRIORITY);
    assert_true(apic_message_of_msi(&m, 0xfee00000, 0xc041));
    assert_true(m.level);
    assert_false(apic_message_of_msi(&m, 0xfee00000, 0x8041)); /* the level ends */
    assert_true(apic_message_of_msi(&m, 0xfee00000, 0x4041));  /* bit 14 counts for levels only */
    assert_false(m.level);
}

static void what_is_a_write_to_memory(void **state)
{
    assert_false(apic_message_of_msi(&m, 0xfed00000, 0x41));
    assert_false(apic_message_of_msi(&m, 0x1fee00000, 0x41));
    assert_false(apic_message_of_msi(&m, 0, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plainest),
        cmocka_unit_test(where_it_goes),
        cmocka_unit_test(how_it_is_delivered),
        cmocka_unit_test(what_is_a_write_to_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
