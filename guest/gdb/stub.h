/*
 * The debugger's side of things: gdb's commands carried out on whatever struct gdb_target stands
 * for. Threads are vCPUs, numbered from 0 here and from 1 in the protocol. Pure: bytes come by
 * gdb_stub_input(), go by `send`, and nothing waits.
 */
#pragma once

#include "guest/gdb/packet.h"
#include "guest/gdb/registers.h"
#include "guest/cpu/debugged.h"

#define GDB_THREADS 64
#define GDB_WINDOW  256 /* bytes of memory that are read with one: of one page */

enum gdb_why {
    GDB_NOT_STOPPED,
    GDB_STOPPED, /* by Ctrl-C, the monitor, or since nothing has run yet */
    GDB_STEPPED,
    GDB_SOFTWARE_BREAK,
    GDB_HARDWARE_BREAK,
    GDB_WATCH,
    GDB_EXITED, /* the VM has ended */
    GDB_KILLED, /* Corbel or a person ended it */
};

struct gdb_stop {
    enum gdb_why why;
    unsigned thread;
    unsigned hits; /* GDB_WATCH: at least one */
    struct gdb_hit hit[GDB_HITS];
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
    /* Whether it stands still, as gdb takes it to do; if not it is on its way, and
     * gdb_stub_ready() is called when it has arrived. */
    bool (*ready)(void);
    /* action[thread] for each. gdb_stub_stopped() is called when they have stopped again. */
    int (*resume)(const enum gdb_action *action);
    /* Stop them all; gdb_stub_stopped() is called when they have. */
    void (*stop)(void);
    void (*detach)(void); /* forget breakpoints, and let it run */
    void (*monitor)(const char *line, size_t length, struct gdb_text *out);
};

/* Memory as it was read last. */
struct gdb_window {
    uint64_t address;
    size_t length; /* 0: none */
    unsigned thread;
    bool physical;
    uint8_t data[GDB_WINDOW];
};

struct gdb_stub {
    const struct gdb_target *target;
    void (*send)(const void *data, size_t size);
    struct gdb_receiver in;
    bool no_ack;
    bool last_ack;    /* that of the OK which ends them may come */
    bool greeted;     /* this session has asked what is supported */
    bool all_watches; /* gdb takes more than one watchpoint per stop */
    bool running;     /* gdb waits to be told that it has stopped */
    bool silent;      /* this command is answered later, or never */
    bool physical;    /* memory is guest-physical */
    bool waiting;     /* with a command until the target stands still */
    uint8_t gone;     /* enum gdb_why: it has ended while gdb did not wait for it; 0: it has not */
    unsigned thread;
    char reply[GDB_PAYLOAD];
    size_t length;
    char frame[GDB_FRAME]; /* the last one sent */
    size_t frame_length;
    struct gdb_text text, news; /* news: what gdb has yet to be told */
    struct gdb_registers registers;
    struct gdb_window window;
};

void gdb_stub_init(struct gdb_stub *s, const struct gdb_target *target,
                   void (*send)(const void *data, size_t size));
/* A byte from the line. */
void gdb_stub_input(struct gdb_stub *s, uint8_t byte);
/* Something that gdb has not asked for may have changed memory. */
void gdb_stub_changed(struct gdb_stub *s);
/* Something that gdb has not asked for has become of the target: s->news has the words. A gdb that
 * waits for it to stop is told at once; one that takes it to stand still when it lets it go on,
 * which the target then does not. */
void gdb_stub_tell(struct gdb_stub *s);
/* The target stands still: what had to wait for that is carried out. */
void gdb_stub_ready(struct gdb_stub *s);
/* How many of a stop's watchpoints gdb is told of. */
unsigned gdb_stub_hits(const struct gdb_stub *s, unsigned hits);
/* The target has stopped; told to gdb if it waits for that. */
void gdb_stub_stopped(struct gdb_stub *s, const struct gdb_stop *stop);
