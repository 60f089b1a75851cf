/* The table of corbel.conf's keys: one entry per key is all that the parser and docs/CONFIG.md need
 * to know. */
#include "guest/config.h"
#include "guest/load/layout.h"

static const char *const mode_names[] = {"run", "check", NULL};
static const char *const log_names[] = {"error", "warn", "info", "debug", NULL};
static const char *const idle_names[] = {"poweroff", "stay", NULL};
static const char *const panic_names[] = {"halt", "reset", NULL};

#define WITHOUT_NAME(symbol, name, what) name,
const char *const config_without_names[CONFIG_WITHOUT_COUNT + 1] = {
    CONFIG_WITHOUT_LIST(WITHOUT_NAME)};

_Static_assert(CONFIG_WITHOUT_COUNT <= 32, "struct config holds one bit per feature");

const struct config_key config_host_keys[CONFIG_HOST_KEYS] = {
    [CONFIG_HOST_MODE] = {.name = "mode",
                          .type = CONFIG_CHOICE,
                          .offset = offsetof(struct config, mode),
                          .choices = mode_names,
                          .initial = "run",
                          .help = "run the VMs, or check this machine and start none"},
    [CONFIG_HOST_LOG] = {.name = "log",
                         .type = CONFIG_CHOICE,
                         .offset = offsetof(struct config, log),
                         .choices = log_names,
                         .initial = "info",
                         .help = "the least important lines that Corbel prints"},
    [CONFIG_HOST_WHEN_IDLE] = {.name = "when_idle",
                               .type = CONFIG_CHOICE,
                               .offset = offsetof(struct config, when_idle),
                               .choices = idle_names,
                               .initial = "poweroff",
                               .help = "what to do after the last VM has ended"},
    [CONFIG_HOST_WITHOUT] = {.name = "without",
                             .type = CONFIG_FLAGS,
                             .offset = offsetof(struct config, without),
                             .choices = config_without_names,
                             .help = "optional CPU features not to use, separated by commas"},
    [CONFIG_HOST_ON_PANIC] = {.name = "on_panic",
                              .type = CONFIG_CHOICE,
                              .offset = offsetof(struct config, on_panic),
                              .choices = panic_names,
                              .initial = "halt",
                              .help = "what to do after Corbel itself has failed"},
    [CONFIG_HOST_TEST_RELOAD] = {.name = "test_reload",
                                 .type = CONFIG_NUMBER,
                                 .offset = offsetof(struct config, test_reload),
                                 .min = 0,
                                 .max = 1000000,
                                 .initial = "0",
                                 .help = "for tests: save, wipe and reload a VM's state at random "
                                         "exits, one in so many; 0: never"},
    [CONFIG_HOST_TEST_INVALID] = {.name = "test_invalid",
                                  .type = CONFIG_NUMBER,
                                  .offset = offsetof(struct config, test_invalid),
                                  .min = 0,
                                  .max = CONFIG_MAX_VMS,
                                  .initial = "0",
                                  .help = "for tests: enter the VM of this number in invalid "
                                          "state; 0: none"},
};

const struct config_key config_vm_keys[CONFIG_VM_KEYS] = {
    [CONFIG_VM_KERNEL] = {.name = "kernel",
                          .type = CONFIG_PATH,
                          .offset = offsetof(struct vm_config, kernel),
                          .required = true,
                          .min = 1,
                          .max = CONFIG_MAX_PATH,
                          .help = "the kernel's file, relative to the config's folder"},
    [CONFIG_VM_INITRD] = {.name = "initrd",
                          .type = CONFIG_PATH,
                          .offset = offsetof(struct vm_config, initrd),
                          .min = 1,
                          .max = CONFIG_MAX_PATH,
                          .help = "the initial RAM disk's file, relative to the config's folder"},
    [CONFIG_VM_CMDLINE] = {.name = "cmdline",
                           .type = CONFIG_TEXT,
                           .offset = offsetof(struct vm_config, cmdline),
                           .max = CONFIG_MAX_CMDLINE,
                           .help = "the kernel's command line: the rest of the line, '#' included"},
    [CONFIG_VM_MEMORY] = {.name = "memory",
                          .type = CONFIG_SIZE,
                          .offset = offsetof(struct vm_config, memory),
                          .min = GPA_MEMORY_MIN,
                          .max = GPA_MEMORY_MAX,
                          .multiple = PAGE_SIZE,
                          .initial = "256M",
                          .help = "the VM's memory"},
    [CONFIG_VM_CPUS] = {.name = "cpus",
                        .type = CONFIG_NUMBER,
                        .offset = offsetof(struct vm_config, cpus),
                        .min = 1,
                        .max = CONFIG_MAX_CPUS,
                        .initial = "1",
                        .help = "the VM's virtual CPUs"},
    [CONFIG_VM_HOLE] = {.name = "hole",
                        .type = CONFIG_SIZE,
                        .offset = offsetof(struct vm_config, hole),
                        .min = GPA_HOLE_MIN,
                        .max = GPA_HOLE_MAX,
                        .multiple = GPA_HOLE_ALIGN,
                        .initial = "3G",
                        .help =
                            "guest-physical address from which on, up to 4 GiB, there is no RAM"},
};
