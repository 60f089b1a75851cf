/* The ACPI tables, each a packed struct of the specification's names; the DSDT is in dsdt.c. */
#include "guest/load/acpi.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/board/ports.h"
#include "guest/load/dsdt.h"

/* --- layouts (ACPI Specification, "ACPI Software Programming Model") --- */

struct sdt_header {
    char signature[4];
    uint32_t length;
    uint8_t revision, checksum;
    char oem_id[6], oem_table_id[8];
    uint32_t oem_revision;
    char creator_id[4];
    uint32_t creator_revision;
} PACKED;

struct rsdp {
    char signature[8];
    uint8_t checksum; /* of the first 20 bytes */
    char oem_id[6];
    uint8_t revision;
    uint32_t rsdt;
    uint32_t length;
    uint64_t xsdt;
    uint8_t extended_checksum;
    uint8_t reserved[3];
} PACKED;

struct gas {
    uint8_t space, bit_width, bit_offset, access_size;
    uint64_t address;
} PACKED;
#define GAS_IO    1
#define GAS_BYTE  1
#define GAS_DWORD 3

struct facs {
    char signature[4];
    uint32_t length, hardware_signature, waking_vector, global_lock, flags;
    uint64_t x_waking_vector;
    uint8_t version, reserved[3];
    uint32_t ospm_flags;
    uint8_t reserved2[24];
} PACKED;

struct fadt {
    struct sdt_header h;
    uint32_t firmware_ctrl, dsdt;
    uint8_t reserved, preferred_pm_profile;
    uint16_t sci_int;
    uint32_t smi_cmd;
    uint8_t acpi_enable, acpi_disable, s4bios_req, pstate_cnt;
    uint32_t pm1a_evt_blk, pm1b_evt_blk, pm1a_cnt_blk, pm1b_cnt_blk, pm2_cnt_blk, pm_tmr_blk,
        gpe0_blk, gpe1_blk;
    uint8_t pm1_evt_len, pm1_cnt_len, pm2_cnt_len, pm_tmr_len, gpe0_blk_len, gpe1_blk_len,
        gpe1_base, cst_cnt;
    uint16_t p_lvl2_lat, p_lvl3_lat, flush_size, flush_stride;
    uint8_t duty_offset, duty_width, day_alrm, mon_alrm, century;
    uint16_t iapc_boot_arch;
    uint8_t reserved2;
    uint32_t flags;
    struct gas reset_reg;
    uint8_t reset_value;
    uint16_t arm_boot_arch;
    uint8_t minor_version;
    uint64_t x_firmware_ctrl, x_dsdt;
    struct gas x_pm1a_evt_blk, x_pm1b_evt_blk, x_pm1a_cnt_blk, x_pm1b_cnt_blk, x_pm2_cnt_blk,
        x_pm_tmr_blk;
    struct gas x_gpe0_blk, x_gpe1_blk, sleep_control_reg, sleep_status_reg;
    char hypervisor_vendor[8];
} PACKED;
#define FADT_REVISION     6
#define FADT_MINOR        3
#define PM_PROFILE_SERVER 4
#define BOOT_LEGACY_DEVICES                                                                        \
    BIT(0) /* port 64h takes the reset command, even where bit 1 does not say so */
#define BOOT_8042            BIT(1)
#define BOOT_VGA_NOT_PRESENT BIT(2)
#define FADT_WBINVD          BIT(0)
#define FADT_PROC_C1         BIT(2)
#define FADT_SLP_BUTTON                                                                            \
    BIT(5) /* set: there is no fixed sleep button; PWR_BUTTON clear: there is a power button */
#define FADT_FIX_RTC       BIT(6) /* set: no RTC wake status in the fixed registers */
#define FADT_TMR_VAL_EXT   BIT(8)
#define FADT_RESET_REG_SUP BIT(10)
#define NO_C2_LATENCY      101 /* above 100: C2 does not exist; above 1000: nor does C3 */
#define NO_C3_LATENCY      1001

