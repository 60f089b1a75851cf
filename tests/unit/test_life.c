/* links: guest/vm/life.c */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "guest/vm/life.h"

/* Walk the table: from that state, whatever of these events happens. */
static bool seen[SLOT_STATES];

static void walk(enum slot_state state, const enum life_event *events, unsigned count, bool down)
{
    if (seen[state])
        return;
    seen[state] = true;
    for (unsigned i = 0; i < count; i++)
        walk(life_step(state, events[i], down).next, events, count, down);
}

/* A person is never left without an answer, and a refusal changes nothing. */
static void test_every_command_in_every_state(void **state)
{
    for (unsigned s = 0; s < SLOT_STATES; s++) {
        for (unsigned e = 0; e < LIFE_COMMANDS; e++) {
            for (unsigned down = 0; down < 2; down++) {
                struct life_step step = life_step(s, e, down);
                assert_int_not_equal(step.action, LIFE_NOTHING);
                assert_int_equal(step.action == LIFE_REFUSE, step.refusal != NULL);
                if (step.refusal)
                    assert_int_equal(step.next, s);
            }
        }
    }
}

static void test_what_is_not_expected_changes_nothing(void **state)
{
    for (unsigned s = 0; s < SLOT_STATES; s++) {
        for (unsigned e = LIFE_DOWN; e < LIFE_EVENTS; e++) {
            for (unsigned down = 0; down < 2; down++) {
                struct life_step step = life_step(s, e, down);
                assert_int_not_equal(step.action, LIFE_REFUSE);
                if (step.action == LIFE_NOTHING)
                    assert_int_equal(step.next, s);
            }
        }
    }
}

/* Every state can be reached, and every state can be left for good. */
static void test_lives_begin_and_end(void **state)
{
    enum life_event all[LIFE_EVENTS], kill[] = {LIFE_KILL, LIFE_ENDED};

    for (unsigned e = 0; e < LIFE_EVENTS; e++)
        all[e] = e;
    memset(seen, 0, sizeof(seen));
    walk(SLOT_OFF, all, LIFE_EVENTS, false);
    for (unsigned s = 0; s < SLOT_STATES; s++)
        assert_true(seen[s]);
    for (unsigned s = 0; s < SLOT_STATES; s++) {
        memset(seen, 0, sizeof(seen));
        walk(s, kill, 2, false);
        assert_true(seen[SLOT_OFF]);
    }
}

/* Nothing starts, whatever a person or a guest does. */
static void test_nothing_starts_while_the_machine_goes_down(void **state)
{
    for (unsigned s = 0; s < SLOT_STATES; s++) {
        for (unsigned e = 0; e < LIFE_EVENTS; e++) {
            struct life_step step = life_step(s, e, true);
            assert_int_not_equal(step.action, LIFE_MAKE);
            assert_int_not_equal(step.action, LIFE_ENTER);
            assert_int_not_equal(step.action, LIFE_MAKE_ANEW);
            if (s == SLOT_OFF)
                assert_int_equal(step.next, SLOT_OFF);
        }
    }
}

/* However a guest comes to its end then, that is the end of it. */
static void test_no_end_leads_back_while_the_machine_goes_down(void **state)
{
    static const enum life_event ends[] = {LIFE_ENDED, LIFE_ENDED_RESTART, LIFE_ENDED_TOO_SOON,
                                           LIFE_ENDED_PAUSE};

    for (unsigned s = 0; s < SLOT_STATES; s++) {
        enum slot_state asked = life_step(s, LIFE_DOWN, true).next;
        for (unsigned i = 0; i < 4; i++) {
            struct life_step step = life_step(asked, ends[i], true);
            if (asked == SLOT_OFF || asked == SLOT_KEEPING) /* none of its vCPUs runs */
                continue;
            assert_int_equal(step.next, SLOT_OFF);
            assert_int_equal(step.action, asked == SLOT_KILLING ? LIFE_DESTROY : LIFE_TAKE_DOWN);
        }
        /* One that does not listen: it is killed, and goes when its vCPUs have left. */
        enum slot_state killed = life_step(asked, LIFE_KILL, true).next;
        assert_int_equal(life_step(killed, LIFE_STOOD, true).next, SLOT_OFF);
        assert_int_equal(life_step(killed, LIFE_ENDED_RESTART, true).next, SLOT_OFF);
    }
}

static void test_the_wish_of_a_person_counts(void **state)
{
    /* The guest resets itself while it is being killed, and switches itself off while it is reset.
     */
    assert_int_equal(life_step(SLOT_KILLING, LIFE_ENDED_RESTART, false).action, LIFE_DESTROY);
    assert_int_equal(life_step(SLOT_RESETTING, LIFE_ENDED, false).action, LIFE_MAKE_ANEW);
    assert_int_equal(life_step(SLOT_RESETTING, LIFE_KILL, false).next, SLOT_KILLING);
}

/* Whatever a VM stood still for, it is asked to end when that is over. */
static void test_what_is_kept_ends_too(void **state)
{
    assert_int_equal(life_step(SLOT_RUNNING, LIFE_SNAPSHOT, true).action, LIFE_REFUSE);
    assert_int_equal(life_step(SLOT_PAUSED, LIFE_RESTORE, true).action, LIFE_REFUSE);
    assert_int_equal(life_step(SLOT_KEEPING, LIFE_DOWN, true).next, SLOT_KEEPING);
    assert_int_equal(life_step(SLOT_KEEPING, LIFE_KEPT, true).next, SLOT_PAUSED);
    assert_int_equal(life_step(SLOT_KEEPING, LIFE_KEPT, false).action, LIFE_GO_ON);
    assert_int_equal(life_step(SLOT_KEEPING, LIFE_KILL, false).next, SLOT_KILLING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_command_in_every_state),
        cmocka_unit_test(test_what_is_not_expected_changes_nothing),
        cmocka_unit_test(test_lives_begin_and_end),
        cmocka_unit_test(test_nothing_starts_while_the_machine_goes_down),
        cmocka_unit_test(test_no_end_leads_back_while_the_machine_goes_down),
        cmocka_unit_test(test_the_wish_of_a_person_counts),
        cmocka_unit_test(test_what_is_kept_ends_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
