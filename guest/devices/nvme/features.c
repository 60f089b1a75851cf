/* Set Features and Get Features. Nothing is saved over a reset of the controller. */
#include "guest/devices/nvme/nvme.h"

enum {
    ARBITRATION = 0x01,
    POWER_MANAGEMENT,
    TEMPERATURE_THRESHOLD = 0x04,
    ERROR_RECOVERY,
    VOLATILE_WRITE_CACHE,
    NUMBER_OF_QUEUES,
    INTERRUPT_COALESCING,
    INTERRUPT_VECTOR_CONFIGURATION,
    WRITE_ATOMICITY,
    ASYNCHRONOUS_EVENT_CONFIGURATION,
};

/* Dword 10 */
#define FEATURE(c) ((uint8_t)(c)->dw10)
#define SELECT(c)  ((c)->dw10 >> 8 & 7)
#define SAVE       BIT(31)
enum { CURRENT, DEFAULT, SAVED, CAPABILITIES };
#define CHANGEABLE         BIT(2)
#define NAMESPACE_SPECIFIC BIT(1)

/* Temperature Threshold, dword 11: of the composite temperature, or of all. */
#define SENSOR(dw11)        ((dw11) >> 16 & 0xf)
#define ALL_SENSORS         0xf
#define COLD(dw11)          ((dw11) >> 20 & 3) /* 0: too warm from there on, 1: too cold */
#define WARM_DEFAULT        343
#define WARNING_TEMPERATURE BIT(1)

/* Those that are one number each, of these bits. */
static const struct number {
    uint8_t id;
    uint32_t bits, initial;
} numbers[NVME_NUMBERS] = {
    [NVME_ARBITRATION] = {ARBITRATION, 0xffffff07, 0},
    [NVME_POWER_STATE] = {POWER_MANAGEMENT, 0xe0, 0}, /* one state: 0 */
    [NVME_ERROR_RECOVERY] = {ERROR_RECOVERY, 0xffff, 0},
    [NVME_WRITE_CACHE] = {VOLATILE_WRITE_CACHE, 1, 1},
    [NVME_COALESCING] = {INTERRUPT_COALESCING, 0xffff, 0},
    [NVME_ATOMICITY] = {WRITE_ATOMICITY, 1, 0},
    [NVME_EVENT_CONFIG] = {ASYNCHRONOUS_EVENT_CONFIGURATION, 0xff, 0},
};

static int find_number(uint8_t id)
{
    for (int i = 0; i < NVME_NUMBERS; i++)
        if (numbers[i].id == id)
            return i;
    return -ENOENT;
}

static bool has_cache(const struct nvme_controller *n)
{
    return n->source.block->has_flush;
}

void nvme_reset_features(struct nvme_controller *n)
{
    for (unsigned i = 0; i < NVME_NUMBERS; i++)
        n->number[i] = numbers[i].initial;
    n->sq_granted = n->cq_granted = NVME_PAIRS;
    n->too_warm = WARM_DEFAULT;
    n->too_cold = 0;
    n->not_coalesced = 0;
}

uint8_t nvme_warnings(const struct nvme_controller *n)
{
    return NVME_TEMPERATURE >= n->too_warm || NVME_TEMPERATURE <= n->too_cold ? WARNING_TEMPERATURE
                                                                              : 0;
}

static unsigned set_threshold(struct nvme_controller *n, uint32_t dw11)
{
    if ((SENSOR(dw11) && SENSOR(dw11) != ALL_SENSORS) || COLD(dw11) > 1)
        return NVME_INVALID_FIELD;
    *(COLD(dw11) ? &n->too_cold : &n->too_warm) = (uint16_t)dw11;
    if (nvme_warnings(n) & n->number[NVME_EVENT_CONFIG])
        nvme_event(n, NVME_EVENT_HEALTH, NVME_TOO_WARM);
    return NVME_SUCCESS;
}

