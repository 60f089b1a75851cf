#include "guest/gdb/registers.h"

#include "arch/x86/lib/format.h"
#include "arch/x86/lib/string.h"

enum feature { CORE, SSE, SEGMENTS, SYSTEM, FEATURES };

struct row {
    const char *name, *type;
    uint16_t offset;
    uint8_t bits;
    uint8_t feature;
    bool writable;
};

#define AT(field) offsetof(struct gdb_registers, field)
#define GPR(name, n)                                                                               \
    {                                                                                              \
        name, "int64", AT(gpr) + 8 * (n), 64, CORE, true                                           \
    }
#define POINTER(name, n)                                                                           \
    {                                                                                              \
        name, "data_ptr", AT(gpr) + 8 * (n), 64, CORE, true                                        \
    }
#define SELECTOR(name, n)                                                                          \
    {                                                                                              \
        name, "int32", AT(selector) + 4 * (n), 32, CORE, false                                     \
    }
#define ST(name, n)                                                                                \
    {                                                                                              \
        name, "i387_ext", AT(st) + 10 * (n), 80, CORE, true                                        \
    }
#define FPU(name, n)                                                                               \
    {                                                                                              \
        name, "int", AT(fpu) + 4 * (n), 32, CORE, true                                             \
    }
#define XMM(name, n)                                                                               \
    {                                                                                              \
        name, "vec128", AT(xmm) + 16 * (n), 128, SSE, true                                         \
    }
#define WORD(field, feature, may)                                                                  \
    {                                                                                              \
#field, "int64", AT(field), 64, feature, may                                               \
    }

/* The order within a feature is gdb's (its features/i386/64bit-*.xml). */
static const struct row rows[] = {
    GPR("rax", 0),
    GPR("rbx", 3),
    GPR("rcx", 1),
    GPR("rdx", 2),
    GPR("rsi", 6),
    GPR("rdi", 7),
    POINTER("rbp", 5),
    POINTER("rsp", 4),
    GPR("r8", 8),
    GPR("r9", 9),
    GPR("r10", 10),
    GPR("r11", 11),
    GPR("r12", 12),
    GPR("r13", 13),
    GPR("r14", 14),
    GPR("r15", 15),
    {"rip", "code_ptr", AT(rip), 64, CORE, true},
    {"eflags", "i386_eflags", AT(eflags), 32, CORE, true},
    SELECTOR("cs", 0),
    SELECTOR("ss", 1),
    SELECTOR("ds", 2),
    SELECTOR("es", 3),
    SELECTOR("fs", 4),
    SELECTOR("gs", 5),
    ST("st0", 0),
    ST("st1", 1),
    ST("st2", 2),
    ST("st3", 3),
    ST("st4", 4),
    ST("st5", 5),
    ST("st6", 6),
    ST("st7", 7),
    FPU("fctrl", 0),
    FPU("fstat", 1),
    FPU("ftag", 2),
    FPU("fiseg", 3),
    FPU("fioff", 4),
    FPU("foseg", 5),
    FPU("fooff", 6),
    FPU("fop", 7),
    XMM("xmm0", 0),
    XMM("xmm1", 1),
    XMM("xmm2", 2),
    XMM("xmm3", 3),
    XMM("xmm4", 4),
    XMM("xmm5", 5),
    XMM("xmm6", 6),
    XMM("xmm7", 7),
    XMM("xmm8", 8),
    XMM("xmm9", 9),
    XMM("xmm10", 10),
    XMM("xmm11", 11),
    XMM("xmm12", 12),
    XMM("xmm13", 13),
    XMM("xmm14", 14),
    XMM("xmm15", 15),
    {"mxcsr", "int", AT(mxcsr), 32, SSE, true},
    WORD(fs_base, SEGMENTS, true),
    WORD(gs_base, SEGMENTS, true),
    WORD(k_gs_base, SYSTEM, false),
    WORD(cr0, SYSTEM, false),
    WORD(cr2, SYSTEM, false),
    WORD(cr3, SYSTEM, false),
    WORD(cr4, SYSTEM, false),
    WORD(cr8, SYSTEM, false),
    WORD(efer, SYSTEM, false),
    WORD(gdt_base, SYSTEM, false),
    WORD(idt_base, SYSTEM, false),
    WORD(tr_base, SYSTEM, false),
};

