/* Names for logs: basic exit reasons and VM-instruction errors (SDM volume 3, appendices). */
#pragma once

#include "arch/x86/lib/types.h"

#define VMX_EXIT_REASONS 78

/* Name of a basic exit reason; "reserved exit reason" for one the SDM does not define. */
const char *vmx_exit_name(unsigned basic_reason);
/* Sentence for a VM-instruction error number (1-28). */
const char *vmx_instruction_error(unsigned number);
