/* Admin commands but for what they tell of the controller: queues, aborts, events. */
#include "guest/devices/nvme/nvme.h"

enum {
    DELETE_SQ,
    CREATE_SQ,
    GET_LOG_PAGE,
    DELETE_CQ = 0x04,
    CREATE_CQ,
    IDENTIFY,
    ABORT = 0x08,
    SET_FEATURES,
    GET_FEATURES,
    ASYNCHRONOUS_EVENT_REQUEST = 0x0c,
    DOORBELL_BUFFER_CONFIG = 0x7c,
};

#define FUSE_AND_PSDT 0xc3 /* flags: see io.c */
#define SQES          6    /* entries of 2^6 and of 2^4 bytes */
#define CQES          4

/* Dword 10 and 11 of the commands that make and delete queues. */
#define ID(c)           ((uint16_t)(c)->dw10)
#define ENTRIES(c)      (((c)->dw10 >> 16) + 1)
#define CONTIGUOUS(c)   ((c)->dw11 & 1)
#define INTERRUPTS(c)   ((c)->dw11 >> 1 & 1)
#define HIGH_HALF(dw11) ((uint16_t)((dw11) >> 16)) /* a vector, or a completion queue */

/* What they do not answer at once. */
#define LATER UINT32_MAX

/* --- queues --- */

static unsigned check_queue(const struct nvme_command *c, uint16_t size, unsigned granted,
                            bool entries)
{
    if (ID(c) == 0 || ID(c) > granted || size)
        return NVME_INVALID_QUEUE;
    if (ENTRIES(c) < 2 || ENTRIES(c) > NVME_ENTRIES || !entries)
        return NVME_INVALID_SIZE;
    if (!CONTIGUOUS(c))
        return NVME_INVALID_FIELD;
    return c->prp1 % PAGE_SIZE ? NVME_INVALID_PRP_OFFSET : NVME_SUCCESS;
}

static unsigned create_cq(struct nvme_controller *n, const struct nvme_command *c)
{
    unsigned id = ID(c);
    unsigned status = check_queue(c, id < NVME_QUEUES ? n->cq[id].size : 0, n->cq_granted,
                                  NVME_CC_IOCQES(n->cc) == CQES);

    if (status)
        return status;
    if (HIGH_HALF(c->dw11) >= n->msix.vectors)
        return NVME_INVALID_VECTOR;
    n->cq[id] = (struct nvme_cq){.gpa = c->prp1,
                                 .size = (uint16_t)ENTRIES(c),
                                 .vector = HIGH_HALF(c->dw11),
                                 .interrupts = INTERRUPTS(c),
                                 .phase = true};
    return NVME_SUCCESS;
}

static unsigned create_sq(struct nvme_controller *n, const struct nvme_command *c)
{
    unsigned id = ID(c), cq = HIGH_HALF(c->dw11);
    unsigned status = check_queue(c, id < NVME_QUEUES ? n->sq[id].size : 0, n->sq_granted,
                                  NVME_CC_IOSQES(n->cc) == SQES);

    if (status)
        return status;
    if (cq == 0)
        return NVME_INVALID_QUEUE;
    if (cq >= NVME_QUEUES || !n->cq[cq].size)
        return NVME_INVALID_CQ;
    n->sq[id] = (struct nvme_sq){.gpa = c->prp1, .size = (uint16_t)ENTRIES(c), .cq = (uint16_t)cq};
    return NVME_SUCCESS;
}

static unsigned delete_cq(struct nvme_controller *n, const struct nvme_command *c)
{
    unsigned id = ID(c);

    if (id == 0 || id >= NVME_QUEUES || !n->cq[id].size)
        return NVME_INVALID_QUEUE;
    for (unsigned i = 1; i < NVME_QUEUES; i++)
        if (n->sq[i].size && n->sq[i].cq == id)
            return NVME_INVALID_DELETION;
    n->cq[id] = (struct nvme_cq){0};
    return NVME_SUCCESS;
}

/* What it has not fetched it forgets; what is in flight comes back first. */
static unsigned delete_sq(struct nvme_controller *n, const struct nvme_command *c)
{
    unsigned id = ID(c);

    if (id == 0 || id >= NVME_QUEUES || !n->sq[id].size || n->sq[id].deleting)
        return NVME_INVALID_QUEUE;
    if (n->sq[id].in_flight) {
        n->sq[id].deleting = true;
        n->sq[id].delete_cid = c->cid;
        return LATER;
    }
    n->sq[id] = (struct nvme_sq){0};
    return NVME_SUCCESS;
}

