#include "boot/loader.h"
#include "guest/config/config.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define FOLDER      "\\corbel\\"
#define CONFIG_NAME "corbel.conf"
#define CONFIG_MAX  (16 * MIB)
#define PATH_LENGTH 1024
#define CHUNK_FIRST (256 * KIB) /* of a file at once, at least */
#define CHUNK_MIN   (4 * KIB)   /* where firmware refuses more */
#define CHUNKS      20

static EFI_FILE *volume; /* NULL when the boot disk has no file system that firmware reads */

static int error_of(EFI_STATUS status)
{
    switch (status) {
    case EFI_SUCCESS:
        return 0;
    case EFI_NOT_FOUND:
    case EFI_INVALID_PARAMETER: /* a path that the file system cannot even express */
        return -ENOENT;
    case EFI_OUT_OF_RESOURCES:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

static void open_volume(EFI_HANDLE image)
{
    static EFI_GUID loaded_image = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    static EFI_GUID file_system = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
    EFI_BOOT_SERVICES *bs = firmware->BootServices;
    EFI_LOADED_IMAGE *loaded;
    EFI_FILE_IO_INTERFACE *fs;

    if (bs->HandleProtocol(image, &loaded_image, (void **)&loaded) != EFI_SUCCESS ||
        bs->HandleProtocol(loaded->DeviceHandle, &file_system, (void **)&fs) != EFI_SUCCESS ||
        fs->OpenVolume(fs, &volume) != EFI_SUCCESS)
        volume = NULL;
}

/* One character of UTF-8 at text[*at]; what is malformed or beyond UCS-2 becomes U+FFFD, which no
 * file name has. */
static CHAR16 decode(const char *text, size_t length, size_t *at)
{
    uint8_t c = (uint8_t)text[(*at)++];
    unsigned more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1, value;

    if (c < 0x80)
        return c;
    value = more == 2 ? c & 0x0f : c & 0x1f;
    if (c < 0xc2 || more == 3 || length - *at < more)
        return 0xfffd;
    for (; more; more--, (*at)++) {
        if (((uint8_t)text[*at] & 0xc0) != 0x80)
            return 0xfffd;
        value = value << 6 | ((uint8_t)text[*at] & 0x3f);
    }
    return (CHAR16)value;
}

/* A path as the config has it: relative to the config's folder, or from the volume's root; '/' or
 * '\'. */
static int widen(const char *path, size_t length, CHAR16 wide[PATH_LENGTH])
{
    size_t n = 0, at = 0;

    if (length == 0)
        return -ENOENT;
    if (path[0] != '/' && path[0] != '\\')
        for (const char *f = FOLDER; *f; f++)
            wide[n++] = (CHAR16)*f;
    while (at < length) {
        CHAR16 c = decode(path, length, &at);

        if (n == PATH_LENGTH - 1 || c == 0)
            return -ENOENT;
        wide[n++] = c == '/' ? '\\' : c;
    }
    wide[n] = 0;
    return 0;
}

static int open_file(const char *path, size_t length, EFI_FILE **file, uint64_t *size)
{
    static EFI_GUID file_info = EFI_FILE_INFO_ID;
    static CHAR16 wide[PATH_LENGTH];
    static uint8_t info[sizeof(EFI_FILE_INFO) + PATH_LENGTH * sizeof(CHAR16)]
        __attribute__((aligned(8)));
    const EFI_FILE_INFO *i = (const EFI_FILE_INFO *)info;
    UINTN info_size = sizeof(info);
    int status = volume ? widen(path, length, wide) : -EIO;

    if (status)
        return status;
    status = error_of(volume->Open(volume, file, wide, EFI_FILE_MODE_READ, 0));
    if (status)
        return status;
    status = error_of((*file)->GetInfo(*file, &file_info, &info_size, info));
    if (status == 0 && (i->Attribute & EFI_FILE_DIRECTORY))
        status = -EISDIR;
    if (status)
        (*file)->Close(*file);
    *size = i->FileSize;
    return status;
}

/* Some firmware refuses to read much at once: then less is asked for, from where it was. */
static int read_all(EFI_FILE *file, uint8_t *to, uint64_t size)
{
    uint64_t chunk = MAX(ALIGN_UP(size / CHUNKS, 64 * KIB), CHUNK_FIRST);

    for (uint64_t done = 0; done < size;) {
        UINTN wanted = (UINTN)MIN(chunk, size - done), n = wanted;
        int status = error_of(file->Read(file, &n, to + done));

        if (status && wanted > CHUNK_MIN) {
            chunk = ALIGN_UP(wanted / 2, CHUNK_MIN);
            if (file->SetPosition(file, done) == EFI_SUCCESS)
                continue;
        }
        if (status)
            return status;
        if (n == 0 || n > wanted)
            return -EIO;
        done += n;
        progress_step(done);
    }
    return 0;
}

/* Read one file into memory of its own. On failure *base and *size stay 0. */
static int read_file(const char *path, size_t length, uint64_t most, uint64_t *base, uint64_t *size)
{
    EFI_FILE *file;
    uint64_t bytes;
    uint8_t *to;
    int status = open_file(path, length, &file, &bytes);

    if (status)
        return status;
    if (bytes > most) {
        file->Close(file);
        return -E2BIG;
    }
    to = memory_allocate(bytes);
    if (!to) {
        file->Close(file);
        return -ENOMEM;
    }
    progress_begin(path, (uint32_t)length, bytes);
    status = read_all(file, to, bytes);
    progress_end(status);
    file->Close(file);
    if (status) {
        memory_free(to, bytes);
        return status;
    }
    *base = (uintptr_t)to;
    *size = bytes;
    return 0;
}

uint32_t config_load(EFI_HANDLE image, struct handover *h)
{
    struct config config;

    open_volume(image);
    config_defaults(&config);
    h->config_status =
        read_file(CONFIG_NAME, strlen(CONFIG_NAME), CONFIG_MAX, &h->config, &h->config_size);
    if (h->config_status == 0) /* [host] alone: with room for no VM */
        config_parse((const char *)(uintptr_t)h->config, h->config_size, &config, NULL, 0, NULL,
                     NULL);
    return config.mode;
}

/* The files that the config names. What is wrong with the config itself, the microkernel tells. */
static int find_files(struct handover *h, struct config_file **files, size_t *count, size_t *room)
{
    const char *text = (const char *)(uintptr_t)h->config;
    size_t vm_count = config_count_vms(text, h->config_size);
    static struct config config;
    struct vm_config *vms = memory_allocate(vm_count * sizeof(*vms));

    if (!vms)
        return -ENOMEM;
    config_parse(text, h->config_size, &config, vms, vm_count, NULL, NULL);
    *room = config_files(vms, config.vm_count, NULL, 0);
    *files = memory_allocate(*room * sizeof(**files));
    if (!*files)
        return -ENOMEM;
    *count = config_files(vms, config.vm_count, *files, *room);
    memory_free(vms, vm_count * sizeof(*vms));
    return 0;
}

/* A file that is the same as one before it, by another name, need not be there twice: nobody writes
 * to either. */
static void share(struct handover_file *files, size_t number)
{
    struct handover_file *f = &files[number];

    for (size_t i = 0; i < number && f->status == 0; i++) {
        if (files[i].status || !f->size || files[i].size != f->size || files[i].base == f->base ||
            memcmp((void *)(uintptr_t)files[i].base, (void *)(uintptr_t)f->base, f->size) != 0)
            continue;
        memory_free((void *)(uintptr_t)f->base, f->size);
        f->base = files[i].base;
        return;
    }
}

int files_load(struct handover *h)
{
    struct config_file *files;
    struct handover_file *out;
    size_t count, room;

    if (h->config_status)
        return 0;
    if (find_files(h, &files, &count, &room) < 0)
        return -ENOMEM;
    out = memory_allocate(count * sizeof(*out));
    if (!out)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        out[i].path = (uintptr_t)files[i].path.data;
        out[i].path_length = (uint32_t)files[i].path.length;
        out[i].status = read_file(files[i].path.data, files[i].path.length, UINT64_MAX - PAGE_SIZE,
                                  &out[i].base, &out[i].size);
        share(out, i);
    }
    memory_free(files, room * sizeof(*files));
    h->files = (uintptr_t)out;
    h->file_count = (uint32_t)count;
    return 0;
}
