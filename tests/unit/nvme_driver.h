/* A board with an NVMe controller, and a driver that keeps to the specification, in its own words.
 */
#pragma once

#include <string.h>

#include "tests/unit/function_io.h"
#include "tests/unit/mock_block.h"
#include "tests/unit/mock_board.h"

#define ADMIN_SQ  0x1000u
#define ADMIN_CQ  0x2000u
#define IO_SQ     0x3000u
#define IO_CQ     0x4000u
#define SHADOW    0x5000u
#define INDICES   0x6000u
#define LIST      0x7000u
#define DATA      0x8000u
#define ENTRIES   8u /* of each queue, unless said */
#define REG_CAP   0x00
#define REG_INTMS 0x0c
#define REG_INTMC 0x10
#define REG_CC    0x14
#define REG_CSTS  0x1c
#define REG_AQA   0x24
#define REG_ASQ   0x28
#define REG_ACQ   0x30

enum { OP_FLUSH, OP_WRITE, OP_READ, OP_ZEROES = 8, OP_DSM };
enum {
    AD_DELETE_SQ,
    AD_CREATE_SQ,
    AD_LOG,
    AD_DELETE_CQ = 4,
    AD_CREATE_CQ,
    AD_IDENTIFY,
    AD_ABORT = 8,
    AD_SET,
    AD_GET,
    AD_EVENT = 12,
    AD_SHADOW = 0x7c
};

struct sqe {
    uint32_t dw0, nsid, dw2, dw3;
    uint64_t metadata, prp1, prp2;
    uint32_t dw10, dw11, dw12, dw13, dw14, dw15;
};
struct cqe {
    uint32_t result, dw1;
    uint16_t sqhd, sqid, cid, status; /* with the phase tag */
};
_Static_assert(sizeof(struct sqe) == 64 && sizeof(struct cqe) == 16, "NVMe");

static struct {
    uint64_t sq, cq;
    uint16_t size, tail, head;
    uint16_t cq_size;
    bool phase;
} queue[9];
static uint16_t next_cid;

/* --- the board --- */

extern const struct device_class nvme_class;

static struct device_list devices;
static const char *text;

static inline const char *line(void *context, const char *key, unsigned index, size_t *length,
                               uint32_t *number)
{
    *length = strlen(text);
    return index == 0 ? text : NULL;
}

static inline int make(const char *disk)
{
    static const struct device_class *const classes[] = {&pci_class, &nvme_class};
    static const struct device_host host = {.line = line, .disk = mock_open};
    struct device_setup s = {.board = &board, .bus = &board.bus, .host = &host};

    text = disk;
    mock_init(&board);
    view = (struct bus_view){0};
    devices = (struct device_list){0};
    if (device_list_fill(&devices, classes, 2, &s) < 0)
        return -1;
    bus_reset(&board.bus);
    return 0;
}

static inline int setup(void **state)
{
    mock_block_init();
    return make("ram:x,bus=nvme");
}

static inline int teardown(void **state)
{
    bool good = mock_round_trip(&board);

    mock_destroy(&board);
    device_list_destroy(&devices);
    return good && board.pins == 0 && closed == 1 ? 0 : -1;
}

/* Another disk, with what the test has changed of the block device. */
static inline void again(const char *disk)
{
    assert_int_equal(teardown(NULL), 0);
    closed = 0;
    assert_int_equal(make(disk), 0);
}

/* --- the driver --- */

static inline void use_msix(void)
{
    unsigned cap = config(PCI_CAPABILITIES, 1);

    assert_int_equal(config(cap, 1), 0x11);
    config_write(cap + 2, 2, 0x8000);
    for (unsigned i = 0; i < 9; i++) {
        out(0x2000 + 16 * i, 4, 0xfee00000);
        out(0x2008 + 16 * i, 4, 0x30 + i);
        out(0x200c + 16 * i, 4, 0);
    }
}

static inline void poke(uint64_t at, uint64_t value, unsigned size)
{
    memcpy(board.memory + at, &value, size);
}

static inline uint64_t peek(uint64_t at, unsigned size)
{
    uint64_t value = 0;

    memcpy(&value, board.memory + at, size);
    return value;
}

static inline void forget_queue(unsigned q, uint64_t sq, uint64_t cq, unsigned size)
{
    queue[q].sq = sq;
    queue[q].cq = cq;
    queue[q].size = queue[q].cq_size = (uint16_t)size;
    queue[q].tail = queue[q].head = 0;
    queue[q].phase = true;
    memset(board.memory + cq, 0, size * 16);
}

/* From off to CSTS.RDY, as Linux does it: 64-bit registers in two halves. */
static inline void enable(void)
{
    config_write(PCI_COMMAND, 2, 6);
    out(REG_CC, 4, 0);
    assert_int_equal(in(REG_CSTS, 4) & 1, 0);
    forget_queue(0, ADMIN_SQ, ADMIN_CQ, ENTRIES);
    out(REG_AQA, 4, (ENTRIES - 1) << 16 | (ENTRIES - 1));
    out(REG_ASQ, 4, ADMIN_SQ);
    out(REG_ASQ + 4, 4, 0);
    out(REG_ACQ, 4, ADMIN_CQ);
    out(REG_ACQ + 4, 4, 0);
    out(REG_CC, 4, 0x00460000);
    out(REG_CC, 4, 0x00460001);
    assert_int_equal(in(REG_CSTS, 4), 1);
}

