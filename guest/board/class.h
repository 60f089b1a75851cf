/*
 * Classes of devices, and how instances of them come onto a board. A board is assembled by a loop
 * over a table of classes (guest/vm/platform.c has a VM's): one that names a key of the config has
 * an instance for each line with that key that is for it, or for several such lines; any other has
 * one.
 */
#pragma once

#include "guest/board/device.h"

struct acpi_pm;
struct keyboard;
struct pci;
struct block_device;
struct net_switch;
struct net_port_setup;
struct store_area;
struct device_class;

#define DEVICE_PORTS 4
#define DEVICE_ERROR 352 /* a sentence fits into this: as long as CONFIG_MESSAGE */

#define DEVICE_SERIAL 20

/* What a guest has asked of a disk, since its VM was made. The controller writes it with its own
 * lock held; whoever reads it meanwhile may see one request in one number and not yet in another.
 */
struct device_disk_counts {
    uint64_t reads, writes, flushes, others; /* that went well; others: discards and zeroes */
    uint64_t read_sectors, written_sectors;  /* of 512 bytes */
    uint64_t errors;                         /* the guest was told that it did not go well */
    unsigned in_flight;
};

#define DEVICE_DISK_BEGINS 1

/* A guest's request to a disk, for who looks on. */
struct device_disk_event {
    uint8_t op, flags; /* as struct block_request has them */
    uint32_t sectors;  /* 0 of a FLUSH */
    uint64_t sector;
    int result;      /* DEVICE_DISK_BEGINS; or it is over, with 0 or a negative error */
    uint64_t *begun; /* is kept with the request for who looks on; anything when it begins */
};

/* What is behind a disk of the config. */
struct device_disk {
    struct block_device *block;
    void (*close)(struct block_device *block); /* when the VM has no more use for it */
    bool read_only;
    /* May be empty; a disc has one of its own, with zeroes behind. */
    char serial[DEVICE_SERIAL + 1];
    struct device_disk_counts *counts;
};

/* What the board's owner hands down to its devices. serial_put, port_put, log, random and eject are
 * called with the lock of the device held, line, disk and net while it is made. */
struct device_host {
    void *context;
    /* The guest has let go of these devices of PCI, a bit for each number. */
    void (*eject)(void *context, uint32_t devices);
    /* NULL: the guest does not run. Or: when this returns, all processors that run it have left
     * whatever they were doing with devices. Without locks. */
    void (*settle)(void *context);
    bool overcommits; /* no RAM is promised to the VM: what it does not use is others' */
    uint64_t memory_below_4g, memory_above_4g; /* bytes of RAM, as firmware counts them */
    const void *firmware; /* the file's bytes, which stay in place; NULL: it has none */
    uint64_t firmware_size;
    /* NULL, or: where variables of firmware, of so many bytes, are kept over power-offs; NULL:
     * nowhere. While the flash chip is made. */
    struct store_area *(*variables)(void *context, uint32_t size);
    /* A byte leaves the serial port; false: not now, uart_output_ready() says when. */
    bool (*serial_put)(void *context, uint8_t byte);
    /* Bytes leave a port of the VM's: how many of them are taken now. */
    size_t (*port_put)(void *context, unsigned port, const void *data, size_t size);
    /* A line for the VM's log, of printable ASCII. */
    void (*log)(void *context, const char *line);
    /* Put up to size random bytes into data: how many there are now. */
    size_t (*random)(void *context, void *data, size_t size);
    /* What the text of a `disk =` means, opened; an error is as create's. */
    int (*disk)(void *context, const char *text, size_t length, struct device_disk *out,
                char *error);
    /* What the text of a `net =` means, as disk: the switch, and the port but for its ops and
     * owner.
     */
    int (*net)(void *context, const char *text, size_t length, struct net_switch **on,
               struct net_port_setup *what, char *error);
    /* The same of a `cdrom =`; its block is NULL where there is no disc. */
    int (*disc)(void *context, const char *text, size_t length, struct device_disk *out,
                char *error);
    /* The value of line number index, from 0, with that key in the VM's section, and the line's
     * number; NULL: there are not so many. A key that is `no` or `yes` has one line where it is
     * yes, and one that is a number of one digit where it is not 0. */
    const char *(*line)(void *context, const char *key, unsigned index, size_t *length,
                        uint32_t *number);
};

/* What an instance is made with. */
struct device_setup {
    struct board *board;
    struct bus *bus;
    const struct device_host *host;
    struct pci *pci;           /* the bus for PCI functions, once it is there */
    struct acpi_pm *pm;        /* the power management's registers, alike */
    struct keyboard *keyboard; /* and the 8042 */
    paddr rom;                 /* and frames in which firmware is, */
    uint64_t rom_size;         /* so many bytes */
    const char *text;          /* the value of its line, where its class has a key */
    size_t length;
    uint32_t line;                    /* and that line's number */
    const struct device_class *class; /* whose lines are gone through, of which key, and how many
                                         have been: */
    const char *key;
    unsigned lines;
    char error[DEVICE_ERROR]; /* what create says of an error that is not -ENOMEM */
};

