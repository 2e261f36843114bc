/* SPDX-License-Identifier: MIT */
/*
 * A selector is a list of requirements, all of which must hold:
 *
 *     KEY   !KEY   KEY=VALUE   KEY==VALUE   KEY!=VALUE   KEY in (V, V)   KEY notin (V, V)
 *
 * As in Kubernetes, what is not there differs from every value, so `!=` and `notin` hold for it.
 */
#include "selector_private.h"

enum operation { IS_THERE, EQUALS, DIFFERS, IS_IN, IS_NOT_IN };

struct reader {
    struct str rest;
    struct str key;   /* of the thing that is asked about */
    struct str value; /* its value */
};

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || c == '/';
}

static void skip_blanks(struct reader *reader)
{
    while (reader->rest.len > 0 && (reader->rest.ptr[0] == ' ' || reader->rest.ptr[0] == '\t')) {
        reader->rest = str_slice(reader->rest, 1, reader->rest.len);
    }
}

static bool take(struct reader *reader, struct str mark)
{
    skip_blanks(reader);
    if (!str_starts(reader->rest, mark)) {
        return false;
    }
    reader->rest = str_slice(reader->rest, mark.len, reader->rest.len);
    return true;
}

/* May be empty: so may values. */
static struct str take_word(struct reader *reader)
{
    size_t len = 0;
    struct str word;

    skip_blanks(reader);
    while (len < reader->rest.len && is_word_char(reader->rest.ptr[len])) {
        len++;
    }
    word = str_slice(reader->rest, 0, len);
    reader->rest = str_slice(reader->rest, len, reader->rest.len);
    return word;
}

static bool is_at_end(struct reader *reader)
{
    skip_blanks(reader);
    return reader->rest.len == 0 || reader->rest.ptr[0] == ',';
}

/* False: it is none. */
static bool take_operation(struct reader *reader, enum operation *ret_operation)
{
    if (is_at_end(reader)) {
        *ret_operation = IS_THERE;
    } else if (take(reader, STR_LIT("!="))) {
        *ret_operation = DIFFERS;
    } else if (take(reader, STR_LIT("==")) || take(reader, STR_LIT("="))) {
        *ret_operation = EQUALS;
    } else {
        struct str word = take_word(reader);

        *ret_operation = str_eq(word, STR_LIT("in")) ? IS_IN : IS_NOT_IN;
        return str_eq(word, STR_LIT("in")) || str_eq(word, STR_LIT("notin"));
    }
    return true;
}

/* "(a, b)". False: it is none. *ret_found: the value is among them. */
static bool take_values(struct reader *reader, bool *ret_found)
{
    *ret_found = false;
    if (!take(reader, STR_LIT("("))) {
        return false;
    }
    do {
        if (str_eq(take_word(reader), reader->value)) {
            *ret_found = true;
        }
    } while (take(reader, STR_LIT(",")));
    return take(reader, STR_LIT(")"));
}

/* One requirement. False: it is none. *ret_holds: it is fulfilled. */
static bool take_requirement(struct reader *reader, bool *ret_holds)
{
    bool absent_wanted = take(reader, STR_LIT("!"));
    struct str key = take_word(reader);
    bool has_key = str_eq(key, reader->key);
    enum operation operation;
    bool found;

    if (key.len == 0 || !take_operation(reader, &operation) ||
        (absent_wanted && operation != IS_THERE)) {
        return false;
    }
    switch (operation) {
    case IS_THERE:
        *ret_holds = has_key != absent_wanted;
        return true;
    case EQUALS:
        *ret_holds = str_eq(take_word(reader), reader->value) && has_key;
        return true;
    case DIFFERS:
        *ret_holds = !str_eq(take_word(reader), reader->value) || !has_key;
        return true;
    case IS_IN:
    case IS_NOT_IN:
        break;
    }
    if (!take_values(reader, &found)) {
        return false;
    }
    *ret_holds = operation == IS_IN ? has_key && found : !has_key || !found;
    return true;
}

enum selector_answer selector_match(struct str text, struct str key, struct str value)
{
    struct reader reader = {.rest = str_trim(text), .key = key, .value = value};
    enum selector_answer answer = SELECTOR_MATCHES;

    while (reader.rest.len > 0) {
        bool holds;

        if (!take_requirement(&reader, &holds) || !is_at_end(&reader)) {
            return SELECTOR_BAD;
        }
        if (!holds) {
            answer = SELECTOR_DIFFERS;
        }
        if (take(&reader, STR_LIT(",")) && reader.rest.len == 0) {
            return SELECTOR_BAD; /* nothing behind the last comma */
        }
    }
    return answer;
}
