/* links: guest/board/pic.c guest/board/bus.c guest/board/bus_ranges.c arch/x86/spinlock.c guest/board/state.c tests/unit/mock_board.c tests/unit/mock_heap.c */
/* The two 8259As against the data sheet. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "arch/x86/lib/errno.h"
#include "guest/board/pic.h"
#include "tests/unit/mock_board.h"

static struct board board;
static struct pic p;
static bool intr;
static unsigned intr_changes;

static void on_intr(void *context, bool level)
{
    assert_ptr_equal(context, &board);
    intr_changes += level != intr;
    intr = level;
}

static void initialise(uint8_t icw1, uint8_t icw4)
{
    mock_out(&board, 0x20, icw1);
    mock_out(&board, 0x21, 0x30);
    mock_out(&board, 0x21, 0x04);
    mock_out(&board, 0x21, icw4);
    mock_out(&board, 0xa0, icw1);
    mock_out(&board, 0xa1, 0x38);
    mock_out(&board, 0xa1, 0x02);
    mock_out(&board, 0xa1, icw4);
}

static int setup(void **state)
{
    mock_init(&board);
    intr = false;
    intr_changes = 0;
    pic_init(&p, &board, on_intr, &board);
    assert_int_equal(pic_attach(&p, &board.bus), 0);
    bus_reset(&board.bus);
    initialise(0x11, 0x01);
    return 0;
}

static int teardown(void **state)
{
    bool before = intr;

    assert_true(mock_round_trip(&board));
    assert_int_equal(intr, before);
    assert_int_equal(intr, pic_output(&p));
    mock_destroy(&board);
    return 0;
}

static void pulse(unsigned irq)
{
    pic_set_irq(&p, irq, false);
    pic_set_irq(&p, irq, true);
}

static uint8_t isr(unsigned chip)
{
    mock_out(&board, chip ? 0xa0 : 0x20, 0x0b);
    return mock_in(&board, chip ? 0xa0 : 0x20);
}

static uint8_t irr(unsigned chip)
{
    mock_out(&board, chip ? 0xa0 : 0x20, 0x0a);
    return mock_in(&board, chip ? 0xa0 : 0x20);
}

static void eoi(unsigned chip)
{
    mock_out(&board, chip ? 0xa0 : 0x20, 0x20);
}

static void silent_until_initialised(void **state)
{
    bus_reset(&board.bus);
    for (unsigned i = 0; i < 16; i++)
        pic_set_irq(&p, i, true);
    assert_false(intr);
    mock_out(&board, 0x20, 0x11);
    pulse(0);
    mock_out(&board, 0x21, 0x30);
    mock_out(&board, 0x21, 0x04);
    assert_false(intr); /* ICW4 is still to come */
    mock_out(&board, 0x21, 0x01);
    assert_true(intr);
}

static void an_edge_is_one_interrupt(void **state)
{
    pic_set_irq(&p, 4, true);
    assert_true(intr);
    assert_int_equal(irr(0), 0x10);
    assert_int_equal(pic_acknowledge(&p), 0x34);
    assert_false(intr);
    assert_int_equal(irr(0), 0);
    assert_int_equal(isr(0), 0x10);
    eoi(0);
    assert_int_equal(isr(0), 0);
    assert_false(intr); /* the line is still high */
    pulse(4);
    assert_true(intr);
}

static void priorities_nest(void **state)
{
    pulse(3);
    assert_int_equal(pic_acknowledge(&p), 0x33);
    pulse(5);
    assert_false(intr);
    pulse(3);
    assert_false(intr); /* the same level waits too */
    pulse(1);
    assert_true(intr);
    assert_int_equal(pic_acknowledge(&p), 0x31);
    assert_int_equal(isr(0), 0x0a);
    eoi(0); /* ends the most urgent one */
    assert_int_equal(isr(0), 0x08);
    assert_false(intr);
    mock_out(&board, 0x20, 0x63); /* specific EOI of 3 */
    assert_true(intr);
    assert_int_equal(pic_acknowledge(&p), 0x33);
    mock_out(&board, 0x20, 0x63);
    assert_int_equal(pic_acknowledge(&p), 0x35);
}

