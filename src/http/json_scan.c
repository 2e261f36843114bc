/* SPDX-License-Identifier: MIT */
/*
 * The scan: RFC 8259 by recursive descent, with one loop that matters. A prompt is a string of up
 * to megabytes, so scan_string() passes plain ASCII 16 bytes at a time and looks closer only at
 * escapes and non-ASCII bytes. Recursion ends at JSON_SCAN_DEPTH_MAX.
 *
 * json_canonical.c has the other half.
 */
#include "char_class_private.h"
#include "scan_private.h"

#include <nearside/http/json_scan.h>

#define NAME_BYTES_MAX 128

struct cursor {
    const char *at;
    const char *end;
    bool spaced; /* white space was skipped since this was last cleared */
};

static enum json_scan_result scan_any(struct cursor *cursor, unsigned depth);

const char *json_scan_word(enum json_scan_result result)
{
    static const char *const words[JSON_SCAN_RESULT_COUNT] = {
        [JSON_SCAN_OK] = "ok",
        [JSON_SCAN_SYNTAX] = "syntax",
        [JSON_SCAN_NO_OBJECT] = "no_object",
        [JSON_SCAN_UTF8] = "utf8",
        [JSON_SCAN_DEPTH] = "depth",
        [JSON_SCAN_MEMBERS] = "members",
        [JSON_SCAN_DUPLICATE] = "duplicate",
        [JSON_SCAN_NAME] = "name",
    };

    return result < JSON_SCAN_RESULT_COUNT ? words[result] : "unknown";
}

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static inline void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->end && is_space(*cursor->at)) {
        cursor->at++;
        cursor->spaced = true;
    }
}

static inline bool is_at(const struct cursor *cursor, char c)
{
    return cursor->at < cursor->end && *cursor->at == c;
}

static inline bool take(struct cursor *cursor, char c)
{
    if (!is_at(cursor, c)) {
        return false;
    }
    cursor->at++;
    return true;
}

/* ---- strings ---- */

/* Behind the escape whose backslash is at `at`; NULL when it is none. A \u surrogate may be alone:
 * the grammar allows it, and nothing here unescapes. */
static const char *skip_escape(const char *at, const char *end)
{
    if (end - at < 2) {
        return NULL;
    }
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return at + 2;
    case 'u':
        break;
    default:
        return NULL;
    }
    if (end - at < 6 || !char_is(at[2], CHAR_HEX) || !char_is(at[3], CHAR_HEX) ||
        !char_is(at[4], CHAR_HEX) || !char_is(at[5], CHAR_HEX)) {
        return NULL;
    }
    return at + 6;
}

static inline bool is_tail(const char *at)
{
    return ((unsigned char)*at & 0xc0) == 0x80;
}

/* Behind the run of non-ASCII characters at `at`; NULL when one is not UTF-8 (RFC 3629 4: no
 * overlong forms, no surrogates, nothing over U+10FFFF). */
static const char *skip_utf8(const char *at, const char *end)
{
    while (at < end && (unsigned char)*at >= 0x80) {
        const unsigned lead = (unsigned char)*at;
        const size_t left = (size_t)(end - at);
        const unsigned second = left > 1 ? (unsigned char)at[1] : 0;

        if (lead >= 0xe1 && lead <= 0xef) {
            if (left < 3 || !is_tail(at + 1) || !is_tail(at + 2) ||
                (lead == 0xed && second > 0x9f)) {
                return NULL;
            }
            at += 3;
        } else if (lead >= 0xc2 && lead <= 0xdf) {
            if (left < 2 || !is_tail(at + 1)) {
                return NULL;
            }
            at += 2;
        } else if (lead == 0xe0) {
            if (left < 3 || second < 0xa0 || !is_tail(at + 1) || !is_tail(at + 2)) {
                return NULL;
            }
            at += 3;
        } else if (lead >= 0xf0 && lead <= 0xf4) {
            if (left < 4 || !is_tail(at + 1) || !is_tail(at + 2) || !is_tail(at + 3) ||
                (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f)) {
                return NULL;
            }
            at += 4;
        } else {
            return NULL;
        }
    }
    return at;
}

/* From behind the opening quote to behind the closing one. */
static enum json_scan_result scan_string(struct cursor *cursor)
{
    const char *const end = cursor->end;
    const char *at = cursor->at;

