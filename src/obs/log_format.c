/* SPDX-License-Identifier: MIT */
/*
 * Turns `event` and a printf format of pairs into a line.
 *
 * Where a value begins and ends is decided by the format alone, never by the bytes that fill it:
 * the boundaries are found in the format and then measured, by printing the format up to there.
 * So no peer can forge a member, whatever it sends, and callers need not escape anything.
 *
 *     format   region=%s msg="%s"
 *     pairs    region  from 7 to 9      msg  from 15 to 17 (between the quotes)
 *     text     region=eu-west msg="no " such=host"
 *     measured        7......14     20..............
 *
 * The price is a print per boundary, some microseconds a line. Access lines do not come this way.
 */
#include "log_format_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>

#include <stdio.h>

/* A value's place in the format. */
struct pair {
    struct str key;
    size_t from;
    size_t to;
    bool is_quoted;
};

static const char *level_word(enum log_level level)
{
    static const char *const words[] = {
        [LOG_LEVEL_ERROR] = "error",
        [LOG_LEVEL_WARN] = "warn",
        [LOG_LEVEL_INFO] = "info",
        [LOG_LEVEL_DEBUG] = "debug",
    };
    ASSERT((unsigned)level < ARRAY_LEN(words));
    return words[level];
}

/* --- values ---------------------------------------------------------------------------------- */

static size_t skip_digits(struct str s, size_t at)
{
    while (at < s.len && s.ptr[at] >= '0' && s.ptr[at] <= '9') {
        at++;
    }
    return at;
}

static bool has_char(struct str s, size_t at, const char *set)
{
    return at < s.len && s.ptr[at] != '\0' && strchr(set, s.ptr[at]) != NULL;
}

/* A number by JSON's grammar: -? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)? */
static bool is_json_number(struct str s)
{
    size_t at = has_char(s, 0, "-") ? 1 : 0;
    size_t end = has_char(s, at, "0") ? at + 1 : skip_digits(s, at);

    if (end == at) {
        return false;
    }
    at = end;
    if (has_char(s, at, ".")) {
        end = skip_digits(s, at + 1);
        if (end == at + 1) {
            return false;
        }
        at = end;
    }
    if (has_char(s, at, "eE")) {
        size_t digits = has_char(s, at + 1, "+-") ? at + 2 : at + 1;
        end = skip_digits(s, digits);
        if (end == digits) {
            return false;
        }
        at = end;
    }
    return at == s.len;
}

static bool is_bare_json(struct str value)
{
    return is_json_number(value) || str_eq(value, STR_LIT("true")) ||
           str_eq(value, STR_LIT("false"));
}

static bool is_bare_text(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '=') {
            return false;
        }
    }
    return value.len > 0;
}

static void append_quoted(struct buf *out, struct str value)
{
    buf_append_char(out, '"');
    buf_append_json(out, value);
    buf_append_char(out, '"');
}

static void append_pair(struct buf *out, enum log_format format, const struct pair *pair,
                        struct str value)
{
    struct str key = pair->key.len > 0 ? pair->key : STR_LIT("msg");

    if (pair->key.len == 0 && value.len == 0) {
        return; /* log_info("ready", "%s", ""): an event that needs no pairs */
    }
    if (format == LOG_FORMAT_JSON) {
        buf_append_str(out, STR_LIT(",\""));
        buf_append_json(out, key);
        buf_append_str(out, STR_LIT("\":"));
    } else {
        buf_append_char(out, ' ');
        buf_append_str(out, key);
        buf_append_char(out, '=');
    }
    bool is_bare =
        format == LOG_FORMAT_JSON ? !pair->is_quoted && is_bare_json(value) : is_bare_text(value);
    if (is_bare) {
        buf_append_str(out, value);
    } else {
        append_quoted(out, value);
    }
}

/* --- pairs ----------------------------------------------------------------------------------- */

static bool is_key_char(char c)
{
    char lower = str_lower_char(c);

    return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_';
}

/* The next pair of the format from *at on. Words without a key are a pair without one. */
static bool next_pair(struct str format, size_t *at, struct pair *ret_pair)
{
    size_t start = *at;

    while (start < format.len && format.ptr[start] == ' ') {
        start++;
    }
    if (start == format.len) {
        return false;
    }
    size_t equals = start;
    while (equals < format.len && is_key_char(format.ptr[equals])) {
        equals++;
    }
    if (equals == start || !has_char(format, equals, "=")) {
        *ret_pair = (struct pair){STR_EMPTY, start, format.len, true};
        *at = format.len;
        return true;
    }

    bool is_quoted = has_char(format, equals + 1, "\"");
    size_t from = is_quoted ? equals + 2 : equals + 1;
    struct str rest = str_slice(format, from, format.len);
    size_t to = from + str_find_char(rest, is_quoted ? '"' : ' ');

    *ret_pair = (struct pair){str_slice(format, start, equals), from, to, is_quoted};
    *at = to < format.len ? to + 1 : to;
    return true;
}

/* clang wants a literal format even where the caller has checked the whole of it. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"

/* How long the text is that the first `len` bytes of `pairs` make. */
static size_t measure(const char *pairs, size_t len, va_list args)
{
    char prefix[LOG_PAIRS_FORMAT_MAX];
    va_list again;

    memcpy(prefix, pairs, len);
    prefix[len] = '\0';
    va_copy(again, args);
    int printed = vsnprintf(NULL, 0, prefix, again);
    va_end(again);
    ASSERT(printed >= 0);
    return (size_t)printed;
}

#pragma GCC diagnostic pop

static void append_stamp(struct buf *out, enum log_format format, const struct log_stamp *stamp)
{
    char time[CLOCK_ISO_LEN];

    clock_iso(stamp->wall_ms, time);
    if (format == LOG_FORMAT_TEXT) {
        buf_printf(out, "%s %s %s", time, level_word(stamp->level), stamp->event);
        return;
    }
    buf_printf(out, "{\"time\":\"%s\",\"level\":\"%s\"", time, level_word(stamp->level));
    if (stamp->edge.len > 0) {
        buf_append_str(out, STR_LIT(",\"edge\":"));
        append_quoted(out, stamp->edge);
    }
    buf_append_str(out, STR_LIT(",\"event\":"));
    append_quoted(out, str_of(stamp->event));
}

void log_format_line(struct buf *out, enum log_format format, const struct log_stamp *stamp,
                     const char *pairs, va_list args)
{
    char text[LOG_PAIRS_TEXT_MAX];
    struct str rest = str_of(pairs);
    struct pair pair;
    size_t at = 0;
    va_list again;

    ASSERT(rest.len < LOG_PAIRS_FORMAT_MAX);
    va_copy(again, args);
    int printed = vsnprintf(text, sizeof(text), pairs, again);
    va_end(again);
    ASSERT(printed >= 0);
    bool is_cut = (size_t)printed >= sizeof(text);
    struct str whole = str_make(text, is_cut ? sizeof(text) - 1 : (size_t)printed);

    append_stamp(out, format, stamp);
    while (next_pair(rest, &at, &pair)) {
        size_t from = measure(pairs, pair.from, args);
        size_t to = measure(pairs, pair.to, args);
        append_pair(out, format, &pair, str_slice(whole, from, to));
    }
    if (is_cut) {
        append_pair(out, format, &(struct pair){.key = STR_LIT("cut")}, STR_LIT("true"));
    }
    buf_append_str(out, format == LOG_FORMAT_JSON ? STR_LIT("}\n") : STR_LIT("\n"));
}
