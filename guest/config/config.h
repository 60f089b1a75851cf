/*
 * \corbel\corbel.conf: a pure parser over the file's text. Nothing is allocated and nothing copied:
 * strings are spans of the text, which must stay in place as long as the result is used.
 * docs/CONFIG.md describes the format.
 */
#pragma once

#include "arch/x86/lib/log.h"
#include "arch/x86/lib/types.h"
#include "guest/config/trace_class.h"

#define CONFIG_MAX_VMS         1024
#define CONFIG_MAX_CPUS        64
#define CONFIG_MAX_PORTS       8 /* of virtio-console: a digit */
#define CONFIG_MAX_NAME        31
#define CONFIG_MONITOR         "monitor" /* in a VM's place, for `attach` */
#define CONFIG_MAX_PATH        511
#define CONFIG_MAX_PASSWORD    160 /* of what `make password` makes of it */
#define CONFIG_MAX_CHECK_DISKS 120 /* `write:` and a label of 36 characters */
#define CONFIG_MAX_STATE       120 /* `part:` and the same */
#define CONFIG_MAX_CMDLINE     2047
#define CONFIG_MAX_DISKS       16   /* [disk NAME] sections */
#define CONFIG_MAX_SWITCHES    16   /* [switch NAME] sections */
#define CONFIG_MAX_NETS        8    /* of one VM */
#define CONFIG_MAX_NET         200  /* bytes of one `net =` */
#define CONFIG_MAX_MODULES     16   /* of one VM */
#define CONFIG_MAX_MODULE      1023 /* a module's file and arguments */
#define CONFIG_MAX_LINES       16   /* of one VM with the same key */
#define CONFIG_MAX_DISK        300  /* bytes of one `disk =` */
#define CONFIG_MAX_CDROMS      4    /* of one VM */
#define CONFIG_MAX_BOOT        40
#define CONFIG_MAX_WATCHES     8   /* of one VM */
#define CONFIG_MAX_WATCH       200 /* bytes of one */
#define CONFIG_MAX_REPORTS                                                                         \
    100                    /* problems told one by one; then one line says that there are more */
#define CONFIG_MESSAGE 352 /* a report's sentence, with its terminator, fits into this */

/* A piece of the config's text; data is NULL where the config does not give the value. Not
 * terminated. */
struct config_span {
    const char *data;
    size_t length;
};

enum config_mode { CONFIG_MODE_RUN, CONFIG_MODE_CHECK };
enum config_idle { CONFIG_IDLE_POWEROFF, CONFIG_IDLE_STAY };
enum config_start { CONFIG_START_TOGETHER, CONFIG_START_IN_TURN };
enum config_terminal { CONFIG_TERMINAL_FILTERED, CONFIG_TERMINAL_RAW };
enum config_small { CONFIG_SMALL_AUTO, CONFIG_SMALL_ON, CONFIG_SMALL_OFF };
enum config_panic { CONFIG_PANIC_HALT, CONFIG_PANIC_RESET };

/* Optional CPU features that `without` in [host] can switch off: X(symbol, name in the config, what
 * it is). */
#define CONFIG_WITHOUT_LIST(X)                                                                     \
    X(VID, "vid", "virtual-interrupt delivery")                                                    \
    X(APICV, "apicv", "APIC-register virtualization, and with it virtual-interrupt delivery")      \
    X(X2APIC_VIRT, "x2apic-virt", "x2APIC-mode virtualization")                                    \
    X(TPR, "tpr", "the TPR shadow, and with it all of the above")                                  \
    X(PREEMPT, "preempt", "the VMX-preemption timer")                                              \
    X(VPID, "vpid", "virtual-processor identifiers")                                               \
    X(EPT_1G, "ept-1g", "1 GiB EPT leaves")                                                        \
    X(EPT_2M, "ept-2m", "2 MiB EPT leaves, and with them those of 1 GiB")                          \
    X(EPT_AD, "ept-ad", "accessed and dirty flags in EPT")                                         \
    X(INVPCID, "invpcid", "INVPCID in guests")                                                     \
    X(RDTSCP, "rdtscp", "RDTSCP in guests")                                                        \
    X(XSAVES, "xsaves", "XSAVES in guests")                                                        \
    X(MTF, "mtf", "the monitor trap flag")                                                         \
    X(PML, "pml", "page-modification logging")                                                     \
    X(INS_OUTS, "ins-outs", "what VM exits by INS and OUTS tell of the instruction")               \
    X(BUS_LOCK, "bus-lock", "VM exits by bus locks, or #AC by split locks")                        \
    X(NOTIFY, "notify", "VM exits where a guest lets no event in")

