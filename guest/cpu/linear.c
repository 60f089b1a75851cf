/* Guest-linear memory: what the emulators need of the guest's address space, through its own page
 * tables. */
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/string.h"
#include "guest/cpu/linear.h"
#include "guest/cpu/walk.h"
#include "guest/cpu/probe.h"

unsigned vcpu_code_width(const struct vcpu *v)
{
    uint32_t access = vmx_segment_access(SEG_CS);

    if ((access & BIT(13)) && (v->hw.entry_controls & ENTRY_IA32E_GUEST))
        return 64;
    return access & BIT(14) ? 32 : 16;
}

unsigned vcpu_cpl(void)
{
    return (vmx_segment_access(SEG_SS) >> 5) & 3;
}

uint64_t vcpu_linear_rip(const struct vcpu *v)
{
    struct vmx_segment cs;

    if (vcpu_code_width(v) == 64)
        return vmx_rip();
    vmx_get_segment(SEG_CS, &cs);
    return (uint32_t)(cs.base + vmx_rip());
}

uint64_t linear_wrap(const struct vcpu *v, uint64_t linear)
{
    return UNLIKELY(linear == BIT(32)) && vcpu_code_width(v) != 64 ? 0 : linear;
}

static int read_table(void *opaque, uint64_t gpa, uint64_t *value)
{
    return guest_memory_read_u64(opaque, gpa, value);
}

int linear_translate(struct vcpu *v, uint64_t linear, unsigned access, uint64_t *gpa,
                     uint32_t *error)
{
    const struct walk_context c = {
        .cr0 = vmx_get_cr0(),
        .cr3 = vmx_get_cr3(),
        .cr4 = vmx_get_cr4(),
        .efer = vmx_get_efer(),
        .rflags = vmx_rflags(),
        .physical_bits = v->cpuid.physical_bits,
        .opaque = &v->vm->memory,
        .read = read_table,
    };

    return guest_walk(&c, linear, access, gpa, error);
}

int linear_find(struct vcpu *v, uint64_t linear, uint64_t *gpa)
{
    const struct walk_context c = {
        .cr0 = vmx_get_cr0() & ~CR0_WP,
        .cr3 = vmx_get_cr3(),
        .cr4 = vmx_get_cr4() & ~(CR4_SMEP | CR4_SMAP),
        .efer = vmx_get_efer(),
        .rflags = vmx_rflags(),
        .physical_bits = v->cpuid.physical_bits,
        .opaque = &v->vm->memory,
        .read = read_table,
    };
    uint32_t error;

    return guest_walk(&c, linear, 0, gpa, &error);
}

size_t linear_peek(struct vcpu *v, uint64_t linear, void *data, size_t size)
{
    size_t done = 0;

    while (done < size) {
        uint64_t gpa, at = linear + done;
        size_t piece = MIN(size - done, PAGE_SIZE - (at & (PAGE_SIZE - 1)));
        if (linear_find(v, at, &gpa) < 0 ||
            guest_memory_read(&v->vm->memory, gpa, (char *)data + done, piece) < 0)
            break;
        done += piece;
    }
    return done;
}

/*
 * The quick way for what the processor has just fetched itself: 64-bit code, four levels, all in
 * low RAM. Its rights have been checked; only where it lies is asked. False: linear_fetch() has to
 * tell.
 */
bool linear_fetch_quick(struct vcpu *v, uint64_t rip, uint8_t bytes[16])
{
    uint64_t table = vmx_get_cr3(), entry;
    const uint64_t *p;

    if (UNLIKELY(!(v->hw.entry_controls & ENTRY_IA32E_GUEST) || (rip & 0xfff) > PAGE_SIZE - 16))
        return false;
    for (unsigned shift = 39;; shift -= 9) {
        p = guest_memory_view(&v->vm->memory, (table & 0xffffffffff000) + (rip >> shift & 511) * 8);
        if (UNLIKELY(!p))
            return false;
        entry = *(const volatile uint64_t *)p;
        if (UNLIKELY(!(entry & BIT(0))))
            return false;
        if (shift == 12 || (shift < 39 && (entry & BIT(7)))) {
            uint64_t offset = BIT(shift) - 1;
            p = guest_memory_view(&v->vm->memory,
                                  (entry & 0xffffffffff000 & ~offset) | (rip & offset));
            break;
        }
        table = entry;
    }
    if (UNLIKELY(!p))
        return false;
    __builtin_memcpy(bytes, p, 16);
    return true;
}

size_t linear_fetch(struct vcpu *v, uint64_t linear, void *data, size_t size)
{
    unsigned access = WALK_FETCH | (vcpu_cpl() == 3 ? WALK_USER : 0);
    size_t done = 0;

    while (done < size) {
        uint64_t gpa, at = linear_wrap(v, linear + done);
        uint32_t error;
        size_t piece = MIN(size - done, PAGE_SIZE - (at & (PAGE_SIZE - 1)));
        if (linear_translate(v, at, access, &gpa, &error) < 0 ||
            guest_memory_read(&v->vm->memory, gpa, (char *)data + done, piece) < 0)
            break;
        done += piece;
    }
    return done;
}

/* One side of a copy after the other page by page; a fault is noted with its address. */
static int copy(struct vcpu *v, uint64_t linear, void *in, const void *out, size_t size)
{
    unsigned access = (out ? WALK_WRITE : 0) | (vcpu_cpl() == 3 ? WALK_USER : 0);

    for (size_t done = 0; done < size;) {
        uint64_t gpa, at = linear_wrap(v, linear + done);
        uint32_t error;
        size_t piece = MIN(size - done, PAGE_SIZE - (at & (PAGE_SIZE - 1)));
        if (linear_translate(v, at, access, &gpa, &error) < 0) {
            vcpu_page_fault(v, at, error);
            return -EFAULT;
        }
        if (UNLIKELY(v->vm->watches))
            probes->touched(v, at, gpa, piece, out != NULL);
        int result = -EFAULT;
        if (!lapic_claims(&v->lapic, gpa))
            result = out ? guest_memory_write(&v->vm->memory, gpa, (const char *)out + done, piece)
                         : guest_memory_read(&v->vm->memory, gpa, (char *)in + done, piece);
        if (result < 0) {
            if (result == -ENOMEM)
                vm_starve(v->vm);
            else /* not RAM: a device there is not a sensible source or target of such a copy */
                vcpu_exception(v, VECTOR_GP, 0);
            return result;
        }
        done += piece;
    }
    return 0;
}

int linear_writable(struct vcpu *v, uint64_t linear, size_t size)
{
    unsigned access = WALK_WRITE | (vcpu_cpl() == 3 ? WALK_USER : 0);
    uint64_t gpa, last = ALIGN_DOWN(linear + size - 1, PAGE_SIZE);
    uint32_t error;

    for (uint64_t at = linear;; at = linear_wrap(v, last)) {
        if (linear_translate(v, at, access, &gpa, &error) < 0) {
            vcpu_page_fault(v, at, error);
            return -EFAULT;
        }
        if (ALIGN_DOWN(at, PAGE_SIZE) == linear_wrap(v, last))
            return 0;
    }
}

int linear_read(struct vcpu *v, uint64_t linear, void *data, size_t size)
{
    return copy(v, linear, data, NULL, size);
}

int linear_write(struct vcpu *v, uint64_t linear, const void *data, size_t size)
{
    return copy(v, linear, NULL, data, size);
}
