/* `read`, `write` and `walk`: a guest's memory and page tables from outside. */
#include "arch/x86/cpu.h"
#include "arch/x86/lib/errno.h"
#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"
#include "guest/cpu/linear.h"
#include "guest/vm/control.h"
#include "guest/monitor/commands.h"
#include "guest/vm/vm.h"
#include "guest/cpu/walk.h"
#include "guest/watch/spec.h"
#include "mm/heap.h"

#define READ_DEFAULT 64
#define READ_MOST    4096
#define WRITE_MOST   96
#define ROW          16

struct memory {
    struct vm *vm;
    bool physical;
    uint64_t address;
    size_t size; /* wanted */
    size_t done;
    uint8_t bytes[READ_MOST];
};

/* The VM and the address that arguments 1 and 2 name; false after saying what is wrong. */
static bool begin(struct job *job, struct memory *m)
{
    struct vm_slot *slot = job_vm(job, 1);
    struct word w = job->words.word[2];

    if (!slot)
        return false;
    if (!slot->vm) {
        job_line("%s is off", slot->name);
        return false;
    }
    m->vm = slot->vm;
    if (watch_address(w.text, w.length, &m->physical, &m->address) == 0)
        return true;
    job_line("'%.*s' is no address: write it in hexadecimal, perhaps behind phys:",
             (int)MIN(w.length, 40), w.text);
    return false;
}

/* Call fn with vCPU 0 loaded, whose page tables count; at once for what is guest-physical. */
static bool look(struct vm_slot *slot, void (*fn)(struct vcpu *v, void *arg), struct memory *m)
{
    char error[CONTROL_ERROR];

    if (m->physical) {
        fn(m->vm->vcpu[0], m);
        return true;
    }
    if (control_inspect(slot, 0, fn, m, error) == 0)
        return true;
    job_line("%s", error);
    return false;
}

/* The next piece that lies in one page: where, and how much of it. */
static size_t next_piece(struct vcpu *v, const struct memory *m, uint64_t *gpa)
{
    uint64_t at = m->address + m->done;

    *gpa = at;
    if (!m->physical && linear_find(v, at, gpa) < 0)
        return 0;
    return MIN(m->size - m->done, PAGE_SIZE - at % PAGE_SIZE);
}

static void say_where_it_ends(const struct memory *m)
{
    if (m->done < m->size)
        job_line("%s%lx %s", m->physical ? "phys:" : "", m->address + m->done,
                 m->physical ? "is no RAM" : "is not mapped, or no RAM is there");
}

/* --- read --- */

static void read_memory(struct vcpu *v, void *arg)
{
    struct memory *m = arg;
    uint64_t gpa;
    size_t piece;

    while (m->done < m->size && (piece = next_piece(v, m, &gpa)) &&
           guest_memory_read(&m->vm->memory, gpa, m->bytes + m->done, piece) == 0)
        m->done += piece;
}

static bool begin_read(struct job *job)
{
    struct memory *m = job->data = heap_alloc(sizeof(struct memory));
    uint64_t size = READ_DEFAULT;

    if (!m) {
        job_line("there is no memory for it");
        return false;
    }
    if (!begin(job, m))
        return false;
    if (job->words.count > 3 && (word_number(job->words.word[3], READ_MOST, &size) < 0 || !size)) {
        job_line("'%.*s' is not a number of bytes from 1 to %u",
                 (int)MIN(job->words.word[3].length, 40), job->words.word[3].text, READ_MOST);
        return false;
    }
    m->size = (size_t)size;
    return look(job_vm(job, 1), read_memory, m);
}

static void show_row(const struct memory *m, size_t at)
{
    char hex[3 * ROW + 2] = "", ascii[ROW + 1] = "";
    size_t count = MIN(m->done - at, ROW), used = 0;

    for (size_t i = 0; i < count; i++) {
        uint8_t b = m->bytes[at + i];
        used += (size_t)format(hex + used, sizeof(hex) - used, "%02x%s", b, i == 7 ? "  " : " ");
        ascii[i] = b >= ' ' && b <= '~' ? (char)b : '.';
    }
    job_line("%016lx  %-*s %s", m->address + at, (int)sizeof(hex) - 1, hex, ascii);
}

bool command_read(struct job *job)
{
    const struct memory *m;

    if (job->step == 0 && !begin_read(job))
        return false;
    m = job->data;
    if (job->next < m->done) {
        show_row(m, job->next);
        job->next += ROW;
        return true;
    }
    say_where_it_ends(m);
    return false;
}

/* --- write --- */

static void write_memory(struct vcpu *v, void *arg)
{
    struct memory *m = arg;
    uint64_t gpa;
    size_t piece;

    while (m->done < m->size && (piece = next_piece(v, m, &gpa)) &&
           guest_memory_write(&m->vm->memory, gpa, m->bytes + m->done, piece) == 0)
        m->done += piece;
}

static bool parse_bytes(struct word w, struct memory *m)
{
    uint64_t byte;

    for (size_t i = 0; i + 1 < w.length && m->size < WRITE_MOST; i += 2) {
        if (watch_hex(w.text + i, 2, &byte) < 0)
            break;
        m->bytes[m->size++] = (uint8_t)byte;
    }
    if (m->size && m->size * 2 == w.length)
        return true;
    job_line("'%.*s' is not 1 to %u bytes, two hexadecimal digits each", (int)MIN(w.length, 40),
             w.text, WRITE_MOST);
    return false;
}

