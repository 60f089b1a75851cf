/*
 * Firmware that leaves something as Corbel does not like it: this program does so in its place, and
 * then starts Corbel.
 *     LOCKED  VT-x switched off and locked
 *     UNEVEN  the other processors' TSCs are ahead, and their MTRRs other ones
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
    return bs->StartImage(corbel, NULL, NULL);
}
