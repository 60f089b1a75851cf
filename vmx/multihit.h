/*
 * iTLB multihit (CVE-2018-12207): a processor that may stop the whole machine with a machine check
 * when code is executed of which its instruction TLB has both a large page and small ones. A guest
 * can bring that about by its own page tables, unless what it may execute is in EPT leaves of 4
 * KiB. Pure.
 */
#pragma once

#include "vmx/caps.h"

/* By Intel's list of models; where IA32_ARCH_CAPABILITIES says that it does not happen, it does
 * not. */
bool vmx_multihit(const struct vmx_probe *probe);
