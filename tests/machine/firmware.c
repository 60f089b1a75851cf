/*
 * Firmware that leaves something as Corbel does not like it, or that is not as most are: this
 * program does so in its place, and then starts Corbel. LOCKED   VT-x switched off and locked
 *     UNEVEN   the other processors' TSCs are ahead, and their MTRRs other ones
 * With a services' table of its own:
 *     GROWING  each of the first memory maps has a hundred entries more than the one before
 *     WIDE     the memory map's descriptors are longer than UEFI's
 *     READS    files are not read in pieces of more than 1 MiB; who asks has lost his place in them
 *     ALONE    no MP services
 *     SECURE   Secure Boot is on
 *     LOWEST   memory is given from below
 *     BLT      only firmware can draw on the screen
 */
#include <efi.h>

#define IA32_TSC             0x10
#define IA32_FEATURE_CONTROL 0x3a
#define IA32_MTRR_PHYSMASK7  0x20f

#define AHEAD 5000000

#ifdef LOCKED
static EFI_STATUS prepare(EFI_BOOT_SERVICES *bs)
{
    __asm__ volatile("wrmsr" ::"c"(IA32_FEATURE_CONTROL), "a"(1), "d"(0));
    return EFI_SUCCESS;
}
#endif

#ifdef UNEVEN
/* UEFI PI specification, "MP Services Protocol". */
typedef void(EFIAPI *mp_procedure)(void *);
struct mp_services {
    void *get_number_of_processors, *get_processor_info;
    EFI_STATUS(EFIAPI *startup_all_aps)
    (struct mp_services *, mp_procedure, BOOLEAN one_by_one, EFI_EVENT, UINTN timeout, void *arg,
     UINTN **failed);
};

static void EFIAPI unsettle(void *arg)
{
    UINT32 low, high;
    UINT64 tsc;

    __asm__ volatile("wrmsr" ::"c"(IA32_MTRR_PHYSMASK7), "a"(0x10000), "d"(0)); /* not valid */
    __asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
    tsc = ((UINT64)high << 32 | low) + AHEAD;
    __asm__ volatile("wrmsr" ::"c"(IA32_TSC), "a"((UINT32)tsc), "d"((UINT32)(tsc >> 32)));
}

static EFI_STATUS prepare(EFI_BOOT_SERVICES *bs)
{
    static EFI_GUID guid = {
        0x3fdda605, 0xa76e, 0x4f46, {0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08}};
    struct mp_services *mp;

    if (bs->LocateProtocol(&guid, NULL, (void **)&mp) != EFI_SUCCESS)
        return EFI_NOT_FOUND;
    return mp->startup_all_aps(mp, unsettle, TRUE, NULL, 0, NULL, NULL);
}
#endif

#if !defined LOCKED && !defined UNEVEN
static EFI_STATUS prepare(EFI_BOOT_SERVICES *bs)
{
    return EFI_SUCCESS;
}
#endif

/* --- a table of its own --- */

static EFI_BOOT_SERVICES real; /* firmware's */

static inline BOOLEAN same(const EFI_GUID *a, const EFI_GUID *b)
{
    for (UINTN i = 0; i < sizeof(*a); i++)
        if (((const UINT8 *)a)[i] != ((const UINT8 *)b)[i])
            return FALSE;
    return TRUE;
}

#ifdef GROWING
#define MORE 100

static EFI_STATUS EFIAPI get_map(UINTN *size, EFI_MEMORY_DESCRIPTOR *map, UINTN *key, UINTN *step,
                                 UINT32 *version)
{
    static unsigned calls;
    EFI_PHYSICAL_ADDRESS at;

    if (calls++ < 6 &&
        real.AllocatePages(AllocateAnyPages, EfiLoaderData, MORE, &at) == EFI_SUCCESS)
        for (unsigned i = 1; i < MORE; i += 2)
            real.FreePages(at + 4096 * i, 1);
    return real.GetMemoryMap(size, map, key, step, version);
}