static void masks_hold_back(void **state)
{
    mock_out(&board, 0x21, 0x10);
    assert_int_equal(mock_in(&board, 0x21), 0x10);
    pulse(4);
    assert_false(intr);
    assert_int_equal(irr(0), 0x10);
    mock_out(&board, 0x21, 0x00);
    assert_true(intr);
}

static void the_slave_comes_through_the_cascade(void **state)
{
    pulse(8);
    assert_true(intr);
    assert_int_equal(irr(0), 0x04);
    assert_int_equal(pic_acknowledge(&p), 0x38);
    assert_int_equal(isr(0), 0x04);
    assert_int_equal(isr(1), 0x01);
    pulse(14);
    assert_false(intr);
    eoi(1);
    assert_false(intr); /* the master still serves input 2 */
    eoi(0);
    assert_true(intr);
    assert_int_equal(pic_acknowledge(&p), 0x3e);
    pulse(1);
    assert_true(intr); /* 1 is more urgent than the cascade */
    assert_int_equal(pic_acknowledge(&p), 0x31);
}

static void special_fully_nested_mode_lets_the_slave_nest(void **state)
{
    initialise(0x11, 0x11);
    pulse(14);
    assert_int_equal(pic_acknowledge(&p), 0x3e);
    pulse(8);
    assert_true(intr);
    assert_int_equal(pic_acknowledge(&p), 0x38);
}

static void without_it_the_slave_does_not_nest(void **state)
{
    pulse(14);
    assert_int_equal(pic_acknowledge(&p), 0x3e);
    pulse(8);
    assert_false(intr);
}

static void a_withdrawn_request_is_spurious(void **state)
{
    pic_set_irq(&p, 5, true);
    assert_true(intr);
    pic_set_irq(&p, 5, false);
    assert_false(intr);
    assert_int_equal(pic_acknowledge(&p), 0x37);
    assert_int_equal(isr(0), 0); /* no service, so no EOI is due */
    pic_set_irq(&p, 12, true);
    p.chip[1].irr = 0; /* it goes between the master's cycle and the slave's */
    assert_int_equal(pic_acknowledge(&p), 0x3f);
    assert_int_equal(isr(1), 0);
    assert_int_equal(isr(0), 0x04); /* but the master serves its input 2 */
}

static void level_inputs_ask_until_they_fall(void **state)
{
    mock_out(&board, 0x4d0, 0xff);
    mock_out(&board, 0x4d1, 0xff);
    assert_int_equal(mock_in(&board, 0x4d0),
                     0xf8); /* the system's own inputs stay edge triggered */
    assert_int_equal(mock_in(&board, 0x4d1), 0xde);
    pic_set_irq(&p, 9, true);
    assert_int_equal(pic_acknowledge(&p), 0x39);
    assert_int_equal(irr(1), 0x02);
    eoi(1);
    eoi(0);
    assert_true(intr);
    assert_int_equal(pic_acknowledge(&p), 0x39);
    pic_set_irq(&p, 9, false);
    eoi(1);
    eoi(0);
    assert_false(intr);
}

static void ltim_makes_all_inputs_level(void **state)
{
    initialise(0x19, 0x01);
    pic_set_irq(&p, 0, true);
    assert_int_equal(pic_acknowledge(&p), 0x30);
    eoi(0);
    assert_true(intr);
}

static void automatic_eoi(void **state)
{
    initialise(0x11, 0x03);
    pulse(6);
    assert_int_equal(pic_acknowledge(&p), 0x36);
    assert_int_equal(isr(0), 0);
    pulse(10);
    assert_int_equal(pic_acknowledge(&p), 0x3a);
    pulse(10);
    assert_true(intr); /* the slave's second request is an edge for the master */
    assert_int_equal(pic_acknowledge(&p), 0x3a);
}

static void both_slave_requests_arrive_under_automatic_eoi(void **state)
{
    initialise(0x11, 0x03);
    pulse(10);
    pulse(11);
    assert_int_equal(pic_acknowledge(&p), 0x3a);
    assert_true(intr);
    assert_int_equal(pic_acknowledge(&p), 0x3b);
    assert_false(intr);
}

