/* SPDX-License-Identifier: MIT */
/*
 * The scan: RFC 8259 as a machine that stops at any byte and goes on from there, with one loop that
 * matters. A prompt is a string of up to megabytes, so step_string() passes plain text 16 bytes at
 * a time (scan_private.h) and looks closer only at escapes and at what is not ASCII. What is open
 * is a bit for each container: JSON_SCAN_DEPTH_MAX of them.
 *
 *             +-------- , in an array --------+
 *             v                               |
 *   start > VALUE --- scalar or ] } ------> NEXT > DONE, when nothing is open
 *             ^                               |
 *           COLON < IN_NAME < NAME <-- , ----+        "[" waits at VALUE_OR_CLOSE, "{" at
 *                                                     NAME_OR_CLOSE; IN_STRING, IN_NUMBER: within
 *
 * A body may be cut anywhere. Strings and numbers, which may be long, are resumed where the cut is;
 * of words, escapes and characters too few bytes are left for the next time.
 *
 * json_canonical.c has the other half.
 */
#include "char_class_private.h"
#include "scan_private.h"
#include "utf8_private.h"

#include <nearside/base/assert.h>
#include <nearside/http/json_scan.h>

#define ESCAPE_BYTES_MAX 6 /* \u0000 */

enum place {
    VALUE,
    VALUE_OR_CLOSE,
    NAME,
    NAME_OR_CLOSE,
    COLON,
    NEXT, /* behind a value that is in a container */
    DONE,
    IN_NAME,
    IN_STRING,
    IN_NUMBER,
};

/* What of a number has been passed. */
enum number_part {
    NUMBER_SIGN,
    NUMBER_ZERO,
    NUMBER_INTEGER,
    NUMBER_POINT,
    NUMBER_FRACTION,
    NUMBER_EXPONENT,
    NUMBER_EXPONENT_SIGN,
    NUMBER_EXPONENT_DIGITS,
};

enum step {
    STEP_ON,
    STEP_CUT, /* more is needed */
    STEP_BAD, /* scanner->fault says what is wrong */
};

struct cursor {
    struct json_scanner *scanner;
    const char *at;
    const char *end;
};

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

static inline enum step bad(struct cursor *cursor, enum json_scan_result fault)
{
    cursor->scanner->fault = fault;
    return STEP_BAD;
}

static inline enum step go_to(struct cursor *cursor, enum place place)
{
    cursor->scanner->place = (uint8_t)place;
    return STEP_ON;
}

static inline size_t offset_of(const struct cursor *cursor, const char *at)
{
    return (size_t)(at - cursor->scanner->base);
}

/* ---- top-level members ---- */

static bool has_escape(struct str text)
{
    return memchr(text.ptr, '\\', text.len) != NULL;
}