static void wrap(EFI_SYSTEM_TABLE *t, EFI_BOOT_SERVICES *bs)
{
    bs->GetMemoryMap = get_map;
}
#elif defined WIDE
static EFI_STATUS EFIAPI get_map(UINTN *size, EFI_MEMORY_DESCRIPTOR *map, UINTN *key, UINTN *step,
                                 UINT32 *version)
{
    static UINT8 narrow[65536];
    UINTN room = sizeof(narrow), from, count;
    EFI_STATUS status =
        real.GetMemoryMap(&room, (EFI_MEMORY_DESCRIPTOR *)narrow, key, &from, version);

    if (status != EFI_SUCCESS)
        return status;
    count = room / from;
    *step = from + 24;
    room = *size;
    *size = count * *step;
    if (room < *size)
        return EFI_BUFFER_TOO_SMALL;
    for (UINTN i = 0; i < count; i++)
        for (UINTN at = 0; at < *step; at++)
            ((UINT8 *)map)[i * *step + at] = at < from ? narrow[i * from + at] : 0xff;
    return EFI_SUCCESS;
}

static void wrap(EFI_SYSTEM_TABLE *t, EFI_BOOT_SERVICES *bs)
{
    bs->GetMemoryMap = get_map;
}
#elif defined READS
#define READ_MAX 0x100000

static EFI_STATUS(EFIAPI *real_open)(EFI_FILE *, EFI_FILE **, CHAR16 *, UINT64, UINT64);
static EFI_STATUS(EFIAPI *real_read)(EFI_FILE *, UINTN *, void *);
static EFI_STATUS(EFIAPI *real_volume)(EFI_FILE_IO_INTERFACE *, EFI_FILE **);

static EFI_STATUS EFIAPI read(EFI_FILE *file, UINTN *size, void *to)
{
    if (*size <= READ_MAX)
        return real_read(file, size, to);
    file->SetPosition(file, 12345);
    return EFI_DEVICE_ERROR;
}

static EFI_STATUS EFIAPI open(EFI_FILE *folder, EFI_FILE **file, CHAR16 *name, UINT64 mode,
                              UINT64 attributes)
{
    EFI_STATUS status = real_open(folder, file, name, mode, attributes);

    if (status == EFI_SUCCESS && (*file)->Read != read) {
        real_read = (*file)->Read;
        (*file)->Read = read;
    }
    return status;
}

static EFI_STATUS EFIAPI open_volume(EFI_FILE_IO_INTERFACE *fs, EFI_FILE **root)
{
    EFI_STATUS status = real_volume(fs, root);

    if (status == EFI_SUCCESS && (*root)->Open != open) {
        real_open = (*root)->Open;
        (*root)->Open = open;
    }
    return status;
}

static EFI_STATUS EFIAPI handle_protocol(EFI_HANDLE handle, EFI_GUID *guid, void **interface)
{
    static EFI_GUID file_system = EFI_SIMPLE_FILE_SYSTEM_PROTOCOL_GUID;
    EFI_STATUS status = real.HandleProtocol(handle, guid, interface);
    EFI_FILE_IO_INTERFACE *fs = *interface;

    if (status == EFI_SUCCESS && same(guid, &file_system) && fs->OpenVolume != open_volume) {
        real_volume = fs->OpenVolume;
        fs->OpenVolume = open_volume;
    }
    return status;
}

static void wrap(EFI_SYSTEM_TABLE *t, EFI_BOOT_SERVICES *bs)
{
    bs->HandleProtocol = handle_protocol;
}
#elif defined ALONE
static EFI_STATUS EFIAPI locate_protocol(EFI_GUID *guid, void *registration, void **interface)
{
    static EFI_GUID mp = {
        0x3fdda605, 0xa76e, 0x4f46, {0xad, 0x29, 0x12, 0xf4, 0x53, 0x1b, 0x3d, 0x08}};

    return same(guid, &mp) ? EFI_NOT_FOUND : real.LocateProtocol(guid, registration, interface);
}

static void wrap(EFI_SYSTEM_TABLE *t, EFI_BOOT_SERVICES *bs)
{
    bs->LocateProtocol = locate_protocol;
}
#elif defined SECURE
static EFI_GET_VARIABLE real_variable;

static EFI_STATUS EFIAPI get_variable(CHAR16 *name, EFI_GUID *vendor, UINT32 *attributes,
                                      UINTN *size, void *data)
{
    static const CHAR16 secure[] = L"SecureBoot";
    static EFI_GUID global = EFI_GLOBAL_VARIABLE;
    UINTN i = 0;

    while (i < sizeof(secure) / sizeof(secure[0]) && name[i] == secure[i])
        i++;
    if (i < sizeof(secure) / sizeof(secure[0]) || !same(vendor, &global))
        return real_variable(name, vendor, attributes, size, data);
    *size = 1;
    *(UINT8 *)data = 1;
    return EFI_SUCCESS;
}

