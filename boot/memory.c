#include "boot/loader.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"

#define MAP_TRIES 10
#define MAP_SPARE                                                                                  \
    32 /* descriptors more than there are, at first: taking memory for them makes more */

/* What firmware gives below 1 MiB, where only what is scarce lies, is kept from it until it gives
 * something else. Page 0 is among it: no NULL ends the list. */
#define NO_MORE 1
struct low_pages {
    uintptr_t next;
    UINTN count;
};

static void free_low(uintptr_t at)
{
    while (at != NO_MORE) {
        const volatile struct low_pages *low = (const volatile struct low_pages *)at;
        uintptr_t next = low->next;

        firmware->BootServices->FreePages(at, low->count);
        at = next;
    }
}

void *memory_allocate(uint64_t size)
{
    EFI_PHYSICAL_ADDRESS address;
    UINTN pages = (UINTN)(size / PAGE_SIZE + (size % PAGE_SIZE != 0));
    EFI_STATUS status;
    uintptr_t low = NO_MORE;

    if (pages == 0)
        pages = 1;
    for (;;) {
        address = 0;
        status =
            firmware->BootServices->AllocatePages(AllocateAnyPages, EfiLoaderData, pages, &address);
        if (status != EFI_SUCCESS || address >= MIB)
            break;
        *(volatile struct low_pages *)(uintptr_t)address =
            (struct low_pages){.next = low, .count = pages};
        low = (uintptr_t)address;
    }
    free_low(low);
    return status == EFI_SUCCESS ? memset((void *)(uintptr_t)address, 0, pages * PAGE_SIZE) : NULL;
}

void memory_map_free(struct memory_map *m)
{
    if (m->at)
        firmware->BootServices->FreePool(m->at);
    m->at = NULL;
    m->room = 0;
}

int memory_map(struct memory_map *m)
{
    EFI_BOOT_SERVICES *bs = firmware->BootServices;
    UINT32 version;

    for (unsigned try = 0; try < MAP_TRIES; try++) {
        EFI_STATUS status;

        m->size = m->room;
        status = bs->GetMemoryMap(&m->size, (void *)m->at, &m->key, &m->step, &version);
        if (status == EFI_SUCCESS)
            return m->step >= sizeof(EFI_MEMORY_DESCRIPTOR) && m->size <= m->room ? 0 : -EIO;
        if (status != EFI_BUFFER_TOO_SMALL)
            return -EIO;
        memory_map_free(m);
        m->room = m->size + ((UINTN)MAP_SPARE << try) * MAX(m->step, sizeof(EFI_MEMORY_DESCRIPTOR));
        if (bs->AllocatePool(EfiBootServicesData, m->room, (void **)&m->at) != EFI_SUCCESS) {
            m->at = NULL;
            m->room = 0;
            return -ENOMEM;
        }
    }
    return -EIO;
}

void memory_free(void *p, uint64_t size)
{
    firmware->BootServices->FreePages((uintptr_t)p,
                                      (UINTN)(size / PAGE_SIZE + (size % PAGE_SIZE != 0)));
}

uint64_t *memory_page(void)
{
    return memory_allocate(PAGE_SIZE);
}

uint64_t memory_low_pages(void)
{
    /* Vectors of startup IPIs A0h to BFh are reserved, and the top of low memory is the EBDA's. */
    EFI_PHYSICAL_ADDRESS address = 0x9ffff;

    if (firmware->BootServices->AllocatePages(AllocateMaxAddress, EfiLoaderData, 2, &address) !=
            EFI_SUCCESS ||
        address < PAGE_SIZE)
        return 0;
    return address;
}
