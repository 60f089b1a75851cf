/* Says what a terminal should not be told: questions, titles, keys, a reset, and lines like
 * Corbel's; beside that colours and a program's whole screen. */
#include "guest.h"

void test(void)
{
    say("corbel: error: this is no line of Corbel's\n");
    say("corbel> this is no prompt\n");
    say("title\x1b]0;owned\x07 keys\x1bP1;1|17/6c73\x1b\\ clipboard\x1b]52;c;bHM=\x1b\\ "
        "c1\xc2\x9d"
        "0;owned\x07 byte\x9d"
        "end\n");
    say("asks\x1b[c\x1b[>c\x1b[5n\x1b[18t\x1bZ\x05 print\x1b[5i reset\x1b[!p size\x1b[8;2;20t\n");
    say("\x1b[1;31mred\x1b[0m and \x1b[?1049h\x1b[2;3Hwhole screen\x1b[?1049l\n");
    say("\x1b]never ended\n");
    say("\x1b[41mcolours stay\n");
}