/* Put a command at the tail; its identifier. */
static inline uint16_t put_command(unsigned q, struct sqe c)
{
    c.dw0 = (c.dw0 & 0xffff) | (uint32_t)++next_cid << 16;
    memcpy(board.memory + queue[q].sq + queue[q].tail * sizeof(c), &c, sizeof(c));
    queue[q].tail = (uint16_t)((queue[q].tail + 1) % queue[q].size);
    return next_cid;
}

static inline void ring(unsigned q)
{
    out(0x1000 + 8 * q, 4, queue[q].tail);
}

/* The next answer, if there is one. */
static inline bool take(unsigned q, struct cqe *e)
{
    memcpy(e, board.memory + queue[q].cq + queue[q].head * sizeof(*e), sizeof(*e));
    if ((e->status & 1) != queue[q].phase)
        return false;
    queue[q].head = (uint16_t)((queue[q].head + 1) % queue[q].cq_size);
    queue[q].phase ^= queue[q].head == 0;
    return true;
}

static inline void acknowledge(unsigned q)
{
    out(0x1004 + 8 * q, 4, queue[q].head);
}

/* It is answered at once, or when the timer has come: its status, without the phase tag and DNR and
 * MORE. */
static inline uint16_t ask(unsigned q, struct sqe c, uint32_t *result)
{
    uint16_t cid = put_command(q, c);
    struct cqe e;

    ring(q);
    mock_ticks(&board, 1);
    assert_true(take(q, &e));
    assert_int_equal(e.cid, cid);
    assert_int_equal(e.sqid, q);
    assert_int_equal(e.sqhd, queue[q].tail);
    assert_int_equal(e.dw1, 0);
    acknowledge(q);
    if (result)
        *result = e.result;
    return e.status >> 1 & 0x7ff;
}

static inline uint16_t create_cq(unsigned q, uint64_t gpa, unsigned entries, uint32_t dw11)
{
    return ask(0,
               (struct sqe){
                   .dw0 = AD_CREATE_CQ, .prp1 = gpa, .dw10 = (entries - 1) << 16 | q, .dw11 = dw11},
               NULL);
}

static inline uint16_t create_sq(unsigned q, uint64_t gpa, unsigned entries, uint32_t dw11)
{
    return ask(0,
               (struct sqe){
                   .dw0 = AD_CREATE_SQ, .prp1 = gpa, .dw10 = (entries - 1) << 16 | q, .dw11 = dw11},
               NULL);
}

/* A pair of queues that interrupts by that vector. */
static inline void make_pair(unsigned q, unsigned entries, unsigned vector)
{
    forget_queue(q, IO_SQ, IO_CQ, entries);
    assert_int_equal(create_cq(q, IO_CQ, entries, vector << 16 | 3), 0);
    assert_int_equal(create_sq(q, IO_SQ, entries, q << 16 | 1), 0);
}

static inline struct sqe io(uint8_t op, uint64_t first, unsigned blocks, uint64_t prp1,
                            uint64_t prp2)
{
    return (struct sqe){.dw0 = op,
                        .nsid = 1,
                        .prp1 = prp1,
                        .prp2 = prp2,
                        .dw10 = (uint32_t)first,
                        .dw11 = (uint32_t)(first >> 32),
                        .dw12 = blocks - 1};
}

static inline uint16_t set_feature(uint8_t id, uint32_t value, uint32_t *result)
{
    return ask(0, (struct sqe){.dw0 = AD_SET, .dw10 = id, .dw11 = value}, result);
}

static inline uint16_t get_feature(uint32_t dw10, uint32_t dw11, uint32_t *result)
{
    return ask(0, (struct sqe){.dw0 = AD_GET, .dw10 = dw10, .dw11 = dw11}, result);
}

static inline uint16_t identify(uint32_t what, uint32_t nsid)
{
    memset(board.memory + DATA, 0xee, 4096);
    return ask(0, (struct sqe){.dw0 = AD_IDENTIFY, .nsid = nsid, .prp1 = DATA, .dw10 = what}, NULL);
}

static inline uint16_t read_log(uint8_t id, unsigned bytes, uint64_t offset)
{
    memset(board.memory + DATA, 0xee, 4096);
    return ask(0,
               (struct sqe){.dw0 = AD_LOG,
                            .nsid = UINT32_MAX,
                            .prp1 = DATA,
                            .dw10 = (bytes / 4 - 1) << 16 | id,
                            .dw12 = (uint32_t)offset,
                            .dw13 = (uint32_t)(offset >> 32)},
               NULL);
}

/* What an Asynchronous Event Request is answered with. */
static inline void expect_event(uint16_t cid, uint32_t result)
{
    struct cqe e;

    assert_true(take(0, &e));
    assert_int_equal(e.cid, cid);
    assert_int_equal(e.result, result);
    assert_int_equal(e.status >> 1, 0);
    acknowledge(0);
}
