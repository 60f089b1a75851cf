/* What those who look on keep in a vCPU. */
#pragma once

#include "guest/cpu/debugged.h"
#include "guest/cpu/step.h"
#include "guest/cpu/watched.h"