struct madt {
    struct sdt_header h;
    uint32_t lapic_address, flags;
} PACKED;
#define MADT_REVISION    5
#define MADT_PCAT_COMPAT 1 /* there are 8259s to be masked */
#define MADT_ENABLED     1
#define MADT_HIGH_LEVEL  0xd /* interrupt source: active high, level triggered */
#define MADT_ALL_CPUS    0xff
#define MADT_ALL_X2APICS 0xffffffff
#define XAPIC_IDS        255

struct madt_lapic {
    uint8_t type, length, uid, apic_id;
    uint32_t flags;
} PACKED;
struct madt_ioapic {
    uint8_t type, length, id, reserved;
    uint32_t address, gsi_base;
} PACKED;
struct madt_override {
    uint8_t type, length, bus, irq;
    uint32_t gsi;
    uint16_t flags;
} PACKED;
struct madt_nmi {
    uint8_t type, length, uid;
    uint16_t flags;
    uint8_t lint;
} PACKED;
struct madt_x2apic {
    uint8_t type, length;
    uint16_t reserved;
    uint32_t x2apic_id, flags, uid;
} PACKED;
struct madt_x2apic_nmi {
    uint8_t type, length;
    uint16_t flags;
    uint32_t uid;
    uint8_t lint, reserved[3];
} PACKED;

/* PCI Firmware Specification, "MCFG Table Description". */
struct mcfg {
    struct sdt_header h;
    uint64_t reserved;
    uint64_t base;
    uint16_t segment;
    uint8_t first_bus, last_bus;
    uint32_t reserved2;
} PACKED;

_Static_assert(sizeof(struct sdt_header) == 36, "ACPI: DESCRIPTION_HEADER");
_Static_assert(sizeof(struct rsdp) == 36, "ACPI: RSDP");
_Static_assert(sizeof(struct facs) == 64, "ACPI: FACS");
_Static_assert(sizeof(struct fadt) == 276, "ACPI: FADT revision 6");
_Static_assert(sizeof(struct madt_lapic) == 8 && sizeof(struct madt_x2apic) == 16 &&
                   sizeof(struct madt_nmi) == 6 && sizeof(struct madt_ioapic) == 12 &&
                   sizeof(struct madt_override) == 10 && sizeof(struct madt_x2apic_nmi) == 12,
               "ACPI: MADT entries");

/* --- placing tables one after the other in the block at GPA_ACPI --- */

struct block {
    uint8_t *data;
    size_t size;
    size_t used; /* goes on counting past size */
};

static uint32_t block_address(const struct block *b)
{
    return (uint32_t)(GPA_ACPI + b->used);
}

static void block_put(struct block *b, const void *data, size_t size)
{
    if (b->used + size <= b->size) {
        memcpy(b->data + b->used, data, size);
    }
    b->used += size;
}

static void block_align(struct block *b, size_t alignment)
{
    size_t to = ALIGN_UP(b->used, alignment);

    if (to <= b->size) {
        memset(b->data + b->used, 0, to - b->used);
    }
    b->used = to;
}

static uint8_t checksum(const void *data, size_t size)
{
    const uint64_t even = 0x00ff00ff00ff00ff;
    const uint8_t *p = data;
    uint64_t low = 0, high = 0, word; /* of each byte its sum; what it carries is masked */
    uint8_t sum = 0;

    for (; size >= sizeof(word); size -= sizeof(word), p += sizeof(word)) {
        __builtin_memcpy(&word, p, sizeof(word));
        low = (low + (word & even)) & even;
        high = (high + (word >> 8 & even)) & even;
    }
    for (low += high; low; low >>= 16) {
        sum = (uint8_t)(sum + low);
    }
    while (size--) {
        sum = (uint8_t)(sum + *p++);
    }
    return (uint8_t)-sum;
}

static struct sdt_header header(const char *signature, uint8_t revision)
{
    struct sdt_header h = {.revision = revision, .oem_revision = 1, .creator_revision = 1};

    memcpy(h.signature, signature, sizeof(h.signature));
    memcpy(h.oem_id, "CORBEL", sizeof(h.oem_id));
    memcpy(h.oem_table_id, "CORBELVM", sizeof(h.oem_table_id));
    memcpy(h.creator_id, "CRBL", sizeof(h.creator_id));
    return h;
}