/* Steps against errata of speculation that `test_mitigations` in [host] can ask for: X(symbol, name
 * in the config, what it does). */
#define CONFIG_STEP_LIST(X)                                                                        \
    X(RETPOLINE, "retpoline", "indirect branches of Corbel's own go by retpolines")                \
    X(ALIGNED, "aligned", "or from the upper half of a cache line")                                \
    X(IBRS, "ibrs",                                                                                \
      "IA32_SPEC_CTRL.IBRS set behind each VM exit, the guest's value before each "                \
      "VM entry")                                                                                  \
    X(EIBRS, "eibrs", "IBRS set once, on each processor")                                          \
    X(BHI_DIS, "bhi-dis", "BHI_DIS_S set once, on each processor")                                 \
    X(BHI_CLEAR, "bhi-clear", "branch history overwritten behind each VM exit")                    \
    X(RSB_FILL, "rsb-fill", "the stack of returns filled behind each VM exit")                     \
    X(RSB_ONE, "rsb-one", "one entry of it behind each VM exit")                                   \
    X(IBPB, "ibpb", "IBPB where another VM's vCPU is loaded on a processor")                       \
    X(TSX_OFF, "tsx-off", "transactions (TSX) switched off")                                       \
    X(L1D, "l1d", "the L1 data cache flushed before each VM entry")                                \
    X(VERW, "verw", "VERW, which clears buffers, before each VM entry")

enum config_step {
#define CONFIG_STEP_ENUM(symbol, name, what) CONFIG_STEP_##symbol,
    CONFIG_STEP_LIST(CONFIG_STEP_ENUM)
#undef CONFIG_STEP_ENUM
        CONFIG_STEP_COUNT
};

/* What `pv` in [vm NAME] offers (docs/PARAVIRT.md): X(symbol, name in the config). */
#define CONFIG_PV_LIST(X)                                                                          \
    X(CLOCK, "clock")                                                                              \
    X(STEAL, "steal")                                                                              \
    X(TLB_FLUSH, "tlb-flush")                                                                      \
    X(IPI, "ipi")                                                                                  \
    X(UNHALT, "unhalt")                                                                            \
    X(YIELD, "yield")                                                                              \
    X(EOI, "eoi")                                                                                  \
    X(POLL, "poll")                                                                                \
    X(IO_DELAY, "io-delay")

enum config_pv {
#define CONFIG_PV_ENUM(symbol, name) CONFIG_PV_##symbol,
    CONFIG_PV_LIST(CONFIG_PV_ENUM)
#undef CONFIG_PV_ENUM
        CONFIG_PV_COUNT,
    CONFIG_PV_ALL = CONFIG_PV_COUNT,
    CONFIG_PV_NONE
};

/* `trace` in [host]: after the classes of trace_class.h. */
#define CONFIG_TRACE_ALL TRACE_CLASSES
#define CONFIG_TRACE_OFF (TRACE_CLASSES + 1)

/* The same order as the VMX_WITHOUT bits of vmx/controls.h. */
enum config_without {
#define CONFIG_WITHOUT_ENUM(symbol, name, what) CONFIG_WITHOUT_##symbol,
    CONFIG_WITHOUT_LIST(CONFIG_WITHOUT_ENUM)
#undef CONFIG_WITHOUT_ENUM
        CONFIG_WITHOUT_COUNT
};

enum config_host_key {
    CONFIG_HOST_MODE,
    CONFIG_HOST_CHECK_DISKS,
    CONFIG_HOST_CHECK_NET,
    CONFIG_HOST_IOMMU,
    CONFIG_HOST_MITIGATIONS,
    CONFIG_HOST_SMALL_EXECUTABLE,
    CONFIG_HOST_LOG,
    CONFIG_HOST_START,
    CONFIG_HOST_WHEN_IDLE,
    CONFIG_HOST_SHUTDOWN_TIMEOUT,
    CONFIG_HOST_ATTACH,
    CONFIG_HOST_STATE,
    CONFIG_HOST_PASSWORD,
    CONFIG_HOST_LOGOUT,
    CONFIG_HOST_WITHOUT,
    CONFIG_HOST_ON_PANIC,
    CONFIG_HOST_TRACE,
    CONFIG_HOST_TRACE_MEMORY,
    CONFIG_HOST_GDB,
    CONFIG_HOST_COM2,
    CONFIG_HOST_TEST_RELOAD,
    CONFIG_HOST_TEST_INVALID,
    CONFIG_HOST_TEST_MEMORY,
    CONFIG_HOST_TEST_SMP,
    CONFIG_HOST_TEST_PANIC,
    CONFIG_HOST_TEST_DMA,
    CONFIG_HOST_TEST_MITIGATIONS,
    CONFIG_HOST_KEYS
};

