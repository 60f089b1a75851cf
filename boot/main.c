#include "boot/cpu.h"
#include "boot/loader.h"
#include "guest/config/config.h"
#include "arch/x86/lib/errno.h"

EFI_SYSTEM_TABLE *firmware;

#define PATIENCE 60 /* seconds */
/* Kept back from the guests' files, so that the microkernel can start and say what did not fit. */
#define RESERVE (8 * MIB)

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table);

/* Firmware's next boot option may clear the screen: leave the sentence there for a while, or until
 * a key. */
static void let_read(void)
{
    EFI_BOOT_SERVICES *bs = firmware->BootServices;
    EFI_EVENT events[2];
    UINTN count = 1, which;

    if (bs->CreateEvent(EVT_TIMER, 0, NULL, NULL, &events[0]) != EFI_SUCCESS)
        return;
    say("back to firmware at a key, or in %d seconds.", PATIENCE);
    if (firmware->ConIn)
        events[count++] = firmware->ConIn->WaitForKey;
    if (bs->SetTimer(events[0], TimerRelative, PATIENCE * 10000000ull) == EFI_SUCCESS)
        bs->WaitForEvent(count, events, &which);
    bs->CloseEvent(events[0]);
}

static EFI_STATUS fail(EFI_STATUS status)
{
    let_read();
    return status;
}

EFI_STATUS efi_main(EFI_HANDLE image, EFI_SYSTEM_TABLE *system_table)
{
    uint64_t start = rdtsc(), entry;
    struct handover *h;
    void *reserve;
    bool check_only;
    int status = -ENOMEM;

    firmware = system_table;
    print_init();
    say("Corbel's loader");
    /* Reading gigabytes from a slow stick may outlast the five minutes that firmware grants. */
    (void)firmware->BootServices->SetWatchdogTimer(0, 0, 0, NULL);

    h = memory_allocate(sizeof(*h));
    if (!h) {
        say("no memory at all is free: the machine needs more memory.");
        return fail(EFI_OUT_OF_RESOURCES);
    }
    h->magic = HANDOVER_MAGIC;
    h->version = HANDOVER_VERSION;
    h->size = sizeof(*h);
    h->tsc_start = start;
    check_only = config_load(image, h) == CONFIG_MODE_CHECK;
    if (requirements_check(check_only) < 0)
        return fail(EFI_UNSUPPORTED);
    if (kernel_load(h, &entry) < 0)
        return fail(EFI_LOAD_ERROR);
    facts_gather(image, h);
    reserve = memory_allocate(RESERVE);
    if (cpus_gather(h) == 0 && reserve && (check_only || files_load(h) == 0)) {
        memory_free(reserve, RESERVE);
        status = leave_prepare(h);
        if (status == 0)
            return leave(image, h, entry);
    }
    if (status == -EIO) {
        say("firmware does not tell what memory there is.");
        return fail(EFI_DEVICE_ERROR);
    }
    say("memory is used up: the machine needs more of it.");
    return fail(EFI_OUT_OF_RESOURCES);
}