static enum json_scan_result check_new_name(const struct json_scan *scan, struct str name)
{
    if (name.len > JSON_SCAN_NAME_MAX || has_escape(name)) {
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

/* Of the open container: is it the body's own object? */
static inline bool is_top(const struct json_scanner *scanner)
{
    return scanner->depth == 1 && scanner->is_object;
}

static enum json_scan_result check_name(const struct json_scanner *scanner)
{
    const struct str name = str_make(scanner->base + scanner->name_at, scanner->name_len);

    return check_new_name(scanner->scan, name);
}

static void begin_member(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;

    scanner->scan->members[scanner->scan->member_count] = (struct json_member){
        .name = str_make(scanner->base + scanner->name_at, scanner->name_len),
        .value = str_make(cursor->at, 0),
    };
    scanner->run = offset_of(cursor, cursor->at);
    scanner->in_member = true;
}

/* Within a member: what lies between the last run and `end` belongs to its compact form. */
static void tell_run(struct json_scanner *scanner, const char *end)
{
    const uint32_t index = scanner->scan->member_count;
    struct json_member *member = &scanner->scan->members[index];
    const char *const start = scanner->base + scanner->run;

    if (end == start) {
        return;
    }
    scanner->run = (size_t)(end - scanner->base);
    member->value.len = (size_t)(end - member->value.ptr);
    member->compact_len += (uint64_t)(end - start);
    if (scanner->on_run != NULL) {
        scanner->on_run(scanner->arg, index, member, str_make(start, (size_t)(end - start)));
    }
}

static void end_member(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;
    struct json_scan *scan = scanner->scan;

    tell_run(scanner, cursor->at);
    scanner->in_member = false;
    note_member(scan, &scan->members[scan->member_count]);
    scan->member_count++;
}

/* The cursor is behind a whole value. */
static inline enum step end_value(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;

    if (is_top(scanner)) {
        end_member(cursor);
    }
    return go_to(cursor, scanner->depth == 0 ? DONE : NEXT);
}

/* ---- white space ---- */

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void skip_member_space(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;

    tell_run(scanner, cursor->at);
    scanner->scan->members[scanner->scan->member_count].spaced = true;
    while (cursor->at < cursor->end && is_space(*cursor->at)) {
        cursor->at++;
    }
    scanner->run = offset_of(cursor, cursor->at);
}

static inline void skip_space(struct cursor *cursor)
{
    if (cursor->at == cursor->end || !is_space(*cursor->at)) {
        return;
    }
    if (cursor->scanner->in_member) {
        skip_member_space(cursor);
        return;
    }
    do {
        cursor->at++;
    } while (cursor->at < cursor->end && is_space(*cursor->at));
}

/* ---- strings ---- */

/* The length of the escape whose backslash is at `at`; 0 when it is none. A \u surrogate may be
 * alone: the grammar allows it, and nothing here unescapes. */
static size_t escape_len(const char *at, const char *end)
{
    if (end - at < 2) {
        return 0;
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
        return 2;
    case 'u':
        break;
    default:
        return 0;
    }
    return end - at >= ESCAPE_BYTES_MAX && char_is(at[2], CHAR_HEX) && char_is(at[3], CHAR_HEX) &&
                   char_is(at[4], CHAR_HEX) && char_is(at[5], CHAR_HEX)
               ? ESCAPE_BYTES_MAX
               : 0;
}

static enum step end_string(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;

    if (scanner->place == IN_STRING) {
        cursor->at++;
        return end_value(cursor);
    }
    if (is_top(scanner)) {
        scanner->name_len = offset_of(cursor, cursor->at) - scanner->name_at;
    }
    cursor->at++;
    return go_to(cursor, COLON);
}

/* Something is wrong at the cursor, or cut. */
static enum step cut_or_bad(struct cursor *cursor, size_t whole, enum json_scan_result fault)
{
    return (size_t)(cursor->end - cursor->at) < whole ? STEP_CUT : bad(cursor, fault);
}

/* A name or a value, from behind the opening quote. */
static enum step step_string(struct cursor *cursor)
{
    for (;;) {
        size_t len;

        cursor->at = scan_text(cursor->at, cursor->end);
        if (cursor->at == cursor->end) {
            return STEP_CUT;
        }
        const char stop = *cursor->at;
        if (stop == '"') {
            return end_string(cursor);
        }
        if (stop == '\\') {
            len = escape_len(cursor->at, cursor->end);
            if (len == 0) {
                return cut_or_bad(cursor, ESCAPE_BYTES_MAX, JSON_SCAN_SYNTAX);
            }
            cursor->at += len;
        } else if ((unsigned char)stop >= 0x80) {
            cursor->at = utf8_skip(cursor->at, cursor->end);
            if (cursor->at < cursor->end && (unsigned char)*cursor->at >= 0x80) {
                return cut_or_bad(cursor, UTF8_BYTES_MAX, JSON_SCAN_UTF8);
            }
        } else {
            return bad(cursor, JSON_SCAN_SYNTAX);
        }
    }
}

/* ---- numbers and words ---- */

/* The part of a number that `c` brings it to; -1: it does not go on with it. */
static int next_part(enum number_part part, char c)
{
    const bool digit = char_is(c, CHAR_DIGIT);
    const bool exponent = c == 'e' || c == 'E';

    switch (part) {
    case NUMBER_SIGN:
        return c == '0' ? NUMBER_ZERO : digit ? NUMBER_INTEGER : -1;
    case NUMBER_INTEGER:
        if (digit) {
            return NUMBER_INTEGER;
        }
        return c == '.' ? NUMBER_POINT : exponent ? NUMBER_EXPONENT : -1;
    case NUMBER_ZERO:
        return c == '.' ? NUMBER_POINT : exponent ? NUMBER_EXPONENT : -1;
    case NUMBER_POINT:
        return digit ? NUMBER_FRACTION : -1;
    case NUMBER_FRACTION:
        return digit ? NUMBER_FRACTION : exponent ? NUMBER_EXPONENT : -1;
    case NUMBER_EXPONENT:
        if (c == '+' || c == '-') {
            return NUMBER_EXPONENT_SIGN;
        }
        break;
    case NUMBER_EXPONENT_SIGN:
    case NUMBER_EXPONENT_DIGITS:
        break;
    }
    return digit ? NUMBER_EXPONENT_DIGITS : -1;
}

static bool is_whole_number(enum number_part part)
{
    return part == NUMBER_ZERO || part == NUMBER_INTEGER || part == NUMBER_FRACTION ||
           part == NUMBER_EXPONENT_DIGITS;
}

static enum step step_number(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;
    enum number_part part = scanner->number;

    for (; cursor->at < cursor->end; cursor->at++) {
        const int next = next_part(part, *cursor->at);
        if (next < 0) {
            return is_whole_number(part) ? end_value(cursor) : bad(cursor, JSON_SCAN_SYNTAX);
        }
        part = (enum number_part)next;
    }
    scanner->number = (uint8_t)part;
    return STEP_CUT;
}

static enum step begin_number(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;

    if (*cursor->at == '-') {
        cursor->at++;
        scanner->number = NUMBER_SIGN;
    } else if (char_is(*cursor->at, CHAR_DIGIT)) {
        scanner->number = *cursor->at++ == '0' ? NUMBER_ZERO : NUMBER_INTEGER;
    } else {
        return bad(cursor, JSON_SCAN_SYNTAX);
    }
    return go_to(cursor, IN_NUMBER);
}

static enum step step_word(struct cursor *cursor, struct str word)
{
    const size_t left = (size_t)(cursor->end - cursor->at);
    const size_t known = left < word.len ? left : word.len;

    if (memcmp(cursor->at, word.ptr, known) != 0) {
        return bad(cursor, JSON_SCAN_SYNTAX);
    }
    if (known < word.len) {
        return STEP_CUT;
    }
    cursor->at += word.len;
    return end_value(cursor);
}

/* ---- arrays and objects ---- */

static enum step open_container(struct cursor *cursor, bool is_object)
{
    struct json_scanner *scanner = cursor->scanner;

    if (scanner->depth == JSON_SCAN_DEPTH_MAX) {
        return bad(cursor, JSON_SCAN_DEPTH);
    }
    if (scanner->depth == 0) {
        scanner->is_object = is_object;
    }
    scanner->depth++;
    scanner->objects = scanner->objects << 1 | is_object;
    cursor->at++;
    return go_to(cursor, is_object ? NAME_OR_CLOSE : VALUE_OR_CLOSE);
}

static enum step close_container(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;

    cursor->at++;
    scanner->depth--;
    scanner->objects >>= 1;
    return end_value(cursor);
}

static enum step step_next(struct cursor *cursor)
{
    const bool is_object = (cursor->scanner->objects & 1) != 0;

    if (*cursor->at == ',') {
        cursor->at++;
        return go_to(cursor, is_object ? NAME : VALUE);
    }
    if (*cursor->at == (is_object ? '}' : ']')) {
        return close_container(cursor);
    }
    return bad(cursor, JSON_SCAN_SYNTAX);
}

static enum step step_name(struct cursor *cursor)
{
    if (*cursor->at != '"') {
        return bad(cursor, JSON_SCAN_SYNTAX);
    }
    cursor->at++;
    if (is_top(cursor->scanner)) {
        cursor->scanner->name_at = offset_of(cursor, cursor->at);
    }
    return go_to(cursor, IN_NAME);
}

static enum step step_colon(struct cursor *cursor)
{
    if (*cursor->at != ':') {
        return bad(cursor, JSON_SCAN_SYNTAX);
    }
    cursor->at++;
    if (is_top(cursor->scanner)) {
        const enum json_scan_result result = check_name(cursor->scanner);
        if (result != JSON_SCAN_OK) {
            return bad(cursor, result);
        }
    }
    return go_to(cursor, VALUE);
}

static enum step step_value(struct cursor *cursor)
{
    if (is_top(cursor->scanner)) {
        begin_member(cursor);
    }
    switch (*cursor->at) {
    case '"':
        cursor->at++;
        return go_to(cursor, IN_STRING);
    case '{':
        return open_container(cursor, true);
    case '[':
        return open_container(cursor, false);
    case 't':
        return step_word(cursor, STR_LIT("true"));
    case 'f':
        return step_word(cursor, STR_LIT("false"));
    case 'n':
        return step_word(cursor, STR_LIT("null"));
    default:
        return begin_number(cursor);
    }
}

/* ---- the machine ---- */

static enum step step_between_tokens(struct cursor *cursor)
{
    skip_space(cursor);
    if (cursor->at == cursor->end) {
        return STEP_CUT;
    }
    switch (cursor->scanner->place) {
    case VALUE:
        return step_value(cursor);
    case VALUE_OR_CLOSE:
        return *cursor->at == ']' ? close_container(cursor) : step_value(cursor);
    case NAME:
        return step_name(cursor);
    case NAME_OR_CLOSE:
        return *cursor->at == '}' ? close_container(cursor) : step_name(cursor);
    case COLON:
        return step_colon(cursor);
    case NEXT:
        return step_next(cursor);
    default: /* DONE */
        return bad(cursor, JSON_SCAN_SYNTAX);
    }
}

static inline enum step step(struct cursor *cursor)
{
    switch (cursor->scanner->place) {
    case IN_NAME:
    case IN_STRING:
        return step_string(cursor);
    case IN_NUMBER:
        return step_number(cursor);
    default:
        return step_between_tokens(cursor);
    }
}

/* The body lies elsewhere than before: so do the views into it. */
static void rebase(struct json_scanner *scanner, const char *base)
{
    struct json_scan *scan = scanner->scan;
    const uint32_t count = scan->member_count + scanner->in_member;
    const uintptr_t from = (uintptr_t)scanner->base;

    for (uint32_t i = 0; i < count; i++) {
        struct json_member *member = &scan->members[i];
        member->name.ptr = base + ((uintptr_t)member->name.ptr - from);
        member->value.ptr = base + ((uintptr_t)member->value.ptr - from);
    }
    if (scan->model.len > 0) {
        scan->model.ptr = base + ((uintptr_t)scan->model.ptr - from);
    }
    scanner->base = base;
}

void json_scanner_start(struct json_scanner *scanner, struct json_scan *scan, json_run_fn on_run,
                        void *arg)
{
    scan->member_count = 0;
    scan->model = STR_EMPTY;
    scan->stream = JSON_SCAN_ABSENT;
    scan->temperature_is_zero = false;
    scan->has_seed = false;
    scan->store = false;
    *scanner = (struct json_scanner){
        .scan = scan, .on_run = on_run, .arg = arg, .place = VALUE, .fault = JSON_SCAN_OK};
}

enum json_scan_result json_scanner_feed(struct json_scanner *scanner, struct str body)
{
    struct cursor cursor;
    enum step result;

    ASSERT(body.len >= scanner->at);
    if (scanner->fault != JSON_SCAN_OK) {
        return scanner->fault;
    }
    if (scanner->base != body.ptr) {
        rebase(scanner, body.ptr);
    }
    cursor = (struct cursor){
        .scanner = scanner, .at = body.ptr + scanner->at, .end = body.ptr + body.len};
    do {
        result = step(&cursor);
    } while (result == STEP_ON);
    if (result == STEP_CUT && scanner->in_member) {
        tell_run(scanner, cursor.at);
    }
    scanner->at = offset_of(&cursor, cursor.at);
    return scanner->fault;
}

/* The body is over, and more was needed. */
static enum json_scan_result judge_cut(const struct json_scanner *scanner, struct str body)
{
    const bool in_string = scanner->place == IN_STRING || scanner->place == IN_NAME;
    const bool in_character =
        in_string && scanner->at < body.len && (unsigned char)body.ptr[scanner->at] >= 0x80;

    return in_character ? JSON_SCAN_UTF8 : JSON_SCAN_SYNTAX;
}

enum json_scan_result json_scanner_end(struct json_scanner *scanner, struct str body)
{
    const enum json_scan_result fault = json_scanner_feed(scanner, body);

    if (fault != JSON_SCAN_OK) {
        return fault;
    }
    if (scanner->depth == 0 && scanner->place == IN_NUMBER && is_whole_number(scanner->number)) {
        return JSON_SCAN_NO_OBJECT;
    }
    if (scanner->place != DONE) {
        return judge_cut(scanner, body);
    }
    return scanner->is_object ? JSON_SCAN_OK : JSON_SCAN_NO_OBJECT;
}

enum json_scan_result json_scan(struct str body, struct json_scan *ret_scan)
{
    struct json_scanner scanner;

    json_scanner_start(&scanner, ret_scan, NULL, NULL);
    return json_scanner_end(&scanner, body);
}
