/* links: guest/console/terminal.c guest/console/terminal_functions.c guest/console/terminal_set.c arch/x86/lib/format.c */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include "guest/console/terminal.h"
#include "tests/fuzz/require.h"

#define assert_false(condition) REQUIRE(!(condition))
#define assert_int_equal(a, b)  REQUIRE((a) == (b))
#include "tests/unit/terminal_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct terminal t;
static struct model m;
static char tail[8]; /* of what went out */

static void look(const char *text, size_t length)
{
    REQUIRE(length <= TERMINAL_OUT);
    for (size_t i = 0; i < length; i++) {
        memmove(tail, tail + 1, sizeof(tail) - 1);
        tail[sizeof(tail) - 1] = text[i];
        REQUIRE(memcmp(tail, "corbel: ", sizeof(tail)) && memcmp(tail, "corbel> ", sizeof(tail)));
    }
    model_reads(&m, text, length);
    REQUIRE(!m.harmful);
}

/* Whatever a guest sends, what goes out is a terminal's daily bread, and all of it can be taken
 * back. FFh, which is no character, stands for something that happens. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char out[TERMINAL_OUT];

    t = (struct terminal){0};
    m = (struct model){0};
    memset(tail, 0, sizeof(tail));
    for (size_t i = 0; i < size; i++) {
        unsigned what = data[i] == 0xff && i + 1 < size ? data[++i] % 4 : 4;
        if (what == 0 && !terminal_is_full(&t)) {
            look(out, terminal_between(&t, out));
            model_is_fit(&m, false);
        } else if (what == 1) {
            struct terminal left = t;
            look(out, terminal_leave(&t, out));
            model_is_fit(&m, true);
            if (i % 2) {
                t = left;
                look(out, terminal_return(&t, out));
            }
        } else if (what == 2) {
            terminal_typed(&t);
        } else {
            look(out, terminal_byte(&t, data[i], what != 3, out));
        }
    }
    look(out, terminal_leave(&t, out));
    model_is_fit(&m, true);
    return 0;
}
