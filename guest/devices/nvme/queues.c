/*
 * Submission and completion queues: doorbells, in registers and in memory, commands fetched within
 * a budget, answers posted, interrupts. Indices and entries are the guest's: each is read once and
 * checked; a queue that is not in memory ends the controller (CSTS.CFS).
 */
#include "guest/devices/nvme/nvme.h"

#define AT_ONCE         32u /* commands that are begun before the timer comes */
#define SECTORS_AT_ONCE (2 * MIB / BLOCK_SECTOR)
#define STUCK_HZ        1000 /* how often it tries where guest memory is pinned by others */

#define PHASE BIT(16) /* of an answer's last dword; the status is above it */

bool nvme_runs(const struct nvme_controller *n)
{
    return n->ready && !n->fatal && !n->resetting;
}

/* What was written so far is seen by the driver before what is read from here on. */
static void fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

static uint16_t distance(uint16_t from, uint16_t to, uint16_t size)
{
    return (uint16_t)(to >= from ? to - from : to + size - from);
}

static void bad_doorbell(struct nvme_controller *n, uint8_t what)
{
    nvme_log_error(n, UINT16_MAX, UINT16_MAX, NVME_INVALID_FIELD, 0);
    nvme_event(n, NVME_EVENT_ERROR, what);
}

/* --- "Updating Controller Doorbell Registers using a Shadow Doorbell Buffer": I/O queues --- */

static uint64_t doorbell_offset(unsigned queue, bool completions)
{
    return 4ull * (2 * queue + completions);
}

static bool is_shadowed(const struct nvme_controller *n, unsigned queue)
{
    return n->shadowed && queue > 0;
}

static bool read_shadow(struct nvme_controller *n, unsigned queue, bool completions,
                        uint64_t *value)
{
    if (device_memory_load(&n->dev, n->shadow + doorbell_offset(queue, completions), 4, value) == 0)
        return true;
    n->fatal = true;
    return false;
}

/* The driver writes the register, too, when it passes that index. */
static void set_index(struct nvme_controller *n, unsigned queue, bool completions, uint16_t index)
{
    if (device_memory_store(&n->dev, n->indices + doorbell_offset(queue, completions), 4, index) <
        0)
        n->fatal = true;
    fence();
}

static void set_tail(struct nvme_controller *n, struct nvme_sq *s, uint64_t tail)
{
    if (tail < s->size)
        s->tail = (uint16_t)tail;
    else
        bad_doorbell(n, NVME_BAD_DOORBELL_VALUE);
}

/* No further than answers are posted. */
static void set_head(struct nvme_controller *n, struct nvme_cq *c, uint64_t head)
{
    if (head < c->size &&
        distance(c->head, (uint16_t)head, c->size) <= distance(c->head, c->tail, c->size))
        c->head = (uint16_t)head;
    else
        bad_doorbell(n, NVME_BAD_DOORBELL_VALUE);
}

static void look_at_tail(struct nvme_controller *n, unsigned queue)
{
    uint64_t tail;

    if (is_shadowed(n, queue) && read_shadow(n, queue, false, &tail) && tail != n->sq[queue].tail)
        set_tail(n, &n->sq[queue], tail);
}

static void look_at_head(struct nvme_controller *n, unsigned queue)
{
    uint64_t head;

    if (is_shadowed(n, queue) && read_shadow(n, queue, true, &head) && head != n->cq[queue].head)
        set_head(n, &n->cq[queue], head);
}

/* The queue is drained: from now on its driver rings. Whether there is more by now. */
static bool listen(struct nvme_controller *n, unsigned queue)
{
    struct nvme_sq *s = &n->sq[queue];

    if (!is_shadowed(n, queue))
        return false;
    set_index(n, queue, false, s->tail);
    look_at_tail(n, queue);
    return nvme_runs(n) && s->head != s->tail;
}

