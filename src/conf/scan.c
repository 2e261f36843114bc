/* SPDX-License-Identifier: MIT */
/* The scan before the parse. Follows the tokens of libconfig's scanner, no grammar. */
#include "scan_private.h"

#include "file_private.h"

#include <nearside/base/mem.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define INCLUDE_DEPTH_MAX 10 /* libconfig's own */
#define INTEGER_MAX       2147483647ULL
#define INCLUDE_WORD      "@include"

struct scan {
    struct str text;
    size_t at;
    unsigned line;
    bool line_is_blank; /* only white space so far: an @include may follow */

    const char *name;
    const char *folder;
    unsigned depth;
    unsigned *includes; /* borrowed: so far, in all files */
    struct errbuf *err;
};

static enum status scan_text(struct scan *scan);

static enum status scan_fail(struct scan *scan, const char *what)
{
    err_set(scan->err, "%s:%u: %s", scan->name, scan->line, what);
    return STATUS_INVALID;
}

/* NUL at the end of the text; a NUL in it was refused at the start. */
static char peek(const struct scan *scan, size_t ahead)
{
    return scan->at + ahead < scan->text.len ? scan->text.ptr[scan->at + ahead] : '\0';
}

static void advance(struct scan *scan)
{
    if (peek(scan, 0) == '\n') {
        scan->line++;
        scan->line_is_blank = true;
    }
    scan->at++;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex_digit(char c)
{
    char lower = str_lower_char(c);

    return is_digit(c) || (lower >= 'a' && lower <= 'f');
}

static bool is_name_start(char c)
{
    char lower = str_lower_char(c);

    return (lower >= 'a' && lower <= 'z') || c == '*';
}

static bool is_name_char(char c)
{
    return is_name_start(c) || is_digit(c) || c == '-' || c == '_';
}

static void skip_line(struct scan *scan)
{
    while (scan->at < scan->text.len && peek(scan, 0) != '\n') {
        scan->at++;
    }
}

static enum status skip_comment(struct scan *scan)
{
    unsigned begin = scan->line;

    scan->at += 2;
    while (peek(scan, 0) != '*' || peek(scan, 1) != '/') {
        if (scan->at >= scan->text.len) {
            scan->line = begin;
            return scan_fail(scan, "found a comment without an end, allowed: /* ... */");
        }
        advance(scan);
    }
    scan->at += 2;
    scan->line_is_blank = false;
    return STATUS_OK;
}

static enum status skip_string(struct scan *scan)
{
    unsigned begin = scan->line;

    scan->at++;
    while (scan->at < scan->text.len && peek(scan, 0) != '"') {
        if (peek(scan, 0) == '\\' && scan->at + 1 < scan->text.len) {
            scan->at++;
        }
        advance(scan);
    }
    if (scan->at >= scan->text.len) {
        scan->line = begin;
        return scan_fail(scan, "found a string without an end, allowed: \"...\"");
    }
    scan->at++;
    scan->line_is_blank = false;
    return STATUS_OK;
}

/* A run of hex digits that fills more than 31 bits once leading zeros are gone. */
static bool hex_is_wide(struct str digits)
{
    while (digits.len > 0 && digits.ptr[0] == '0') {
        digits = str_slice(digits, 1, digits.len);
    }
    return digits.len > 8 || (digits.len == 8 && digits.ptr[0] > '7');
}

static bool decimal_is_wide(struct str digits)
{
    uint64_t value;

    return !str_to_u64(digits, &value) || value > INTEGER_MAX;
}

/* The rest of a float from its point or exponent on; its digits are no integer. */
static void skip_fraction(struct scan *scan)
{
    for (;;) {
        char c = str_lower_char(peek(scan, 0));
        char next = peek(scan, 1);

        if (!is_digit(c) && c != '.' && c != 'e') {
            return;
        }
        scan->at += c == 'e' && (next == '+' || next == '-') ? 2 : 1;
    }
}

static enum status skip_number(struct scan *scan)
{
    bool hex = peek(scan, 0) == '0' && str_lower_char(peek(scan, 1)) == 'x';
    size_t begin = scan->at += hex ? 2 : 0;

    while (hex ? is_hex_digit(peek(scan, 0)) : is_digit(peek(scan, 0))) {
        scan->at++;
    }
    struct str digits = str_slice(scan->text, begin, scan->at);
    char after = str_lower_char(peek(scan, 0));

    if (!hex && (after == '.' || after == 'e')) {
        skip_fraction(scan);
        return STATUS_OK;
    }
    if (peek(scan, 0) == 'L') {
        return STATUS_OK;
    }
    if (hex ? hex_is_wide(digits) : decimal_is_wide(digits)) {
        return scan_fail(scan, "found an integer over 2147483647, allowed: with an L at its end, "
                               "4294967296L");
    }
    return STATUS_OK;
}

static enum status scan_include(struct scan *outer, const char *path)
{
    struct buf bytes;
    struct errbuf why;
    struct stat info;
    char *whole = path[0] == '/' ? mem_strdup(path) : mem_printf("%s/%s", outer->folder, path);
    enum status status = STATUS_INVALID;

    buf_init(&bytes);
    if (stat(whole, &info) != 0) {
        err_set(&why, "%s", strerror(errno));
    } else if (!S_ISREG(info.st_mode)) {
        err_set(&why, "not a regular file");
    } else {
        status = conf_file_read(whole, CONF_FILE_BYTES_MAX, &bytes, &why);
    }
    if (status != STATUS_OK) {
        err_set(outer->err, "%s:%u: @include: found \"%s\" (%s), allowed: a readable file: %s",
                outer->name, outer->line, path, whole, why.text);
    } else {
        struct scan inner = *outer;

        inner.text = buf_str(&bytes);
        inner.name = path;
        inner.depth++;
        status = scan_text(&inner);
    }
    buf_done(&bytes);
    mem_free(whole);
    return status;
}

/* The path between the quotes, with its escapes undone, into a string the caller frees. */
static char *unescape(struct str raw)
{
    size_t len = 0;
    char *path = mem_strndup(raw.ptr, raw.len);

    for (size_t i = 0; i < raw.len; i++) {
        if (raw.ptr[i] == '\\' && i + 1 < raw.len) {
            i++;
        }
        path[len++] = raw.ptr[i];
    }
    path[len] = '\0';
    return path;
}

static enum status skip_include(struct scan *scan)
{
    scan->at += strlen(INCLUDE_WORD);
    while (peek(scan, 0) == ' ' || peek(scan, 0) == '\t') {
        scan->at++;
    }
    if (peek(scan, 0) != '"') {
        return STATUS_OK; /* a syntax error, libconfig's to report */
    }
    if (scan->depth >= INCLUDE_DEPTH_MAX || ++*scan->includes > CONF_INCLUDES_MAX) {
        return scan_fail(scan, "@include: found too many, allowed: 10 within each other, 100 in "
                               "all");
    }
    size_t begin = scan->at + 1;

    if (skip_string(scan) != STATUS_OK) {
        return STATUS_INVALID;
    }
    char *path = unescape(str_slice(scan->text, begin, scan->at - 1));
    enum status status = scan_include(scan, path);

    mem_free(path);
    return status;
}

static enum status scan_token(struct scan *scan)
{
    char c = peek(scan, 0);
    char next = peek(scan, 1);
    bool blank_before = scan->line_is_blank;

    scan->line_is_blank = blank_before && (c == ' ' || c == '\t');
    if (c == '#' || (c == '/' && next == '/')) {
        skip_line(scan);
        return STATUS_OK;
    }
    if (c == '/' && next == '*') {
        return skip_comment(scan);
    }
    if (c == '"') {
        return skip_string(scan);
    }
    if (is_name_start(c)) {
        while (is_name_char(peek(scan, 0))) {
            scan->at++;
        }
        return STATUS_OK;
    }
    if (is_digit(c)) {
        return skip_number(scan);
    }
    if (c == '.') {
        skip_fraction(scan);
        return STATUS_OK;
    }
    if (blank_before &&
        str_starts(str_slice(scan->text, scan->at, scan->text.len), STR_LIT(INCLUDE_WORD))) {
        return skip_include(scan);
    }
    advance(scan);
    return STATUS_OK;
}

static enum status scan_text(struct scan *scan)
{
    size_t nul = str_find_char(scan->text, '\0');

    scan->at = 0;
    scan->line = 1;
    scan->line_is_blank = true;
    if (nul < scan->text.len) {
        return scan_fail(scan, "found a NUL byte in the file, allowed: text");
    }
    while (scan->at < scan->text.len) {
        if (scan_token(scan) != STATUS_OK) {
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}

enum status conf_scan(struct str text, const char *name, const char *folder, struct errbuf *err)
{
    unsigned includes = 0;
    struct scan scan = {
        .text = text,
        .name = name,
        .folder = folder,
        .includes = &includes,
        .err = err,
    };

    return scan_text(&scan);
}
