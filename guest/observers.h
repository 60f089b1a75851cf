/* Who looks on from outside: the console, the debugger, watches and the trace together. */
#pragma once

/* Hand them down to guest/cpu/ and guest/vm/. First of all, before any of them is switched on. */
void observers_init(void);
