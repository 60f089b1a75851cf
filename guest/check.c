/* The facts for the report of `mode = check`. */
#include "guest/check.h"

#include "arch/x86/cpu.h"
#include "arch/x86/lib/log.h"
#include "arch/x86/smp.h"
#include "arch/x86/tsc.h"
#include "drivers/acpi.h"
#include "drivers/framebuffer.h"
#include "drivers/serial.h"
#include "mm/frame.h"
#include "vmx/cpu.h"

static void count_memory(struct check_facts *f, const struct handover *h)
{
    const struct handover_mem *memory = phys_to_virt(h->memory);
    struct frame_stats frames;

    for (uint32_t i = 0; i < h->memory_count; i++)
        if (memory[i].type != HANDOVER_MEM_MMIO && memory[i].type != HANDOVER_MEM_RESERVED)
            f->ram += memory[i].size;
    frame_stats(&frames);
    f->left = frames.total;
    f->free = frames.free;
}

static void count_processors(struct check_facts *f, const struct handover *h)
{
    const struct handover_cpu *cpus = phys_to_virt(h->cpus);

    f->processors = h->cpu_count;
    f->running = smp_cpus;
    for (uint32_t i = 0; i < h->cpu_count; i++)
        f->enabled += (cpus[i].flags & HANDOVER_CPU_ENABLED) != 0;
}

/* Only VMXON itself shows that nothing forbids it. */
static enum check_vmxon try_vmxon(uint32_t without)
{
    static struct vmx_cpu cpu;

    if (check_obstacle(&vmx_caps))
        return CHECK_VMXON_NOT_TRIED;
    if (vmx_probe(without) < 0 || vmx_cpu_start(&cpu) < 0)
        return CHECK_VMXON_REFUSED;
    vmx_cpu_stop(&cpu);
    return CHECK_VMXON_WORKS;
}

static void print(void *ctx, const char *text)
{
    log_info("%s", text);
}

void check_machine(const struct handover *h, uint32_t without)
{
    struct check_facts f = {
        .caps = &vmx_caps,
        .without = without,
        .tsc_hz = tsc_hz,
        .tsc_source = tsc_source,
        .tsc_confirmed = tsc_confirmed,
        .rsdp = h->rsdp != 0,
        .acpi = acpi_find("FACP") != NULL,
        .iommu = iommu_state(),
        .serial = serial_present(&com1),
        .serial_interrupts = serial_interrupts(&com1),
        .screen_text = framebuffer_present(),
        .screen_width = h->framebuffer.base ? h->framebuffer.width : 0,
        .screen_height = h->framebuffer.base ? h->framebuffer.height : 0,
    };

    /* Whoever asks for the report wants to see it. */
    if (log_get_level() < LOG_INFO)
        log_set_level(LOG_INFO);
    vmx_read_caps();
    cpu_identify(&f.cpu, probe_cpuid, NULL);
    f.microcode = cpu_microcode(vmx_caps.intel);
    count_memory(&f, h);
    count_processors(&f, h);
    f.vmxon = try_vmxon(without);
    (void)check_report(&f, print, NULL);
}