/* Each counts from 0, and stands for one more. */
static unsigned set_queues(struct nvme_controller *n, uint32_t dw11, uint32_t *result)
{
    uint16_t sq = (uint16_t)dw11, cq = (uint16_t)(dw11 >> 16);

    if (sq == UINT16_MAX || cq == UINT16_MAX)
        return NVME_INVALID_FIELD;
    for (unsigned i = 1; i < NVME_QUEUES; i++)
        if (n->sq[i].size || n->cq[i].size)
            return NVME_SEQUENCE_ERROR;
    n->sq_granted = (uint16_t)MIN(sq + 1u, NVME_PAIRS);
    n->cq_granted = (uint16_t)MIN(cq + 1u, NVME_PAIRS);
    *result = (n->sq_granted - 1u) | (n->cq_granted - 1u) << 16;
    return NVME_SUCCESS;
}

static unsigned set_vector(struct nvme_controller *n, uint32_t dw11)
{
    uint16_t vector = (uint16_t)dw11;

    if (vector >= n->msix.vectors)
        return NVME_INVALID_FIELD;
    n->not_coalesced =
        (uint16_t)((n->not_coalesced & ~(1u << vector)) | (dw11 >> 16 & 1) << vector);
    return NVME_SUCCESS;
}

unsigned nvme_set_feature(struct nvme_controller *n, const struct nvme_command *c, uint32_t *result)
{
    int number = find_number(FEATURE(c));

    if (c->dw10 & SAVE)
        return NVME_NOT_SAVEABLE;
    if (number == NVME_WRITE_CACHE && !has_cache(n))
        return NVME_INVALID_FIELD;
    if (number == NVME_POWER_STATE && (c->dw11 & 0x1f))
        return NVME_INVALID_FIELD;
    if (number >= 0) {
        n->number[number] = c->dw11 & numbers[number].bits;
        return NVME_SUCCESS;
    }
    switch (FEATURE(c)) {
    case TEMPERATURE_THRESHOLD:
        return set_threshold(n, c->dw11);
    case NUMBER_OF_QUEUES:
        return set_queues(n, c->dw11, result);
    case INTERRUPT_VECTOR_CONFIGURATION:
        return set_vector(n, c->dw11);
    default:
        return NVME_INVALID_FIELD;
    }
}

static unsigned get_threshold(const struct nvme_controller *n, const struct nvme_command *c,
                              uint32_t *result)
{
    bool current = SELECT(c) == CURRENT;

    if (SENSOR(c->dw11) || COLD(c->dw11) > 1)
        return NVME_INVALID_FIELD;
    if (COLD(c->dw11))
        *result = current ? n->too_cold : 0;
    else
        *result = current ? n->too_warm : WARM_DEFAULT;
    return NVME_SUCCESS;
}

unsigned nvme_get_feature(struct nvme_controller *n, const struct nvme_command *c, uint32_t *result)
{
    int number = find_number(FEATURE(c));
    bool current = SELECT(c) == CURRENT;
    uint16_t vector = (uint16_t)c->dw11;

    if (SELECT(c) > CAPABILITIES || (number == NVME_WRITE_CACHE && !has_cache(n)))
        return NVME_INVALID_FIELD;
    if (number >= 0) {
        *result = current ? n->number[number] : numbers[number].initial;
    } else if (FEATURE(c) == TEMPERATURE_THRESHOLD) {
        unsigned status = get_threshold(n, c, result);
        if (status)
            return status;
    } else if (FEATURE(c) == NUMBER_OF_QUEUES) {
        *result = current ? (n->sq_granted - 1u) | (n->cq_granted - 1u) << 16
                          : (NVME_PAIRS - 1) | (NVME_PAIRS - 1) << 16;
    } else if (FEATURE(c) == INTERRUPT_VECTOR_CONFIGURATION && vector < n->msix.vectors) {
        *result = vector | (current ? (n->not_coalesced >> vector & 1u) << 16 : 0);
    } else {
        return NVME_INVALID_FIELD;
    }
    if (SELECT(c) == CAPABILITIES)
        *result = (uint32_t)(CHANGEABLE | (number == NVME_ERROR_RECOVERY ? NAMESPACE_SPECIFIC : 0));
    return NVME_SUCCESS;
}