bool command_write(struct job *job)
{
    struct memory *m = job->data = heap_alloc(sizeof(struct memory));

    if (!m) {
        job_line("there is no memory for it");
        return false;
    }
    if (!begin(job, m) || !parse_bytes(job->words.word[3], m) ||
        !look(job_vm(job, 1), write_memory, m))
        return false;
    say_where_it_ends(m);
    job_line("%lu byte%s written", (uint64_t)m->done, m->done == 1 ? "" : "s");
    return false;
}

/* --- walk --- */

#define LEVELS 5

struct steps {
    struct memory m;
    unsigned count, levels;
    uint64_t gpa[LEVELS], entry[LEVELS];
    uint64_t cr3, result;
    uint32_t error;
    bool paging, found, wide;
};

/* guest_walk() reads each entry once, from the root down. */
static int note_entry(void *opaque, uint64_t gpa, uint64_t *value)
{
    struct steps *s = opaque;
    int result = guest_memory_read_u64(&s->m.vm->memory, gpa, value);

    if (s->count < LEVELS) {
        s->gpa[s->count] = gpa;
        s->entry[s->count++] = result < 0 ? 0 : *value;
    }
    return result;
}

static void walk(struct vcpu *v, void *arg)
{
    struct steps *s = CONTAINER_OF(arg, struct steps, m);
    const struct walk_context c = {
        .cr0 = vmx_get_cr0() & ~CR0_WP,
        .cr3 = vmx_get_cr3(),
        .cr4 = vmx_get_cr4() & ~(CR4_SMEP | CR4_SMAP),
        .efer = vmx_get_efer(),
        .physical_bits = v->cpuid.physical_bits,
        .opaque = s,
        .read = note_entry,
    };

    s->cr3 = c.cr3;
    s->paging = c.cr0 & CR0_PG;
    s->levels = c.efer & EFER_LMA ? (c.cr4 & CR4_LA57 ? 5 : 4) : c.cr4 & CR4_PAE ? 3 : 2;
    s->found = guest_walk(&c, s->m.address, 0, &s->result, &s->error) == 0;
}

static const char *flags_text(uint64_t entry, char *text, size_t size)
{
    static const struct {
        uint64_t bit;
        const char *name;
    } flags[] = {{BIT(0), "present"},  {BIT(1), "writable"}, {BIT(2), "user"},
                 {BIT(5), "accessed"}, {BIT(6), "dirty"},    {BIT(7), "large"},
                 {BIT(8), "global"},   {BIT(63), "nx"}};
    size_t used = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < ARRAY_SIZE(flags) && used < size; i++)
        if (entry & flags[i].bit)
            used += (size_t)format(text + used, size - used, " %s", flags[i].name);
    return used ? text : " not present";
}

static void show_steps(const struct steps *s)
{
    char flags[80];

    if (!s->paging)
        job_line("vCPU 0 has paging off: addresses are guest-physical");
    for (unsigned i = 0; i < s->count; i++) {
        bool upper = s->levels == 2 && (s->gpa[i] & 4); /* read in pairs; the half is the table's */
        uint64_t entry = upper ? s->entry[i] >> 32 : s->entry[i];
        job_line("  level %u  at phys:%-10lx %016lx%s", s->levels - i, s->gpa[i], entry,
                 flags_text(entry, flags, sizeof(flags)));
    }
    if (!s->found)
        job_line("  linear %lx is not mapped", s->m.address);
}

static void show_leaf(struct vm *vm, uint64_t gpa)
{
    static const char *const sizes[] = {"", "4K", "2M", "1G"};
    static const char *const types[] = {"UC", "WC", "?", "?", "WT", "WP", "WB", "?"};
    struct ept_leaf leaf;

    if (rights_lookup(&vm->rights, gpa, &leaf) < 0) {
        job_line("  phys:%lx is not mapped by EPT: a device's, or nobody's", gpa);
        return;
    }
    job_line("  EPT      phys:%lx is at %lx of the host, in a page of %s, %s%s%s, %s", gpa,
             leaf.hpa, sizes[leaf.level & 3], leaf.entry & EPT_READ ? "r" : "-",
             leaf.entry & EPT_WRITE ? "w" : "-", leaf.entry & EPT_EXECUTE ? "x" : "-",
             types[leaf.entry >> 3 & 7]);
}

bool command_walk(struct job *job)
{
    struct steps *s = job->data = heap_alloc(sizeof(struct steps));

    if (!s) {
        job_line("there is no memory for it");
        return false;
    }
    if (!begin(job, &s->m))
        return false;
    if (s->m.physical) {
        show_leaf(s->m.vm, s->m.address);
        return false;
    }
    if (!look(job_vm(job, 1), walk, &s->m))
        return false;
    job_line("vCPU 0 has cr3 %lx", s->cr3);
    show_steps(s);
    if (s->found)
        show_leaf(s->m.vm, s->result);
    return false;
}
