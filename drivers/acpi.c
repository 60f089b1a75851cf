#include "drivers/acpi.h"

#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/lib/string.h"

#define TABLE_MAX   (4 * MIB) /* longer ones are taken for garbage */
#define ENTRIES_MAX 256
#define AML_ZERO    0x00
#define AML_ONE     0x01
#define AML_BYTE    0x0a
#define AML_PACKAGE 0x12

struct PACKED rsdp {
    char signature[8];
    uint8_t checksum;
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum, reserved[3];
};
#define RSDP_V1_LENGTH 20

static const void *(*map_physical)(uint64_t base, uint64_t size);
static const struct acpi_header *root;
static unsigned root_entry; /* bytes of each entry: 4 (RSDT) or 8 (XSDT) */

static bool sums_to_zero(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint8_t sum = 0;

    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + bytes[i]);
    return sum == 0;
}

/* Map a table whole; NULL unless signature (when given), length and checksum are right. */
static const struct acpi_header *open_table(uint64_t address, const char *signature)
{
    const struct acpi_header *h;
    uint32_t length;

    if (!address)
        return NULL;
    h = map_physical(address, sizeof(*h));
    if (!h || (signature && memcmp(h->signature, signature, 4)))
        return NULL;
    length = h->length;
    if (length < sizeof(*h) || length > TABLE_MAX)
        return NULL;
    h = map_physical(address, length);
    /* The length is read once: what was checked is what is used. */
    if (!h || h->length != length)
        return NULL;
    if (!sums_to_zero(h, length)) {
        log_warn("ACPI table %.4s has a wrong checksum and is ignored", h->signature);
        return NULL;
    }
    return h;
}

int acpi_init(uint64_t address, const void *(*map)(uint64_t base, uint64_t size))
{
    const struct rsdp *r;

    root = NULL;
    map_physical = map;
    if (!address)
        return -ENODEV;
    r = map(address, RSDP_V1_LENGTH);
    if (!r || memcmp(r->signature, "RSD PTR ", 8) || !sums_to_zero(r, RSDP_V1_LENGTH))
        return -EBADMSG;
    if (r->revision >= 2) {
        r = map(address, sizeof(*r));
        if (r && r->length >= sizeof(*r) && sums_to_zero(r, sizeof(*r)))
            root = open_table(r->xsdt, "XSDT");
    }
    root_entry = root ? 8 : 4;
    if (!root && r)
        root = open_table(r->rsdt, "RSDT");
    return root ? 0 : -EBADMSG;
}

const struct acpi_header *acpi_find(const char signature[4])
{
    const uint8_t *entries;
    unsigned count;

    if (!root)
        return NULL;
    entries = (const uint8_t *)(root + 1);
    count = (unsigned)((root->length - sizeof(*root)) / root_entry);
    for (unsigned i = 0; i < MIN(count, ENTRIES_MAX); i++) {
        const struct acpi_header *h;
        uint64_t address = 0;

        memcpy(&address, entries + i * root_entry, root_entry);
        h = open_table(address, signature);
        if (h)
            return h;
    }
    return NULL;
}

static uint16_t get16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
    return get16(p) | (uint32_t)get16(p + 2) << 16;
}

static uint64_t get64(const uint8_t *p)
{
    return get32(p) | (uint64_t)get32(p + 4) << 32;
}

#define MADT_LAPIC_ADDRESS  36
#define MADT_ENTRIES        44
#define MADT_IOAPIC         1
#define MADT_OVERRIDE       2
#define MADT_LAPIC_OVERRIDE 5

int acpi_read_madt(struct acpi_madt *out)
{
    const struct acpi_header *h = acpi_find("APIC");
    const uint8_t *table = (const uint8_t *)h;

    memset(out, 0, sizeof(*out));
    if (!h || h->length < MADT_ENTRIES)
        return -ENOENT;
    out->lapic_address = get32(table + MADT_LAPIC_ADDRESS);
    for (uint32_t at = MADT_ENTRIES; h->length - at >= 2;) {
        const uint8_t *e = table + at;
        unsigned length = e[1];

        if (length < 2 || length > h->length - at)
            break;
        if (e[0] == MADT_IOAPIC && length >= 12 && out->ioapic_count < ARRAY_SIZE(out->ioapics))
            out->ioapics[out->ioapic_count++] =
                (struct acpi_ioapic){.id = e[2], .address = get32(e + 4), .gsi_base = get32(e + 8)};
        else if (e[0] == MADT_OVERRIDE && length >= 10 && e[2] == 0 &&
                 out->override_count < ARRAY_SIZE(out->overrides))
            out->overrides[out->override_count++] =
                (struct acpi_override){.isa_irq = e[3], .gsi = get32(e + 4), .flags = get16(e + 8)};
        else if (e[0] == MADT_LAPIC_OVERRIDE && length >= 12)
            out->lapic_address = get64(e + 4);
        at += length;
    }
    return 0;
}

