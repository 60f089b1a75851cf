#!/bin/bash
# What: a cmocka group whose teardown fails says FAILED and ERROR, and reports success: the number that main() returns is 0.
#
# A group's teardown is where a suite looks whether all was given back. An assertion there is printed in red, but make, meson
# and CI go by the exit status. In a group's setup the same assertion counts as a failure.
#
# Versions: Debian 12: libcmocka-dev 1.1.5-2.1, tcc 0.9.27+git20200814.62c30a4a-1, libc6-dev 2.36-9+deb12u14.
# Expected before it was run: 1 from both.
# Seen: lines with FAILED or ERROR, and the exit status, if the group's function asserts something false:
#   setup: 3 1
#   teardown: 3 0
. "$(dirname "$0")/lib/debian"
packages bookworm libcmocka-dev=1.1.5-2.1 tcc=0.9.27+git20200814.62c30a4a-1 libc6-dev=2.36-9+deb12u14
cat > "$t/root/t.c" << 'C'
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
static void passes(void **state) { (void)state; }
static int asserts(void **state) { (void)state; assert_int_equal(1, 2); return 0; }
int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(passes) };
	int setup = argc > 1 && argv[1][0] == 's';
	return cmocka_run_group_tests(tests, setup ? asserts : NULL, setup ? NULL : asserts);
}
C
inside tcc -o /t /t.c -lcmocka
group() {
    local status=0
    inside /t "$1" > "$t/said" 2>&1 || status=$?
    echo "$(grep -cE 'FAILED|ERROR' "$t/said") $status"
}
expect setup "$(group setup)" "3 1"
expect teardown "$(group teardown)" "3 0"
exit $changed
