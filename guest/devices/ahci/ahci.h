/*
 * An AHCI host bus adapter of a VM (Serial ATA AHCI 1.3.1 Specification), as the ICH9's: a port for
 * each disk. Between guest and disk stand the HBA's registers (hba.c), a port, which takes commands
 * out of guest memory (port.c) and answers there (answer.c), and the drive behind it, which knows
 * what they mean (drive.c, pages.c).
 */
#pragma once

#include "guest/board/pci.h"
#include "guest/devices/disk.h"

#define AHCI_PORTS    6
#define AHCI_SLOTS    32
#define AHCI_SEGMENTS 288 /* PRDT entries of a command that are looked at: 1 MiB in pages */
#define AHCI_NO_SLOT  AHCI_SLOTS
#define AHCI_FIS      20 /* bytes of those that are registers */
#define AHCI_MULTIPLE 16 /* blocks at a time, at most */
#define AHCI_PAGE     512

/* 3.3.5 "Port x Interrupt Status" */
#define AHCI_IS_DHRS BIT(0)  /* a register FIS, */
#define AHCI_IS_PSS  BIT(1)  /* a PIO setup FIS, */
#define AHCI_IS_SDBS BIT(3)  /* a set device bits FIS has come */
#define AHCI_IS_DPS  BIT(5)  /* a piece of memory is done that asked for it */
#define AHCI_IS_PCS  BIT(6)  /* PxSERR.DIAG.X */
#define AHCI_IS_PRCS BIT(22) /* PxSERR.DIAG.N */
#define AHCI_IS_OFS  BIT(24) /* more data than memory */
#define AHCI_IS_IFS  BIT(27) /* what was sent was no FIS */
#define AHCI_IS_HBFS BIT(29) /* guest memory that is none */
#define AHCI_IS_TFES BIT(30) /* the drive says that there was an error */

#define AHCI_CMD_FRE BIT(4) /* PxCMD: FISes from the drive are taken */

/* ATA8-ACS, "Status field" and "Error field" */
#define ATA_BSY   0x80
#define ATA_READY 0x50 /* and in its place */
#define ATA_DRQ   0x08
#define ATA_ERR   0x01
#define ATA_ABRT  0x04
#define ATA_IDNF  0x10
#define ATA_UNC   0x40 /* reading; */
#define ATA_WP    0x40 /* writing: the medium is protected */

/* Bytes of a register FIS, to the drive and back (Serial ATA 2.6, "Register FIS"). */
enum {
    FIS_TYPE,
    FIS_FLAGS,
    FIS_COMMAND,
    FIS_STATUS = 2,
    FIS_FEATURES,
    FIS_ERROR = 3,
    FIS_LBA, /* three bytes, and the other three behind the device */
    FIS_DEVICE = 7,
    FIS_LBA_EXT,
    FIS_FEATURES_EXT = 11,
    FIS_COUNT,
    FIS_COUNT_EXT,
    FIS_CONTROL = 15,
};

struct ahci_port;

/* A command slot: what the drive has got from it. */
struct ahci_slot {
    struct disk_request disk;
    struct ahci_port *port;
    bool (*more)(struct ahci_slot *s); /* NULL, or: what comes next of it; false: nothing */
    bool used;                         /* from when it is issued until it is answered */
    bool queued, pio, dps;             /* dps: a piece of its memory asks for PxIS.DPS */
    uint8_t number;
    uint8_t fis[AHCI_FIS];
    uint16_t entries; /* of the PRDT */
    uint64_t header, table;
    uint32_t bytes; /* of data */
    unsigned range; /* of the trimmed ones: the next */
    union {
        struct disk_segment segment[AHCI_SEGMENTS];
        uint64_t trimmed[AHCI_PAGE / 8]; /* which come out of the former */
    };
};

struct ahci_port {
    struct ahci *hba;
    struct device_disk source;
    struct disk_io disk;
    struct ahci_slot *slot;

    /* Its registers, "Port Registers" */
    uint64_t clb, fb;
    uint32_t is, ie, cmd, sig, ssts, sctl, serr, sact, ci;
    uint8_t status, error; /* PxTFD */

