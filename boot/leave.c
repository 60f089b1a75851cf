#include "boot/cpu.h"
#include "boot/loader.h"
#include "boot/memmap.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define STACK_SIZE (16 * KIB)
#define TRIES      16

extern const uint8_t switch_begin[] __attribute__((visibility("hidden")));
extern const uint8_t switch_end[] __attribute__((visibility("hidden")));
typedef void (*switch_fn)(uint64_t handover, uint64_t cr3, uint64_t entry, uint64_t stack)
    __attribute__((sysv_abi));

static struct memory_map map;        /* as firmware writes it */
static struct handover_mem *entries; /* the same as ours, and one for the microkernel */
static uint32_t entry_room;
static void *trampoline, *stack;

static uint32_t entries_wanted(void)
{
    return (uint32_t)(map.room / map.step) + 1;
}

/* Memory for the map in our form, and for what becomes of it. */
static int make_room(struct handover *h)
{
    EFI_BOOT_SERVICES *bs = firmware->BootServices;

    if (entry_room) {
        bs->FreePool(entries);
        memory_free((void *)(uintptr_t)h->memory, 2 * entry_room * sizeof(*entries));
    }
    entry_room = 0;
    if (bs->AllocatePool(EfiBootServicesData, entries_wanted() * sizeof(*entries),
                         (void **)&entries) != EFI_SUCCESS)
        return -ENOMEM;
    h->memory = (uintptr_t)memory_allocate(2 * entries_wanted() * sizeof(*entries));
    if (!h->memory)
        return -ENOMEM;
    entry_room = entries_wanted();
    return 0;
}

int leave_prepare(struct handover *h)
{
    int status;

    h->low_pages = memory_low_pages();
    trampoline = memory_page();
    stack = memory_allocate(STACK_SIZE);
    if (!trampoline || !stack)
        return -ENOMEM;
    memcpy(trampoline, switch_begin, (size_t)(switch_end - switch_begin));
    status = kernel_map(h, (uintptr_t)trampoline);
    if (status < 0)
        return status;

    status = memory_map(&map);
    return status < 0 ? status : make_room(h);
}

static void convert_map(struct handover *h)
{
    uint32_t n = 0;

    for (UINTN at = 0; at + map.step <= map.size && n < entry_room - 1; at += map.step) {
        const EFI_MEMORY_DESCRIPTOR *d = (const EFI_MEMORY_DESCRIPTOR *)(map.at + at);

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
 * newer: so get the map and try again. Between the two nothing may be allocated, printed or freed;
 * after the first try memory is all that may be asked for. UEFI,
 * "EFI_BOOT_SERVICES.ExitBootServices()".
 */
static EFI_STATUS exit_boot_services(EFI_HANDLE image, struct handover *h)
{
    EFI_STATUS status = EFI_INVALID_PARAMETER;

    for (int i = 0; i < TRIES && status != EFI_SUCCESS; i++) {
        if (memory_map(&map) < 0)
            break;
        if (entries_wanted() <= entry_room)
            status = firmware->BootServices->ExitBootServices(image, map.key);
        else if (make_room(h) < 0)
            return EFI_OUT_OF_RESOURCES;
    }
    return status;
}

EFI_STATUS leave(EFI_HANDLE image, struct handover *h, uint64_t entry)
{
    EFI_STATUS status = exit_boot_services(image, h);

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
