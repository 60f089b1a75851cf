#include "guest/console/kept.h"

static char at(const struct kept *k, uint64_t position)
{
    return k->bytes[position % KEPT_SIZE];
}

static uint64_t oldest(const struct kept *k)
{
    return k->head - MIN(k->head, KEPT_SIZE);
}

void kept_add(struct kept *k, char byte, bool seen)
{
    k->bytes[k->head++ % KEPT_SIZE] = byte;
    if (seen)
        k->sent = k->head;
    else if (kept_unseen(k) > KEPT_SIZE) {
        k->sent++;
        k->lost++;
    }
}

size_t kept_take(struct kept *k, char *out, size_t size)
{
    size_t length = MIN(size, (size_t)kept_unseen(k));

    for (size_t i = 0; i < length; i++)
        out[i] = at(k, k->sent++);
    return length;
}

uint64_t kept_oldest_line(const struct kept *k)
{
    uint64_t position = oldest(k);

    if (k->head <= KEPT_SIZE)
        return position;
    while (position != k->head && at(k, position++) != '\n')
        ;
    return position;
}

uint64_t kept_cut_line(const struct kept *k)
{
    uint64_t position = k->sent, least = oldest(k);

    while (position != least && k->sent - position < KEPT_LINE && at(k, position - 1) != '\n')
        position--;
    return position;
}
