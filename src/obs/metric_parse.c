/* SPDX-License-Identifier: MIT */
/*
 * One line of Prometheus text: a name, labels in braces, a value, perhaps a timestamp.
 *
 *     vllm:num_requests_waiting{engine="0",model_name="a\"b"} 3.0 1700000000000
 *     \_______ name ___________/\_________ labels __________/ value  timestamp
 */
#include <nearside/obs/metric_parse.h>

#include <stdlib.h>

#define NUMBER_LEN_MAX 63 /* longer ones are no number that anybody writes */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static bool is_name_char(char c, bool first, bool colon)
{
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

    return letter || (colon && c == ':') || (!first && c >= '0' && c <= '9');
}

static size_t name_len(struct str text, bool colon)
{
    size_t len = 0;

    while (len < text.len && is_name_char(text.ptr[len], len == 0, colon)) {
        len++;
    }
    return len;
}

static struct str skip_blanks(struct str text)
{
    size_t at = 0;

    while (at < text.len && is_blank(text.ptr[at])) {
        at++;
    }
    return str_slice(text, at, text.len);
}

/* The length of a quoted value, both quotes included; 0 when it does not end. */
static size_t quoted_len(struct str text)
{
    if (text.len == 0 || text.ptr[0] != '"') {
        return 0;
    }
    for (size_t at = 1; at < text.len; at++) {
        if (text.ptr[at] == '\\') {
            at++;
        } else if (text.ptr[at] == '"') {
            return at + 1;
        }
    }
    return 0;
}

struct label {
    struct str key;
    struct str value; /* as written between its quotes */
};

/* Cut `key="value"` and the comma behind it from *rest. */
static bool next_label(struct str *rest, struct label *ret_label)
{
    struct str text = skip_blanks(*rest);
    size_t key_len = name_len(text, false);
    struct str after = skip_blanks(str_slice(text, key_len, text.len));
    size_t len;

    if (key_len == 0 || after.len == 0 || after.ptr[0] != '=') {
        return false;
    }
    ret_label->key = str_slice(text, 0, key_len);
    after = skip_blanks(str_slice(after, 1, after.len));
    len = quoted_len(after);
    if (len == 0) {
        return false;
    }
    ret_label->value = str_slice(after, 1, len - 1);
    after = skip_blanks(str_slice(after, len, after.len));
    if (after.len > 0 && after.ptr[0] != ',' && after.ptr[0] != '}') {
        return false;
    }
    *rest = after.len > 0 && after.ptr[0] == ',' ? str_slice(after, 1, after.len) : after;
    return true;
}

/* From behind the opening brace: *rest becomes what follows the closing one. */
static bool take_labels(struct str *rest, struct str *ret_labels)
{
    struct str start = *rest;
    struct label label;

    for (;;) {
        *rest = skip_blanks(*rest);
        if (rest->len > 0 && rest->ptr[0] == '}') {
            *ret_labels = str_make(start.ptr, (size_t)(rest->ptr - start.ptr));
            *rest = str_slice(*rest, 1, rest->len);
            return true;
        }
        if (!next_label(rest, &label)) {
            return false;
        }
    }
}

static struct str next_word(struct str *rest)
{
    struct str text = skip_blanks(*rest);
    size_t len = 0;

    while (len < text.len && !is_blank(text.ptr[len])) {
        len++;
    }
    *rest = str_slice(text, len, text.len);
    return str_slice(text, 0, len);
}

static bool parse_number(struct str word, double *ret_value)
{
    char text[NUMBER_LEN_MAX + 1];
    char *end;

    if (word.len == 0 || word.len > NUMBER_LEN_MAX) {
        return false;
    }
    memcpy(text, word.ptr, word.len);
    text[word.len] = '\0';
    *ret_value = strtod(text, &end);
    return end == text + word.len;
}

enum metric_line metric_parse_line(struct str line, struct metric_sample *ret_sample)
{
    struct metric_sample sample = {.labels = STR_EMPTY};
    struct str rest = str_trim(line);
    size_t len;
    double stamp;

    if (rest.len > 0 && rest.ptr[rest.len - 1] == '\r') {
        rest.len--;
    }
    if (rest.len == 0 || rest.ptr[0] == '#') {
        return METRIC_LINE_NOTHING;
    }
    len = name_len(rest, true);
    sample.name = str_slice(rest, 0, len);
    rest = skip_blanks(str_slice(rest, len, rest.len));
    if (rest.len > 0 && rest.ptr[0] == '{') {
        rest = str_slice(rest, 1, rest.len);
        if (!take_labels(&rest, &sample.labels)) {
            return METRIC_LINE_BAD;
        }
    }
    if (len == 0 || !parse_number(next_word(&rest), &sample.value)) {
        return METRIC_LINE_BAD;
    }
    rest = skip_blanks(rest);
    if (rest.len > 0 && rest.ptr[0] != '#' && !parse_number(next_word(&rest), &stamp)) {
        return METRIC_LINE_BAD;
    }
    rest = skip_blanks(rest);
    if (rest.len > 0 && rest.ptr[0] != '#') {
        return METRIC_LINE_BAD;
    }
    *ret_sample = sample;
    return METRIC_LINE_SAMPLE;
}

bool metric_sample_has(const struct metric_sample *sample, struct str key, struct str value)
{
    struct str rest = sample->labels;
    struct label label;

    while (next_label(&rest, &label)) {
        if (str_eq(label.key, key)) {
            return str_eq(label.value, value);
        }
    }
    return false;
}
