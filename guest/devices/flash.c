/*
 * Firmware's memory, which ends at 4 GiB: the file's bytes, in frames of its own. Where the file
 * begins with a volume of UEFI variables, that part is a flash chip of Intel's command set (JEDEC
 * JESD68.01 and JEP137, "Intel/Sharp extended command set", as in 28F-series chips); the rest, and
 * all of other files, is ROM. Reads are plain memory but while the chip tells its status.
 *
 * What is written stays over power-offs where the VM has an area in Corbel's own partition: each
 * time when the chip goes back to showing its bytes, the blocks that have changed are handed over
 * to be written. The guest does not wait for that. While a write is under way the next one waits
 * for it, in which more may change; so what is on the drive is always what stood here at one of
 * those moments. One begins WRITES_HZ times a second at most, whatever the guest does: the drive is
 * others', too. A VM that ends waits until the last one is there; one that is reset, or loaded,
 * does not.
 */
#include "guest/devices/flash.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/board/class.h"
#include "guest/storage/store.h"
#include "mm/frame.h"

#define TOP       (4 * GIB)
#define SIZE_UNIT (64 * KIB)
#define SIZE_MOST (16 * MIB) /* the local APICs are below */
#define RESET     16         /* bytes from the reset vector to the end */

/* UEFI Platform Initialization Specification, "Firmware Volume Header". */
#define VOLUME_GUID      16
#define VOLUME_LENGTH    32
#define VOLUME_SIGNATURE 40
#define VOLUME_HEADER    56
/* gEfiSystemNvDataFvGuid */
static const uint8_t variables_guid[16] = {0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c,
                                           0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50};

enum command {
    PROGRAM_ALTERNATE = 0x10,
    ERASE = 0x20,
    PROGRAM = 0x40,
    CLEAR_STATUS = 0x50,
    READ_STATUS = 0x70,
    CONFIRM = 0xd0,
    BUFFER = 0xe8,
    READ_ARRAY = 0xff,
};

#define STATUS_READY    0x80
#define STATUS_SEQUENCE 0x30 /* erase and program failed: that was no sequence of commands */

#define LOOK_HZ   200 /* how often it is looked whether what waits can be written */
#define WRITES_HZ 10

#define BLOCK       PAGE_SIZE
#define BUFFER_SIZE 256

enum expects {
    EXPECT_COMMAND,
    EXPECT_BYTE,
    EXPECT_ERASE,
    EXPECT_COUNT,
    EXPECT_FILL,
    EXPECT_PROGRAM
};

enum { VARIABLES, WHOLE, RANGES };

struct flash {
    struct device dev;
    struct bus *bus;
    struct bus_range range[RANGES]; /* both begin at its start, so that offsets are alike */
    paddr frames;
    uint8_t *bytes;
    const uint8_t *file;
    uint32_t size, variables; /* variables: of so many bytes from the start it is a chip */

    struct store_area *area;                    /* NULL: they end with the VM */
    uint64_t changed[(STORE_MAPPED + 63) / 64]; /* blocks, since they were handed over */
    bool waits;                                 /* some are to be handed over, */
    bool handed_over;                           /* some may not be on the drive yet */
    uint64_t next_write;                        /* not before this time of the device's */

    bool tells_status; /* or shows its bytes */
    uint8_t status;
    uint8_t expects; /* enum expects */
    uint16_t left;   /* of the buffer's bytes */
    uint32_t buffer_at;
    bool buffer_begun;
    uint8_t buffer[BUFFER_SIZE];
};

static struct flash *flash_of(struct device *d)
{
    return CONTAINER_OF(d, struct flash, dev);
}

static void tell_status(struct flash *f, bool status)
{
    if (f->variables == 0 || status == f->tells_status)
        return;
    f->tells_status = status; /* bus_show() has had its memory since the range was added */
    (void)!bus_show(f->bus, &f->range[VARIABLES], status ? BUS_CALLS : BUS_FRAMES, f->frames,
                    false);
}

/* --- what is kept --- */

_Static_assert(BLOCK == STORE_BLOCK, "a block of the chip is one of its area");

static void change(struct flash *f, uint64_t offset)
{
    if (!f->area)
        return;
    f->changed[offset / BLOCK / 64] |= BIT(offset / BLOCK % 64);
    f->waits = true;
}

