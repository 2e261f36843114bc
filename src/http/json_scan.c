/* SPDX-License-Identifier: MIT */
/*
 * The scan: RFC 8259 as a machine that stops at any byte and goes on from there. A prompt is a
 * string of up to megabytes, so pass_string() takes plain text 16 bytes at a time (scan_private.h)
 * and looks closer only at escapes and at what is not ASCII; most bodies are a few short members,
 * so step() goes through one of an object in a straight line. What is open is a bit for each
 * container: JSON_SCAN_DEPTH_MAX of them.
 *
 *             +-------- , in an array --------+
 *             v                               |
 *   start > VALUE --- scalar or ] } ------> NEXT > DONE, when nothing is open
 *             ^                               |
 *           COLON < IN_NAME < NAME <-- , ----+        "[" waits at VALUE_OR_CLOSE, "{" at
 *                                                     NAME_OR_CLOSE; IN_STRING, IN_NUMBER: within
 *
 * A body may be cut anywhere: `place` says where to go on. Strings and numbers, which may be long,
 * are resumed where the cut is; of words, escapes and characters too few bytes are left for the
 * next time.
 *
 * What the body's own members say is json_members.c's, the canonical form json_canonical.c's.
 */
#include "char_class_private.h"
#include "json_members_private.h"
#include "json_number_private.h"
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

enum step {
    STEP_ON,   /* to what comes next in a member */
    STEP_TURN, /* to `place` */
    STEP_CUT,  /* more is needed */
    STEP_BAD,  /* scanner->fault says what is wrong */
};

/* Only step() and what is inlined into it have its address, so that it stays in registers. */
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

static inline void go_to(struct cursor *cursor, enum place place)
{
    cursor->scanner->place = (uint8_t)place;
}

static inline enum step turn_to(struct cursor *cursor, enum place place)
{
    go_to(cursor, place);
    return STEP_TURN;
}

/* The cursor is behind a whole value. */
static inline enum step end_value(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;

    if (scanner->is_top) {
        json_members_end(scanner, cursor->at);
    }
    return turn_to(cursor, scanner->depth == 0 ? DONE : NEXT);
}

/* ---- white space ---- */