bool nvme_shadow(struct nvme_controller *n, uint64_t shadow, uint64_t indices)
{
    bool good = true;

    for (unsigned i = 1; i < NVME_QUEUES; i++) {
        for (unsigned completions = 0; completions < 2; completions++) {
            uint64_t offset = doorbell_offset(i, completions);
            uint16_t value = completions ? n->cq[i].head : n->sq[i].tail;

            good = good && device_memory_store(&n->dev, shadow + offset, 4, value) == 0 &&
                   device_memory_store(&n->dev, indices + offset, 4, value) == 0;
        }
    }
    n->shadow = shadow;
    n->indices = indices;
    n->shadowed = good;
    return good;
}

/* --- answers --- */

static bool has_place(const struct nvme_cq *c)
{
    return distance(c->head, c->tail, c->size) + c->promised + 1u < c->size;
}

/* Whether one more answer fits; where not, the driver's doorbell is waited for. */
static bool find_place(struct nvme_controller *n, unsigned queue)
{
    struct nvme_cq *c = &n->cq[queue];

    if (has_place(c))
        return true;
    look_at_head(n, queue);
    if (has_place(c))
        return true;
    c->full = true;
    if (is_shadowed(n, queue)) {
        set_index(n, queue, true, c->head);
        look_at_head(n, queue);
    }
    return has_place(c);
}

/* The half with the phase tag comes last. */
static void post(struct nvme_controller *n, unsigned queue, unsigned sq, uint16_t cid,
                 unsigned status, uint32_t result)
{
    struct nvme_cq *c = &n->cq[queue];
    uint64_t at = c->gpa + (uint64_t)c->tail * NVME_CQ_ENTRY;
    uint32_t last = cid | (c->phase ? (uint32_t)PHASE : 0) | status << 17;
    uint64_t second = n->sq[sq].head | sq << 16 | (uint64_t)last << 32;

    if (device_memory_store(&n->dev, at, 8, result) < 0 ||
        device_memory_store(&n->dev, at + 8, 8, second) < 0) {
        n->fatal = true;
        return;
    }
    if (++c->tail == c->size) {
        c->tail = 0;
        c->phase = !c->phase;
    }
    n->posted |= 1u << queue;
}

void nvme_answer(struct nvme_controller *n, unsigned sq, uint16_t cid, unsigned status,
                 uint32_t result)
{
    struct nvme_sq *s = &n->sq[sq];

    if (!nvme_runs(n))
        return; /* nothing of the guest's is touched any more */
    s->in_flight--;
    n->cq[s->cq].promised--;
    post(n, s->cq, sq, cid, status, result);
    if (s->deleting && s->in_flight == 0)
        nvme_deleted(n, sq);
}

bool nvme_answer_event(struct nvme_controller *n, uint16_t cid, unsigned status, uint32_t result)
{
    if (!find_place(n, 0))
        return false;
    post(n, 0, 0, cid, status, result);
    return true;
}

void nvme_hold(struct nvme_controller *n, unsigned sq)
{
    n->sq[sq].in_flight--;
    n->cq[n->sq[sq].cq].promised--;
}

/* --- interrupts --- */

/* "Pin Based, Single MSI, and Multiple MSI Behavior": by the pin as long as a queue has answers
 * that its driver has not taken. */
static bool level(struct nvme_controller *n)
{
    for (unsigned i = NVME_QUEUES; i-- > 0;) { /* the admin's last: an event may be posted there */
        const struct nvme_cq *c = &n->cq[i];

        if (c->size == 0 || !c->interrupts || c->head == c->tail ||
            (n->interrupt_mask & BIT(c->vector)))
            continue;
        if (!is_shadowed(n, i))
            return true;
        set_index(n, i, true, c->head); /* else it would not be known when the pin is to fall */
        look_at_head(n, i);
        if (c->head != c->tail)
            return true;
    }
    return false;
}

void nvme_tell(struct nvme_controller *n)
{
    bool messages = msix_enabled(&n->msix), up;

    for (uint32_t posted = messages ? n->posted : 0; posted; posted &= posted - 1) {
        const struct nvme_cq *c = &n->cq[__builtin_ctz(posted)];
        if (c->interrupts)
            msix_send(&n->msix, c->vector);
    }
    n->posted = 0;
    up = !messages && nvme_runs(n) && level(n);
    if (up != n->function.intx)
        pci_intx(&n->function, up);
}