/* Hand over what has changed. The area is idle. */
static void hand_over(struct flash *f)
{
    const uint8_t *kept = store_area_content(f->area);

    for (uint32_t i = 0; i < f->variables / BLOCK; i++) {
        size_t at = (size_t)i * BLOCK;

        if (!kept ||
            ((f->changed[i / 64] >> i % 64 & 1) && memcmp(kept + at, f->bytes + at, BLOCK) != 0))
            store_area_put(f->area, i, f->bytes + at);
    }
    memset(f->changed, 0, sizeof(f->changed));
    f->waits = false;
    f->handed_over = true;
    store_area_write(f->area);
}

/* The same, but later when the area is not ready for it, or has just been written. */
static void write_through(struct flash *f)
{
    uint64_t now, hz;

    if (!f->waits)
        return;
    now = device_now(&f->dev);
    hz = device_tsc_hz(&f->dev);
    if (now < f->next_write || !store_area_idle(f->area)) {
        device_timer_set(&f->dev, 0, MAX(f->next_write, now + hz / LOOK_HZ));
        return;
    }
    f->next_write = now + hz / WRITES_HZ;
    hand_over(f);
}

/* In the middle of its commands the chip is not written; it comes back from there. */
static void flash_timer(struct device *d, unsigned timer, uint64_t now)
{
    if (!flash_of(d)->tells_status)
        write_through(flash_of(d));
}

/* Writes that are not this chip's are not waited for. */
bool flash_kept(struct device *d)
{
    struct flash *f = flash_of(d);

    device_lock(d);
    if (f->waits && store_area_idle(f->area))
        hand_over(f);
    if (f->waits || f->handed_over)
        f->handed_over = !store_area_idle(f->area);
    bool kept = !f->waits && !f->handed_over;
    device_unlock(d);
    return kept;
}

/* --- commands --- */

/* Bits can be cleared only. */
static void program(struct flash *f, uint64_t offset, const uint8_t *data, unsigned size)
{
    for (unsigned i = 0; i < size && offset + i < f->variables; i++) {
        f->bytes[offset + i] &= data[i];
        change(f, offset + i);
    }
}

static void erase(struct flash *f, uint64_t offset)
{
    memset(f->bytes + ALIGN_DOWN(offset, BLOCK), 0xff, BLOCK);
    change(f, offset);
}

static void done(struct flash *f, uint8_t status)
{
    f->status |= STATUS_READY | status;
    f->expects = EXPECT_COMMAND;
}

static void begin(struct flash *f, uint8_t command)
{
    bool status = true;

    switch (command) {
    case PROGRAM:
    case PROGRAM_ALTERNATE:
        f->expects = EXPECT_BYTE;
        break;
    case ERASE:
        f->expects = EXPECT_ERASE;
        break;
    case BUFFER:
        f->expects = EXPECT_COUNT;
        f->status |= STATUS_READY; /* it is free */
        break;
    case CLEAR_STATUS:
        f->status = 0;
        status = false;
        break;
    case READ_STATUS:
        break;
    default: /* READ_ARRAY, and what this chip does not know */
        status = false;
        break;
    }
    tell_status(f, status);
    if (!status)
        write_through(f);
}

static void fill(struct flash *f, uint64_t offset, const uint8_t *data, unsigned size)
{
    if (!f->buffer_begun) {
        f->buffer_begun = true;
        f->buffer_at = (uint32_t)offset;
        memset(f->buffer, 0xff, sizeof(f->buffer));
    }
    for (unsigned i = 0; i < size && f->left; i++, f->left--)
        if (offset + i - f->buffer_at < BUFFER_SIZE)
            f->buffer[offset + i - f->buffer_at] = data[i];
    if (f->left == 0)
        f->expects = EXPECT_PROGRAM;
}

