#include "arch/x86/lib/format.h"

#include "arch/x86/lib/string.h"

struct out {
    char *buf;
    size_t size, length;
};

struct spec {
    bool left, zero, alternate, plus, space;
    unsigned width;
    int precision; /* -1: none */
};

static void put(struct out *o, char c)
{
    if (o->length + 1 < o->size)
        o->buf[o->length] = c;
    o->length++;
}

static void pad(struct out *o, char c, unsigned n)
{
    while (n--)
        put(o, c);
}

static void put_text(struct out *o, const struct spec *s, const char *text, size_t length)
{
    unsigned fill = s->width > length ? s->width - (unsigned)length : 0;

    if (!s->left)
        pad(o, ' ', fill);
    for (size_t i = 0; i < length; i++)
        put(o, text[i]);
    if (s->left)
        pad(o, ' ', fill);
}

static void put_number(struct out *o, const struct spec *s, uint64_t value, bool negative,
                       unsigned base, bool upper)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char reversed[20], prefix[3];
    unsigned count = 0, prefix_length = 0, zeros = 0, fill;

    for (uint64_t v = value; v; v /= base)
        reversed[count++] = digits[v % base];
    if (!count && s->precision != 0)
        reversed[count++] = '0';

    if (negative)
        prefix[prefix_length++] = '-';
    else if (s->plus)
        prefix[prefix_length++] = '+';
    else if (s->space)
        prefix[prefix_length++] = ' ';
    if (s->alternate && base == 16 && value) {
        prefix[prefix_length++] = '0';
        prefix[prefix_length++] = upper ? 'X' : 'x';
    }

    if (s->precision > (int)count)
        zeros = (unsigned)s->precision - count;
    if (s->precision < 0 && s->zero && !s->left && s->width > prefix_length + count)
        zeros = s->width - prefix_length - count;
    fill = prefix_length + zeros + count;
    fill = s->width > fill ? s->width - fill : 0;

    if (!s->left)
        pad(o, ' ', fill);
    for (unsigned i = 0; i < prefix_length; i++)
        put(o, prefix[i]);
    pad(o, '0', zeros);
    while (count)
        put(o, reversed[--count]);
    if (s->left)
        pad(o, ' ', fill);
}

/* Widths are cut at this: a wild '*' argument must not keep us busy. */
#define WIDTH_MAX 4096

static const char *parse_number(const char *p, unsigned *value)
{
    for (*value = 0; *p >= '0' && *p <= '9'; p++)
        *value = MIN(*value * 10 + (unsigned)(*p - '0'), WIDTH_MAX);
    return p;
}

/* A va_list is an array type: to hand it on by reference it needs a struct around it. */
struct arguments {
    va_list list;
};

static const char *parse_spec(const char *p, struct spec *s, struct arguments *args)
{
    *s = (struct spec){.precision = -1};
    for (;; p++) {
        if (*p == '-')
            s->left = true;
        else if (*p == '0')
            s->zero = true;
        else if (*p == '#')
            s->alternate = true;
        else if (*p == '+')
            s->plus = true;
        else if (*p == ' ')
            s->space = true;
        else
            break;
    }
    if (*p == '*') {
        int width = va_arg(args->list, int);

        s->left |= width < 0;
        s->width = MIN(width < 0 ? 0u - (unsigned)width : (unsigned)width, WIDTH_MAX);
        p++;
    } else {
        p = parse_number(p, &s->width);
    }
    if (*p == '.') {
        unsigned precision;

        if (*++p == '*') {
            s->precision = va_arg(args->list, int);
            s->precision = MIN(s->precision, WIDTH_MAX);
            p++;
        } else {
            p = parse_number(p, &precision);
            s->precision = (int)precision;
        }
        if (s->precision < 0)
            s->precision = -1;
    }
    return p;
}

enum size { SIZE_CHAR, SIZE_SHORT, SIZE_INT, SIZE_LONG };

static const char *parse_size(const char *p, enum size *size)
{
    *size = SIZE_INT;
    if (*p == 'h') {
        *size = *++p == 'h' ? SIZE_CHAR : SIZE_SHORT;
        p += *size == SIZE_CHAR;
    } else if (*p == 'l') {
        *size = SIZE_LONG;
        p += p[1] == 'l' ? 2 : 1;
    } else if (*p == 'z') {
        *size = SIZE_LONG;
        p++;
    }
    return p;
}

static int64_t get_signed(struct arguments *args, enum size size)
{
    switch (size) {
    case SIZE_CHAR:
        return (signed char)va_arg(args->list, int);
    case SIZE_SHORT:
        return (short)va_arg(args->list, int);
    case SIZE_INT:
        return va_arg(args->list, int);
    default:
        return va_arg(args->list, long);
    }
}

static uint64_t get_unsigned(struct arguments *args, enum size size)
{
    switch (size) {
    case SIZE_CHAR:
        return (unsigned char)va_arg(args->list, unsigned);
    case SIZE_SHORT:
        return (unsigned short)va_arg(args->list, unsigned);
    case SIZE_INT:
        return va_arg(args->list, unsigned);
    default:
        return va_arg(args->list, unsigned long);
    }
}

static void put_conversion(struct out *o, const struct spec *s, char c, enum size size,
                           struct arguments *args)
{
    switch (c) {
    case 'd':
    case 'i': {
        int64_t v = get_signed(args, size);

        put_number(o, s, v < 0 ? 0 - (uint64_t)v : (uint64_t)v, v < 0, 10, false);
        break;
    }
    case 'u':
    case 'x':
    case 'X': {
        struct spec plain = *s;

        plain.plus = plain.space = false;
        put_number(o, &plain, get_unsigned(args, size), false, c == 'u' ? 10 : 16, c == 'X');
        break;
    }
    case 'p': {
        uint64_t v = (uint64_t)va_arg(args->list, void *);

        put(o, '0');
        put(o, 'x');
        put_number(o, s, v, false, 16, false);
        break;
    }
    case 'c': {
        char ch = (char)va_arg(args->list, int);

        put_text(o, s, &ch, 1);
        break;
    }
    case 's': {
        const char *text = va_arg(args->list, const char *);

        if (!text)
            text = "(null)";
        put_text(o, s, text, s->precision < 0 ? strlen(text) : strnlen(text, (size_t)s->precision));
        break;
    }
    }
}

int vformat(char *buf, size_t size, const char *fmt, va_list list)
{
    struct out o = {.buf = buf, .size = size};
    struct arguments args;

    va_copy(args.list, list);
    while (*fmt) {
        const char *start = fmt;
        enum size length;
        struct spec s;

        if (*fmt != '%') {
            put(&o, *fmt++);
            continue;
        }
        fmt = parse_spec(fmt + 1, &s, &args);
        fmt = parse_size(fmt, &length);
        if (*fmt == '%') {
            put(&o, '%');
            fmt++;
        } else if (*fmt && strchr("diuxXpcs", *fmt)) {
            put_conversion(&o, &s, *fmt++, length, &args);
        } else {
            while (start < fmt)
                put(&o, *start++);
        }
    }
    va_end(args.list);
    if (size)
        buf[MIN(o.length, size - 1)] = '\0';
    return (int)o.length;
}

int format(char *buf, size_t size, const char *fmt, ...)
{
    va_list args;
    int length;

    va_start(args, fmt);
    length = vformat(buf, size, fmt, args);
    va_end(args);
    return length;
}
