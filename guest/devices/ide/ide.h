/*
 * An IDE controller as the PIIX3's (Intel, "82371SB PCI ISA IDE Xcelerator", IDE function): two
 * channels at the ports and interrupts of a PC/AT with two drives each, and a bus master. What a
 * drive does with commands, and with the packets of commands, is its kind's.
 */
#pragma once

#include "guest/board/pci.h"
#include "guest/devices/disk.h"

#define IDE_CHANNELS     2
#define IDE_DRIVES       2 /* of a channel */
#define IDE_SEGMENTS     64
#define IDE_BUFFER_ORDER 2
#define IDE_BUFFER       (PAGE_SIZE << IDE_BUFFER_ORDER)
#define IDE_MULTIPLE     16u /* blocks at a time, at most */

/* ATA/ATAPI-6, "Status register" and "Error register". */
#define IDE_ERR  0x01
#define IDE_DRQ  0x08
#define IDE_DSC  0x10 /* seek complete */
#define IDE_DF   0x20
#define IDE_DRDY 0x40
#define IDE_BSY  0x80
#define IDE_ABRT 0x04
#define IDE_IDNF 0x10
#define IDE_UNC  0x40

#define IDE_PACKET_BYTES 12
#define IDE_CD_SECTORS   4u     /* a CD-ROM's block, in sectors */
#define IDE_CD_POWER_ON  0x2900 /* additional sense code and qualifier: it was reset */

/* Transfer modes of SET FEATURES, multiword DMA: */
#define IDE_MWDMA0 0x20
#define IDE_MWDMA2 0x22

#define IDE_LBA 0x40 /* in the device register */
#define IDE_DEV 0x10

struct ide_channel;
struct ide_drive;

/* What moves between the host and the drive. */
enum ide_mode {
    IDE_NONE,
    IDE_PIO_IN,
    IDE_PIO_OUT,
    IDE_DMA_IN,
    IDE_DMA_OUT,
    IDE_VERIFY,
    IDE_PACKET
};

enum ide_phase {
    IDE_IDLE,
    IDE_BLOCK,  /* DRQ: the host moves a block through the data register */
    IDE_BUSY,   /* the medium is at work */
    IDE_MASTER, /* the bus master is to move data */
    IDE_STUCK,  /* its data cannot be moved: only a reset helps */
    IDE_PHASES
};

struct ide_kind {
    uint16_t signature; /* of its LBA mid and high registers after a reset */
    uint8_t ready;      /* the status after a reset */
    void (*command)(struct ide_drive *d, uint8_t command);
    /* NULL, or: a block of that many bytes is about to be offered to the host. */
    void (*offer)(struct ide_drive *d, uint32_t bytes);
    /* NULL, or: a packet is in the buffer. */
    void (*packet)(struct ide_drive *d);
    /* The transfer is over, with 0 or the medium's negative error. */
    void (*done)(struct ide_drive *d, enum ide_mode mode, int error);
    void (*reset)(struct ide_drive *d); /* power-on */
    void (*save)(const struct ide_drive *d, struct state_writer *w);
    bool (*load)(struct ide_drive *d, struct state_reader *r);
};

/* The command block's registers; [1]: what was there before the last write. */
struct ide_registers {
    uint8_t feature[2], count[2], low[2], mid[2], high[2], device;
};

/* What a CD-ROM drive has beside. */
struct ide_cd {
    uint8_t key;        /* sense of the last packet, */
    uint16_t code;      /* with additional code and qualifier */
    uint16_t attention; /* the same, which the guest is to be told; 0: there is none */
    uint16_t most;      /* bytes of a block */
    uint8_t event;      /* of the media, which it is to be told */
    bool in_packet, by_dma;
    bool locked; /* against removal */
    bool open;   /* the tray */
};

struct ide_drive {
    struct ide_channel *channel;
    const struct ide_kind *kind; /* NULL: there is no drive */
    struct device_disk source;   /* block may be NULL: there is no disc */
    struct disk_io disk;         /* block is NULL: nor is there while the tray is open */
    struct disk_request request;
    struct disk_segment segment[IDE_SEGMENTS];
    uint8_t *buffer; /* IDE_BUFFER bytes, at: */
    paddr buffer_at;

    struct ide_registers registers;
    uint8_t status, error;
    bool interrupt; /* INTRQ, if it is selected and nIEN is clear */
    bool draining;  /* it was reset, and something is in flight yet */

    /* The transfer under way, ide_begin(). In sectors of BLOCK_SECTOR. */
    uint8_t mode, phase;
    bool flush;      /* at its end */
    bool first;      /* nothing has been offered yet */
    uint64_t sector; /* of the medium, which comes next */
    uint32_t left;   /* that the medium has yet to give or take */
    uint32_t block;  /* bytes of one DRQ */
    /* In the buffer: the next byte, the end of the block that is offered, the end of what there
     * is. */
    uint32_t at, end, filled;
    uint32_t taken;            /* bytes that the request under way moves */
    bool under_way, by_buffer; /* that request */
    bool running, again;       /* ide_run() */

    /* A disk's. */
    uint8_t heads, sectors, multiple, transfer_mode;
    bool write_cache;

    struct ide_cd cd;
};

/* "Programming Interface for Bus Master IDE Controller", of one channel. */
struct ide_master {
    uint8_t command, status;
    uint32_t table;
    /* Where it is: the next descriptor, the rest of the region before it. */
    uint32_t next, address, left;
    bool last;
};

