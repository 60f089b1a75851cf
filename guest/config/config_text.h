/* Pieces of text, for the config's parser only. */
#pragma once

#include "guest/config/config.h"

#define CONFIG_QUOTE 40 /* longest piece of the file that a message repeats */

struct config_quote {
    char text[CONFIG_QUOTE + 4];
};

struct config_span config_span_of(const char *data, size_t length);
bool config_span_is(struct config_span s, const char *text);
bool config_is_blank(char c);
/* Without blanks at both ends. */
struct config_span config_trim(struct config_span s);
/* Cut *s before the first c and return what follows c; data is NULL when there is no c, and *s
 * stays whole. */
struct config_span config_cut(struct config_span *s, char c);
/* Up to the first '#' that stands at the start or after a blank. */
struct config_span config_without_comment(struct config_span s);
/* NULL, or what keeps s from being UTF-8 text without control characters, such as "a NUL byte". */
const char *config_text_fault(struct config_span s);

/* Digits only, at least one; too large a number becomes UINT64_MAX. */
bool config_parse_number(struct config_span s, uint64_t *value);
/* A number with K, M or G; too large a size becomes UINT64_MAX. */
bool config_parse_size(struct config_span s, uint64_t *value);
/* "0,2-3": numbers and ranges up to max, below CONFIG_PROCESSORS; the result is not empty. */
bool config_parse_processors(struct config_span s, uint64_t max, struct config_cpus *set);
/* "cd,disk": each kind at most once; those that it does not name come behind. */
bool config_parse_boot(struct config_span s, struct config_boot *order);
bool config_find_choice(const char *const *choices, struct config_span s, uint32_t *index);

/* --- for messages: each returns the text that it has written --- */

/* What the file says, fit to be printed: cut to CONFIG_QUOTE bytes, '?' for what is not printable
 * ASCII. */
const char *config_quote(struct config_quote *q, struct config_span s);
/* A size as one would write it in the config. */
const char *config_size_text(struct config_quote *q, uint64_t size);
/* "error, warn, info or debug" */
const char *config_list_choices(const char *const *choices, char *buf, size_t size);
/* Letters to insert, delete or replace to make b of a; UINT32_MAX when one is longer than 15. */
unsigned config_edit_distance(struct config_span a, const char *b);
