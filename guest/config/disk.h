/* What a `disk = SOURCE[,ro][,serial=TEXT][,bus=virtio|ide|ahci|nvme]` says. */
#pragma once

#include "guest/config/config.h"

#define CONFIG_DISK_SERIAL 20

enum config_disk_kind {
    CONFIG_DISK_RAM,       /* ram:FILE: a copy of that file of the boot disk, in memory */
    CONFIG_DISK_PARTITION, /* part:NAME or part:GUID, of one of the machine's disks */
    CONFIG_DISK_WHOLE,     /* disk:SERIAL: all of one */
};

/* What the guest's driver finds the disk at. */
enum config_disk_bus {
    CONFIG_DISK_VIRTIO, /* unless it says otherwise */
    CONFIG_DISK_IDE,
    CONFIG_DISK_AHCI,
    CONFIG_DISK_NVME,
};

struct config_disk {
    enum config_disk_kind kind;
    struct config_span source; /* all up to the first comma */
    struct config_span name;   /* what stands behind the kind: the file */
    enum config_disk_bus bus;
    bool read_only;
    char serial[CONFIG_DISK_SERIAL + 1];
};

/* 0, or -EINVAL with a sentence in error[CONFIG_MESSAGE]. */
int config_disk_parse(const char *text, size_t length, struct config_disk *out, char *error);
int config_disk_check(const char *text, size_t length, char *error);
/* The file of a `cdrom =`; false: there is no disc. */
bool config_cdrom_file(struct config_span text, struct config_span *file);
/* Whether the disk is at that bus: 1, 0, or as above. */
int config_disk_is_at(enum config_disk_bus bus, const char *text, size_t length, char *error);
/* Says of a good text that nothing is there for its bus: -EINVAL. */
int config_disk_no_bus(const char *text, size_t length, char *error);
