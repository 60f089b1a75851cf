/* Who sits at COM1, as guest/monitor/login.h has it, on this machine. On processor 0. */
#pragma once

#include "guest/config/config.h"

/* config stays in place. */
void users_init(const struct config *config);
/* Whether what is typed may change anything. */
bool users_permit(void);
/* A key was typed. */
void users_used(void);
/* Log out who has gone. Returns the host TSC at which to call it again at the latest. */
uint64_t users_work(void);
/* The command that asks for a password has ended. */
void users_asked(void);
