/* What a controller tells of itself: Identify and Get Log Page. */
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/devices/nvme/nvme.h"

#define MODEL    "Corbel disk"
#define FIRMWARE "1"
#define VERSION  0x00010400u

static void put(struct nvme_controller *n, unsigned at, unsigned size, uint64_t value)
{
    memcpy(n->page + at, &value, size);
}

/* "ASCII strings" end with blanks. */
static void put_text(struct nvme_controller *n, unsigned at, unsigned size, const char *text)
{
    memset(n->page + at, ' ', size);
    memcpy(n->page + at, text, strnlen(text, size));
}

/* --- who it is --- */

/* FNV-1a, 64 bits, of the salt and the serial number. */
static uint64_t hash(const struct nvme_controller *n, uint8_t salt)
{
    uint64_t h = (0xcbf29ce484222325 ^ salt) * 0x100000001b3;

    for (unsigned i = 0; i < sizeof(n->serial) && n->serial[i]; i++)
        h = (h ^ (uint8_t)n->serial[i]) * 0x100000001b3;
    return h;
}

void nvme_name(struct nvme_controller *n)
{
    char text[DEVICE_SERIAL + 1];
    uint64_t value;

    if (n->source.serial[0])
        memcpy(text, n->source.serial, sizeof(text));
    else
        format(text, sizeof(text), "corbel-%u", n->function.devfn >> 3);
    memcpy(n->serial, text, sizeof(n->serial));
    value = hash(n, 0);
    memcpy(n->eui64, &value, 8);
    value = hash(n, 1);
    memcpy(n->nguid, &value, 8);
    memcpy(n->nguid + 8, n->eui64, 8);
    value = hash(n, 2);
    memcpy(n->uuid, &value, 8);
    value = hash(n, 3);
    memcpy(n->uuid + 8, &value, 8);
    /* Locally administered; a UUID of its maker's own kind (RFC 9562, "UUID Version 8"). */
    n->eui64[0] = n->nguid[8] = (uint8_t)((n->eui64[0] & ~3) | 2);
    n->uuid[6] = (n->uuid[6] & 0x0f) | 0x80;
    n->uuid[8] = (n->uuid[8] & 0x3f) | 0x80;
}

/* --- "Identify" --- */

enum { IDENTIFY_NAMESPACE, IDENTIFY_CONTROLLER, ACTIVE_NAMESPACES, NAMESPACE_DESCRIPTORS };

/* "Identify Controller Data Structure", at its offsets. */
static void identify_controller(struct nvme_controller *n)
{
    const struct block_device *b = n->source.block;
    const uint8_t *u = n->uuid;
    char name[80];

    put(n, 0, 2, NVME_VENDOR);
    put(n, 2, 2, NVME_SUBSYSTEM);
    put_text(n, 4, 20, n->serial);
    put_text(n, 24, 40, MODEL);
    put_text(n, 64, 8, FIRMWARE);
    put(n, 77, 1, NVME_MDTS);
    put(n, 80, 4, VERSION);
    put(n, 111, 1, 1);               /* an I/O controller */
    put(n, 256, 2, BIT(8));          /* Doorbell Buffer Config */
    put(n, 258, 1, 3);               /* aborts at a time, from 0 */
    put(n, 259, 1, NVME_EVENTS - 1); /* Asynchronous Event Requests, from 0 */
    put(n, 260, 1, 1 << 1 | 1);      /* firmware: one slot, read-only */
    put(n, 261, 1, BIT(2));          /* logs: from an offset on */
    put(n, 262, 1, NVME_ERRORS - 1); /* Error Information log's entries, from 0 */
    put(n, 266, 2, 343);             /* warning and critical temperature, in Kelvin */
    put(n, 268, 2, 373);
    put(n, 512, 1, 0x66); /* entries of 2^6 */
    put(n, 513, 1, 0x44); /* and of 2^4 bytes */
    put(n, 516, 4, 1);    /* namespaces */
    put(n, 520, 2,
        (b->discard_sectors ? BIT(2) : 0) | (b->write_zeroes_sectors ? BIT(3) : 0) |
            BIT(4));                  /* SELECT of Get Features */
    put(n, 525, 1, 6 | b->has_flush); /* a volatile write cache; Flush may name all namespaces */
    format(name, sizeof(name),
           "nqn.2014-08.org.nvmexpress:uuid:%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-"
           "%02x%02x%02x%02x%02x%02x",
           u[0], u[1], u[2], u[3], u[4], u[5], u[6], u[7], u[8], u[9], u[10], u[11], u[12], u[13],
           u[14], u[15]);
    memcpy(n->page + 768, name, strlen(name));
}

/* "Identify Namespace Data Structure" */
static void identify_namespace(struct nvme_controller *n)
{
    const struct block_device *b = n->source.block;
    uint32_t optimal = b->physical_block / b->logical_block;

    put(n, 0, 8, n->blocks);
    put(n, 8, 8, n->blocks);
    put(n, 16, 8, n->blocks);
    put(n, 24, 1, optimal > 1 ? BIT(4) : 0); /* the next five say something */
    if (optimal > 1)
        for (unsigned at = 64; at < 74; at += 2)
            put(n, at, 2, optimal - 1);
    put(n, 33, 1, b->write_zeroes_sectors ? BIT(3) : 0); /* Write Zeroes may deallocate */
    put(n, 99, 1, n->source.read_only || b->read_only);
    memcpy(n->page + 104, n->nguid, 16);
    memcpy(n->page + 120, n->eui64, 8);
    put(n, 128 + 2, 1, n->shift); /* the only format: no metadata */
}