/* --- commands --- */

static bool may_begin(const struct nvme_controller *n)
{
    return n->free && n->left > 0 && n->disk.left > 0;
}

/* The next command is copied once, and is nobody else's from then on. */
static void fetch(struct nvme_controller *n, unsigned queue)
{
    struct nvme_sq *s = &n->sq[queue];
    struct nvme_command c;

    if (device_memory_read(&n->dev, s->gpa + (uint64_t)s->head * NVME_SQ_ENTRY, &c, sizeof(c)) <
        0) {
        n->fatal = true;
        return;
    }
    if (++s->head == s->size)
        s->head = 0;
    s->in_flight++;
    n->cq[s->cq].promised++;
    n->left--;
    if (queue == 0)
        nvme_admin(n, &c);
    else
        nvme_io(n, queue, &c);
}

/* Begin what is in the queue, as far as there are requests and places for answers, and as long as
 * the guest may be kept waiting; the rest later. Each look at the tail costs a command. */
static void process(struct nvme_controller *n, unsigned queue)
{
    struct nvme_sq *s = &n->sq[queue];

    look_at_tail(n, queue);
    do {
        while (nvme_runs(n) && s->size > 0 && !s->deleting && s->head != s->tail) {
            if (!may_begin(n)) {
                n->waiting |= 1u << queue;
                return;
            }
            if (!find_place(n, s->cq))
                return;
            fetch(n, queue);
        }
    } while (nvme_runs(n) && s->size > 0 && !s->deleting && listen(n, queue));
}

void nvme_look_again(struct nvme_controller *n)
{
    struct device *d = &n->dev;

    if ((n->waiting && n->free) || (n->disk.waiting && n->disk.left == 0))
        device_timer_set(d, 0, device_now(d));
    else if (disk_stuck(&n->disk))
        device_timer_set(d, 0, device_now(d) + device_tsc_hz(d) / STUCK_HZ);
}

/* However often the guest asks for it in one exit, what it may keep the processor busy with is
 * renewed by the timer alone, which is looked at once between two exits. Queues take turns. */
static void process_some(struct nvme_controller *n, uint32_t queues)
{
    unsigned turn = n->turn;

    n->waiting &= ~queues;
    if (queues & (queues - 1))
        n->turn = (turn + 1) % NVME_QUEUES;
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        unsigned queue = (turn + i) % NVME_QUEUES;
        if ((queues & 1u << queue) && n->sq[queue].size > 0)
            process(n, queue);
    }
    nvme_tell(n);
    nvme_look_again(n);
}

void nvme_go_on(struct nvme_controller *n)
{
    n->left = AT_ONCE;
    disk_go_on(&n->disk, SECTORS_AT_ONCE);
    process_some(n, n->waiting);
}

/* --- doorbells --- */

static void completion_doorbell(struct nvme_controller *n, unsigned queue, uint32_t value)
{
    struct nvme_cq *c = &n->cq[queue];
    uint32_t queues = 0;

    if (is_shadowed(n, queue) && value < c->size)
        look_at_head(n, queue); /* the register says no more than that it has moved */
    else
        set_head(n, c, value);
    if (c->full) {
        c->full = false;
        for (unsigned i = 0; i < NVME_QUEUES; i++)
            if (n->sq[i].size > 0 && n->sq[i].cq == queue)
                queues |= 1u << i;
    }
    if (queue == 0)
        nvme_deliver_events(n);
    if (queues)
        process_some(n, queues);
    else
        nvme_tell(n);
}

void nvme_doorbell(struct nvme_controller *n, unsigned queue, bool completions, uint32_t value)
{
    if (!nvme_runs(n))
        return;
    if (queue >= NVME_QUEUES || (completions ? n->cq[queue].size : n->sq[queue].size) == 0) {
        bad_doorbell(n, NVME_BAD_DOORBELL);
        nvme_tell(n);
    } else if (completions) {
        completion_doorbell(n, queue, value);
    } else {
        if (!is_shadowed(n, queue) || value >= n->sq[queue].size)
            set_tail(n, &n->sq[queue], value);
        process_some(n, 1u << queue);
    }
}
