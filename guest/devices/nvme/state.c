/* Saved state: all but what is in flight, since nothing is. */
#include "guest/devices/nvme/nvme.h"

static void save_queues(const struct nvme_controller *n, struct state_writer *w)
{
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        const struct nvme_sq *s = &n->sq[i];
        const struct nvme_cq *c = &n->cq[i];

        state_put_u64(w, s->gpa);
        state_put_u16(w, s->size);
        state_put_u16(w, s->head);
        state_put_u16(w, s->tail);
        state_put_u16(w, s->cq);
        state_put_u64(w, c->gpa);
        state_put_u16(w, c->size);
        state_put_u16(w, c->head);
        state_put_u16(w, c->tail);
        state_put_u16(w, c->vector);
        state_put_u8(w, c->phase);
        state_put_u8(w, c->interrupts);
        state_put_u8(w, c->full);
    }
}

static bool is_good(const struct nvme_controller *n)
{
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        const struct nvme_sq *s = &n->sq[i];
        const struct nvme_cq *c = &n->cq[i];
        unsigned most = i ? NVME_ENTRIES : 4096;

        if ((s->size && (s->size < 2 || s->size > most || s->head >= s->size ||
                         s->tail >= s->size || s->cq >= NVME_QUEUES || !n->cq[s->cq].size)) ||
            (c->size && (c->size < 2 || c->size > most || c->head >= c->size ||
                         c->tail >= c->size || c->vector >= n->msix.vectors)))
            return false;
    }
    return n->event_count <= NVME_EVENTS && n->sq_granted <= NVME_PAIRS &&
           n->cq_granted <= NVME_PAIRS && n->sq_granted && n->cq_granted &&
           (!n->ready || (n->sq[0].size && n->cq[0].size));
}

static void load_queues(struct nvme_controller *n, struct state_reader *r)
{
    for (unsigned i = 0; i < NVME_QUEUES; i++) {
        struct nvme_sq *s = &n->sq[i];
        struct nvme_cq *c = &n->cq[i];

        *s = (struct nvme_sq){.gpa = state_get_u64(r)};
        s->size = state_get_u16(r);
        s->head = state_get_u16(r);
        s->tail = state_get_u16(r);
        s->cq = state_get_u16(r);
        *c = (struct nvme_cq){.gpa = state_get_u64(r)};
        c->size = state_get_u16(r);
        c->head = state_get_u16(r);
        c->tail = state_get_u16(r);
        c->vector = state_get_u16(r);
        c->phase = state_get_u8(r) & 1;
        c->interrupts = state_get_u8(r) & 1;
        c->full = state_get_u8(r) & 1;
    }
}

/* Nothing is in flight: of queues that are being deleted none is left. */
void nvme_save(struct device *d, struct state_writer *w)
{
    struct nvme_controller *n = CONTAINER_OF(d, struct nvme_controller, dev);

    state_put_u32(w, n->interrupt_mask);
    state_put_u32(w, n->cc);
    state_put_u32(w, n->aqa);
    state_put_u64(w, n->asq);
    state_put_u64(w, n->acq);
    state_put_u8(w, n->ready);
    state_put_u8(w, n->fatal);
    state_put_u8(w, n->shutdown);
    msix_save(&n->msix, w);
    save_queues(n, w);
    state_put_u8(w, n->shadowed);
    state_put_u64(w, n->shadow);
    state_put_u64(w, n->indices);
    state_put_u32(w, n->waiting);
    for (unsigned i = 0; i < NVME_NUMBERS; i++)
        state_put_u32(w, n->number[i]);
    state_put_u16(w, n->sq_granted);
    state_put_u16(w, n->cq_granted);
    state_put_u16(w, n->too_warm);
    state_put_u16(w, n->too_cold);
    state_put_u16(w, n->not_coalesced);
    state_put_u8(w, (uint8_t)n->event_count);
    for (unsigned i = 0; i < NVME_EVENTS; i++)
        state_put_u16(w, i < n->event_count ? n->event_cid[i] : 0);
    for (unsigned i = 0; i < NVME_EVENT_TYPES; i++) {
        state_put_u8(w, n->event_pending[i]);
        state_put_u8(w, n->event_masked[i]);
        state_put_u8(w, n->event_info[i]);
    }
    state_put_u64(w, n->sectors_read);
    state_put_u64(w, n->sectors_written);
    state_put_u64(w, n->reads);
    state_put_u64(w, n->writes);
    state_put_u64(w, n->media_errors);
    state_put_u64(w, n->error_count);
    for (unsigned i = 0; i < NVME_ERRORS; i++) {
        const struct nvme_error *e = &n->error[i];

        state_put_u16(w, e->sq);
        state_put_u16(w, e->cid);
        state_put_u16(w, e->status);
        state_put_u32(w, e->nsid);
        state_put_u64(w, e->lba);
    }
}

int nvme_load(struct device *d, struct state_reader *r)
{
    struct nvme_controller *n = CONTAINER_OF(d, struct nvme_controller, dev);

    nvme_clear(n);
    n->interrupt_mask = state_get_u32(r) & NVME_QUEUE_BITS;
    n->cc = state_get_u32(r) & NVME_CC_BITS;
    n->aqa = state_get_u32(r) & NVME_AQA_BITS;
    n->asq = ALIGN_DOWN(state_get_u64(r), PAGE_SIZE);
    n->acq = ALIGN_DOWN(state_get_u64(r), PAGE_SIZE);
    n->ready = state_get_u8(r) & 1;
    n->fatal = state_get_u8(r) & 1;
    n->shutdown = state_get_u8(r) & 3;
    msix_load(&n->msix, r);
    load_queues(n, r);
    n->shadowed = state_get_u8(r) & 1;
    n->shadow = state_get_u64(r);
    n->indices = state_get_u64(r);
    n->waiting = state_get_u32(r) & NVME_QUEUE_BITS;
    for (unsigned i = 0; i < NVME_NUMBERS; i++)
        n->number[i] = state_get_u32(r);
    n->sq_granted = state_get_u16(r);
    n->cq_granted = state_get_u16(r);
    n->too_warm = state_get_u16(r);
    n->too_cold = state_get_u16(r);
    n->not_coalesced = state_get_u16(r);
    n->event_count = state_get_u8(r);
    for (unsigned i = 0; i < NVME_EVENTS; i++)
        n->event_cid[i] = state_get_u16(r);
    for (unsigned i = 0; i < NVME_EVENT_TYPES; i++) {
        n->event_pending[i] = state_get_u8(r) & 1;
        n->event_masked[i] = state_get_u8(r) & 1;
        n->event_info[i] = state_get_u8(r);
    }
    n->sectors_read = state_get_u64(r);
    n->sectors_written = state_get_u64(r);
    n->reads = state_get_u64(r);
    n->writes = state_get_u64(r);
    n->media_errors = state_get_u64(r);
    n->error_count = state_get_u64(r);
    for (unsigned i = 0; i < NVME_ERRORS; i++) {
        struct nvme_error *e = &n->error[i];

        e->sq = state_get_u16(r);
        e->cid = state_get_u16(r);
        e->status = state_get_u16(r);
        e->nsid = state_get_u32(r);
        e->lba = state_get_u64(r);
    }
    if (!is_good(n)) {
        nvme_clear(n);
        return -EBADMSG;
    }
    nvme_look_again(n);
    return 0;
}