/* Complete the table that began at `start`: its length and checksum. Returns its address. */
static uint32_t table_end(struct block *b, size_t start)
{
    uint32_t length = (uint32_t)(b->used - start);

    if (b->used <= b->size) {
        uint8_t *table = b->data + start;

        memcpy(table + offsetof(struct sdt_header, length), &length, sizeof(length));
        table[offsetof(struct sdt_header, checksum)] = 0;
        table[offsetof(struct sdt_header, checksum)] = checksum(table, length);
    }
    block_align(b, 16);
    return (uint32_t)(GPA_ACPI + start);
}

/* --- the tables --- */

static uint32_t build_facs(struct block *b)
{
    struct facs facs = {.length = sizeof(facs), .version = 2};
    uint32_t address;

    memcpy(facs.signature, "FACS", sizeof(facs.signature));
    block_align(b, 64);
    address = block_address(b);
    block_put(b, &facs, sizeof(facs));
    return address;
}

static uint32_t build_dsdt(struct block *b, const struct acpi_platform *platform)
{
    struct sdt_header h = header("DSDT", 2);
    size_t start = b->used;
    struct aml a;

    block_put(b, &h, sizeof(h));
    a = (struct aml){.data = b->data, .size = b->size, .used = b->used};
    dsdt_build(&a, platform->slots, platform->display);
    b->used = a.used;
    return table_end(b, start);
}

static struct gas io_register(uint16_t port, unsigned bytes, uint8_t access)
{
    return (struct gas){
        .space = GAS_IO, .bit_width = (uint8_t)(8 * bytes), .access_size = access, .address = port};
}

static uint32_t build_fadt(struct block *b, uint32_t facs, uint32_t dsdt, bool display)
{
    size_t start = b->used;
    struct fadt f = {
        .h = header("FACP", FADT_REVISION),
        .minor_version = FADT_MINOR,
        .firmware_ctrl = facs,
        .dsdt = dsdt,
        .x_dsdt = dsdt,
        .preferred_pm_profile = PM_PROFILE_SERVER,
        .sci_int = GSI_SCI,
        .pm1a_evt_blk = PORT_PM1A_EVENT,
        .pm1_evt_len = PM1A_EVENT_SIZE,
        .x_pm1a_evt_blk = io_register(PORT_PM1A_EVENT, PM1A_EVENT_SIZE, 0),
        .pm1a_cnt_blk = PORT_PM1A_CONTROL,
        .pm1_cnt_len = PM1A_CONTROL_SIZE,
        .x_pm1a_cnt_blk = io_register(PORT_PM1A_CONTROL, PM1A_CONTROL_SIZE, 0),
        .pm_tmr_blk = PORT_PM_TIMER,
        .pm_tmr_len = PM_TIMER_SIZE,
        .x_pm_tmr_blk = io_register(PORT_PM_TIMER, PM_TIMER_SIZE, GAS_DWORD),
        .gpe0_blk = PORT_GPE0,
        .gpe0_blk_len = GPE0_SIZE,
        .x_gpe0_blk = io_register(PORT_GPE0, GPE0_SIZE, GAS_BYTE),
        .p_lvl2_lat = NO_C2_LATENCY,
        .p_lvl3_lat = NO_C3_LATENCY,
        .century = RTC_CENTURY,
        .iapc_boot_arch = BOOT_LEGACY_DEVICES | (display ? BOOT_8042 : BOOT_VGA_NOT_PRESENT),
        .flags = FADT_WBINVD | FADT_PROC_C1 | FADT_SLP_BUTTON | FADT_FIX_RTC | FADT_TMR_VAL_EXT |
                 FADT_RESET_REG_SUP,
        .reset_reg = io_register(PORT_RESET_CONTROL, 1, GAS_BYTE),
        .reset_value = RESET_CONTROL_VALUE,
        .hypervisor_vendor = "Corbel",
    };

    block_put(b, &f, sizeof(f));
    return table_end(b, start);
}

