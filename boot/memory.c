#include "boot/loader.h"
#include "arch/x86/lib/string.h"

void *memory_allocate(uint64_t size)
{
    EFI_PHYSICAL_ADDRESS address = 0;
    UINTN pages = (UINTN)(size / PAGE_SIZE + (size % PAGE_SIZE != 0));
    EFI_BOOT_SERVICES *bs = firmware->BootServices;

    if (pages == 0)
        pages = 1;
    if (bs->AllocatePages(AllocateAnyPages, EfiLoaderData, pages, &address) != EFI_SUCCESS)
        return NULL;
    if (address < MIB) { /* only what is scarce lies there */
        bs->FreePages(address, pages);
        return NULL;
    }
    return memset((void *)(uintptr_t)address, 0, pages * PAGE_SIZE);
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