/* Of [disk NAME], which only tools/image makes something of: a partition of the image. */
enum config_disk_key { CONFIG_DISK_SIZE, CONFIG_DISK_FROM, CONFIG_DISK_KEYS };

enum config_switch_key {
    CONFIG_SWITCH_UPLINK,
    CONFIG_SWITCH_MTU,
    CONFIG_SWITCH_VLANS,
    CONFIG_SWITCH_KEYS
};

enum config_vm_key {
    CONFIG_VM_KERNEL,
    CONFIG_VM_FIRMWARE,
    CONFIG_VM_DISPLAY,
    CONFIG_VM_BOOT,
    CONFIG_VM_INITRD,
    CONFIG_VM_MODULE,
    CONFIG_VM_CMDLINE,
    CONFIG_VM_MEMORY,
    CONFIG_VM_OVERCOMMIT,
    CONFIG_VM_CPUS,
    CONFIG_VM_HOLE,
    CONFIG_VM_WEIGHT,
    CONFIG_VM_CAP,
    CONFIG_VM_AFFINITY,
    CONFIG_VM_BUS_LOCKS,
    CONFIG_VM_PV,
    CONFIG_VM_AUTOSTART,
    CONFIG_VM_PAUSED,
    CONFIG_VM_DISK,
    CONFIG_VM_ALLOW_WHOLE_DISK,
    CONFIG_VM_SNAPSHOT_MEMORY,
    CONFIG_VM_NET,
    CONFIG_VM_RNG,
    CONFIG_VM_BALLOON,
    CONFIG_VM_CONSOLE,
    CONFIG_VM_TERMINAL,
    CONFIG_VM_CDROM,
    CONFIG_VM_WATCH,
    CONFIG_VM_ON_CRASH,
    CONFIG_VM_ON_REBOOT,
    CONFIG_VM_ON_POWEROFF,
    CONFIG_VM_KEYS
};

/* A set of processors by number; empty where the config does not give one. */
#define CONFIG_PROCESSORS 256
struct config_cpus {
    uint64_t bits[CONFIG_PROCESSORS / 64];
};

/* What is done when a VM ends in one way or another. */
enum config_end { CONFIG_END_RESTART, CONFIG_END_STOP, CONFIG_END_PAUSE };

/* What firmware may start a system from, and an order of it. */
enum config_boot_kind { CONFIG_BOOT_DISK, CONFIG_BOOT_CD, CONFIG_BOOT_NET, CONFIG_BOOT_KINDS };
struct config_boot {
    uint32_t count; /* 0: firmware's own order */
    uint8_t kind[CONFIG_BOOT_KINDS];
};

/* One `module = file args`: both are spans of the same line, file first. */
struct config_module {
    struct config_span file, args; /* args: length 0 when there are none */
    uint32_t line;
};

struct config_modules {
    uint32_t count;
    struct config_module item[CONFIG_MAX_MODULES];
};

/* The lines with one key that may repeat, whose text others parse: config_set_check(). */
struct config_line {
    struct config_span text;
    uint32_t line;
};

struct config_lines {
    uint32_t count;
    struct config_line item[CONFIG_MAX_LINES];
};

