/* SPDX-License-Identifier: MIT */
/*
 * A view of bytes: a pointer and a length, not NUL-terminated, owning nothing. Comparisons
 * without case fold ASCII only, as protocols want; no locale is involved anywhere.
 */
#ifndef NEARSIDE_BASE_STR_H
#define NEARSIDE_BASE_STR_H

#include <nearside/base/attr.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *ptr; /* borrowed; may be NULL when len is 0 */
    size_t len;
};

/* printf("%.*s", STR_FMT(view)) */
#define STR_FMT(s)   (int)(s).len, (s).ptr
#define STR_LIT(lit) ((struct str){.ptr = "" lit, .len = sizeof(lit) - 1})
#define STR_EMPTY    ((struct str){.ptr = "", .len = 0})

static inline struct str str_make(const char *ptr, size_t len)
{
    return (struct str){.ptr = ptr, .len = len};
}

static inline struct str str_of(const char *text)
{
    return str_make(text, text == NULL ? 0 : strlen(text));
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline char str_lower_char(char c)
{
    return (c >= 'A' && c <= 'Z') ? (char)(c + ('a' - 'A')) : c;
}

/* Of two views of the same length. */
bool str_same_nocase(const char *a, const char *b, size_t len);

static inline bool str_eq_nocase(struct str a, struct str b)
{
    return a.len == b.len && str_same_nocase(a.ptr, b.ptr, a.len);
}

bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);

/* Index of the first `c`, or s.len when there is none. */
size_t str_find_char(struct str s, char c);

/* Index of the first `needle`, or s.len when there is none. */
size_t str_find(struct str s, struct str needle);

/* The bytes [from, to) of s, clamped to it. */
static inline struct str str_slice(struct str s, size_t from, size_t to)
{
    if (to > s.len) {
        to = s.len;
    }
    if (from >= to) {
        return STR_EMPTY;
    }
    return str_make(s.ptr + from, to - from);
}

/* Without spaces and tabs at both ends. */
struct str str_trim(struct str s);

/* Cut the next item of a list from *rest, trimmed: "a, b" gives "a", then "b", then false.
 * Empty items are skipped. */
bool str_next_item(struct str *rest, char separator, struct str *ret_item);

/* Digits only, whole view, no sign, no overflow. */
bool str_to_u64(struct str s, uint64_t *ret_value) MUST_CHECK;

/* Lower-case hex of `len` bytes into `out` (2 * len + 1 bytes, NUL-terminated). */
void str_hex(const void *bytes, size_t len, char *out);

#endif