/* What a system can be started from. */
enum device_boot { DEVICE_BOOT_DISK, DEVICE_BOOT_CD, DEVICE_BOOT_NET };
#define DEVICE_BOOT_PATH 48

struct device_class {
    const struct device_ops *ops;
    size_t size; /* of an instance; it begins with its struct device */
    /* NULL, or the key whose lines instances are made from: `key = text`, any number of them, and
     * classes may share it; or a key that is `no` or `yes`, or how many. */
    const char *key;
    /* NULL, or a further key, all of whose lines are its instances', after those of the first. */
    const char *also;
    /* NULL, every text is for it; or: whether this one is, without making an instance: 1; 0, it is
     * for another class with that key; or -EINVAL with a sentence in error[DEVICE_ERROR]. The
     * config asks it, and so does whoever would add one later. */
    int (*check)(const char *text, size_t length, char *error);
    /* One of its lines makes a function of PCI that may come and go while the guest runs; it shows
     * no frames of its own. */
    bool removable;
    /* NULL, or: where firmware finds number index, from 0, of what an instance has of that kind, in
     * the order of its lines: path[DEVICE_BOOT_PATH] by pci_boot_path(). false: there are not so
     * many. */
    bool (*boots)(struct device *d, enum device_boot kind, unsigned index, char *path);
    /* Its ports, those in use first. */
    struct {
        uint16_t base, count;
    } ports[DEVICE_PORTS];
    /* NULL, or: what an instance needs beyond that. It is zeroed, on the bus with its ports, its
     * timers are off, and a reset comes before the guest runs. 0 or an error; then destroy is not
     * called. */
    int (*create)(struct device *d, struct device_setup *s);
    /* NULL, or: give back what create has taken beside the instance and its place on the bus. */
    void (*destroy)(struct device *d);
};

/* What check says of the first of count classes with that key that the text is for, or finds fault
 * with; 0: it is for none of them. */
int device_class_check(const struct device_class *const *classes, unsigned count, const char *key,
                       const char *text, size_t length, char *error) MUST_CHECK;

/* For create, where an instance may have several lines: the next one that is for its class is in
 * s->text from now on. false: there is none, s is as it was. */
bool device_setup_next(struct device_setup *s);

/* An instance in memory of the caller's, class->size bytes. */
int device_make(const struct device_class *class, struct device *d,
                struct device_setup *s) MUST_CHECK;

#define DEVICE_NAME 64

/* Of an instance that may go while the guest runs: */
enum device_stay {
    DEVICE_STAYS,
    DEVICE_ASKED,    /* the guest has been asked to let go of it */
    DEVICE_STOPPING, /* it is on its way: nothing new is to begin */
    DEVICE_LEAVING,  /* the guest does not reach it any more, but something may be in flight */
};

/* The instances on one board, in the order in which they were made. */
struct device_list {
    struct device_item {
        const struct device_class *class;
        struct device *device;
        unsigned id; /* no other one of the list has had that */
        uint8_t stay;
        /* For whoever takes it off: when that began, and that the guest had not let go of it. */
        uint64_t since;
        bool unasked;
        char *name; /* its line up to the first comma, cut at DEVICE_NAME; NULL: it has none */
    } item[BUS_DEVICES];
    unsigned count;
    unsigned last_id;
};

/* Make and add one instance of class with what s says; of a removable class while the guest runs,
 * too. */
int device_list_add(struct device_list *list, const struct device_class *class,
                    struct device_setup *s) MUST_CHECK;
/* Make all instances of count classes, in that order. s: board, bus and host are set. On an error
 * s->line is the line that it comes from, or 0, and those before stay in the list. */
int device_list_fill(struct device_list *list, const struct device_class *const *classes,
                     unsigned count, struct device_setup *s) MUST_CHECK;
/* Instance number index of that class, from 0; NULL: there are not so many. */
struct device *device_list_find(const struct device_list *list, const struct device_class *class,
                                unsigned index);
/* Whether nothing of it is in flight; it begins nothing new, unless its guest begins with it anew.
 */
bool device_item_stop(struct device_item *item);
/* The guest reaches that instance, of a removable class, no longer, and it touches nothing of the
 * guest's but what hardware is busy with. */
void device_item_unplug(struct device_item *item, struct device_setup *s);
/* Of one that is unplugged nothing is in flight any more: destroy it. false: not yet, ask again. */
bool device_list_remove(struct device_list *list, struct device_item *item,
                        struct device_setup *s) MUST_CHECK;
/* Destroy all, the last one first. Their bus is not used any more. */
void device_list_destroy(struct device_list *list);