static inline bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* To the next token; false: there is none yet. */
static inline bool find_token(struct cursor *cursor)
{
    const char *at = cursor->at;

    if (at < cursor->end && (unsigned char)*at > ' ') {
        return true;
    }
    while (at < cursor->end && is_space(*at)) {
        at++;
    }
    if (cursor->scanner->in_member && at > cursor->at) {
        json_members_space(cursor->scanner, cursor->at, at);
    }
    cursor->at = at;
    return at < cursor->end;
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

/* Past the escape or the run of other characters at `at`, where plain text stops. Where it stays
 * they are cut or, when scanner->fault says so, bad. */
static const char *pass_special(struct json_scanner *scanner, const char *at, const char *end)
{
    const size_t left = (size_t)(end - at);
    const char *behind = at;

    if (*at == '\\') {
        scanner->has_escape = true;
        behind = at + escape_len(at, end);
        if (behind == at && left >= ESCAPE_BYTES_MAX) {
            scanner->fault = JSON_SCAN_SYNTAX;
        }
    } else if ((unsigned char)*at >= 0x80) {
        behind = utf8_skip(at, end);
        if (behind == at && left >= UTF8_BYTES_MAX) {
            scanner->fault = JSON_SCAN_UTF8;
        }
    } else {
        scanner->fault = JSON_SCAN_SYNTAX;
    }
    return behind;
}

/* From within one to behind its closing quote. */
static inline enum step pass_string(struct cursor *cursor)
{
    for (;;) {
        const char *stop = scan_text(cursor->at, cursor->end);

        cursor->at = stop;
        if (stop == cursor->end) {
            return STEP_CUT;
        }
        if (*stop == '"') {
            cursor->at++;
            return STEP_ON;
        }
        cursor->at = pass_special(cursor->scanner, stop, cursor->end);
        if (cursor->at == stop) {
            return cursor->scanner->fault == JSON_SCAN_OK ? STEP_CUT : STEP_BAD;
        }
    }
}

/* ---- numbers and words ---- */

static inline enum step pass_number(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;
    enum json_number_part part = scanner->number;

    for (; cursor->at < cursor->end; cursor->at++) {
        const int next = json_number_next(part, *cursor->at);
        if (next < 0) {
            return json_number_is_whole(part) ? end_value(cursor) : bad(cursor, JSON_SCAN_SYNTAX);
        }
        part = (enum json_number_part)next;
    }
    scanner->number = (uint8_t)part;
    return STEP_CUT;
}

static inline enum step begin_number(struct cursor *cursor)
{
    const char first = *cursor->at;

    if (first != '-' && !char_is(first, CHAR_DIGIT)) {
        return bad(cursor, JSON_SCAN_SYNTAX);
    }
    cursor->at++;
    cursor->scanner->number = first == '-'   ? JSON_NUMBER_SIGN
                              : first == '0' ? JSON_NUMBER_ZERO
                                             : JSON_NUMBER_INTEGER;
    return turn_to(cursor, IN_NUMBER);
}

static inline enum step pass_word(struct cursor *cursor, struct str word)
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

static inline enum step open_container(struct cursor *cursor, bool is_object)
{
    struct json_scanner *scanner = cursor->scanner;

    if (scanner->depth == JSON_SCAN_DEPTH_MAX) {
        return bad(cursor, JSON_SCAN_DEPTH);
    }
    if (scanner->depth == 0) {
        scanner->is_object = is_object;
    }
    scanner->is_top = scanner->depth == 0 && is_object;
    scanner->depth++;
    scanner->objects = scanner->objects << 1 | is_object;
    cursor->at++;
    return turn_to(cursor, is_object ? NAME_OR_CLOSE : VALUE_OR_CLOSE);
}

static inline enum step close_container(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;

    cursor->at++;
    scanner->depth--;
    scanner->objects >>= 1;
    scanner->is_top = scanner->depth == 1 && scanner->is_object;
    return end_value(cursor);
}

/* ---- what follows on what in an object: STEP_ON goes to the next of these ---- */

static inline enum step pass_comma(struct cursor *cursor)
{
    const bool is_object = (cursor->scanner->objects & 1) != 0;

    if (!find_token(cursor)) {
        return STEP_CUT;
    }
    if (*cursor->at == ',') {
        cursor->at++;
        go_to(cursor, is_object ? NAME : VALUE);
        return is_object ? STEP_ON : STEP_TURN;
    }
    return *cursor->at == (is_object ? '}' : ']') ? close_container(cursor)
                                                  : bad(cursor, JSON_SCAN_SYNTAX);
}

static inline enum step begin_name(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;

    if (!find_token(cursor)) {
        return STEP_CUT;
    }
    if (*cursor->at == '"') {
        cursor->at++;
        scanner->name_at = (size_t)(cursor->at - scanner->base);
        scanner->has_escape = false;
        go_to(cursor, IN_NAME);
        return STEP_ON;
    }
    return *cursor->at == '}' && scanner->place == NAME_OR_CLOSE ? close_container(cursor)
                                                                 : bad(cursor, JSON_SCAN_SYNTAX);
}

static inline enum step pass_name(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;
    const enum step result = pass_string(cursor);

    if (result == STEP_ON) {
        scanner->name_len = (size_t)(cursor->at - 1 - scanner->base) - scanner->name_at;
        go_to(cursor, COLON);
    }
    return result;
}

static inline enum step pass_colon(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;

    if (!find_token(cursor)) {
        return STEP_CUT;
    }
    if (*cursor->at != ':') {
        return bad(cursor, JSON_SCAN_SYNTAX);
    }
    cursor->at++;
    if (scanner->is_top) {
        scanner->fault = json_members_check_name(scanner);
    }
    go_to(cursor, VALUE);
    return scanner->fault == JSON_SCAN_OK ? STEP_ON : STEP_BAD;
}

static inline enum step begin_value(struct cursor *cursor)
{
    struct json_scanner *scanner = cursor->scanner;

    if (!find_token(cursor)) {
        return STEP_CUT;
    }
    if (scanner->is_top) {
        json_members_begin(scanner, cursor->at);
    }
    switch (*cursor->at) {
    case '"':
        cursor->at++;
        scanner->has_escape = false;
        go_to(cursor, IN_STRING);
        return STEP_ON;
    case '{':
        return open_container(cursor, true);
    case '[':
        return open_container(cursor, false);
    case ']':
        return scanner->place == VALUE_OR_CLOSE ? close_container(cursor)
                                                : bad(cursor, JSON_SCAN_SYNTAX);
    case 't':
        return pass_word(cursor, STR_LIT("true"));
    case 'f':
        return pass_word(cursor, STR_LIT("false"));
    case 'n':
        return pass_word(cursor, STR_LIT("null"));
    default:
        return begin_number(cursor);
    }
}

static inline enum step pass_text(struct cursor *cursor)
{
    const enum step result = pass_string(cursor);

    return result == STEP_ON ? end_value(cursor) : result;
}

/* ---- the machine ---- */

/* From `place` to the end of a scalar, or into a container or out of one. */
static inline enum step step(struct cursor *cursor)
{
    enum step result = STEP_ON;

    switch ((enum place)cursor->scanner->place) {
    case NEXT:
        result = pass_comma(cursor);
        if (result != STEP_ON) {
            break;
        }
        __attribute__((fallthrough));
    case NAME:
    case NAME_OR_CLOSE:
        result = begin_name(cursor);
        if (result != STEP_ON) {
            break;
        }
        __attribute__((fallthrough));
    case IN_NAME:
        result = pass_name(cursor);
        if (result != STEP_ON) {
            break;
        }
        __attribute__((fallthrough));
    case COLON:
        result = pass_colon(cursor);
        if (result != STEP_ON) {
            break;
        }
        __attribute__((fallthrough));
    case VALUE:
    case VALUE_OR_CLOSE:
        result = begin_value(cursor);
        if (result != STEP_ON) {
            break;
        }
        __attribute__((fallthrough));
    case IN_STRING:
        result = pass_text(cursor);
        break;
    case IN_NUMBER:
        result = pass_number(cursor);
        break;
    case DONE:
        result = find_token(cursor) ? bad(cursor, JSON_SCAN_SYNTAX) : STEP_CUT;
        break;
    }
    return result;
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

void json_scanner_start(struct json_scanner *scanner, struct json_scan *scan, uint64_t long_bytes,
                        json_run_fn on_run, void *arg)
{
    scan->member_count = 0;
    scan->model = STR_EMPTY;
    scan->stream = JSON_SCAN_ABSENT;
    scan->temperature_is_zero = false;
    scan->has_seed = false;
    scan->store = false;
    *scanner = (struct json_scanner){.scan = scan,
                                     .on_run = on_run,
                                     .arg = arg,
                                     .long_bytes = long_bytes,
                                     .place = VALUE,
                                     .fault = JSON_SCAN_OK};
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
    } while (result == STEP_TURN);
    if (result == STEP_CUT && scanner->in_member) {
        json_members_tell(scanner, cursor.at);
    }
    scanner->at = (size_t)(cursor.at - scanner->base);
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
    if (scanner->depth == 0 && scanner->place == IN_NUMBER &&
        json_number_is_whole(scanner->number)) {
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

    json_scanner_start(&scanner, ret_scan, 0, NULL, NULL);
    return json_scanner_end(&scanner, body);
}