void nvme_deleted(struct nvme_controller *n, unsigned sq)
{
    uint16_t cid = n->sq[sq].delete_cid;

    n->sq[sq] = (struct nvme_sq){0};
    nvme_answer(n, 0, cid, NVME_SUCCESS, 0);
}

static unsigned set_shadow(struct nvme_controller *n, const struct nvme_command *c)
{
    if (c->prp1 % PAGE_SIZE || c->prp2 % PAGE_SIZE)
        return NVME_INVALID_FIELD;
    return nvme_shadow(n, c->prp1, c->prp2) ? NVME_SUCCESS : NVME_DATA_TRANSFER_ERROR;
}

/* --- events --- */

static void forget_event(struct nvme_controller *n, unsigned which)
{
    for (n->event_count--; which < n->event_count; which++)
        n->event_cid[which] = n->event_cid[which + 1];
}

/* An event's page of the log says more of it; until that has been read others of the type wait. */
void nvme_deliver_events(struct nvme_controller *n)
{
    static const uint8_t page[NVME_EVENT_TYPES] = {1, 2};

    for (unsigned type = 0; type < NVME_EVENT_TYPES; type++) {
        if (!n->event_pending[type] || n->event_masked[type] || !n->event_count || !nvme_runs(n) ||
            !nvme_answer_event(n, n->event_cid[0], NVME_SUCCESS,
                               type | (uint32_t)n->event_info[type] << 8 |
                                   (uint32_t)page[type] << 16))
            continue;
        n->event_pending[type] = false;
        n->event_masked[type] = true;
        forget_event(n, 0);
    }
}

void nvme_event(struct nvme_controller *n, unsigned type, uint8_t info)
{
    n->event_pending[type] = true;
    n->event_info[type] = info;
    nvme_deliver_events(n);
}

static unsigned request_event(struct nvme_controller *n, const struct nvme_command *c)
{
    if (n->event_count == NVME_EVENTS)
        return NVME_TOO_MANY_EVENTS;
    n->event_cid[n->event_count++] = c->cid;
    nvme_hold(n, 0); /* however long it takes, other commands have its place */
    nvme_deliver_events(n);
    return LATER;
}

/* Only what waits for an event can be ended before its time. The result's bit 0: it was not. */
static unsigned abort_command(struct nvme_controller *n, const struct nvme_command *c,
                              uint32_t *result)
{
    uint16_t cid = (uint16_t)(c->dw10 >> 16);

    *result = 1;
    for (unsigned i = 0; i < n->event_count && (uint16_t)c->dw10 == 0; i++) {
        if (n->event_cid[i] == cid && nvme_answer_event(n, cid, NVME_ABORT_REQUESTED, 0)) {
            forget_event(n, i);
            *result = 0;
            break;
        }
    }
    return NVME_SUCCESS;
}

/* --- all of them --- */

static unsigned carry_out(struct nvme_controller *n, const struct nvme_command *c, uint32_t *result)
{
    if (c->flags & FUSE_AND_PSDT)
        return NVME_INVALID_FIELD;
    switch (c->opcode) {
    case DELETE_SQ:
        return delete_sq(n, c);
    case CREATE_SQ:
        return create_sq(n, c);
    case GET_LOG_PAGE:
        return nvme_log_page(n, c);
    case DELETE_CQ:
        return delete_cq(n, c);
    case CREATE_CQ:
        return create_cq(n, c);
    case IDENTIFY:
        return nvme_identify(n, c);
    case ABORT:
        return abort_command(n, c, result);
    case SET_FEATURES:
        return nvme_set_feature(n, c, result);
    case GET_FEATURES:
        return nvme_get_feature(n, c, result);
    case ASYNCHRONOUS_EVENT_REQUEST:
        return request_event(n, c);
    case DOORBELL_BUFFER_CONFIG:
        return set_shadow(n, c);
    default:
        return NVME_INVALID_OPCODE;
    }
}

void nvme_admin(struct nvme_controller *n, const struct nvme_command *c)
{
    uint32_t result = 0;
    unsigned status = carry_out(n, c, &result);

    if (status != LATER)
        nvme_answer(n, 0, c->cid, status | (status ? (unsigned)NVME_DNR : 0), result);
}