static uint32_t build_madt(struct block *b, const struct acpi_platform *platform)
{
    static const struct madt_ioapic ioapic = {1, sizeof(ioapic), ACPI_IOAPIC_ID, 0, GPA_IOAPIC, 0};
    static const struct madt_override pit = {2, sizeof(pit), 0, GSI_PIT, 2, 0};
    static const struct madt_override sci = {2, sizeof(sci), 0, GSI_SCI, GSI_SCI, MADT_HIGH_LEVEL};
    static const struct madt_nmi nmi = {4, sizeof(nmi), MADT_ALL_CPUS, 0, 1};
    static const struct madt_x2apic_nmi x2apic_nmi = {
        10, sizeof(x2apic_nmi), 0, MADT_ALL_X2APICS, 1, {0}};
    struct madt madt = {
        .h = header("APIC", MADT_REVISION),
        .lapic_address = GPA_LAPIC,
        .flags = MADT_PCAT_COMPAT,
    };
    size_t start = b->used;
    bool x2apic = false;

    block_put(b, &madt, sizeof(madt));
    for (unsigned i = 0; i < platform->cpus; i++) {
        uint32_t id = platform->apic_ids ? platform->apic_ids[i] : i;

        if (id < XAPIC_IDS) {
            struct madt_lapic lapic = {0, sizeof(lapic), (uint8_t)i, (uint8_t)id, MADT_ENABLED};

            block_put(b, &lapic, sizeof(lapic));
        } else {
            struct madt_x2apic lapic = {9, sizeof(lapic), 0, id, MADT_ENABLED, i};

            x2apic = true;
            block_put(b, &lapic, sizeof(lapic));
        }
    }
    block_put(b, &ioapic, sizeof(ioapic));
    block_put(b, &pit, sizeof(pit));
    block_put(b, &sci, sizeof(sci));
    block_put(b, &nmi, sizeof(nmi));
    if (x2apic) {
        block_put(b, &x2apic_nmi, sizeof(x2apic_nmi));
    }
    return table_end(b, start);
}

static uint32_t build_mcfg(struct block *b)
{
    struct mcfg mcfg = {.h = header("MCFG", 1), .base = GPA_ECAM};
    size_t start = b->used;

    block_put(b, &mcfg, sizeof(mcfg));
    return table_end(b, start);
}

/* The tables that the root table lists. */
#define ROOT_TABLES 3

static uint32_t build_rsdt(struct block *b, const uint32_t tables[ROOT_TABLES])
{
    struct sdt_header h = header("RSDT", 1);
    size_t start = b->used;

    block_put(b, &h, sizeof(h));
    block_put(b, tables, ROOT_TABLES * sizeof(tables[0]));
    return table_end(b, start);
}

static uint32_t build_xsdt(struct block *b, const uint32_t tables[ROOT_TABLES])
{
    struct sdt_header h = header("XSDT", 1);
    size_t start = b->used;

    block_put(b, &h, sizeof(h));
    for (unsigned i = 0; i < ROOT_TABLES; i++) {
        uint64_t address = tables[i];

        block_put(b, &address, sizeof(address));
    }
    return table_end(b, start);
}

#define RSDP_V1_SIZE 20 /* bytes that its first checksum covers */

int acpi_build(const struct acpi_platform *platform, void *out, size_t size)
{
    struct block b = {.data = out, .size = MIN(size, GPA_ACPI_SIZE)};
    struct rsdp rsdp = {.revision = 2, .length = sizeof(rsdp)};
    uint32_t facs, dsdt, tables[ROOT_TABLES];

    if (platform->cpus < 1 || platform->cpus > ACPI_CPUS) {
        return -EINVAL;
    }
    block_put(&b, &rsdp, sizeof(rsdp)); /* keeps the place; filled in below */
    facs = build_facs(&b);
    dsdt = build_dsdt(&b, platform);
    tables[0] = build_fadt(&b, facs, dsdt, platform->display);
    tables[1] = build_madt(&b, platform);
    tables[2] = build_mcfg(&b);
    rsdp.rsdt = build_rsdt(&b, tables);
    rsdp.xsdt = build_xsdt(&b, tables);
    if (b.used > b.size) {
        return -ENOSPC;
    }
    memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
    memcpy(rsdp.oem_id, "CORBEL", sizeof(rsdp.oem_id));
    rsdp.checksum = checksum(&rsdp, RSDP_V1_SIZE);
    rsdp.extended_checksum = checksum(&rsdp, sizeof(rsdp));
    memcpy(out, &rsdp, sizeof(rsdp));
    return (int)b.used;
}
