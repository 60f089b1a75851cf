/* vCPUs as a board knows them. */
#pragma once

#include "guest/board/board.h"

/* For a board that is struct vm.board. */
extern const struct board_cpus vcpu_wires;
