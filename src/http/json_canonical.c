/* SPDX-License-Identifier: MIT */
/*
 * The canonical form of a scanned body, in pieces for a digest: members in bytewise order of
 * their names, no white space outside strings.
 *
 * A value without such white space (what every SDK sends) goes to the sink as it lies there, so a
 * prompt is not read a second time. Small pieces are gathered, for a digest's call costs more
 * than their bytes.
 */
#include "scan_private.h"

#include <nearside/http/json_scan.h>

#define GATHER_BYTES 512
#define LARGE_BYTES  256 /* not worth a copy */

struct feeder {
    json_sink_fn sink;
    void *arg;
    size_t used;
    char gathered[GATHER_BYTES];
};

static void flush(struct feeder *feeder)
{
    if (feeder->used > 0) {
        feeder->sink(feeder->arg, feeder->gathered, feeder->used);
        feeder->used = 0;
    }
}

static void feed(struct feeder *feeder, const char *bytes, size_t len)
{
    if (len >= LARGE_BYTES || feeder->used + len > GATHER_BYTES) {
        flush(feeder);
    }
    if (len >= LARGE_BYTES) {
        feeder->sink(feeder->arg, bytes, len);
        return;
    }
    memcpy(feeder->gathered + feeder->used, bytes, len);
    feeder->used += len;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/* Behind the closing quote of a good string; `at` is behind the opening one. */
static const char *skip_string(const char *at, const char *end)
{
    at = scan_quote(at, end);
    while (at < end && *at == '\\') {
        at = scan_quote(at + 2, end);
    }
    return at + 1;
}

/* A value, run by run between the white space. */
static void feed_spaced(struct feeder *feeder, struct str value)
{
    const char *const end = value.ptr + value.len;
    const char *at = value.ptr;
    const char *run = at;

    while (at < end) {
        if (*at == '"') {
            at = skip_string(at + 1, end);
        } else if (is_space(*at)) {
            feed(feeder, run, (size_t)(at - run));
            do {
                at++;
            } while (at < end && is_space(*at));
            run = at;
        } else {
            at++;
        }
    }
    feed(feeder, run, (size_t)(end - run));
}

static void feed_member(struct feeder *feeder, const struct json_member *member)
{
    feed(feeder, "\"", 1);
    feed(feeder, member->name.ptr, member->name.len);
    feed(feeder, "\":", 2);
    if (member->spaced) {
        feed_spaced(feeder, member->value);
    } else {
        feed(feeder, member->value.ptr, member->value.len);
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

static bool is_before(struct str a, struct str b)
{
    const size_t common = a.len < b.len ? a.len : b.len;
    const int order = memcmp(a.ptr, b.ptr, common);

    return order != 0 ? order < 0 : a.len < b.len;
}

/* Members to feed, sorted by insertion: there are few, and mostly in the same order each time. */
static uint32_t sort_members(const struct json_scan *scan, const char *const *skip,
                             const struct json_member *sorted[JSON_SCAN_MEMBERS_MAX])
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < scan->member_count; i++) {
        const struct json_member *member = &scan->members[i];
        uint32_t place = count;

        if (is_skipped(member->name, skip)) {
            continue;
        }
        for (; place > 0 && is_before(member->name, sorted[place - 1]->name); place--) {
            sorted[place] = sorted[place - 1];
        }
        sorted[place] = member;
        count++;
    }
    return count;
}

void json_scan_canonical(const struct json_scan *scan, const char *const *skip, json_sink_fn sink,
                         void *arg)
{
    const struct json_member *sorted[JSON_SCAN_MEMBERS_MAX];
    const uint32_t count = sort_members(scan, skip, sorted);
    struct feeder feeder;

    /* Not by an initialiser: it would clear the gathering space. */
    feeder.sink = sink;
    feeder.arg = arg;
    feeder.used = 0;
    feed(&feeder, "{", 1);
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0) {
            feed(&feeder, ",", 1);
        }
        feed_member(&feeder, sorted[i]);
    }
    feed(&feeder, "}", 1);
    flush(&feeder);
}
