#include "guest/sched/tree.h"

#ifdef CORBEL_HOSTED
uint64_t sched_tree_steps;
#define STEP() (sched_tree_steps++)
#else
#define STEP() ((void)0)
#endif

static uint32_t height(const struct sched_node *n)
{
    return n ? n->height : 0;
}

/* Make n's summaries right again; its children's are. Has any of them changed? */
static bool summarise(struct sched_node *n)
{
    const struct sched_node *left = n->child[0], *right = n->child[1];
    uint32_t high = 1 + MAX(height(left), height(right));
    uint64_t lowest = n->value, differ = 0;

    if (left && sched_before(left->lowest, lowest))
        lowest = left->lowest;
    if (right && sched_before(right->lowest, lowest))
        lowest = right->lowest;
#pragma GCC unroll 4
    for (unsigned i = 0; i < ARRAY_SIZE(n->any.word); i++) {
        uint64_t any = n->cpus.word[i];
        if (left)
            any |= left->any.word[i];
        if (right)
            any |= right->any.word[i];
        differ |= n->any.word[i] ^ any;
        n->any.word[i] = any;
    }
    differ |= (n->height ^ high) | (n->lowest ^ lowest);
    n->height = high;
    n->lowest = lowest;
    return differ != 0;
}

/* c, which may be NULL, stands where n stood under n's parent. */
static void replace(struct sched_tree *t, const struct sched_node *n, struct sched_node *c)
{
    if (!n->parent)
        t->root = c;
    else
        n->parent->child[n->parent->child[1] == n] = c;
    if (c)
        c->parent = n->parent;
}

/* n's child on side goes up, n goes down on the other one. Returns who stands above. */
static struct sched_node *rotate(struct sched_tree *t, struct sched_node *n, unsigned side)
{
    struct sched_node *up = n->child[side];
    struct sched_node *inner = up->child[!side];

    replace(t, n, up);
    up->child[!side] = n;
    n->parent = up;
    n->child[side] = inner;
    if (inner)
        inner->parent = n;
    summarise(n);
    summarise(up);
    return up;
}

/* n's child on the heavier side goes up. Returns who stands above. */
static struct sched_node *balance(struct sched_tree *t, struct sched_node *n, unsigned side)
{
    struct sched_node *c = n->child[side];

    if (height(c->child[!side]) > height(c->child[side]))
        rotate(t, c, !side);
    return rotate(t, n, side);
}

/* Balance and summarise from n, whose summary is the old one, up to where nothing changes. */
static void retrace(struct sched_tree *t, struct sched_node *n)
{
    for (; n; n = n->parent) {
        STEP();
        bool changed = summarise(n);
        int lean = (int)height(n->child[1]) - (int)height(n->child[0]);
        if (lean < -1 || lean > 1)
            n = balance(t, n, lean > 0);
        else if (!changed)
            return;
    }
}

void sched_tree_insert(struct sched_tree *t, struct sched_node *n)
{
    struct sched_node *parent = NULL, **link = &t->root;

    if (!t->root) {
        n->parent = n->child[0] = n->child[1] = NULL;
        n->height = 1;
        n->lowest = n->value;
        n->any = n->cpus;
        t->root = t->first = n;
        t->count = 1;
        return;
    }
    if (t->first && sched_before(n->key, t->first->key)) {
        parent = t->first;
        link = &parent->child[0];
    }
    while (*link) {
        STEP();
        parent = *link;
        link = &parent->child[!sched_before(n->key, parent->key)];
    }
    *link = n;
    n->parent = parent;
    n->child[0] = n->child[1] = NULL;
    if (!parent || (parent == t->first && link == &parent->child[0]))
        t->first = n;
    t->count++;
    summarise(n);
    retrace(t, parent);
}

/* Who is first when that one has gone. */
static struct sched_node *behind_first(const struct sched_node *first)
{
    struct sched_node *n = first->child[1];

    while (n && n->child[0])
        n = n->child[0];
    return n ? n : first->parent;
}

void sched_tree_remove(struct sched_tree *t, struct sched_node *n)
{
    struct sched_node *next = n->child[1];
    struct sched_node *from = n->parent, *moved = NULL;

    if (t->count == 1) {
        *t = (struct sched_tree){0};
        return;
    }
    if (n == t->first)
        t->first = behind_first(n);
    if (next && n->child[0]) {
        for (; next->child[0]; next = next->child[0])
            STEP();
        from = next;
        if (next->parent != n) {
            from = next->parent;
            moved = next;
            replace(t, next, next->child[1]);
            next->child[1] = n->child[1];
            next->child[1]->parent = next;
        }
        next->child[0] = n->child[0];
        next->child[0]->parent = next;
        next->height = n->height;
        next->lowest = n->lowest;
        next->any = n->any;
    } else if (!next) {
        next = n->child[0];
    }
    replace(t, n, next);
    t->count--;
    retrace(t, from);
    if (moved)
        retrace(t, moved); /* it stands where n stood, whose own part of the summaries goes */
}

struct sched_node *sched_tree_first_until(const struct sched_tree *t, uint64_t limit)
{
    struct sched_node *n = t->root;

    if (!n || sched_before(limit, n->lowest))
        return NULL;
    for (;;) {
        STEP();
        struct sched_node *left = n->child[0];
        if (left && !sched_before(limit, left->lowest))
            n = left;
        else if (!sched_before(limit, n->value))
            return n;
        else
            n = n->child[1];
    }
}

struct sched_node *sched_tree_first_on(const struct sched_tree *t, unsigned cpu)
{
    struct sched_node *n = t->root;

    if (!n || !sched_cpus_have(&n->any, cpu))
        return NULL;
    for (;;) {
        STEP();
        struct sched_node *left = n->child[0];
        if (left && sched_cpus_have(&left->any, cpu))
            n = left;
        else if (sched_cpus_have(&n->cpus, cpu))
            return n;
        else
            n = n->child[1];
    }
}