static void wrap(EFI_SYSTEM_TABLE *t, EFI_BOOT_SERVICES *bs)
{
    real_variable = t->RuntimeServices->GetVariable;
    t->RuntimeServices->GetVariable = get_variable;
}
#elif defined LOWEST
static EFI_STATUS EFIAPI allocate_pages(EFI_ALLOCATE_TYPE type, EFI_MEMORY_TYPE memory, UINTN pages,
                                        EFI_PHYSICAL_ADDRESS *address)
{
    for (*address = type == AllocateAnyPages ? 0 : *address;
         type == AllocateAnyPages && *address < 0xa0000; *address += 4096)
        if (real.AllocatePages(AllocateAddress, memory, pages, address) == EFI_SUCCESS)
            return EFI_SUCCESS;
    return real.AllocatePages(type, memory, pages, address);
}

static void wrap(EFI_SYSTEM_TABLE *t, EFI_BOOT_SERVICES *bs)
{
    bs->AllocatePages = allocate_pages;
}
#elif defined BLT
static void wrap(EFI_SYSTEM_TABLE *t, EFI_BOOT_SERVICES *bs)
{
    static EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    EFI_GRAPHICS_OUTPUT_PROTOCOL *gop;
    EFI_HANDLE *handles;
    UINTN count;

    if (bs->LocateHandleBuffer(ByProtocol, &guid, NULL, &count, &handles) != EFI_SUCCESS)
        return;
    for (UINTN i = 0; i < count; i++) {
        if (bs->HandleProtocol(handles[i], &guid, (void **)&gop) != EFI_SUCCESS)
            continue;
        gop->Mode->Info->PixelFormat = PixelBltOnly;
        gop->Mode->FrameBufferBase = gop->Mode->FrameBufferSize = 0;
    }
}
#else
static void wrap(EFI_SYSTEM_TABLE *t, EFI_BOOT_SERVICES *bs)
{
}
#endif

/* --- and Corbel --- */

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table);

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table)
{
    static EFI_GUID loaded_image = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    static EFI_GUID device_path = EFI_DEVICE_PATH_PROTOCOL_GUID;
    static const CHAR16 name[] = L"\\EFI\\BOOT\\CORBEL.EFI";
    static UINT8 path[1024];
    EFI_BOOT_SERVICES *bs = system_table->BootServices;
    EFI_LOADED_IMAGE *self;
    EFI_DEVICE_PATH *disk, *node;
    EFI_HANDLE corbel;
    UINTN size = 0;

    if (prepare(bs) != EFI_SUCCESS)
        return EFI_ABORTED;
    if (bs->HandleProtocol(image, &loaded_image, (void **)&self) != EFI_SUCCESS ||
        bs->HandleProtocol(self->DeviceHandle, &device_path, (void **)&disk) != EFI_SUCCESS)
        return EFI_NOT_FOUND;
    for (node = disk; !IsDevicePathEnd(node); node = NextDevicePathNode(node))
        size += DevicePathNodeLength(node);
    if (size + sizeof(name) + 8 > sizeof(path))
        return EFI_BUFFER_TOO_SMALL;
    for (UINTN i = 0; i < size; i++)
        path[i] = ((UINT8 *)disk)[i];
    node = (EFI_DEVICE_PATH *)(path + size);
    node->Type = MEDIA_DEVICE_PATH;
    node->SubType = MEDIA_FILEPATH_DP;
    SetDevicePathNodeLength(node, 4 + sizeof(name));
    for (UINTN i = 0; i < sizeof(name); i++)
        ((UINT8 *)node)[4 + i] = ((const UINT8 *)name)[i];
    node = NextDevicePathNode(node);
    SetDevicePathEndNode(node);
    if (bs->LoadImage(FALSE, image, (EFI_DEVICE_PATH *)path, NULL, 0, &corbel) != EFI_SUCCESS)
        return EFI_LOAD_ERROR;
    real = *bs;
    wrap(system_table, bs);
    return bs->StartImage(corbel, NULL, NULL);
}
