/* SPDX-License-Identifier: MIT */
/* Views of bytes: comparison, search and cutting. Nothing here allocates or knows a locale. */
#include <nearside/base/str.h>

bool str_same_nocase(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (str_lower_char(a[i]) != str_lower_char(b[i])) {
            return false;
        }
    }
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq(str_make(s.ptr, prefix.len), prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len && str_eq(str_slice(s, s.len - suffix.len, s.len), suffix);
}

size_t str_find_char(struct str s, char c)
{
    if (s.len == 0) {
        return 0;
    }
    const char *found = memchr(s.ptr, c, s.len);
    return found == NULL ? s.len : (size_t)(found - s.ptr);
}

size_t str_find(struct str s, struct str needle)
{
    if (needle.len == 0) {
        return 0;
    }
    if (s.len < needle.len) {
        return s.len;
    }
    const char *found = memmem(s.ptr, s.len, needle.ptr, needle.len);
    return found == NULL ? s.len : (size_t)(found - s.ptr);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct str str_trim(struct str s)
{
    size_t from = 0;
    size_t to = s.len;

    while (from < to && is_blank(s.ptr[from])) {
        from++;
    }
    while (to > from && is_blank(s.ptr[to - 1])) {
        to--;
    }
    return str_slice(s, from, to);
}

bool str_next_item(struct str *rest, char separator, struct str *ret_item)
{
    while (rest->len > 0) {
        size_t end = str_find_char(*rest, separator);
        struct str item = str_trim(str_slice(*rest, 0, end));

        *rest = str_slice(*rest, end + 1, rest->len);
        if (item.len > 0) {
            *ret_item = item;
            return true;
        }
    }
    return false;
}

bool str_to_u64(struct str s, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (s.len == 0) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(s.ptr[i] - '0');
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    *ret_value = value;
    return true;
}

/* By arithmetic, so that the compiler can do sixteen at a time. */
static inline char hex_digit(unsigned four)
{
    return (char)(four + (four < 10 ? '0' : 'a' - 10));
}

void str_hex(const void *bytes, size_t len, char *out)
{
    const uint8_t *from = bytes;

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = hex_digit(from[i] >> 4);
        out[2 * i + 1] = hex_digit(from[i] & 15);
    }
    out[2 * len] = '\0';
}
