/* See fw_cfg.h; QEMU documents the device in "QEMU Firmware Configuration (fw_cfg) Device". */
#include "guest/devices/fw_cfg.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/ports.h"

#define ID_TRADITIONAL BIT(0)
#define ID_DMA         BIT(1)

/* The record of a transfer, big-endian. */
struct dma {
    uint32_t control, length;
    uint64_t address;
};
#define DMA_ERROR     0x01
#define DMA_READ      0x02
#define DMA_SKIP      0x04
#define DMA_SELECT    0x08 /* the key is in the upper half */
#define DMA_WRITE     0x10
#define DMA_KEY_SHIFT 16

#define DMA_ADDRESS_HIGH 0 /* offsets from PORT_FW_CFG_DMA; writing the low half starts it */
#define DMA_ADDRESS_LOW  4

/* Zeroes that one transfer reads past an item's end at most: nobody has a use for more, and a
 * transfer is over before its guest goes on. */
#define PAST_END (64 * KIB)

static const char signature[] = "QEMU", dma_signature[] = "QEMU CFG";
static const uint8_t id[] = {ID_TRADITIONAL | ID_DMA, 0, 0, 0};
static const uint8_t zeroes[512];

static const struct fw_cfg_item *chosen(const struct fw_cfg *f)
{
    static const struct fw_cfg_item none = {.data = zeroes};

    for (unsigned i = 0; i < f->items; i++)
        if (f->item[i].key == f->key)
            return &f->item[i];
    return &none;
}

static void choose(struct fw_cfg *f, uint16_t key)
{
    f->key = key;
    f->position = 0;
}

/* --- by port --- */

static uint8_t read_byte(struct fw_cfg *f)
{
    const struct fw_cfg_item *item = chosen(f);

    return f->position < item->size ? ((const uint8_t *)item->data)[f->position++] : 0;
}

static uint32_t fw_cfg_read(struct device *d, uint16_t port, unsigned size)
{
    struct fw_cfg *f = CONTAINER_OF(d, struct fw_cfg, dev);
    uint32_t value = 0;

    if (port == PORT_FW_CFG + 1 && size == 1)
        return read_byte(f);
    if (port < PORT_FW_CFG_DMA)
        return UINT32_MAX;
    for (unsigned i = 0; i < size && port - PORT_FW_CFG_DMA + i < PORTS_FW_CFG_DMA; i++)
        value |= (uint32_t)(uint8_t)dma_signature[port - PORT_FW_CFG_DMA + i] << 8 * i;
    return value;
}

/* --- by DMA --- */

/* The next of length bytes of the item go to address, and zeroes behind its end. */
static int transfer(struct fw_cfg *f, uint64_t address, uint32_t length, bool read)
{
    const struct fw_cfg_item *item = chosen(f);
    uint32_t there = MIN(length, item->size - MIN(f->position, item->size));
    int result = 0;

    if (read && length - there > PAST_END)
        return -E2BIG;
    if (read && there)
        result =
            device_memory_write(&f->dev, address, (const uint8_t *)item->data + f->position, there);
    if (result < 0)
        return result;
    f->position += there;
    for (uint32_t done = there, n; read && done < length && result == 0; done += n) {
        n = MIN(length - done, (uint32_t)sizeof(zeroes));
        result = device_memory_write(&f->dev, address + done, zeroes, n);
    }
    return result;
}

static void run_dma(struct fw_cfg *f, uint64_t at)
{
    struct dma record;
    uint32_t status = 0;
    int result = 0;

    if (device_memory_read(&f->dev, at, &record, sizeof(record)) < 0)
        return; /* nor could the outcome be told */
    record.control = __builtin_bswap32(record.control);
    record.length = __builtin_bswap32(record.length);
    record.address = __builtin_bswap64(record.address);
    if (record.control & DMA_SELECT)
        choose(f, (uint16_t)(record.control >> DMA_KEY_SHIFT));
    if (record.control & DMA_READ)
        result = transfer(f, record.address, record.length, true);
    else if (record.control & DMA_WRITE)
        result = -EROFS;
    else if (record.control & DMA_SKIP)
        result = transfer(f, 0, record.length, false);
    if (result < 0)
        status = __builtin_bswap32(DMA_ERROR);
    (void)!device_memory_write(&f->dev, at, &status, sizeof(status));
}