static void rotation(void **state)
{
    mock_out(&board, 0x20, 0xc3); /* 3 becomes the lowest */
    pulse(3);
    pulse(4);
    assert_int_equal(pic_acknowledge(&p), 0x34);
    mock_out(&board, 0x20, 0xa0); /* EOI, and 4 becomes the lowest */
    assert_int_equal(pic_acknowledge(&p), 0x33);
    pulse(4);
    assert_false(intr);
    mock_out(&board, 0x20, 0xe3); /* the same, by its name */
    assert_int_equal(p.chip[0].lowest, 3);
    assert_int_equal(pic_acknowledge(&p), 0x34);
    eoi(0);
    initialise(0x11, 0x03);
    mock_out(&board, 0x20, 0x80); /* rotate at each automatic EOI */
    pulse(0);
    assert_int_equal(pic_acknowledge(&p), 0x30);
    assert_int_equal(p.chip[0].lowest, 0);
    mock_out(&board, 0x20, 0x00);
    pulse(5);
    assert_int_equal(pic_acknowledge(&p), 0x35);
    assert_int_equal(p.chip[0].lowest, 0);
    mock_out(&board, 0x20, 0x40); /* no operation */
    assert_int_equal(p.chip[0].lowest, 0);
}

static void special_mask_mode(void **state)
{
    pulse(2 + 1);
    assert_int_equal(pic_acknowledge(&p), 0x33);
    mock_out(&board, 0x21, 0x08);
    pulse(6);
    assert_false(intr);
    mock_out(&board, 0x20, 0x68); /* a masked input in service blocks nobody any more */
    assert_true(intr);
    assert_true(mock_round_trip(&board));
    assert_true(intr);
    assert_int_equal(pic_acknowledge(&p), 0x36);
    assert_int_equal(isr(0), 0x48);
    eoi(0); /* does not see the masked one */
    assert_int_equal(isr(0), 0x08);
    mock_out(&board, 0x20, 0x48);
    pulse(6);
    assert_false(intr);
}

static void polling(void **state)
{
    mock_out(&board, 0x20, 0x0c);
    assert_int_equal(mock_in(&board, 0x20), 0x00);
    pulse(5);
    mock_out(&board, 0x20, 0x0c);
    assert_true(intr);
    assert_int_equal(mock_in(&board, 0x20), 0x85);
    assert_false(intr);
    assert_int_equal(isr(0), 0x20);
    assert_int_equal(mock_in(&board, 0x21), 0x00); /* one read only */
}

/* INTA and a poll lower the output for their time: what asks next is an edge again, at the master
 * as at whoever hears INTR. */
static void each_request_is_an_edge_of_the_output(void **state)
{
    initialise(0x11, 0x03);
    pulse(1);
    pulse(3);
    assert_int_equal(intr_changes, 1);
    assert_int_equal(pic_acknowledge(&p), 0x31);
    assert_true(intr);
    assert_int_equal(intr_changes, 3);
    assert_int_equal(pic_acknowledge(&p), 0x33);
    assert_false(intr);
    pulse(8);
    pulse(9);
    mock_out(&board, 0x20, 0x0c);
    assert_int_equal(mock_in(&board, 0x20), 0x82);
    assert_false(intr);
    mock_out(&board, 0xa0, 0x0c);
    assert_int_equal(mock_in(&board, 0xa0), 0x80);
    assert_true(intr); /* the slave's second request reaches the master */
    intr_changes = 0;
    pulse(1);
    mock_out(&board, 0x20, 0x0c);
    assert_int_equal(mock_in(&board, 0x20), 0x81);
    assert_true(intr);
    assert_int_equal(intr_changes, 2);
    assert_int_equal(pic_acknowledge(&p), 0x39);
}