/* "Namespace Identification Descriptor" */
static unsigned put_descriptor(struct nvme_controller *n, unsigned at, uint8_t type,
                               const uint8_t *id, uint8_t length)
{
    put(n, at, 1, type);
    put(n, at + 1, 1, length);
    memcpy(n->page + at + 4, id, length);
    return at + 4 + length;
}

unsigned nvme_identify(struct nvme_controller *n, const struct nvme_command *c)
{
    unsigned what = c->dw10 & 0xff, at;

    memset(n->page, 0, sizeof(n->page));
    switch (what) {
    case IDENTIFY_CONTROLLER:
        identify_controller(n);
        break;
    case ACTIVE_NAMESPACES: /* above that one */
        if (c->nsid >= UINT32_MAX - 1)
            return NVME_INVALID_NAMESPACE;
        put(n, 0, 4, c->nsid == 0);
        break;
    case IDENTIFY_NAMESPACE:
    case NAMESPACE_DESCRIPTORS:
        if (c->nsid != 1)
            return NVME_INVALID_NAMESPACE;
        if (what == IDENTIFY_NAMESPACE) {
            identify_namespace(n);
            break;
        }
        at = put_descriptor(n, 0, 1, n->eui64, 8);
        at = put_descriptor(n, at, 2, n->nguid, 16);
        put_descriptor(n, at, 3, n->uuid, 16);
        break;
    default:
        return NVME_INVALID_FIELD;
    }
    return nvme_give(n, c, PAGE_SIZE);
}

/* --- "Get Log Page" --- */

enum { ERROR_INFORMATION = 1, HEALTH, FIRMWARE_SLOT };

void nvme_log_error(struct nvme_controller *n, uint16_t sq, uint16_t cid, unsigned status,
                    uint64_t lba)
{
    n->error[n->error_count++ % NVME_ERRORS] = (struct nvme_error){.sq = sq,
                                                                   .cid = cid,
                                                                   .status = (uint16_t)status,
                                                                   .nsid = sq == UINT16_MAX ? 0 : 1,
                                                                   .lba = lba};
}

/* Entries of 64 bytes, the newest first. */
static unsigned put_errors(struct nvme_controller *n)
{
    for (unsigned i = 0; i < NVME_ERRORS && i < n->error_count; i++) {
        uint64_t number = n->error_count - i;
        const struct nvme_error *e = &n->error[(number - 1) % NVME_ERRORS];

        put(n, 64 * i, 8, number);
        put(n, 64 * i + 8, 2, e->sq);
        put(n, 64 * i + 10, 2, e->cid);
        put(n, 64 * i + 12, 2, e->status << 1);
        put(n, 64 * i + 14, 2, UINT16_MAX); /* no particular byte of the command */
        put(n, 64 * i + 16, 8, e->lba);
        put(n, 64 * i + 24, 4, e->nsid);
    }
    return 64 * NVME_ERRORS;
}

/* Thousands of sectors, begun ones, too. */
static uint64_t units(uint64_t sectors)
{
    return (sectors + 999) / 1000;
}

static unsigned put_health(struct nvme_controller *n)
{
    put(n, 0, 1, nvme_warnings(n));
    put(n, 1, 2, NVME_TEMPERATURE);
    put(n, 3, 1, 100); /* percent of the spare blocks are left, */
    put(n, 4, 1, 10);  /* which is enough down to that */
    put(n, 32, 8, units(n->sectors_read));
    put(n, 48, 8, units(n->sectors_written));
    put(n, 64, 8, n->reads);
    put(n, 80, 8, n->writes);
    put(n, 112, 8, 1); /* times that it was switched on */
    put(n, 128, 8, device_now(&n->dev) / device_tsc_hz(&n->dev) / 3600);
    put(n, 160, 8, n->media_errors);
    put(n, 176, 8, n->error_count);
    return 512;
}

static unsigned put_firmware(struct nvme_controller *n)
{
    put(n, 0, 1, 1); /* the active slot */
    put_text(n, 8, 8, FIRMWARE);
    return 512;
}

/* Whether the event that has led to it may be told again ("Retain Asynchronous Event": no). */
static void take_event(struct nvme_controller *n, const struct nvme_command *c, unsigned type)
{
    if (!(c->dw10 & BIT(15)))
        n->event_pending[type] = n->event_masked[type] = false;
}

unsigned nvme_log_page(struct nvme_controller *n, const struct nvme_command *c)
{
    uint64_t dwords = (c->dw10 >> 16 | (uint64_t)(c->dw11 & 0xffff) << 16) + 1;
    uint64_t offset = c->dw12 | (uint64_t)c->dw13 << 32;
    unsigned size;

    if (c->nsid > 1 && c->nsid != UINT32_MAX)
        return NVME_INVALID_NAMESPACE;
    memset(n->page, 0, sizeof(n->page));
    switch (c->dw10 & 0xff) {
    case ERROR_INFORMATION:
        size = put_errors(n);
        take_event(n, c, NVME_EVENT_ERROR);
        break;
    case HEALTH:
        size = put_health(n);
        take_event(n, c, NVME_EVENT_HEALTH);
        break;
    case FIRMWARE_SLOT:
        size = put_firmware(n);
        break;
    default:
        return NVME_INVALID_LOG;
    }
    if (offset % 4 || offset >= size)
        return NVME_INVALID_FIELD;
    size = (unsigned)MIN(size - offset, dwords * 4);
    memmove(n->page, n->page + offset, size);
    return nvme_give(n, c, size);
}
