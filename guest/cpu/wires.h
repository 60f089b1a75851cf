/* vCPUs as a board knows them. */
#pragma once

#include "guest/board/board.h"

/* For a board whose owner is a struct vm. */
extern const struct board_cpus vcpu_wires;