    for (;;) {
        at = scan_text(at, end);
        if (at == end) {
            return JSON_SCAN_SYNTAX;
        }
        if (*at == '"') {
            cursor->at = at + 1;
            return JSON_SCAN_OK;
        }
        if (*at == '\\') {
            at = skip_escape(at, end);
            if (at == NULL) {
                return JSON_SCAN_SYNTAX;
            }
        } else if ((unsigned char)*at >= 0x80) {
            at = skip_utf8(at, end);
            if (at == NULL) {
                return JSON_SCAN_UTF8;
            }
        } else {
            return JSON_SCAN_SYNTAX;
        }
    }
}

/* ---- numbers and words ---- */

static inline bool take_digits(struct cursor *cursor)
{
    const char *const start = cursor->at;

    while (cursor->at < cursor->end && char_is(*cursor->at, CHAR_DIGIT)) {
        cursor->at++;
    }
    return cursor->at > start;
}

static bool take_number(struct cursor *cursor)
{
    (void)take(cursor, '-');
    if (!take(cursor, '0') && !take_digits(cursor)) {
        return false;
    }
    if (take(cursor, '.') && !take_digits(cursor)) {
        return false;
    }
    if (take(cursor, 'e') || take(cursor, 'E')) {
        if (!take(cursor, '+')) {
            (void)take(cursor, '-');
        }
        return take_digits(cursor);
    }
    return true;
}

static bool take_word(struct cursor *cursor, struct str word)
{
    if ((size_t)(cursor->end - cursor->at) < word.len ||
        memcmp(cursor->at, word.ptr, word.len) != 0) {
        return false;
    }
    cursor->at += word.len;
    return true;
}

/* ---- arrays and objects ---- */

/* Behind "[". */
static enum json_scan_result scan_array(struct cursor *cursor, unsigned depth)
{
    skip_space(cursor);
    if (take(cursor, ']')) {
        return JSON_SCAN_OK;
    }
    for (;;) {
        enum json_scan_result result;

        skip_space(cursor);
        result = scan_any(cursor, depth);
        if (result != JSON_SCAN_OK) {
            return result;
        }
        skip_space(cursor);
        if (take(cursor, ']')) {
            return JSON_SCAN_OK;
        }
        if (!take(cursor, ',')) {
            return JSON_SCAN_SYNTAX;
        }
    }
}

/* A member's name and the colon, with the space around them. */
static enum json_scan_result scan_name(struct cursor *cursor, struct str *ret_name)
{
    const char *start;
    enum json_scan_result result;

    skip_space(cursor);
    if (!take(cursor, '"')) {
        return JSON_SCAN_SYNTAX;
    }
    start = cursor->at;
    result = scan_string(cursor);
    if (result != JSON_SCAN_OK) {
        return result;
    }
    *ret_name = str_make(start, (size_t)(cursor->at - start - 1));
    skip_space(cursor);
    if (!take(cursor, ':')) {
        return JSON_SCAN_SYNTAX;
    }
    skip_space(cursor);
    return JSON_SCAN_OK;
}

/* Behind "{". */
static enum json_scan_result scan_object(struct cursor *cursor, unsigned depth)
{
    skip_space(cursor);
    if (take(cursor, '}')) {
        return JSON_SCAN_OK;
    }
    for (;;) {
        struct str name;
        enum json_scan_result result = scan_name(cursor, &name);

        if (result == JSON_SCAN_OK) {
            result = scan_any(cursor, depth);
        }
        if (result != JSON_SCAN_OK) {
            return result;
        }
        skip_space(cursor);
        if (take(cursor, '}')) {
            return JSON_SCAN_OK;
        }
        if (!take(cursor, ',')) {
            return JSON_SCAN_SYNTAX;
        }
    }
}

/* Any value at the cursor, `depth` arrays and objects being open around it. */
static enum json_scan_result scan_any(struct cursor *cursor, unsigned depth)
{
    const char first = cursor->at < cursor->end ? *cursor->at : '\0';
    bool good;

    if ((first == '{' || first == '[') && depth == JSON_SCAN_DEPTH_MAX) {
        return JSON_SCAN_DEPTH;
    }
    switch (first) {
    case '"':
        cursor->at++;
        return scan_string(cursor);
    case '{':
        cursor->at++;
        return scan_object(cursor, depth + 1);
    case '[':
        cursor->at++;
        return scan_array(cursor, depth + 1);
    case 't':
        good = take_word(cursor, STR_LIT("true"));
        break;
    case 'f':
        good = take_word(cursor, STR_LIT("false"));
        break;
    case 'n':
        good = take_word(cursor, STR_LIT("null"));
        break;
    default:
        good = take_number(cursor);
        break;
    }
    return good ? JSON_SCAN_OK : JSON_SCAN_SYNTAX;
}

/* ---- the top level ---- */