    uint8_t current,
        last;       /* slots: that of the command under way that is not queued; issued last */
    uint32_t done;  /* queued commands that are, and the driver does not know of it */
    bool halted;    /* by a fatal error, until PxCMD.ST is cleared */
    bool draining;  /* what is in flight is not wanted any more: nothing is issued before it is back
                     */
    bool coming_up; /* the link, after that */
    bool unsent;    /* the drive's signature waits for PxCMD.FRE */

    /* The drive */
    bool write_cache, look_ahead, standby, held /* by SRST */;
    bool failed; /* a queued command: nothing but its log can be had */
    uint8_t multiple, mode /* of transfers */;
    uint8_t log[14]; /* "NCQ Command Error log", its first bytes */
};

struct ahci {
    struct device dev; /* first */
    struct pci_function function;
    struct bus_range range;
    unsigned msi; /* where the capability is */
    uint32_t ghc, is;
    bool line;      /* the INTx pin */
    bool resetting; /* GHC.HR */
    bool over;      /* a reset of the machine follows, or its end: nothing begins any more */
    unsigned ports;
    struct ahci_port port[AHCI_PORTS];
};

/* --- hba.c --- */

/* What the guest is to know may have changed; again: and it may have overlooked it. */
void ahci_update(struct ahci *h, bool again);

/* --- port.c --- */

/* All registers at power-on but the two addresses, and the link comes up. Nothing is in flight. */
void ahci_port_reset(struct ahci_port *p);
uint32_t ahci_port_read(struct ahci_port *p, unsigned at);
void ahci_port_write(struct ahci_port *p, unsigned at, uint32_t value);
/* PxIS */
uint32_t ahci_port_interrupts(const struct ahci_port *p);
/* Issue what can be, and tell of what is done. */
void ahci_port_run(struct ahci_port *p);
/* Whether a command could be issued. */
bool ahci_port_runnable(const struct ahci_port *p);
/* Nothing that is in flight is wanted any more. */
void ahci_port_drain(struct ahci_port *p);
/* Whether that is over, and it goes on. */
bool ahci_port_drained(struct ahci_port *p);
void ahci_port_save(const struct ahci_port *p, struct state_writer *w);
void ahci_port_load(struct ahci_port *p, struct state_reader *r);
/* "Fatal Error": with these bits of PxIS; nothing goes on before PxCMD.ST is cleared. */
void ahci_halt(struct ahci_port *p, uint32_t is);

/* --- answer.c --- */

/* Tell the driver of queued commands that are done. */
void ahci_port_tell(struct ahci_port *p);
/* The command's memory for that many bytes of data becomes its segments. False: it was not to be
 * had, and the command is over. */
bool ahci_map(struct ahci_slot *s, uint32_t bytes) MUST_CHECK;
/* Copy a page of data to the driver, or from it, with the same meaning. */
bool ahci_put_page(struct ahci_slot *s, const void *data) MUST_CHECK;
bool ahci_get_page(struct ahci_slot *s, void *data) MUST_CHECK;
/* The command is over: well, or with that in the error register. */
void ahci_complete(struct ahci_slot *s);
void ahci_fail(struct ahci_slot *s, uint8_t error);
/* A queued command is accepted. False: that could not be said, and it is over. */
bool ahci_accept(struct ahci_slot *s) MUST_CHECK;
/* The first FIS after a reset, and after EXECUTE DEVICE DIAGNOSTIC. */
void ahci_sign(struct ahci_port *p, bool interrupt);

/* struct disk_io's. */
void ahci_port_finished(struct disk_io *d, struct disk_request *r, int error);

/* --- drive.c --- */

/* Carry out what is in s->fis. */
void ahci_drive_execute(struct ahci_slot *s);
/* What the drive says to an error of the block device; and in s->fis, where it is. */
uint8_t ahci_drive_error(struct ahci_slot *s, int error);
void ahci_drive_reset(struct ahci_port *p, bool power_on);

/* --- pages.c: what drives say of themselves, AHCI_PAGE bytes --- */

void ahci_identify(const struct ahci_port *p, uint16_t words[AHCI_PAGE / 2]);
/* False: there is no such page of that log. */
bool ahci_log_page(const struct ahci_port *p, uint8_t log, uint16_t page, uint8_t bytes[AHCI_PAGE]);