struct vm_config {
    struct config_span name, kernel, initrd, cmdline;
    struct config_span firmware; /* instead of a kernel; data NULL: there is none */
    struct config_span display;  /* a video BIOS's file; data NULL, or `none`: there is none */
    struct config_span boot;     /* see config_parse_boot() */
    struct config_modules modules;
    struct config_lines disks;
    struct config_lines nets;
    struct config_lines cdroms;
    struct config_lines watches;
    uint64_t memory;           /* bytes; a multiple of 4 KiB */
    uint64_t snapshot_memory;  /* bytes: of old contents of disks */
    uint64_t hole;             /* where RAM below 4 GiB ends at the latest; a multiple of 2 MiB */
    uint32_t overcommit;       /* 0 or 1 */
    uint32_t cpus;             /* 1..CONFIG_MAX_CPUS */
    uint32_t weight;           /* of its share of the processors */
    uint32_t cap;              /* percent of one processor; 0: none */
    uint32_t bus_locks;        /* in a second; 0: any number */
    uint32_t pv;               /* a bit for each of enum config_pv */
    uint32_t autostart;        /* 0 or 1 */
    uint32_t paused;           /* 0 or 1 */
    uint32_t allow_whole_disk; /* 0 or 1 */
    uint32_t rng;              /* 0 or 1 */
    uint32_t balloon;          /* 0 or 1 */
    uint32_t console;          /* ports of virtio-console, at most CONFIG_MAX_PORTS */
    uint32_t terminal;         /* enum config_terminal */
    uint32_t on_crash, on_reboot, on_poweroff; /* enum config_end */
    struct config_cpus affinity;
    uint32_t section_line;             /* of [vm NAME] */
    uint32_t key_line[CONFIG_VM_KEYS]; /* 0: not given, the default holds */
    bool broken; /* something is wrong with it, which has been reported: not to be run */
};

struct disk_config {
    struct config_span name;
    uint64_t size;           /* bytes; 0: as large as the file */
    struct config_span from; /* the file that fills it at first */
    uint32_t section_line;
    uint32_t key_line[CONFIG_DISK_KEYS];
};

struct switch_config {
    struct config_span name;
    struct config_span uplink; /* see config_uplink_parse() */
    uint32_t mtu;              /* bytes */
    uint32_t vlans;            /* 0 or 1: each port says in which it is */
    uint32_t section_line;
    uint32_t key_line[CONFIG_SWITCH_KEYS];
};

struct config {
    uint32_t mode;             /* enum config_mode */
    uint32_t log;              /* enum log_level */
    uint32_t start;            /* enum config_start */
    uint32_t when_idle;        /* enum config_idle */
    uint32_t shutdown_timeout; /* seconds */
    /* "read", or "write:" and a partition's name or GUID */
    struct config_span check_disks;
    uint32_t check_net;        /* 0 or 1 */
    uint32_t iommu;            /* 0: where there is one; 1: off */
    uint32_t mitigations;      /* 0: what each processor needs; 1: off */
    uint32_t small_executable; /* enum config_small */
    struct config_span attach; /* a VM's name, or "monitor" */
    struct config_span state;  /* "part:" and a partition's name or GUID */
    /* As password.h reads it. Where the file has the key and this is none, nobody can log in. */
    struct config_span password;
    uint32_t logout;           /* seconds; 0: never */
    uint32_t on_panic;         /* enum config_panic */
    uint32_t trace;            /* BIT(enum trace_class), BIT(CONFIG_TRACE_ALL), ..._OFF */
    uint64_t trace_memory;     /* bytes per processor */
    uint32_t gdb;              /* 0: off, 1: on the second serial port */
    uint32_t com2;             /* 0: one user's alone, 1: frames */
    uint32_t test_reload;      /* exits; 0: off */
    uint32_t test_invalid;     /* which VM, from 1; 0: none */
    uint32_t test_memory;      /* blocks for the start of a VM; 0: no limit */
    uint32_t test_smp;         /* rounds; 0: off */
    uint32_t test_panic;       /* which processor, from 1; 0: none */
    uint32_t test_dma;         /* 0 or 1 */
    uint32_t test_mitigations; /* BIT(enum config_step) */
    uint32_t without;          /* BIT(enum config_without) */
    uint32_t key_line[CONFIG_HOST_KEYS];
    uint32_t host_line; /* of [host]; 0 when there is none */
    uint32_t problems;  /* found, reported one by one or not */
    size_t vm_count;    /* elements of vms in use, broken ones included, in the file's order */
    size_t disk_count;
    struct disk_config disks[CONFIG_MAX_DISKS];
    size_t switch_count;
    struct switch_config switches[CONFIG_MAX_SWITCHES];
};

/* One problem: its line (0: the file as a whole) and a sentence without newline, in printable
 * ASCII. */
typedef void (*config_report)(void *ctx, uint32_t line, const char *sentence);