static void flash_write(struct device *d, uint64_t offset, unsigned size, uint64_t value)
{
    struct flash *f = flash_of(d);
    uint8_t data[sizeof(value)];

    memcpy(data, &value, sizeof(data));
    if (offset >= f->variables)
        return; /* ROM */
    switch ((enum expects)f->expects) {
    case EXPECT_COMMAND:
        begin(f, data[0]);
        break;
    case EXPECT_BYTE:
        program(f, offset, data, size);
        done(f, 0);
        break;
    case EXPECT_ERASE:
        if (data[0] == CONFIRM)
            erase(f, offset);
        done(f, data[0] == CONFIRM ? 0 : STATUS_SEQUENCE);
        break;
    case EXPECT_COUNT:
        f->left = (uint16_t)(data[0] + 1);
        f->buffer_begun = false;
        f->expects = EXPECT_FILL;
        break;
    case EXPECT_FILL:
        fill(f, offset, data, size);
        break;
    case EXPECT_PROGRAM:
        if (data[0] == CONFIRM)
            program(f, f->buffer_at, f->buffer, BUFFER_SIZE);
        done(f, data[0] == CONFIRM ? 0 : STATUS_SEQUENCE);
        break;
    }
}

static uint64_t flash_read(struct device *d, uint64_t offset, unsigned size)
{
    const struct flash *f = flash_of(d);
    uint64_t value = 0;

    if (f->tells_status && offset < f->variables) {
        memset(&value, f->status, size);
        return value;
    }
    /* The chip has come back to its bytes meanwhile. */
    if (offset < f->size)
        memcpy(&value, f->bytes + offset, MIN((uint64_t)size, f->size - offset));
    return value;
}

/* --- life --- */

static void forget_command(struct flash *f)
{
    tell_status(f, false);
    f->status = 0;
    f->expects = EXPECT_COMMAND;
    f->left = 0;
    f->buffer_at = 0;
    f->buffer_begun = false;
    memset(f->buffer, 0, sizeof(f->buffer));
}

/* What it holds stays: that is what flash is for. */
static void flash_reset(struct device *d)
{
    struct flash *f = flash_of(d);

    forget_command(f);
    write_through(f);
}

static bool differs(const struct flash *f, uint32_t block)
{
    size_t at = (size_t)block * BLOCK;

    return memcmp(f->bytes + at, f->file + at, BLOCK) != 0;
}

/* Of its bytes those blocks that are not the file's. */
static void flash_save(struct device *d, struct state_writer *w)
{
    const struct flash *f = flash_of(d);
    uint32_t count = 0;

    state_put_u8(w, f->tells_status);
    state_put_u8(w, f->status);
    state_put_u8(w, f->expects);
    state_put_u16(w, f->left);
    state_put_u32(w, f->buffer_at);
    state_put_u8(w, f->buffer_begun);
    state_put(w, f->buffer, sizeof(f->buffer));
    for (uint32_t i = 0; i < f->variables / BLOCK; i++)
        count += differs(f, i);
    state_put_u32(w, count);
    for (uint32_t i = 0; i < f->variables / BLOCK; i++) {
        if (!differs(f, i))
            continue;
        state_put_u32(w, i);
        state_put(w, f->bytes + (size_t)i * BLOCK, BLOCK);
    }
}

static int load_blocks(struct flash *f, struct state_reader *r)
{
    uint32_t count = state_get_u32(r);

    f->next_write = 0; /* the device's time may be an earlier one now */
    memcpy(f->bytes, f->file, f->variables);
    for (uint32_t i = 0; i < f->variables; i += BLOCK)
        change(f, i);
    if (count > f->variables / BLOCK)
        return -EBADMSG;
    while (count--) {
        uint32_t block = state_get_u32(r);

        if (block >= f->variables / BLOCK)
            return -EBADMSG;
        state_get(r, f->bytes + (size_t)block * BLOCK, BLOCK);
    }
    return 0;
}

static int flash_load(struct device *d, struct state_reader *r)
{
    struct flash *f = flash_of(d);

    tell_status(f, state_get_u8(r) & 1);
    f->status = state_get_u8(r);
    f->expects = state_get_u8(r);
    f->left = state_get_u16(r);
    f->buffer_at = state_get_u32(r);
    f->buffer_begun = state_get_u8(r) & 1;
    state_get(r, f->buffer, sizeof(f->buffer));
    if (f->expects > EXPECT_PROGRAM || f->left > BUFFER_SIZE ||
        (f->expects == EXPECT_FILL && f->left == 0) || load_blocks(f, r) < 0) {
        forget_command(f);
        return -EBADMSG;
    }
    if (!f->tells_status)
        write_through(f);
    return 0;
}

