#include "boot/cpu.h"
#include "boot/loader.h"
#include "boot/memmap.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define STACK_SIZE (16 * KIB)
#define TRIES      8

extern const uint8_t switch_begin[] __attribute__((visibility("hidden")));
extern const uint8_t switch_end[] __attribute__((visibility("hidden")));
typedef void (*switch_fn)(uint64_t handover, uint64_t cr3, uint64_t entry, uint64_t stack)
    __attribute__((sysv_abi));

static uint8_t *raw_map; /* as firmware writes it */
static UINTN raw_room, raw_size, raw_step, raw_key;
static struct handover_mem *entries; /* the same as ours, and one for the microkernel */
static uint32_t entry_room;
static void *trampoline, *stack;

int leave_prepare(struct handover *h)
{
    EFI_BOOT_SERVICES *bs = firmware->BootServices;
    UINT32 version;

    h->low_pages = memory_low_pages();
    trampoline = memory_page();
    stack = memory_allocate(STACK_SIZE);
    if (!trampoline || !stack)
        return -ENOMEM;
    memcpy(trampoline, switch_begin, (size_t)(switch_end - switch_begin));
    if (kernel_map(h, (uintptr_t)trampoline) < 0)
        return -ENOMEM;

    /* What happens from here on, ExitBootServices() included, may still split some entries. */
    (void)bs->GetMemoryMap(&raw_size, NULL, &raw_key, &raw_step, &version);
    raw_room = raw_size + 32 * raw_step;
    entry_room = (uint32_t)(raw_room / raw_step) + 1;
    if (bs->AllocatePool(EfiBootServicesData, raw_room, (void **)&raw_map) != EFI_SUCCESS ||
        bs->AllocatePool(EfiBootServicesData, entry_room * sizeof(*entries), (void **)&entries) !=
            EFI_SUCCESS)
        return -ENOMEM;
    h->memory = (uintptr_t)memory_allocate(2 * entry_room * sizeof(*entries));
    return h->memory ? 0 : -ENOMEM;
}

static void convert_map(struct handover *h)
{
    uint32_t n = 0;

    for (UINTN at = 0; at + raw_step <= raw_size && n < entry_room - 1; at += raw_step) {
        const EFI_MEMORY_DESCRIPTOR *d = (const EFI_MEMORY_DESCRIPTOR *)(raw_map + at);

        entries[n].base = d->PhysicalStart;
        entries[n].size =
            d->NumberOfPages > UINT64_MAX / PAGE_SIZE ? UINT64_MAX : d->NumberOfPages * PAGE_SIZE;
        entries[n].type = memmap_type(d->Type);
        /* What was boot services' is as free as what was free: let it merge. */
        entries[n].efi_type =
            entries[n].type == HANDOVER_MEM_USABLE ? EfiConventionalMemory : d->Type;
        entries[n].efi_attribute = d->Attribute;
        n++;
    }
    entries[n++] = (struct handover_mem){.base = h->kernel_base,
                                         .size = h->kernel_size,
                                         .type = HANDOVER_MEM_KERNEL,
                                         .efi_type = EfiLoaderData,
                                         .efi_attribute = EFI_MEMORY_WB};
    h->memory_count = (uint32_t)memmap_build(
        entries, n, (struct handover_mem *)(uintptr_t)h->memory, 2 * entry_room);
}

/*
 * ExitBootServices() wants the key of the newest map, and its own first part may make the map
 * newer: so get the map and try again. Between the two nothing may be allocated, printed or freed.
 * UEFI, "EFI_BOOT_SERVICES.ExitBootServices()".
 */
static EFI_STATUS exit_boot_services(EFI_HANDLE image)
{
    EFI_STATUS status = EFI_INVALID_PARAMETER;
    UINT32 version;

    for (int i = 0; i < TRIES && status != EFI_SUCCESS; i++) {
        raw_size = raw_room;
        status = firmware->BootServices->GetMemoryMap(&raw_size, (void *)raw_map, &raw_key,
                                                      &raw_step, &version);
        if (status != EFI_SUCCESS)
            break;
        status = firmware->BootServices->ExitBootServices(image, raw_key);
    }
    return status;
}

EFI_STATUS leave(EFI_HANDLE image, struct handover *h, uint64_t entry)
{
    EFI_STATUS status = exit_boot_services(image);

    /* A firmware that failed half-way may have no console left, but COM1 still is there. */
    print_firmware_gone();
    if (status != EFI_SUCCESS) {
        say("firmware does not let go of the machine (ExitBootServices: status %llx).",
            (unsigned long long)status);
        return status;
    }
    __asm__ volatile("cli");
    convert_map(h);
    h->tsc_handover = rdtsc();
    ((switch_fn)(uintptr_t)trampoline)(HANDOVER_DIRECT_MAP + (uintptr_t)h, h->page_table, entry,
                                       HANDOVER_DIRECT_MAP + (uintptr_t)stack + STACK_SIZE);
    __builtin_unreachable();
}
