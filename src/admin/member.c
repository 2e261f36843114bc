/* SPDX-License-Identifier: MIT */
/* jansson, with its failures turned into what they are here: out of memory, or a bug. */
#include "member_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>

#include <math.h>
#include <string.h>

static void set(json_t *object, const char *key, json_t *value)
{
    ASSERT(value != NULL && json_object_set_new(object, key, value) == 0);
}

/* jansson takes UTF-8 alone; a path in an error text may be anything. */
static json_t *text_value(const char *text)
{
    json_t *value = json_string(text);
    char *ascii;

    if (value != NULL) {
        return value;
    }
    ascii = mem_strdup(text);
    for (size_t i = 0; ascii[i] != '\0'; i++) {
        if ((unsigned char)ascii[i] >= 0x80) {
            ascii[i] = '?';
        }
    }
    value = json_string(ascii);
    mem_free(ascii);
    return value;
}

void member_text(json_t *object, const char *key, const char *text)
{
    set(object, key, text_value(text));
}

void member_text_or_null(json_t *object, const char *key, const char *text)
{
    set(object, key, text[0] == '\0' ? json_null() : text_value(text));
}

void member_count(json_t *object, const char *key, uint64_t value)
{
    set(object, key, json_integer((json_int_t)value));
}

void member_number(json_t *object, const char *key, double value)
{
    set(object, key, json_real(round(value * 1000.0) / 1000.0));
}

void member_bool(json_t *object, const char *key, bool value)
{
    set(object, key, json_boolean(value));
}

void member_null(json_t *object, const char *key)
{
    set(object, key, json_null());
}

void member_time(json_t *object, const char *key, uint64_t wall_ms)
{
    char text[CLOCK_ISO_LEN];

    clock_iso(wall_ms, text);
    member_text(object, key, text);
}

json_t *member_object(json_t *object, const char *key)
{
    json_t *value = json_object();

    set(object, key, value);
    return value;
}

json_t *member_array(json_t *object, const char *key)
{
    json_t *value = json_array();

    set(object, key, value);
    return value;
}

json_t *item_object(json_t *array)
{
    json_t *value = json_object();

    ASSERT(value != NULL && json_array_append_new(array, value) == 0);
    return value;
}

void item_number_or_null(json_t *array, bool is_known, double value)
{
    json_t *item = is_known ? json_real(round(value * 1000.0) / 1000.0) : json_null();

    ASSERT(item != NULL && json_array_append_new(array, item) == 0);
}

static int on_bytes(const char *bytes, size_t len, void *arg)
{
    buf_append(arg, bytes, len);
    return 0;
}

void member_dump(const json_t *value, struct buf *out)
{
    /* 15 digits: enough for the rounded numbers, too few to show what binary makes of them. */
    ASSERT(json_dump_callback(value, on_bytes, out, JSON_COMPACT | JSON_REAL_PRECISION(15)) == 0);
}

void member_write(json_t *value, struct buf *out)
{
    member_dump(value, out);
    buf_append_char(out, '\n');
    json_decref(value);
}
