/* No BIOS, but what keeps software that calls one from running wild. */
#include "guest/load/bios.h"
#include "guest/load/entry.h"
#include "guest/load/layout.h"

#define VECTORS        256
#define SERVICES_FIRST 0x10 /* INT 10h (video) to INT 1Ah (clock), and a few tables behind them */
#define SERVICES_LAST  0x1f

/* Where the interrupt vectors lead, at GPA_BIOS_STUBS. */
static const uint8_t stubs[] = {
    0xcf,                   /* 0: IRET */
    0x55,                   /* 1: PUSH BP */
    0x89, 0xe5,             /* MOV BP, SP */
    0x80, 0x4e, 0x06, 0x01, /* OR BYTE [BP+6], 1: CF in the flags on the stack */
    0x5d,                   /* POP BP */
    0xcf,                   /* IRET */
};
#define STUB_RETURN 0
#define STUB_FAILED 1

/* Linux takes the end of base memory and the start of the EBDA from here when it looks for room
 * below 1 MiB. */
int bios_write_data(const struct guest_sink *sink)
{
    const uint16_t com1 = 0x3f8, ebda_segment = GPA_EBDA >> 4, base_memory_kib = GPA_EBDA / KIB;
    const uint8_t ebda_kib = (GPA_VGA_HOLE - GPA_EBDA) / KIB;
    int e = load_put(sink, GPA_BDA, &com1, sizeof(com1));

    e = e ? e : load_put(sink, GPA_BDA + 0x0e, &ebda_segment, sizeof(ebda_segment));
    e = e ? e : load_put(sink, GPA_BDA + 0x13, &base_memory_kib, sizeof(base_memory_kib));
    return e ? e : load_put(sink, GPA_EBDA, &ebda_kib, sizeof(ebda_kib));
}

int bios_write_services(const struct guest_sink *sink)
{
    uint32_t vectors[VECTORS];
    int e = bios_write_data(sink);

    for (unsigned i = 0; i < VECTORS; i++) {
        bool service = i >= SERVICES_FIRST && i <= SERVICES_LAST;

        vectors[i] = GPA_BIOS_STUBS + (service ? STUB_FAILED : STUB_RETURN); /* segment 0 */
    }
    e = e ? e : load_put(sink, 0, vectors, sizeof(vectors));
    return e ? e : load_put(sink, GPA_BIOS_STUBS, stubs, sizeof(stubs));
}
