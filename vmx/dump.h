/* The current VMCS in words. */
#pragma once

/*
 * One line per field that this CPU has and that is not 0, by area, with control words' bits, exit
 * reason and activity state by name. Lines have at most 100 characters.
 */
void vmx_dump_vmcs(void (*line)(void *ctx, const char *text), void *ctx);