static void fw_cfg_write(struct device *d, uint16_t port, unsigned size, uint32_t value)
{
    struct fw_cfg *f = CONTAINER_OF(d, struct fw_cfg, dev);
    uint64_t high = f->dma_high;

    if (port == PORT_FW_CFG && size == 2)
        choose(f, (uint16_t)value);
    if (port == PORT_FW_CFG_DMA + DMA_ADDRESS_HIGH && size == 4)
        f->dma_high = __builtin_bswap32(value);
    if (port == PORT_FW_CFG_DMA + DMA_ADDRESS_LOW && size == 4) {
        f->dma_high = 0; /* whoever's record is low writes this half alone */
        run_dma(f, high << 32 | __builtin_bswap32(value));
    }
}

/* --- its items --- */

static void add_item(struct fw_cfg *f, uint16_t key, const void *data, uint32_t size)
{
    f->item[f->items++] = (struct fw_cfg_item){.key = key, .data = data, .size = size};
}

static void add_file(struct fw_cfg *f, unsigned number, const struct fw_cfg_item *item)
{
    uint8_t *entry = f->directory + 4 + (size_t)number * FW_CFG_ENTRY;
    uint16_t key = (uint16_t)(FW_CFG_FILES + number), big_key = __builtin_bswap16(key);
    uint32_t size = __builtin_bswap32(item->size);

    memcpy(entry, &size, sizeof(size));
    memcpy(entry + 4, &big_key, sizeof(big_key));
    memcpy(entry + 8, item->name, MIN(strlen(item->name), (size_t)FW_CFG_NAME - 1));
    add_item(f, key, item->data, item->size);
}

void fw_cfg_set(struct fw_cfg *f, const struct fw_cfg_item *items, unsigned count)
{
    uint32_t files = 0, big;

    device_lock(&f->dev);
    f->items = 0;
    memset(f->directory, 0, sizeof(f->directory));
    add_item(f, FW_CFG_SIGNATURE, signature, sizeof(signature) - 1);
    add_item(f, FW_CFG_ID, id, sizeof(id));
    for (unsigned i = 0; i < MIN(count, (unsigned)FW_CFG_ITEMS); i++) {
        if (items[i].name)
            add_file(f, files++, &items[i]);
        else
            add_item(f, items[i].key, items[i].data, items[i].size);
    }
    big = __builtin_bswap32(files);
    memcpy(f->directory, &big, sizeof(big));
    add_item(f, FW_CFG_DIRECTORY, f->directory, 4 + files * FW_CFG_ENTRY);
    device_unlock(&f->dev);
}

/* --- life --- */

static void fw_cfg_reset(struct device *d)
{
    struct fw_cfg *f = CONTAINER_OF(d, struct fw_cfg, dev);

    choose(f, FW_CFG_SIGNATURE);
    f->dma_high = 0;
}

static void fw_cfg_save(struct device *d, struct state_writer *w)
{
    const struct fw_cfg *f = CONTAINER_OF(d, struct fw_cfg, dev);

    state_put_u16(w, f->key);
    state_put_u32(w, f->position);
    state_put_u32(w, f->dma_high);
}

/* A position behind the item's end reads zeroes, as its end does. */
static int fw_cfg_load(struct device *d, struct state_reader *r)
{
    struct fw_cfg *f = CONTAINER_OF(d, struct fw_cfg, dev);

    f->key = state_get_u16(r);
    f->position = state_get_u32(r);
    f->dma_high = state_get_u32(r);
    return 0;
}

static const struct device_ops fw_cfg_ops = {
    .name = "fw-cfg",
    .version = 1,
    .port_read = fw_cfg_read,
    .port_write = fw_cfg_write,
    .reset = fw_cfg_reset,
    .save = fw_cfg_save,
    .load = fw_cfg_load,
};

static int fw_cfg_create(struct device *d, struct device_setup *s)
{
    fw_cfg_set(CONTAINER_OF(d, struct fw_cfg, dev), NULL, 0);
    return 0;
}

const struct device_class fw_cfg_class = {
    .ops = &fw_cfg_ops,
    .size = sizeof(struct fw_cfg),
    .key = "firmware",
    .ports = {{PORT_FW_CFG, 2}, {PORT_FW_CFG_DMA, PORTS_FW_CFG_DMA}},
    .create = fw_cfg_create,
};
