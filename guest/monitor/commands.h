/* The monitor's commands: each prints the next piece of its output, and says whether there is more.
 */
#pragma once

#include "guest/monitor/job.h"

extern const struct command commands[];
extern const unsigned command_count;

bool command_help(struct job *job); /* commands.c */
bool command_console(struct job *job);
bool command_start(struct job *job);
bool command_stop(struct job *job);
bool command_pause(struct job *job);
bool command_resume(struct job *job);
bool command_reset(struct job *job);
bool command_kill(struct job *job);
bool command_set(struct job *job);
bool command_boot(struct job *job);
bool command_poweroff(struct job *job);
bool command_reboot(struct job *job);
bool command_attach(struct job *job); /* attach.c */
bool command_detach(struct job *job);
bool command_eject(struct job *job); /* disc.c */
bool command_insert(struct job *job);
bool command_screenshot(struct job *job); /* screen.c */
bool command_type(struct job *job);       /* keys.c */
bool command_keys(struct job *job);
bool command_mouse(struct job *job);
bool command_list(struct job *job); /* info.c */
bool command_show(struct job *job);
bool command_cpus(struct job *job);
bool command_memory(struct job *job);
bool command_log(struct job *job);
bool command_disks(struct job *job); /* disks.c */
/* What its argument may be: number n, from 0; NULL: there are not so many. */
const char *disks_choice(unsigned n);
bool command_variables(struct job *job); /* variables.c */
bool command_ports(struct job *job);     /* ports.c */
bool command_resize(struct job *job);
bool command_balloon(struct job *job); /* balloon.c */
bool command_stats(struct job *job);   /* stats.c */
bool command_top(struct job *job);     /* top.c */
bool command_trace(struct job *job);   /* trace.c */
bool command_com2(struct job *job);    /* com2.c */
bool command_dump(struct job *job);    /* dump.c */
bool command_regs(struct job *job);
bool command_read(struct job *job); /* memory.c */
bool command_write(struct job *job);
bool command_walk(struct job *job);
bool command_watch(struct job *job); /* watch.c */
bool command_watches(struct job *job);
bool command_unwatch(struct job *job);
bool command_login(struct job *job); /* users.c */
bool command_logout(struct job *job);
bool command_snapshot(struct job *job); /* moments.c */
bool command_restore(struct job *job);
bool command_snapshots(struct job *job);
bool command_forget(struct job *job);
/* What is kept of the VM that stands in the complete words before[0..length): number n, from 0;
 * NULL: there is not so much. */
const char *moments_choice(const char *before, size_t length, unsigned n);
bool command_nets(struct job *job); /* nets.c */
bool command_switch(struct job *job);
bool command_link(struct job *job);
bool command_capture(struct job *job); /* capture.c */
/* What its argument may be: number n, from 0; NULL: there are not so many. */
const char *capture_choice(unsigned n);