/*
 * An integer of a package: ZeroOp, OneOp or a byte. Advances *at; false for anything else.
 */
static bool aml_byte(const uint8_t *aml, size_t size, size_t *at, uint8_t *value)
{
    if (*at >= size)
        return false;
    switch (aml[*at]) {
    case AML_ZERO:
    case AML_ONE:
        *value = aml[(*at)++];
        return true;
    case AML_BYTE:
        if (*at + 1 >= size)
            return false;
        *value = aml[*at + 1];
        *at += 2;
        return true;
    default:
        return false;
    }
}

/* \_S5_ as every firmware writes it: NameOp, the name, PackageOp, PkgLength, count, then SLP_TYPa
 * and SLP_TYPb. */
static bool find_s5(const uint8_t *aml, size_t size, struct acpi_power *out)
{
    for (size_t i = 1; i + 7 <= size; i++) {
        size_t at = i + 4;

        if (memcmp(aml + i, "_S5_", 4) || aml[at] != AML_PACKAGE)
            continue;
        if (aml[i - 1] != 0x08 && !(aml[i - 1] == '\\' && i >= 2 && aml[i - 2] == 0x08))
            continue;
        at++;
        at += 1 + (aml[at] >> 6); /* PkgLength: its top bits count the bytes that follow */
        at++;                     /* NumElements */
        if (aml_byte(aml, size, &at, &out->s5_a) && aml_byte(aml, size, &at, &out->s5_b)) {
            out->s5_a &= 7;
            out->s5_b &= 7;
            return true;
        }
    }
    return false;
}

/* Offsets in the FADT (ACPI specification, "Fixed ACPI Description Table"). */
#define FADT_DSDT        40
#define FADT_SMI_CMD     48
#define FADT_ACPI_ENABLE 52
#define FADT_PM1A_CNT    64
#define FADT_PM1B_CNT    68
#define FADT_PM_TMR      76
#define FADT_V1_LENGTH   116
#define FADT_FLAGS       112
#define FADT_RESET       116 /* a generic address: space, width, offset, access size, then 64 bits */
#define FADT_RESET_VALUE 128
#define FADT_X_DSDT      140
#define FADT_RESET_FLAG  BIT(10)

int acpi_read_power(struct acpi_power *out)
{
    const struct acpi_header *h = acpi_find("FACP"), *dsdt = NULL;
    const uint8_t *fadt = (const uint8_t *)h;

    memset(out, 0, sizeof(*out));
    if (!h || h->length < FADT_V1_LENGTH)
        return -ENOENT;
    out->smi_command = (uint16_t)get32(fadt + FADT_SMI_CMD);
    out->acpi_enable = fadt[FADT_ACPI_ENABLE];
    out->pm1a = (uint16_t)get32(fadt + FADT_PM1A_CNT);
    out->pm1b = (uint16_t)get32(fadt + FADT_PM1B_CNT);
    out->pm_timer = (uint16_t)get32(fadt + FADT_PM_TMR);
    if (h->length > FADT_RESET_VALUE && (get32(fadt + FADT_FLAGS) & FADT_RESET_FLAG)) {
        out->reset_register.space = fadt[FADT_RESET];
        out->reset_register.address = get64(fadt + FADT_RESET + 4);
        out->reset_value = fadt[FADT_RESET_VALUE];
        out->reset = out->reset_register.space <= 1;
    }
    if (h->length >= FADT_X_DSDT + 8)
        dsdt = open_table(get64(fadt + FADT_X_DSDT), "DSDT");
    if (!dsdt)
        dsdt = open_table(get32(fadt + FADT_DSDT), "DSDT");
    if (dsdt && out->pm1a)
        out->s5 =
            find_s5((const uint8_t *)(dsdt + 1), dsdt->length - sizeof(struct acpi_header), out);
    return 0;
}
