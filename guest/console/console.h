/*
 * The serial port and who is in front of it: one VM's console, or the monitor, to which Ctrl-]
 * leads (guest/console/front.h says when). A guest's bytes pass as guest/console/terminal.h
 * lets them, Corbel's lines wait until the guest's line is finished, and what guests say that are
 * not in front is kept.
 */
#pragma once

#include "guest/vm/events.h"
#include "guest/vm/vm_console.h"

struct vm;
struct vm_slot;

/* Room that the terminal must have for what one byte that is typed, or one piece of the monitor's
 * work, sends. */
#define CONSOLE_ROOM 4096
/* A host TSC that does not come. */
#define CONSOLE_NEVER UINT64_MAX

/* The monitor, which stands above. All on processor 0, without the console's lock. */
struct console_monitor {
    /* It comes to the front: its prompt. */
    void (*enter)(void);
    /* Something else comes to the front: prompt and line go; a command that runs ends. */
    void (*leave)(void);
    /* A byte that is typed while it is in front; there is CONSOLE_ROOM. */
    void (*input)(uint8_t byte);
    /* A byte is typed, whoever takes it. */
    void (*typed)(void);
    /* Whether what is typed may change anything, a guest included. Any processor may ask. */
    bool (*permits)(void);
    /* Do what there is to do. Returns the host TSC at which to call it again at the latest. */
    uint64_t (*work)(void);
    /* Take the prompt away for a line to stand in its place; false: a command has the whole screen,
     * so not now. show() brings the prompt back, whatever hide() has returned. */
    bool (*hide)(void);
    void (*show)(void);
};

/* Once; the monitor's functions stay in place. */
void console_mux_init(const struct console_monitor *monitor);
#define CONSOLE_MONITOR (-1)
#define CONSOLE_ANY     (-2) /* of the first VM that starts */
/* Once the VMs are known (guest/vm/control.h): `[host] attach`, a VM's number or one of the above.
 */
void console_begin(int attach);

/* --- who is in front --- */

/* That VM's serial port (VM_SERIAL), or other port, whether it runs or not; what it said last is
 * shown first. */
void console_attach(struct vm_slot *slot, int port);
void console_monitor(void);
/* From the monitor to the console that was in front before, if there was one and its VM runs. */
void console_back(void);
/* The VM in front, or the one behind the monitor's back; NULL: none. */
struct vm_slot *console_front(void);
/* And which of its consoles. */
int console_front_port(void);
/* Whether one of its consoles has something that nobody has seen. */
bool console_unseen(const struct vm_slot *slot);
/* How many bytes of one of them nobody has seen, and how many nobody ever will. */
void console_kept(const struct vm_slot *slot, int port, uint64_t *unseen, uint64_t *lost);

/* --- what happens to VMs --- */

/* A VM starts: it comes to the front if it is its turn and nobody sits at the monitor. */
void console_vm_starts(struct vm_slot *slot);
/* It has ended, could not start, or restarts: its line ends. */
void console_vm_ends(struct vm_slot *slot, bool restarts);
/* No VM exists, none starts by itself, and the machine stays on: the monitor is all there is. */
void console_idle(void);

/* --- a question to whoever is there --- */

/* Let a key be the answer; Ctrl-] leads to the monitor here, too. */
void console_ask_for_key(void);
enum vm_answer console_answer(void);

/* --- bytes --- */

/* A byte from the VM's UART (context is the VM): whether it was taken. */
bool console_put(void *context, uint8_t byte);
/* The same from one of its other ports: how many were taken. Of one that is not in front all are,
 * and the newest are kept. */
size_t console_put_port(void *context, unsigned port, const void *data, size_t size);
/*
 * Move input and output and let the monitor work. On processor 0 with interrupts off, whenever
 * there may be something to do. Returns the host TSC at which to call it again at the latest,
 * UINT64_MAX for never.
 */
uint64_t console_pump(void);
/* Send all that waits, waiting for the port as long as that makes progress. */
void console_flush(void);

/* --- for the monitor --- */

/* Bytes that console_write() takes now. */
size_t console_room(void);
/* To the serial port and the screen; what there is no room for is lost. */
void console_write(const char *text, size_t length);
