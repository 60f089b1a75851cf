/*
 * A VM's disk as an NVMe controller with one namespace (NVM Express Base Specification 1.4; PCI
 * transport), over a block device. What the files of this folder have in common; section and field
 * names are the specification's.
 */
#pragma once

#include "arch/x86/lib/errno.h"
#include "guest/board/msix.h"
#include "guest/devices/disk.h"

#define NVME_PAIRS    8u /* queues for I/O of each kind, at most */
#define NVME_QUEUES   (NVME_PAIRS + 1)
#define NVME_ENTRIES  1024u /* of a queue, at most */
#define NVME_SQ_ENTRY 64u   /* bytes */
#define NVME_CQ_ENTRY 16u
#define NVME_REQUESTS 64u /* in flight, at most */
#define NVME_MDTS     7   /* "Maximum Data Transfer Size": 2^7 pages */
#define NVME_SEGMENTS ((1u << NVME_MDTS) + 1)
#define NVME_EVENTS   4u /* Asynchronous Event Requests that wait, at most */
#define NVME_ERRORS   4u /* of the Error Information log */

#define NVME_VENDOR    0x1b36 /* QEMU's controller: drivers take it by its class */
#define NVME_SUBSYSTEM 0x1af4

struct nvme_command {
    uint8_t opcode, flags;
    uint16_t cid;
    uint32_t nsid;
    uint64_t reserved, metadata, prp1, prp2;
    uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
} PACKED;
_Static_assert(sizeof(struct nvme_command) == NVME_SQ_ENTRY, "NVMe: Submission Queue Entry");

/* "Status Field", without the phase tag: code, type above it, Do Not Retry. */
#define NVME_SPECIFIC 0x100u /* to the command */
#define NVME_MEDIA    0x200u
#define NVME_MORE     BIT(13) /* in the Error Information log */
#define NVME_DNR      BIT(14)
enum {
    NVME_SUCCESS,
    NVME_INVALID_OPCODE,
    NVME_INVALID_FIELD,
    NVME_DATA_TRANSFER_ERROR = 0x04,
    NVME_INTERNAL_ERROR = 0x06,
    NVME_ABORT_REQUESTED = 0x07,
    NVME_INVALID_NAMESPACE = 0x0b,
    NVME_SEQUENCE_ERROR = 0x0c,
    NVME_INVALID_PRP_OFFSET = 0x13,
    NVME_WRITE_PROTECTED = 0x20,
    NVME_LBA_OUT_OF_RANGE = 0x80,
    NVME_INVALID_CQ = NVME_SPECIFIC,
    NVME_INVALID_QUEUE = NVME_SPECIFIC | 0x01,
    NVME_INVALID_SIZE = NVME_SPECIFIC | 0x02,
    NVME_TOO_MANY_EVENTS = NVME_SPECIFIC | 0x05,
    NVME_INVALID_VECTOR = NVME_SPECIFIC | 0x08,
    NVME_INVALID_LOG = NVME_SPECIFIC | 0x09,
    NVME_INVALID_DELETION = NVME_SPECIFIC | 0x0c,
    NVME_NOT_SAVEABLE = NVME_SPECIFIC | 0x0d,
    NVME_NOT_CHANGEABLE = NVME_SPECIFIC | 0x0e,
    NVME_WRITE_FAULT = NVME_MEDIA | 0x80,
    NVME_READ_ERROR = NVME_MEDIA | 0x81,
};

/* Bits of registers and masks that there are. */
#define NVME_CC_BITS    0x00fffff1u
#define NVME_AQA_BITS   0x0fff0fffu
#define NVME_QUEUE_BITS ((1u << NVME_QUEUES) - 1)

/* "Controller Configuration" */
#define NVME_CC_IOSQES(cc) ((cc) >> 16 & 0xf)
#define NVME_CC_IOCQES(cc) ((cc) >> 20 & 0xf)

/* "Controller Status": SHST */
enum { NVME_NO_SHUTDOWN, NVME_SHUTDOWN_OCCURS, NVME_SHUTDOWN_COMPLETE };