static const struct device_ops flash_ops = {
    .name = "flash",
    .version = 1,
    .mmio_read = flash_read,
    .mmio_write = flash_write,
    .timer = flash_timer,
    .reset = flash_reset,
    .save = flash_save,
    .load = flash_load,
};

/* How many bytes of the file are variables; -EINVAL: it is cut off. */
static int64_t find_variables(const uint8_t *file, uint64_t size)
{
    uint64_t length;

    if (memcmp(file + VOLUME_SIGNATURE, "_FVH", 4) != 0)
        return 0;
    memcpy(&length, file + VOLUME_LENGTH, sizeof(length));
    if (length > size || length < VOLUME_HEADER)
        return -EINVAL;
    return memcmp(file + VOLUME_GUID, variables_guid, sizeof(variables_guid)) == 0
               ? (int64_t)ALIGN_DOWN(length, BLOCK)
               : 0;
}

/* Whether the processor's first instruction is there, as far as can be told. */
static bool has_reset_vector(const uint8_t *file, uint64_t size)
{
    const uint8_t *vector = file + size - RESET;

    for (unsigned i = 1; i < RESET; i++)
        if (vector[i] != vector[0])
            return true;
    return vector[0] != 0 && vector[0] != 0xff;
}

uint32_t flash_variables(const void *file, uint64_t size)
{
    int64_t variables = size < VOLUME_HEADER ? 0 : find_variables(file, size);

    return variables < 0 || variables > (int64_t)SIZE_MOST ? 0 : (uint32_t)variables;
}

static int look_at(struct flash *f, const struct device_host *host, char *error)
{
    const uint8_t *file = host->firmware;
    uint64_t size = host->firmware_size;

    if (size == 0 || size % SIZE_UNIT || size > SIZE_MOST) {
        format(error, DEVICE_ERROR,
               "firmware: the file has %llu bytes; firmware has a multiple of 64 KiB, up to 16 "
               "MiB: is all of it there?",
               (unsigned long long)size);
        return -EINVAL;
    }
    int64_t variables = find_variables(file, size);
    if (variables < 0 || !has_reset_vector(file, size)) {
        format(error, DEVICE_ERROR,
               variables < 0 ? "firmware: the file is cut off: its first volume is longer than it"
                             : "firmware: the file has no reset vector 16 bytes before its end");
        return -EINVAL;
    }
    f->file = file;
    f->size = (uint32_t)size;
    f->variables = (uint32_t)variables;
    return 0;
}

static void flash_destroy(struct device *d)
{
    frame_run_free(flash_of(d)->frames);
}

/* What the file holds, and in place of its variables those that are kept. */
static void bring_contents(struct flash *f, const struct device_host *host)
{
    const uint8_t *kept = NULL;

    memcpy(f->bytes, f->file, f->size);
    if (f->variables && host->variables)
        f->area = host->variables(host->context, f->variables);
    if (f->area)
        kept = store_area_content(f->area);
    if (kept)
        memcpy(f->bytes, kept, f->variables);
}

static int flash_create(struct device *d, struct device_setup *s)
{
    struct flash *f = flash_of(d);
    int result = look_at(f, s->host, s->error);

    if (result < 0)
        return result;
    f->bus = s->bus;
    f->frames = frame_run_alloc(f->size / PAGE_SIZE, FRAME_KERNEL);
    if (f->frames == FRAME_NONE)
        return -ENOMEM;
    f->bytes = phys_to_virt(f->frames);
    bring_contents(f, s->host);
    for (unsigned i = f->variables ? VARIABLES : WHOLE; i < RANGES && result == 0; i++) {
        f->range[i] = (struct bus_range){.device = d,
                                         .size = i == VARIABLES ? f->variables : f->size,
                                         .space = BUS_MEMORY,
                                         .priority = BUS_FIXED,
                                         .shows = BUS_FRAMES,
                                         .from = f->frames};
        result = bus_add_range(s->bus, &f->range[i]);
        if (result == 0)
            result = bus_place(s->bus, &f->range[i], TOP - f->size);
    }
    if (result < 0)
        frame_run_free(f->frames);
    s->rom = f->frames;
    s->rom_size = f->size;
    return result;
}

const struct device_class flash_class = {
    .ops = &flash_ops,
    .size = sizeof(struct flash),
    .key = "firmware",
    .create = flash_create,
    .destroy = flash_destroy,
};
