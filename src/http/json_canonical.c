/* SPDX-License-Identifier: MIT */
/*
 * The canonical form of a scanned body, in pieces for a digest: members in bytewise order of
 * their names, no white space outside strings.
 *
 * A value without such white space (what most SDKs send) goes to the sink as it lies there, so a
 * prompt is not read a second time.
 */
#include "scan_private.h"

#include <nearside/http/json_scan.h>

struct feeder {
    json_sink_fn sink;
    void *arg;
};

static void feed(const struct feeder *feeder, const char *bytes, size_t len)
{
    if (len > 0) {
        feeder->sink(feeder->arg, bytes, len);
    }
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Behind the closing quote of a good string, or `end` where that is cut; `at` is behind the opening
 * one. */
static const char *skip_string(const char *at, const char *end)
{
    at = scan_quote(at, end);
    while (end - at > 2 && *at == '\\') {
        at = scan_quote(at + 2, end);
    }
    return at < end && *at == '"' ? at + 1 : end;
}

/* A value, run by run between the white space. */
static void feed_spaced(const struct feeder *feeder, struct str value)
{
    const char *const end = value.ptr + value.len;
    const char *at = value.ptr;
    const char *run = at;

    while (at < end) {
        if ((unsigned char)*at > '"') { /* what is not, of a good value, is a quote or space */
            at++;
        } else if (*at == '"') {
            at = skip_string(at + 1, end);
        } else {
            feed(feeder, run, (size_t)(at - run));
            do {
                at++;
            } while (at < end && is_space(*at));
            run = at;
        }
    }
    feed(feeder, run, (size_t)(end - run));
}

static void feed_value(const struct feeder *feeder, const struct json_member *member)
{
    if (member->spaced) {
        feed_spaced(feeder, member->value);
    } else {
        feed(feeder, member->value.ptr, member->value.len);
    }
}

void json_member_compact(const struct json_member *member, json_sink_fn sink, void *arg)
{
    const struct feeder feeder = {.sink = sink, .arg = arg};

    feed_value(&feeder, member);
}

/* No byte of a name is zero, so an empty one's first byte counts as before any other. */
static bool is_before(struct str a, struct str b)
{
    const unsigned char first_a = a.len == 0 ? 0 : (unsigned char)a.ptr[0];
    const unsigned char first_b = b.len == 0 ? 0 : (unsigned char)b.ptr[0];

    if (first_a != first_b) {
        return first_a < first_b;
    }
    const int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);
    return order != 0 ? order < 0 : a.len < b.len;
}

/* By insertion: there are few, and mostly in the same order each time. */
void json_scan_sort(const struct json_scan *scan,
                    const struct json_member *ret_sorted[JSON_SCAN_MEMBERS_MAX])
{
    for (uint32_t i = 0; i < scan->member_count; i++) {
        const struct json_member *member = &scan->members[i];
        uint32_t place = i;

        for (; place > 0 && is_before(member->name, ret_sorted[place - 1]->name); place--) {
            ret_sorted[place] = ret_sorted[place - 1];
        }
        ret_sorted[place] = member;
    }
}

static bool is_skipped(struct str name, const char *const *skip)
{
    for (; skip != NULL && *skip != NULL; skip++) {
        if (str_eq(name, str_of(*skip))) {
            return true;
        }
    }
    return false;
}

void json_scan_canonical(const struct json_scan *scan, const char *const *skip, json_sink_fn sink,
                         void *arg)
{
    const struct json_member *sorted[JSON_SCAN_MEMBERS_MAX];
    const struct feeder feeder = {.sink = sink, .arg = arg};
    struct str separator = STR_EMPTY;

    json_scan_sort(scan, sorted);
    feed(&feeder, "{", 1);
    for (uint32_t i = 0; i < scan->member_count; i++) {
        if (is_skipped(sorted[i]->name, skip)) {
            continue;
        }
        feed(&feeder, separator.ptr, separator.len);
        separator = STR_LIT(",");
        feed(&feeder, "\"", 1);
        feed(&feeder, sorted[i]->name.ptr, sorted[i]->name.len);
        feed(&feeder, "\":", 2);
        feed_value(&feeder, sorted[i]);
    }
    feed(&feeder, "}", 1);
}