/* Features that are one number each; see features.c. */
enum nvme_number {
    NVME_ARBITRATION,
    NVME_POWER_STATE,
    NVME_ERROR_RECOVERY,
    NVME_WRITE_CACHE,
    NVME_COALESCING,
    NVME_ATOMICITY,
    NVME_EVENT_CONFIG,
    NVME_NUMBERS
};

/* "Asynchronous Event Request": types of events, and what they are. */
enum { NVME_EVENT_ERROR, NVME_EVENT_HEALTH, NVME_EVENT_TYPES };
enum { NVME_BAD_DOORBELL, NVME_BAD_DOORBELL_VALUE }; /* of NVME_EVENT_ERROR */
#define NVME_TOO_WARM 1                              /* of NVME_EVENT_HEALTH */

struct nvme_sq {
    uint64_t gpa;
    uint16_t size; /* entries; 0: there is no such queue */
    uint16_t head, tail;
    uint16_t cq;
    uint16_t in_flight; /* commands that were fetched and are not answered */
    bool deleting;      /* as soon as there are none, with that answer: */
    uint16_t delete_cid;
};

struct nvme_cq {
    uint64_t gpa;
    uint16_t size;
    uint16_t head, tail;
    uint16_t vector;
    uint16_t promised; /* places for answers to commands that were fetched */
    bool phase, interrupts;
    bool full; /* a command waits for a place */
};

struct nvme_request {
    struct disk_request disk;
    struct nvme_request *next_free;
    uint16_t sq, cid;
    uint8_t opcode;
    bool has_next; /* what is to be done when this has gone well: an enum block_op */
    uint8_t next;
    uint16_t range, ranges; /* of Dataset Management */
    struct disk_segment data[NVME_SEGMENTS];
};

struct nvme_controller {
    struct device dev; /* first */
    struct pci_function function;
    struct bus_range range;
    struct msix msix;
    struct device_disk source;
    struct disk_io disk;
    struct nvme_request *requests, *free;
    unsigned shift;  /* of a logical block's size */
    uint64_t blocks; /* logical ones */

    /* Registers. */
    uint32_t interrupt_mask, cc, aqa;
    uint64_t asq, acq;
    bool ready, fatal; /* CSTS.RDY, CSTS.CFS */
    bool resetting;    /* CC.EN is clear, and something is in flight yet */
    uint8_t shutdown;  /* CSTS.SHST */
    struct disk_request last_flush;

    struct nvme_sq sq[NVME_QUEUES]; /* the first of each is the admin's */
    struct nvme_cq cq[NVME_QUEUES];
    bool shadowed;            /* "Doorbell Buffer Config" */
    uint64_t shadow, indices; /* shadow doorbells and EventIdx */
    uint32_t posted;          /* completion queues with something new: a bit each */
    uint32_t waiting;         /* submission queues that are to be looked at again */
    uint32_t left;            /* commands that may be begun before the timer comes */
    unsigned turn;            /* queue that comes first next time */

    uint32_t number[NVME_NUMBERS];
    uint16_t sq_granted, cq_granted;
    uint16_t too_warm, too_cold; /* temperature thresholds, in Kelvin */
    uint16_t not_coalesced;      /* vectors: a bit each */

    uint16_t event_cid[NVME_EVENTS]; /* the requests that wait */
    unsigned event_count;
    bool event_pending[NVME_EVENT_TYPES];
    bool event_masked[NVME_EVENT_TYPES]; /* until the log page is read */
    uint8_t event_info[NVME_EVENT_TYPES];

    /* What logs say; it lasts over resets of the controller. */
    uint64_t sectors_read, sectors_written, reads, writes, media_errors;
    uint64_t error_count;
    struct nvme_error {
        uint16_t sq, cid, status;
        uint32_t nsid;
        uint64_t lba;
    } error[NVME_ERRORS]; /* number e is at e mod NVME_ERRORS */

