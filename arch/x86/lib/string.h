/* Memory and string functions: the C library's where there is one, ours in the microkernel. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#if __STDC_HOSTED__
#include <string.h>
#else
void *memcpy(void *dst, const void *src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *memchr(const void *s, int c, size_t n);
size_t strlen(const char *s);
size_t strnlen(const char *s, size_t max);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
#endif

/* Fill count 64-bit words at dst, which is aligned to 8. */
static inline void fill64(void *dst, uint64_t value, size_t count)
{
#if __STDC_HOSTED__
    for (uint64_t *p = dst; count; count--)
        *p++ = value;
#else
    __asm__ volatile("rep stosq" : "+D"(dst), "+c"(count) : "a"(value) : "memory");
#endif
}
