#include "boot/cpu.h"
#include "boot/loader.h"
#include "arch/x86/lib/string.h"

static bool same_guid(const EFI_GUID *a, const EFI_GUID *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* The newer form of each table wins over the older one. */
static void find_tables(struct handover *h)
{
    static const EFI_GUID acpi20 = ACPI_20_TABLE_GUID, acpi10 = ACPI_TABLE_GUID,
                          smbios3 = SMBIOS3_TABLE_GUID, smbios = SMBIOS_TABLE_GUID;
    uint64_t acpi10_at = 0, smbios_at = 0;

    for (UINTN i = 0; i < firmware->NumberOfTableEntries; i++) {
        const EFI_CONFIGURATION_TABLE *t = &firmware->ConfigurationTable[i];

        if (same_guid(&t->VendorGuid, &acpi20))
            h->rsdp = (uintptr_t)t->VendorTable;
        else if (same_guid(&t->VendorGuid, &acpi10))
            acpi10_at = (uintptr_t)t->VendorTable;
        else if (same_guid(&t->VendorGuid, &smbios3))
            h->smbios = (uintptr_t)t->VendorTable;
        else if (same_guid(&t->VendorGuid, &smbios))
            smbios_at = (uintptr_t)t->VendorTable;
    }
    if (!h->rsdp)
        h->rsdp = acpi10_at;
    if (!h->smbios)
        h->smbios = smbios_at;
}

static uint32_t pixel_format(const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode)
{
    switch (mode->PixelFormat) {
    case PixelRedGreenBlueReserved8BitPerColor:
        return HANDOVER_PIXEL_RGBX;
    case PixelBlueGreenRedReserved8BitPerColor:
        return HANDOVER_PIXEL_BGRX;
    case PixelBitMask:
        if (mode->PixelInformation.GreenMask != 0xff00)
            return HANDOVER_PIXEL_NONE;
        if (mode->PixelInformation.RedMask == 0xff && mode->PixelInformation.BlueMask == 0xff0000)
            return HANDOVER_PIXEL_RGBX;
        if (mode->PixelInformation.BlueMask == 0xff && mode->PixelInformation.RedMask == 0xff0000)
            return HANDOVER_PIXEL_BGRX;
        return HANDOVER_PIXEL_NONE;
    default:
        return HANDOVER_PIXEL_NONE;
    }
}

static bool use_framebuffer(struct handover_framebuffer *fb, EFI_HANDLE handle)
{
    static EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    EFI_GRAPHICS_OUTPUT_PROTOCOL *gop;
    const EFI_GRAPHICS_OUTPUT_MODE_INFORMATION *mode;

    if (firmware->BootServices->HandleProtocol(handle, &guid, (void **)&gop) != EFI_SUCCESS ||
        !gop->Mode || !gop->Mode->Info)
        return false;
    mode = gop->Mode->Info;
    fb->format = pixel_format(mode);
    if (fb->format == HANDOVER_PIXEL_NONE || !gop->Mode->FrameBufferBase ||
        mode->PixelsPerScanLine < mode->HorizontalResolution ||
        gop->Mode->FrameBufferSize <
            (uint64_t)mode->PixelsPerScanLine * 4 * mode->VerticalResolution) {
        fb->format = HANDOVER_PIXEL_NONE;
        return false;
    }
    fb->base = gop->Mode->FrameBufferBase;
    fb->size = gop->Mode->FrameBufferSize;
    fb->width = mode->HorizontalResolution;
    fb->height = mode->VerticalResolution;
    fb->stride = mode->PixelsPerScanLine;
    return true;
}

/*
 * The console's, if it has a frame buffer. With several cards that one draws on all of them, by
 * firmware's Blt() alone, as far as the loader's lines; and then the first card is it that has one.
 */
static void find_framebuffer(struct handover_framebuffer *fb)
{
    static EFI_GUID guid = EFI_GRAPHICS_OUTPUT_PROTOCOL_GUID;
    EFI_BOOT_SERVICES *bs = firmware->BootServices;
    EFI_HANDLE *handles;
    UINTN count;
    bool found = use_framebuffer(fb, firmware->ConsoleOutHandle);

    if (found || bs->LocateHandleBuffer(ByProtocol, &guid, NULL, &count, &handles) != EFI_SUCCESS)
        return;
    for (UINTN i = 0; i < count && !found; i++)
        found = use_framebuffer(fb, handles[i]);
    bs->FreePool(handles);
    if (!found && count)
        say("only firmware can draw on this screen: what follows is on COM1 alone.");
}

/* Days since 1970-01-01 in the Gregorian calendar; years are counted from March, so that the leap
 * day is the last. */
static int64_t days(int64_t year, int64_t month, int64_t day)
{
    year -= month <= 2;
    month = (month + 9) % 12;
    return 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 -
           719468;
}

static void read_clock(struct handover *h)
{
    EFI_TIME t;

    if (firmware->RuntimeServices->GetTime(&t, NULL) != EFI_SUCCESS || t.Year < 1998 ||
        t.Month < 1 || t.Month > 12 || t.Day < 1 || t.Day > 31 || t.Hour > 23 || t.Minute > 59 ||
        t.Second > 59)
        return;
    h->boot_time_tsc = rdtsc();
    h->boot_time = days(t.Year, t.Month, t.Day) * 86400 + t.Hour * 3600 + t.Minute * 60 + t.Second;
    if (t.TimeZone >= -1440 && t.TimeZone <= 1440) /* else it is not specified */
        h->boot_time += t.TimeZone * 60; /* UEFI, "GetTime()": local time = UTC - TimeZone */
}

/* Firmware that checks signatures has let this file pass; nobody checks what comes of it. */
static void tell_secure_boot(void)
{
    static EFI_GUID global = EFI_GLOBAL_VARIABLE;
    static CHAR16 name[] = L"SecureBoot";
    UINT8 value = 0;
    UINTN size = sizeof(value);

    if (firmware->RuntimeServices->GetVariable(name, &global, NULL, &size, &value) == EFI_SUCCESS &&
        size == sizeof(value) && value == 1)
        say("Secure Boot is on and trusts this file; what Corbel starts is checked by nobody.");
}

#define NODES_MAX 64 /* of a device path, which ends before */

/* A signature of zeroes is none: what many disks have names no one of them. */
static bool named(const HARDDRIVE_DEVICE_PATH *drive)
{
    for (unsigned i = 0; i < sizeof(drive->Signature); i++)
        if (drive->Signature[i])
            return true;
    return false;
}

static void find_boot_partition(EFI_HANDLE image, struct handover_boot *boot)
{
    static EFI_GUID loaded_image = EFI_LOADED_IMAGE_PROTOCOL_GUID;
    static EFI_GUID device_path = EFI_DEVICE_PATH_PROTOCOL_GUID;
    EFI_BOOT_SERVICES *bs = firmware->BootServices;
    EFI_LOADED_IMAGE *loaded;
    EFI_DEVICE_PATH_PROTOCOL *node;

    if (bs->HandleProtocol(image, &loaded_image, (void **)&loaded) != EFI_SUCCESS ||
        bs->HandleProtocol(loaded->DeviceHandle, &device_path, (void **)&node) != EFI_SUCCESS)
        return;
    for (unsigned i = 0; i < NODES_MAX && !IsDevicePathEnd(node); i++) {
        const HARDDRIVE_DEVICE_PATH *drive = (const HARDDRIVE_DEVICE_PATH *)node;

        if (DevicePathNodeLength(node) < (int)sizeof(*node))
            return;
        if (DevicePathType(node) == MEDIA_DEVICE_PATH &&
            DevicePathSubType(node) == MEDIA_HARDDRIVE_DP &&
            DevicePathNodeLength(node) > (int)offsetof(HARDDRIVE_DEVICE_PATH, SignatureType) &&
            named(drive)) {
            boot->kind = drive->SignatureType == SIGNATURE_TYPE_GUID  ? HANDOVER_BOOT_GPT
                         : drive->SignatureType == SIGNATURE_TYPE_MBR ? HANDOVER_BOOT_MBR
                                                                      : HANDOVER_BOOT_NONE;
            memcpy(boot->signature, drive->Signature, sizeof(boot->signature));
        }
        node = NextDevicePathNode(node);
    }
}

void facts_gather(EFI_HANDLE image, struct handover *h)
{
    h->system_table = (uintptr_t)firmware;
    find_tables(h);
    find_framebuffer(&h->framebuffer);
    find_boot_partition(image, &h->boot);
    read_clock(h);
    tell_secure_boot();
}