#define FLAG(name, bit)         "<field name=\"" name "\" start=\"" #bit "\" end=\"" #bit "\"/>"
#define VECTOR(id, type, count) "<vector id=\"" id "\" type=\"" type "\" count=\"" #count "\"/>"
#define FIELD(name, type)       "<field name=\"" name "\" type=\"" type "\"/>"

static const struct {
    const char *name, *types;
} features[FEATURES] = {
    [CORE] = {"org.gnu.gdb.i386.core",
              "<flags id=\"i386_eflags\" size=\"4\">" FLAG("CF", 0) FLAG("PF", 2) FLAG("AF", 4)
                  FLAG("ZF", 6) FLAG("SF", 7) FLAG("TF", 8) FLAG("IF", 9) FLAG("DF", 10)
                      FLAG("OF", 11) FLAG("NT", 14) FLAG("RF", 16) FLAG("VM", 17) FLAG("AC", 18)
                          FLAG("VIF", 19) FLAG("VIP", 20) FLAG("ID", 21) "</flags>\n"},
    [SSE] = {"org.gnu.gdb.i386.sse",
             VECTOR("v4f", "ieee_single", 4) VECTOR("v2d", "ieee_double", 2) VECTOR(
                 "v16i8", "int8", 16) VECTOR("v8i16", "int16", 8) VECTOR("v4i32", "int32", 4)
                 VECTOR("v2i64", "int64", 2) "<union id=\"vec128\">" FIELD("v4_float", "v4f")
                     FIELD("v2_double", "v2d") FIELD("v16_int8", "v16i8") FIELD("v8_int16", "v8i16")
                         FIELD("v4_int32", "v4i32") FIELD("v2_int64", "v2i64")
                             FIELD("uint128", "uint128") "</union>\n"},
    [SEGMENTS] = {"org.gnu.gdb.i386.segments", ""},
    [SYSTEM] = {"org.corbel.system", ""},
};

unsigned gdb_register_count(void)
{
    return ARRAY_SIZE(rows);
}

void *gdb_register(struct gdb_registers *r, unsigned n, size_t *size)
{
    if (n >= ARRAY_SIZE(rows))
        return NULL;
    *size = rows[n].bits / 8;
    return (char *)r + rows[n].offset;
}

bool gdb_register_writable(unsigned n)
{
    return n < ARRAY_SIZE(rows) && rows[n].writable;
}

/* --- the description --- */

/* A piece of a text that is made anew for each piece of it. */
struct window {
    size_t at, offset; /* of the text's next byte; of the first wanted */
    char *out;
    size_t size, used;
};

static void put(struct window *w, const char *text)
{
    for (; *text; text++, w->at++)
        if (w->at >= w->offset && w->used < w->size)
            w->out[w->used++] = *text;
}

static void put_feature(struct window *w, enum feature feature)
{
    char line[100];

    format(line, sizeof(line), "<feature name=\"%s\">\n", features[feature].name);
    put(w, line);
    put(w, features[feature].types);
    for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
        if (rows[i].feature != feature)
            continue;
        format(line, sizeof(line), "<reg name=\"%s\" bitsize=\"%u\" type=\"%s\" regnum=\"%u\"/>\n",
               rows[i].name, rows[i].bits, rows[i].type, i);
        put(w, line);
    }
    put(w, "</feature>\n");
}

size_t gdb_target_xml(size_t offset, char *out, size_t size)
{
    struct window w = {.offset = offset, .out = out, .size = size};

    put(&w, "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n"
            "<target version=\"1.0\">\n<architecture>i386:x86-64</architecture>\n");
    for (unsigned f = 0; f < FEATURES; f++)
        put_feature(&w, f);
    put(&w, "</target>\n");
    return w.used;
}
