/* Who looks on from outside: the debugger, watches and the trace together. */
#pragma once

/* Hand them down to guest/cpu/. Before any of them is switched on. */
void observers_init(void);