    char serial[DEVICE_SERIAL];
    uint8_t eui64[8], nguid[16], uuid[16];
    union { /* what is put together for the guest, or copied from it */
        uint8_t page[PAGE_SIZE];
        uint64_t list[PAGE_SIZE / 8];
    };
};

/* --- controller.c --- */

/* What a reset of the controller leaves: the admin queues' registers, and what the driver has just
 * written to CC. */
void nvme_clear(struct nvme_controller *n);

/* --- state.c --- */

void nvme_save(struct device *d, struct state_writer *w);
int nvme_load(struct device *d, struct state_reader *r);

/* --- queues.c --- */

/* It is enabled, and neither broken nor being reset. */
bool nvme_runs(const struct nvme_controller *n);
/* A command that was fetched from that submission queue is over. */
void nvme_answer(struct nvme_controller *n, unsigned sq, uint16_t cid, unsigned status,
                 uint32_t result);
/* The same of an Asynchronous Event Request, which has no place promised: false, there is none. */
bool nvme_answer_event(struct nvme_controller *n, uint16_t cid, unsigned status, uint32_t result);
/* It stays as it is from now on, until the controller is. */
void nvme_hold(struct nvme_controller *n, unsigned sq);
void nvme_doorbell(struct nvme_controller *n, unsigned queue, bool completions, uint32_t value);
/* Shadow doorbells and EventIdx are in these pages from now on, and say what the registers did;
 * false: they are no memory, and nobody's. */
bool nvme_shadow(struct nvme_controller *n, uint64_t shadow, uint64_t indices) MUST_CHECK;
/* Interrupts for what has been posted; the pin follows. */
void nvme_tell(struct nvme_controller *n);
/* What waits is looked at; more may be begun again. */
void nvme_go_on(struct nvme_controller *n);
/* Set the timer, where something waits for it. */
void nvme_look_again(struct nvme_controller *n);

/* --- io.c --- */

void nvme_io(struct nvme_controller *n, unsigned sq, const struct nvme_command *c);
void nvme_finished(struct disk_io *d, struct disk_request *r, int error);
/* length bytes at the command's PRPs, as pieces of guest memory: a status. */
unsigned nvme_map(struct nvme_controller *n, const struct nvme_command *c, uint64_t length,
                  struct disk_segment *out, unsigned *count) MUST_CHECK;
/* At most a page of n->page to where the command's PRPs say: a status. */
unsigned nvme_give(struct nvme_controller *n, const struct nvme_command *c,
                   unsigned size) MUST_CHECK;

/* --- admin.c --- */

void nvme_admin(struct nvme_controller *n, const struct nvme_command *c);
/* No command of that queue, which is being deleted, is in flight any more. */
void nvme_deleted(struct nvme_controller *n, unsigned sq);
/* Something has happened that an Asynchronous Event Request is answered with. */
void nvme_event(struct nvme_controller *n, unsigned type, uint8_t info);
/* As many requests as can be are answered now. */
void nvme_deliver_events(struct nvme_controller *n);

/* --- features.c --- */

void nvme_reset_features(struct nvme_controller *n);
unsigned nvme_set_feature(struct nvme_controller *n, const struct nvme_command *c,
                          uint32_t *result);
unsigned nvme_get_feature(struct nvme_controller *n, const struct nvme_command *c,
                          uint32_t *result);
/* "Critical Warning" of the health log. */
uint8_t nvme_warnings(const struct nvme_controller *n);
#define NVME_TEMPERATURE 298 /* Kelvin */

/* --- identify.c --- */

/* Who it is, by the disk's serial number, or else by its place on the bus. */
void nvme_name(struct nvme_controller *n);
unsigned nvme_identify(struct nvme_controller *n, const struct nvme_command *c);
unsigned nvme_log_page(struct nvme_controller *n, const struct nvme_command *c);
/* For the Error Information log; sq and cid are UINT16_MAX where it was no command. */
void nvme_log_error(struct nvme_controller *n, uint16_t sq, uint16_t cid, unsigned status,
                    uint64_t lba);
