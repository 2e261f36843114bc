/* SPDX-License-Identifier: MIT */
/* Look-ups in jansson values, and numbers as people read them. */
#include "frame_value_private.h"

#include <stdio.h>
#include <string.h>

/* ---- members ---- */

const json_t *value_at(const json_t *value, const char *key)
{
    return json_object_get(value, key);
}

const char *value_text_at(const json_t *value, const char *key)
{
    const char *text = json_string_value(value_at(value, key));

    return text == NULL ? "" : text;
}

double value_number_at(const json_t *value, const char *key)
{
    return json_number_value(value_at(value, key));
}

bool value_is_true_at(const json_t *value, const char *key)
{
    return json_is_true(value_at(value, key));
}

/* ---- values as text ---- */

const char *value_span(double seconds, char out[VALUE_LEN])
{
    unsigned long long s = seconds > 0 ? (unsigned long long)seconds : 0;

    if (s >= 86400) {
        (void)snprintf(out, VALUE_LEN, "%llu d %llu h", s / 86400, s / 3600 % 24);
    } else if (s >= 3600) {
        (void)snprintf(out, VALUE_LEN, "%llu h %llu min", s / 3600, s / 60 % 60);
    } else if (s >= 60) {
        (void)snprintf(out, VALUE_LEN, "%llu min", s / 60);
    } else {
        (void)snprintf(out, VALUE_LEN, "%llu s", s);
    }
    return out;
}

const char *value_ms(const json_t *value, char out[VALUE_LEN])
{
    double ms = json_number_value(value);

    if (!json_is_number(value)) {
        return "-";
    }
    (void)snprintf(out, VALUE_LEN, "%.*f ms", ms < 10 ? 2 : ms < 100 ? 1 : 0, ms);
    return out;
}

const char *value_share(const json_t *value, char out[VALUE_LEN])
{
    if (!json_is_number(value)) {
        return "-";
    }
    (void)snprintf(out, VALUE_LEN, "%.0f %%", 100 * json_number_value(value));
    return out;
}

const char *value_rate(const json_t *value, char out[VALUE_LEN])
{
    if (!json_is_number(value)) {
        return "-";
    }
    (void)snprintf(out, VALUE_LEN, "%.1f", json_number_value(value));
    return out;
}

const char *value_count(const json_t *value, char out[VALUE_LEN])
{
    (void)snprintf(out, VALUE_LEN, "%.0f", json_number_value(value));
    return out;
}

/* "12:34:56" of "2026-11-22T12:34:56.789Z". */
const char *value_clock(const char *iso, char out[VALUE_LEN])
{
    (void)snprintf(out, VALUE_LEN, "%.8s", strlen(iso) > 19 ? iso + 11 : iso);
    return out;
}

/* ---- states ---- */

bool value_is_well(const json_t *one)
{
    return strcmp(value_text_at(one, "state"), "up") == 0 &&
           strcmp(value_text_at(one, "breaker"), "open") != 0 &&
           strcmp(value_text_at(one, "breaker"), "trial") != 0;
}

const char *value_state_word(const json_t *one)
{
    bool is_aside = strcmp(value_text_at(one, "breaker"), "open") == 0 ||
                    strcmp(value_text_at(one, "breaker"), "trial") == 0;

    if (value_is_true_at(one, "drained")) {
        return value_text_at(one, "state");
    }
    /* Up, but an operator took out every pod that is. */
    if (strcmp(value_text_at(one, "verdict"), "no_endpoint") == 0) {
        return "no pod";
    }
    return is_aside ? "aside" : value_text_at(one, "state");
}

enum line_style value_state_style(const json_t *one)
{
    const char *word = value_state_word(one);

    if (strcmp(word, "up") == 0) {
        return LINE_GOOD;
    }
    return strcmp(word, "down") == 0 || strcmp(word, "aside") == 0 ? LINE_BAD : LINE_WARN;
}

double value_state_age(const json_t *one)
{
    return value_number_at(one, value_is_true_at(one, "drained") ? "drained_since_s" : "since_s");
}