struct ide_channel {
    struct ide *ide;
    struct bus_range command_ports, control_port;
    unsigned irq;
    uint8_t control; /* device control register */
    bool selected;   /* drive 1 */
    bool level;      /* of its interrupt line */
    struct ide_master master;
    struct ide_drive drive[IDE_DRIVES];
};

struct ide {
    struct device dev; /* first */
    struct pci_function function;
    struct bus_range master_ports;
    struct ide_channel channel[IDE_CHANNELS];
};

static inline bool ide_is_dma_mode(uint8_t mode)
{
    return mode >= IDE_MWDMA0 && mode <= IDE_MWDMA2;
}

/* --- transfer.c --- */

/* The transfer that the caller has set: mode, sector, left, block, flush. kind->done() says when it
 * is over, maybe from here. */
void ide_begin(struct ide_drive *d);
/* So many bytes of the buffer to the host: mode, block. */
void ide_begin_reply(struct ide_drive *d, uint32_t bytes);
/* Go on as far as can be: the bus master has been started, or the medium is back. */
void ide_run(struct ide_drive *d);
/* The data register. */
uint32_t ide_data_read(struct ide_drive *d, unsigned size);
void ide_data_write(struct ide_drive *d, unsigned size, uint32_t value);
/* For disk_io. */
void ide_finished(struct disk_io *disk, struct disk_request *r, int error);
/* End what is under way; nothing of the guest's is touched when ide_drained() says yes. */
void ide_cancel(struct ide_drive *d);
bool ide_drained(struct ide_drive *d);
void ide_transfer_save(const struct ide_drive *d, struct state_writer *w);
bool ide_transfer_load(struct ide_drive *d, struct state_reader *r);

/* --- channel.c --- */

/* The command is over; status and error are set. */
void ide_complete(struct ide_drive *d, uint8_t status, uint8_t error, bool interrupt);
void ide_interrupt(struct ide_drive *d);
/* Nothing is under way any more; waits for that, which is bounded, as all that is in flight comes
 * back. */
void ide_end(struct ide_drive *d);
/* The registers as they are after a reset. */
void ide_sign(struct ide_drive *d);
uint32_t ide_command_read(struct ide_channel *c, unsigned port, unsigned size);
void ide_command_write(struct ide_channel *c, unsigned port, unsigned size, uint32_t value);
uint8_t ide_control_read(struct ide_channel *c);
void ide_control_write(struct ide_channel *c, uint8_t value);
void ide_channel_reset(struct ide_channel *c);
/* What was reset is drained, perhaps. */
void ide_channel_settle(struct ide_channel *c);
void ide_channel_save(const struct ide_channel *c, struct state_writer *w);
bool ide_channel_load(struct ide_channel *c, struct state_reader *r);

/* --- master.c --- */

uint8_t ide_master_read(struct ide_channel *c, unsigned at);
void ide_master_write(struct ide_channel *c, unsigned at, uint8_t value);
/* It has been started, in the direction that this is. */
bool ide_master_moves(const struct ide_channel *c, bool to_memory);
/*
 * The next regions, of bytes in all and most of them at most; how many bytes they are. 0: the table
 * is at its end, or not in memory, and so the master stops.
 */
uint32_t ide_master_gather(struct ide_channel *c, uint32_t bytes, struct disk_segment *out,
                           unsigned most, unsigned *count);
/* Copy, and how many bytes were; *regions: how many it took. */
uint32_t ide_master_copy(struct ide_channel *c, uint8_t *data, uint32_t size, bool to_memory,
                         unsigned *regions);
/* The drive's interrupt line has risen. */
void ide_master_interrupt(struct ide_channel *c);
/* It cannot reach that memory. */
void ide_master_fail(struct ide_channel *c);
/* The drive has what it wanted. */
void ide_master_settle(struct ide_channel *c);
void ide_master_save(const struct ide_channel *c, struct state_writer *w);
bool ide_master_load(struct ide_channel *c, struct state_reader *r);

/* --- kinds --- */

extern const struct ide_kind ide_disk, ide_cd;

/* IDENTIFY DEVICE, and IDENTIFY PACKET DEVICE. */
void ide_disk_identify(const struct ide_drive *d, uint16_t words[256]);
void ide_cd_identify(const struct ide_drive *d, uint16_t words[256]);
/* SET FEATURES' transfer mode: whether there is such a one. */
bool ide_set_transfer_mode(struct ide_drive *d, uint8_t mode);

/* atapi.c: the packet's command is over. code: additional sense code, and its qualifier. */
void ide_cd_succeed(struct ide_drive *d);
void ide_cd_fail(struct ide_drive *d, uint8_t key, uint16_t code);
/* So many bytes of the buffer, or as many as there is room for. */
void ide_cd_reply(struct ide_drive *d, uint32_t bytes, uint32_t allocated);
/* Blocks of the disc, one at least, which are there. */
void ide_cd_read(struct ide_drive *d, uint32_t block, uint32_t count);

/* mmc.c */
void ide_cd_packet(struct ide_drive *d, const uint8_t *packet);
void ide_cd_unreadable(struct ide_drive *d);
/* What is in the drive is another disc than the guest knows of, or none. */
void ide_cd_changed(struct ide_drive *d);
int ide_cd_eject(struct ide_drive *d, bool now) MUST_CHECK;
int ide_cd_insert(struct ide_drive *d, const struct device_disk *disc,
                  struct device_disk *old) MUST_CHECK;
/* ASCII into words, as IDENTIFY has it: padded with blanks, the first of two in the high byte. */
void ide_text(uint16_t *words, unsigned count, const char *text);