/* How many [vm ...] sections the text has, at most CONFIG_MAX_VMS: as many elements config_parse()
 * fills at most. */
size_t config_count_vms(const char *text, size_t length);

/*
 * Parse text[0..length) into *out and vms[0..max_vms). Whatever is wrong is passed to report (may
 * be NULL) and breaks no more than its own VM. Returns the number of VMs that can be run, which may
 * be 0.
 */
size_t config_parse(const char *text, size_t length, struct config *out, struct vm_config *vms,
                    size_t max_vms, config_report report, void *ctx);

/*
 * What a line of type CONFIG_LINES may say is not the parser's to know. Whoever knows sets this
 * before: 0, or -EINVAL with a sentence in error[CONFIG_MESSAGE]. Without it, as in the loader,
 * which has neither handlers nor devices, every text is taken. key: a VM's, of that type.
 */
typedef int (*config_check)(const char *text, size_t length, char *error);
void config_set_check(const char *key, config_check check);

/* Line number index, from 0, of the VM's with that key, which is of type CONFIG_LINES; or is `no`
 * or `yes`: then there is one where it is yes, in the file or by its default; or a number of one
 * digit: then there is one where it is not 0; or is a path. */
bool config_vm_says(const struct vm_config *vm, const char *key, unsigned index,
                    struct config_line *out);

/* Whether the VM has a graphics card, which the file of display is the video BIOS of. */
bool config_has_display(const struct vm_config *vm);

/* What holds where there is no config at all: no VM, every key at its default. */
void config_defaults(struct config *out);

/* The line to name when something about that key of the VM turns out wrong later: the key's, else
 * the section's. */
uint32_t config_vm_line(const struct vm_config *vm, enum config_vm_key key);

/* Give one key of a VM another value, as a line of its section would: whether that is possible;
 * else nothing has changed, and a sentence in error[CONFIG_MESSAGE] says why. */
bool config_change(struct vm_config *vm, enum config_vm_key key, struct config_span value,
                   char *error);

bool config_span_equal(struct config_span a, struct config_span b);

/* A file that VMs not broken name, with the line that first names it. */
struct config_file {
    struct config_span path;
    uint32_t line;
    uint32_t vm; /* index of the VM that names it first */
    bool
        kernel; /* named there as kernel, else as firmware, display, initrd, module, disk or disc */
};

/*
 * The distinct files of vms[0..count) that are not broken, in the order of the VMs, kernel or
 * firmware before display before initrd before modules before disks before discs. Fills at most max
 * elements of files and returns how many there are; what did not fit may be counted more than once.
 * So as many as with max 0 always suffice.
 */
size_t config_files(const struct vm_config *vms, size_t count, struct config_file *files,
                    size_t max);

/* --- the table of keys, for the parser, the documentation's test and whoever lists them --- */

enum config_type {
    CONFIG_CHOICE,
    CONFIG_FLAGS,
    CONFIG_PATH,
    CONFIG_MODULES, /* a path, a blank and text; its key may repeat */
    CONFIG_LINES,   /* text that others parse; its key may repeat */
    CONFIG_TEXT,
    CONFIG_NAME, /* a VM's, or a word in its place */
    CONFIG_SIZE,
    CONFIG_NUMBER,
    CONFIG_PROCESSOR_SET
};

struct config_key {
    const char *name;
    enum config_type type;
    uint16_t offset;             /* of the value in struct config or struct vm_config */
    uint64_t min, max, multiple; /* CONFIG_SIZE, CONFIG_NUMBER; others: lengths */
    uint32_t limit;              /* CONFIG_LINES: how many lines, up to CONFIG_MAX_LINES */
    const char *const *choices;  /* CONFIG_CHOICE, CONFIG_FLAGS: value or bit by index; NULL ends */
    const char *initial;         /* the default as one would write it; NULL: none */
    const char *help;
};

/* Bytes of the field that holds a value of that type. */
size_t config_value_size(enum config_type type);

extern const struct config_key config_host_keys[CONFIG_HOST_KEYS];
extern const struct config_key config_vm_keys[CONFIG_VM_KEYS];
extern const struct config_key config_disk_keys[CONFIG_DISK_KEYS];
extern const struct config_key config_switch_keys[CONFIG_SWITCH_KEYS];
extern const char *const config_without_names[CONFIG_WITHOUT_COUNT + 1];
