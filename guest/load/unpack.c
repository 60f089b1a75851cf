/* Packed files: who knows which, and what all of them need. */
#include "guest/load/unpack.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/load/bytes.h"
#include "guest/load/image.h"
#include "guest/load/unpack_internal.h"

static const struct packer *const packers[] = {&unpack_gzip, &unpack_xz, &unpack_zstd};

static const struct packer *find(const void *file, uint64_t size)
{
    for (size_t i = 0; i < ARRAY_SIZE(packers); i++) {
        if (size >= packers[i]->magic_size &&
            memcmp(file, packers[i]->magic, packers[i]->magic_size) == 0) {
            return packers[i];
        }
    }
    return NULL;
}

const char *unpack_kind(const void *file, uint64_t size)
{
    const struct packer *packer = find(file, size);

    return packer ? packer->name : NULL;
}

struct unpack *unpack_begin(void *work, const void *file, uint64_t size, uint64_t most)
{
    struct unpack *u = work;

    *u = (struct unpack){.packer = find(file, size),
                         .in = file,
                         .size = size,
                         .most = MIN(most, UNPACK_MOST),
                         .work = work,
                         .work_used = ALIGN_UP(sizeof(*u), 16)};
    return u;
}

int unpack_some(struct unpack *u, char *error)
{
    return u->packer->some(u, error);
}

uint64_t unpack_room(const struct unpack *u)
{
    return u->room;
}

void unpack_into(struct unpack *u, void *out)
{
    u->out = out;
}

uint64_t unpack_size(const struct unpack *u)
{
    return u->done;
}

void *unpack_alloc(struct unpack *u, size_t size)
{
    uint8_t *p = u->work + u->work_used;

    if (size > UNPACK_WORK - u->work_used) {
        return NULL;
    }
    u->work_used = MIN(u->work_used + ALIGN_UP(size, 16), UNPACK_WORK);
    return memset(p, 0, size);
}

int unpack_damaged(const struct unpack *u, char *error)
{
    format(error, LOAD_ERROR, "is packed with %s and damaged; copy it again", u->packer->name);
    return -EBADMSG;
}

int unpack_truncated(const struct unpack *u, char *error)
{
    format(error, LOAD_ERROR, "is packed with %s and truncated at %llu bytes; copy it again",
           u->packer->name, (unsigned long long)u->size);
    return -EBADMSG;
}

int unpack_too_much(const struct unpack *u, char *error)
{
    format(error, LOAD_ERROR,
           "is packed with %s, and more comes out than may: %lluM, which is the VM's memory, or "
           "%luM where it has more",
           u->packer->name, mib_up(u->most), UNPACK_MOST / MIB);
    return -ENOMEM;
}

int unpack_unknown(const struct unpack *u, char *error, const char *what)
{
    format(error, LOAD_ERROR, "is packed with %s %s", u->packer->name, what);
    return -EBADMSG;
}

int unpack_check_rest(const struct unpack *u, char *error)
{
    for (uint64_t i = u->at; i < u->size; i++) {
        if (u->in[i]) {
            format(error, LOAD_ERROR,
                   "is packed with %s, and something else begins at its byte %llu; copy it again",
                   u->packer->name, (unsigned long long)u->at);
            return -EBADMSG;
        }
    }
    return 0;
}
