#include <stdarg.h>
#include "boot/cpu.h"
#include "boot/loader.h"
#include "arch/x86/lib/format.h"

#define COM1 0x3f8
/* 16550: divisor latch, line control, FIFO control, modem control, line status, scratch. */
#define UART_DATA     0
#define UART_IER      1
#define UART_FCR      2
#define UART_LCR      3
#define UART_MCR      4
#define UART_LSR      5
#define UART_SCRATCH  7
#define UART_LSR_THRE 0x20
#define UART_LSR_TEMT 0x40
#define UART_SPIN     1000000u
#define CONSOLES      8
#define BAR_LENGTH    20
#define LINE_LENGTH   512

static bool serial;
static SIMPLE_TEXT_OUTPUT_INTERFACE *consoles[CONSOLES];
static unsigned console_count;

static void serial_init(void)
{
    unsigned spin = 0;

    outb(COM1 + UART_SCRATCH, 0xa5);
    if (inb(COM1 + UART_SCRATCH) != 0xa5)
        return;
    /* Clearing the FIFOs below would swallow the end of firmware's own last line. */
    while (!(inb(COM1 + UART_LSR) & UART_LSR_TEMT) && ++spin < UART_SPIN)
        ;
    outb(COM1 + UART_IER, 0);
    outb(COM1 + UART_LCR, 0x80);
    outb(COM1 + UART_DATA, 1);
    outb(COM1 + UART_IER, 0);
    outb(COM1 + UART_LCR, 0x03);
    outb(COM1 + UART_FCR, 0x07);
    outb(COM1 + UART_MCR, 0x03);
    serial = true;
}

static void serial_put(char c)
{
    unsigned spin = 0;

    while (!(inb(COM1 + UART_LSR) & UART_LSR_THRE))
        if (++spin == UART_SPIN) {
            serial = false; /* a port that never drains is no port */
            return;
        }
    outb(COM1 + UART_DATA, (uint8_t)c);
}

/*
 * Firmware may itself have its console on COM1. Corbel writes to COM1 directly, so each of the
 * firmware's consoles except that one is written on its own, not through the splitter that joins
 * them. UEFI, "ACPI Device Path": PNP0501 with _UID 0 is COM1.
 */
static bool is_com1(EFI_HANDLE handle)
{
    static EFI_GUID guid = EFI_DEVICE_PATH_PROTOCOL_GUID;
    EFI_DEVICE_PATH *node;
    unsigned length;

    if (firmware->BootServices->HandleProtocol(handle, &guid, (void **)&node) != EFI_SUCCESS)
        return false;
    for (; node->Type != END_DEVICE_PATH_TYPE;
         node = (EFI_DEVICE_PATH *)((uint8_t *)node + length)) {
        const ACPI_HID_DEVICE_PATH *acpi = (const ACPI_HID_DEVICE_PATH *)node;

        length = node->Length[0] | (unsigned)node->Length[1] << 8;
        if (length < sizeof(*node))
            return false;
        if (node->Type == ACPI_DEVICE_PATH && node->SubType == ACPI_DP && length >= sizeof(*acpi) &&
            acpi->HID == EISA_PNP_ID(0x0501) && acpi->UID == 0)
            return true;
    }
    return false;
}

static void console_init(void)
{
    /* gEfiConsoleOutDeviceGuid: on every handle that takes part in the console */
    static EFI_GUID active = {
        0xd3b36f2c, 0xd551, 0x11d4, {0x9a, 0x46, 0x00, 0x90, 0x27, 0x3f, 0xc1, 0x4d}};
    static EFI_GUID text = SIMPLE_TEXT_OUTPUT_PROTOCOL;
    EFI_BOOT_SERVICES *bs = firmware->BootServices;
    EFI_HANDLE *handles;
    UINTN count;

    if (bs->LocateHandleBuffer(ByProtocol, &active, NULL, &count, &handles) != EFI_SUCCESS) {
        if (firmware->ConOut)
            consoles[console_count++] = firmware->ConOut;
        return;
    }
    for (UINTN i = 0; i < count && console_count < CONSOLES; i++)
        if (handles[i] != firmware->ConsoleOutHandle && !(serial && is_com1(handles[i])) &&
            bs->HandleProtocol(handles[i], &text, (void **)&consoles[console_count]) == EFI_SUCCESS)
            console_count++;
    bs->FreePool(handles);
}

void print_init(void)
{
    serial_init();
    console_init();
}

void print_firmware_gone(void)
{
    console_count = 0;
}

/* Bytes that are not printable ASCII come from a config or a processor's name and show as '?'. */
static void put(const char *text, size_t length)
{
    CHAR16 wide[2 * LINE_LENGTH + 1];
    size_t n = 0;

    for (size_t i = 0; i < length && n < 2 * LINE_LENGTH - 1; i++) {
        char c = text[i];

        if (c == '\n')
            wide[n++] = '\r';
        wide[n++] = c == '\n' || (c >= ' ' && c <= '~') ? (CHAR16)c : '?';
    }
    wide[n] = 0;
    for (size_t i = 0; i < n && serial; i++)
        serial_put((char)wide[i]);
    for (unsigned i = 0; i < console_count; i++)
        consoles[i]->OutputString(consoles[i], wide);
}

void say(const char *fmt, ...)
{
    char line[LINE_LENGTH];
    va_list args;
    int length;

    va_start(args, fmt);
    length = vformat(line, sizeof(line), fmt, args);
    va_end(args);
    put("corbel: ", 8);
    put(line, MIN((size_t)length, sizeof(line) - 1));
    put("\n", 1);
}

static uint64_t bar_total;
static unsigned bar_drawn;

void progress_begin(const char *name, uint32_t name_length, uint64_t total)
{
    char size[64];
    int length = total < MIB
                     ? format(size, sizeof(size), " %u KiB [", (unsigned)((total + 1023) / KIB))
                     : format(size, sizeof(size), " %u MiB [", (unsigned)((total + MIB - 1) / MIB));

    bar_total = total;
    bar_drawn = 0;
    put("corbel: reading ", 16);
    put(name, MIN(name_length, 60u));
    put(size, (size_t)length);
}

void progress_step(uint64_t done)
{
    unsigned upto = bar_total ? (unsigned)(done / (bar_total / BAR_LENGTH + 1)) : BAR_LENGTH;

    if (done >= bar_total)
        upto = BAR_LENGTH;
    for (; bar_drawn < upto; bar_drawn++)
        put("#", 1);
}

void progress_end(int status)
{
    if (status == 0)
        put("]\n", 2);
    else
        put("] failed\n", 9);
}
