/*
 * The debugger's side of things: gdb's commands carried out on whatever struct gdb_target stands
 * for. Threads are vCPUs, numbered from 0 here and from 1 in the protocol. Pure: bytes come by
 * gdb_stub_input(), go by `send`, and nothing waits.
 */
#pragma once

#include "guest/gdb/packet.h"
#include "guest/gdb/registers.h"

#define GDB_THREADS 64

enum gdb_why {
    GDB_NOT_STOPPED,
    GDB_STOPPED, /* by Ctrl-C, the monitor, or since nothing has run yet */
    GDB_STEPPED,
    GDB_SOFTWARE_BREAK,
    GDB_HARDWARE_BREAK,
    GDB_WATCH_WRITE,
    GDB_WATCH_ACCESS,
    GDB_EXITED, /* the VM has ended */
    GDB_KILLED, /* Corbel or a person ended it */
};

struct gdb_stop {
    enum gdb_why why;
    unsigned thread;
    uint64_t address; /* of what a watchpoint watches */
};

enum gdb_point_kind { GDB_POINT_SOFTWARE, GDB_POINT_HARDWARE, GDB_POINT_WRITE, GDB_POINT_ACCESS };

struct gdb_point {
    enum gdb_point_kind kind;
    uint64_t address;
    unsigned size; /* watchpoints: 1, 2, 4, 8 */
};

enum gdb_action { GDB_STAY, GDB_CONTINUE, GDB_STEP };

/* What the monitor command says in return. */
struct gdb_text {
    char text[GDB_PAYLOAD / 2 + 1];
    size_t length;
};
/* What does not fit is left out. */
void gdb_say(struct gdb_text *t, const char *fmt, ...) PRINTF(2, 3);

/* Errors are negative errno values. Threads are below threads(). */
struct gdb_target {
    unsigned (*threads)(void); /* 0: there is no VM; at most GDB_THREADS */
    bool (*thread_text)(unsigned thread, struct gdb_text *out);
    int (*get)(unsigned thread, struct gdb_registers *r);
    int (*set)(unsigned thread, const struct gdb_registers *r);
    /* Memory as that thread sees it, or guest-physical: how many bytes could be copied. */
    size_t (*read)(unsigned thread, bool physical, uint64_t address, void *data, size_t size);
    size_t (*write)(unsigned thread, bool physical, uint64_t address, const void *data,
                    size_t size);
    int (*insert)(unsigned thread, const struct gdb_point *p);
    int (*remove)(const struct gdb_point *p);
    void (*remove_all)(void);
    /* action[thread] for each. gdb_stub_stopped() is called when they have stopped again. */
    int (*resume)(const enum gdb_action *action);
    /* Stop them all; gdb_stub_stopped() is called when they have. */
    void (*stop)(void);
    void (*detach)(void); /* forget breakpoints, and let it run */
    void (*monitor)(const char *line, size_t length, struct gdb_text *out);
};

struct gdb_stub {
    const struct gdb_target *target;
    void (*send)(const void *data, size_t size);
    struct gdb_receiver in;
    bool no_ack;
    bool running;  /* gdb waits to be told that it has stopped */
    bool silent;   /* this command is answered later, or never */
    bool physical; /* memory is guest-physical */
    unsigned thread;
    char reply[GDB_PAYLOAD];
    size_t length;
    char frame[GDB_FRAME]; /* the last one sent */
    size_t frame_length;
    struct gdb_text text;
    struct gdb_registers registers;
};

void gdb_stub_init(struct gdb_stub *s, const struct gdb_target *target,
                   void (*send)(const void *data, size_t size));
/* A byte from the line. */
void gdb_stub_input(struct gdb_stub *s, uint8_t byte);
/* The target has stopped; told to gdb if it waits for that. */
void gdb_stub_stopped(struct gdb_stub *s, const struct gdb_stop *stop);