static void initialisation_forgets(void **state)
{
    pulse(1);
    pulse(9);
    assert_int_equal(pic_acknowledge(&p), 0x31);
    mock_out(&board, 0x21, 0xff);
    initialise(0x11, 0x01);
    assert_int_equal(isr(0), 0);
    assert_int_equal(mock_in(&board, 0x21), 0);
    assert_false(intr);           /* lines that are high make no edge */
    mock_out(&board, 0x20, 0x13); /* a single chip without cascade: ICW2 and ICW4 only */
    mock_out(&board, 0x21, 0x47);
    mock_out(&board, 0x21, 0x01);
    mock_out(&board, 0x21, 0xfb);
    assert_int_equal(mock_in(&board, 0x21), 0xfb);
    assert_int_equal(p.chip[0].base, 0x40);
    mock_out(&board, 0x20, 0x12); /* nor ICW4 */
    mock_out(&board, 0x21, 0x48);
    mock_out(&board, 0x21, 0xf0);
    assert_int_equal(mock_in(&board, 0x21), 0xf0);
}

/* Linux believes in an 8259A when its mask register can be read back, then initialises, and masks
 * everything. */
static void linux_probe(void **state)
{
    mock_out(&board, 0xa1, 0xff);
    mock_out(&board, 0x21, 0xfb);
    assert_int_equal(mock_in(&board, 0x21), 0xfb);
    mock_out(&board, 0x21, 0xff);
    mock_out(&board, 0xa1, 0xff);
    initialise(0x11, 0x01);
    mock_out(&board, 0x21, 0xfb);
    mock_out(&board, 0xa1, 0xff);
    for (unsigned i = 0; i < 16; i++)
        pulse(i);
    assert_false(intr);
    assert_int_equal(intr_changes, 0);
}

static void inputs_that_do_not_exist_are_ignored(void **state)
{
    pic_set_irq(&p, 2, true);
    pic_set_irq(&p, 16, true);
    pic_set_irq(&p, UINT32_MAX, true);
    assert_false(intr);
    assert_int_equal(irr(0) | irr(1), 0);
}

static void hostile_state_is_refused(void **state)
{
    static const struct {
        unsigned offset;
        uint8_t value;
    } bad[] = {{4, 1}, {5, 0x31}, {7, 8}, {8, 1}, {8, 5}, {10, 2}, {11 + 4, 1}};
    uint8_t data[256];

    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        struct state_writer w = {.data = data, .capacity = sizeof(data)};
        struct state_reader r = {.data = data};

        bus_save(&board.bus, &w);
        data[24 + bad[i].offset] = bad[i].value;
        r.size = w.used;
        assert_int_equal(bus_load(&board.bus, &r), -EBADMSG);
        assert_true(mock_round_trip(&board));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(silent_until_initialised, setup, teardown),
        cmocka_unit_test_setup_teardown(an_edge_is_one_interrupt, setup, teardown),
        cmocka_unit_test_setup_teardown(priorities_nest, setup, teardown),
        cmocka_unit_test_setup_teardown(masks_hold_back, setup, teardown),
        cmocka_unit_test_setup_teardown(the_slave_comes_through_the_cascade, setup, teardown),
        cmocka_unit_test_setup_teardown(special_fully_nested_mode_lets_the_slave_nest, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(without_it_the_slave_does_not_nest, setup, teardown),
        cmocka_unit_test_setup_teardown(a_withdrawn_request_is_spurious, setup, teardown),
        cmocka_unit_test_setup_teardown(level_inputs_ask_until_they_fall, setup, teardown),
        cmocka_unit_test_setup_teardown(ltim_makes_all_inputs_level, setup, teardown),
        cmocka_unit_test_setup_teardown(automatic_eoi, setup, teardown),
        cmocka_unit_test_setup_teardown(both_slave_requests_arrive_under_automatic_eoi, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(rotation, setup, teardown),
        cmocka_unit_test_setup_teardown(special_mask_mode, setup, teardown),
        cmocka_unit_test_setup_teardown(polling, setup, teardown),
        cmocka_unit_test_setup_teardown(each_request_is_an_edge_of_the_output, setup, teardown),
        cmocka_unit_test_setup_teardown(initialisation_forgets, setup, teardown),
        cmocka_unit_test_setup_teardown(linux_probe, setup, teardown),
        cmocka_unit_test_setup_teardown(inputs_that_do_not_exist_are_ignored, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_state_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests_name("pic", tests, NULL, NULL);
}
