/* Firmware that has VT-x switched off and locked: this program does so in its place, and then
 * starts Corbel. */
#include <efi.h>

#define IA32_FEATURE_CONTROL 0x3a

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

    __asm__ volatile("wrmsr" ::"c"(IA32_FEATURE_CONTROL), "a"(1), "d"(0));

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
