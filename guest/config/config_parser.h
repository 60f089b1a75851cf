/* The parser's state and how it reports, for the parser and what it does with values only. */
#pragma once

#include "guest/config/config_text.h"

enum section {
    SECTION_NONE,
    SECTION_HOST,
    SECTION_VM,
    SECTION_DISK,
    SECTION_SWITCH,
    SECTION_SKIPPED
};

struct config_parser {
    struct config *out;
    struct vm_config *vms;
    size_t max_vms;
    config_report report;
    void *ctx;
    uint32_t line;
    enum section section;
    struct vm_config *vm;             /* of the open section; NULL outside SECTION_VM */
    struct disk_config *disk;         /* the same of SECTION_DISK */
    struct switch_config *net_switch; /* and of SECTION_SWITCH */
    uint64_t spoiled; /* BIT(key): in the open section there was a problem with it */
    bool orphan_told; /* that keys stand before the first section */
    bool limit_told;  /* that there are too many VMs */
};

/* Tell, with a count, up to CONFIG_MAX_REPORTS problems. */
void config_report_line(struct config_parser *p, uint32_t line, const char *fmt, ...) PRINTF(3, 4);

/* A problem in the current line breaks the VM of the open section. */
#define problem(p, ...)                                                                            \
    do {                                                                                           \
        if ((p)->vm) {                                                                             \
            (p)->vm->broken = true;                                                                \
        }                                                                                          \
        config_report_line((p), (p)->line, __VA_ARGS__);                                           \
    } while (0)

/* The open section as its header names it; the text is in *q, or constant. */
const char *config_section_name(const struct config_parser *p, struct config_quote *q);

/*
 * Store value in the field that key describes of *object: struct config for a key of [host], struct
 * vm_config for one of [vm NAME]. What is wrong with it is a problem of the current line.
 */
void config_set_value(struct config_parser *p, const struct config_key *key,
                      struct config_span value, void *object);

/* When all lines have been read: a VM is broken that lacks something; then what is no VM's. */
void config_check_vm(struct config_parser *p, struct vm_config *vm);
void config_check_rest(struct config_parser *p);