static bool has_escape(struct str text)
{
    return memchr(text.ptr, '\\', text.len) != NULL;
}

static enum json_scan_result check_new_name(const struct json_scan *scan, struct str name)
{
    if (name.len > NAME_BYTES_MAX || has_escape(name)) {
        return JSON_SCAN_NAME;
    }
    for (uint32_t i = 0; i < scan->member_count; i++) {
        if (str_eq(scan->members[i].name, name)) {
            return JSON_SCAN_DUPLICATE;
        }
    }
    return scan->member_count < JSON_SCAN_MEMBERS_MAX ? JSON_SCAN_OK : JSON_SCAN_MEMBERS;
}

/* Of a value known to be good. */
static bool is_number(struct str value)
{
    return value.ptr[0] == '-' || char_is(value.ptr[0], CHAR_DIGIT);
}

/* Zero by its digits: 1e-999 is not, whatever a double would make of it. */
static bool is_zero(struct str number)
{
    for (size_t i = 0; i < number.len; i++) {
        const char c = number.ptr[i];

        if (c == 'e' || c == 'E') {
            break;
        }
        if (c >= '1' && c <= '9') {
            return false;
        }
    }
    return true;
}

static void note_member(struct json_scan *scan, const struct json_member *member)
{
    const struct str name = member->name;
    const struct str value = member->value;

    if (str_eq(name, STR_LIT("model"))) {
        if (value.ptr[0] == '"' && !has_escape(value)) {
            scan->model = str_slice(value, 1, value.len - 1);
        }
    } else if (str_eq(name, STR_LIT("stream"))) {
        scan->stream = str_eq(value, STR_LIT("true"))    ? JSON_SCAN_TRUE
                       : str_eq(value, STR_LIT("false")) ? JSON_SCAN_FALSE
                                                         : JSON_SCAN_ABSENT;
    } else if (str_eq(name, STR_LIT("temperature"))) {
        scan->temperature_is_zero = is_number(value) && is_zero(value);
    } else if (str_eq(name, STR_LIT("seed"))) {
        scan->has_seed = is_number(value);
    } else if (str_eq(name, STR_LIT("store"))) {
        scan->store = str_eq(value, STR_LIT("true"));
    }
}

static enum json_scan_result scan_member(struct cursor *cursor, struct json_scan *scan)
{
    struct json_member *member = &scan->members[scan->member_count];
    struct str name;
    const char *start;
    enum json_scan_result result = scan_name(cursor, &name);

    if (result == JSON_SCAN_OK) {
        result = check_new_name(scan, name);
    }
    if (result != JSON_SCAN_OK) {
        return result;
    }
    start = cursor->at;
    cursor->spaced = false;
    result = scan_any(cursor, 1);
    if (result != JSON_SCAN_OK) {
        return result;
    }
    *member = (struct json_member){
        .name = name,
        .value = str_make(start, (size_t)(cursor->at - start)),
        .spaced = cursor->spaced,
    };
    note_member(scan, member);
    scan->member_count++;
    return JSON_SCAN_OK;
}

/* Behind "{". */
static enum json_scan_result scan_members(struct cursor *cursor, struct json_scan *scan)
{
    skip_space(cursor);
    if (take(cursor, '}')) {
        return JSON_SCAN_OK;
    }
    for (;;) {
        const enum json_scan_result result = scan_member(cursor, scan);

        if (result != JSON_SCAN_OK) {
            return result;
        }
        skip_space(cursor);
        if (take(cursor, '}')) {
            return JSON_SCAN_OK;
        }
        if (!take(cursor, ',')) {
            return JSON_SCAN_SYNTAX;
        }
    }
}

enum json_scan_result json_scan(struct str body, struct json_scan *ret_scan)
{
    struct cursor cursor = {.at = body.ptr, .end = body.len == 0 ? body.ptr : body.ptr + body.len};
    enum json_scan_result result;
    bool is_object;

    ret_scan->member_count = 0;
    ret_scan->model = STR_EMPTY;
    ret_scan->stream = JSON_SCAN_ABSENT;
    ret_scan->temperature_is_zero = false;
    ret_scan->has_seed = false;
    ret_scan->store = false;

    skip_space(&cursor);
    is_object = take(&cursor, '{');
    result = is_object ? scan_members(&cursor, ret_scan) : scan_any(&cursor, 0);
    if (result != JSON_SCAN_OK) {
        return result;
    }
    skip_space(&cursor);
    if (cursor.at != cursor.end) {
        return JSON_SCAN_SYNTAX;
    }
    return is_object ? JSON_SCAN_OK : JSON_SCAN_NO_OBJECT;
}
