/* SPDX-License-Identifier: MIT */
/*
 * Cache keys. The digest is fed, in this order:
 *
 *     length u64 | method
 *     length u64 | target
 *     length u64 | "all", "key" or         so that turning sharing on and off, or changing who is
 *                  "key HEADER"            a tenant, never mixes answers; in lower case
 *     length u64 | credentials             empty when all share
 *     length u64 | regions
 *     length u64 | origin
 *     length u64 | form                    empty; if fixed: "plain", "stream", or an odd value
 *     length u64 | stream_options          of a fixed form that streams, without white space
 *     for each member, by name:
 *     length u64 | name
 *     length u64 | value                   without white space; if long: its SHA-256
 *
 * An odd value is JSON, so it is never empty and never one of the two words.
 */
#include <nearside/cache/key.h>

#include <nearside/conf/tree.h>

/* Rule 28: no magic, because the digest goes no further than http/json_scan and back. */
static void on_compact(void *arg, const void *bytes, size_t len)
{
    digest_add(arg, bytes, len);
}

static void add_part(struct digest *digest, struct str part)
{
    digest_add_u64(digest, part.len);
    digest_add(digest, part.ptr, part.len);
}

static const struct json_member *find_member(const struct json_scan *scan, struct str name)
{
    for (uint32_t i = 0; i < scan->member_count; i++) {
        if (str_eq(scan->members[i].name, name)) {
            return &scan->members[i];
        }
    }
    return NULL;
}

/* A member that is there and not null, else NULL. */
static const struct json_member *find_value(const struct json_scan *scan, struct str name)
{
    const struct json_member *member = find_member(scan, name);

    return member == NULL || str_eq(member->value, STR_LIT("null")) ? NULL : member;
}

static bool is_plain(const struct json_scan *scan)
{
    return scan->stream == JSON_SCAN_FALSE || find_value(scan, STR_LIT("stream")) == NULL;
}

/* Of a request that streams. */
static enum cache_form form_of_options(const struct json_member *options)
{
    struct json_scan scan;

    if (options == NULL) {
        return CACHE_FORM_STREAM;
    }
    if (json_scan(options->value, &scan) != JSON_SCAN_OK || scan.member_count != 1 ||
        !str_eq(scan.members[0].name, STR_LIT("include_usage"))) {
        return CACHE_FORM_FIXED;
    }
    if (str_eq(scan.members[0].value, STR_LIT("true"))) {
        return CACHE_FORM_STREAM_USAGE;
    }
    return str_eq(scan.members[0].value, STR_LIT("false")) ? CACHE_FORM_STREAM : CACHE_FORM_FIXED;
}

enum cache_form cache_form_of(enum api api, const struct json_scan *scan)
{
    if (api != API_CHAT && api != API_COMPLETIONS) {
        return CACHE_FORM_FIXED;
    }
    if (is_plain(scan)) {
        return CACHE_FORM_PLAIN;
    }
    if (scan->stream != JSON_SCAN_TRUE) {
        return CACHE_FORM_FIXED;
    }
    return form_of_options(find_value(scan, STR_LIT("stream_options")));
}

static void add_compact(struct digest *digest, const struct json_member *member)
{
    digest_add_u64(digest, member->compact_len);
    json_member_compact(member, on_compact, digest);
}

static void add_fixed_form(struct digest *digest, const struct json_scan *scan)
{
    if (is_plain(scan)) {
        add_part(digest, STR_LIT("plain"));
    } else if (scan->stream == JSON_SCAN_TRUE) {
        add_part(digest, STR_LIT("stream"));
    } else {
        add_compact(digest,
                    find_member(scan, STR_LIT("stream"))); /* it is there: it is not plain */
    }
}

static void add_form(struct digest *digest, const struct cache_key_parts *parts)
{
    const struct json_scan *scan = parts->scan;
    const struct json_member *options = find_value(scan, STR_LIT("stream_options"));

    if (parts->form != CACHE_FORM_FIXED) {
        add_part(digest, STR_EMPTY);
        add_part(digest, STR_EMPTY);
        return;
    }
    add_fixed_form(digest, scan);
    if (options != NULL && !is_plain(scan)) {
        add_compact(digest, options);
    } else {
        add_part(digest, STR_EMPTY);
    }
}

/* A header's name has no space in it, so it cannot be taken for anything else. */
static void add_sharing(struct digest *digest, const struct cache_key_parts *parts)
{
    char text[sizeof("key ") + CONF_TENANT_HEADER_MAX] = "key ";
    size_t len = sizeof("key ") - 1;
    struct str header = str_slice(parts->tenant_header, 0, CONF_TENANT_HEADER_MAX);

    if (parts->share_all) {
        add_part(digest, STR_LIT("all"));
        add_part(digest, STR_EMPTY);
        return;
    }
    for (size_t i = 0; i < header.len; i++) {
        text[len++] = str_lower_char(header.ptr[i]);
    }
    add_part(digest, str_make(text, header.len == 0 ? sizeof("key") - 1 : len));
    add_part(digest, parts->authorization);
}

/* ---- the body ---- */

/* A member that does not change what is answered, only how or for whom it is counted. */
static bool is_skipped(struct str name)
{
    return str_eq(name, STR_LIT("stream")) || str_eq(name, STR_LIT("stream_options")) ||
           str_eq(name, STR_LIT("user")) || str_eq(name, STR_LIT("metadata"));
}

void cache_key_early_init(struct cache_key_early *early, struct digest *digest, bool is_wanted)
{
    early->digest = digest;
    early->is_wanted = is_wanted;
    early->is_open = false;
    early->count = 0;
}

static void end_sum(struct cache_key_early *early)
{
    if (early->is_open) {
        digest_finish(early->digest, early->sums[early->count].bytes);
        early->is_open = false;
        early->count++;
    }
}

void cache_key_early_want(struct cache_key_early *early, bool is_wanted)
{
    /* A sum that has been begun goes on: half of one would be of no use. */
    early->is_wanted = is_wanted;
}

/* The member turned out to be long: digest what has come of it. */
static void begin_sum(struct cache_key_early *early, uint32_t index,
                      const struct json_member *member)
{
    if (!early->is_wanted || early->count == CACHE_KEY_EARLY_MAX || is_skipped(member->name)) {
        return;
    }
    early->is_open = true;
    early->sums[early->count].index = index;
    digest_start(early->digest);
    json_member_compact(member, on_compact, early->digest);
}

void cache_key_early_run(void *arg, uint32_t index, const struct json_member *member,
                         struct str run)
{
    struct cache_key_early *early = arg;

    if (early->is_open && early->sums[early->count].index == index) {
        digest_add(early->digest, run.ptr, run.len);
    } else if (member->compact_len >= CACHE_KEY_LONG_BYTES) {
        end_sum(early);
        begin_sum(early, index, member);
    }
}

/* The digest of a long member: taken early, or else now. */
static const uint8_t *sum_of(struct cache_key_early *early, const struct cache_key_parts *parts,
                             const struct json_member *member, uint8_t late[DIGEST_BYTES])
{
    const uint32_t index = (uint32_t)(member - parts->scan->members);

    for (uint32_t i = 0; i < early->count; i++) {
        if (early->sums[i].index == index) {
            return early->sums[i].bytes;
        }
    }
    digest_start(early->digest);
    json_member_compact(member, on_compact, early->digest);
    digest_finish(early->digest, late);
    return late;
}

static void add_member(struct digest *digest, const struct cache_key_parts *parts,
                       const struct json_member *member)
{
    uint8_t late[DIGEST_BYTES];

    add_part(digest, member->name);
    digest_add_u64(digest, member->compact_len);
    if (member->compact_len < CACHE_KEY_LONG_BYTES) {
        json_member_compact(member, on_compact, digest);
    } else {
        digest_add(digest, sum_of(parts->early, parts, member, late), DIGEST_BYTES);
    }
}

static void add_body(struct digest *digest, const struct cache_key_parts *parts)
{
    const struct json_member *sorted[JSON_SCAN_MEMBERS_MAX];

    end_sum(parts->early);
    json_scan_sort(parts->scan, sorted);
    for (uint32_t i = 0; i < parts->scan->member_count; i++) {
        if (!is_skipped(sorted[i]->name)) {
            add_member(digest, parts, sorted[i]);
        }
    }
    parts->early->count = 0;
}

/* ---- the whole ---- */

void cache_key_make(struct digest *digest, const struct cache_key_parts *parts,
                    struct cache_key *ret_key)
{
    digest_start(digest);
    add_part(digest, parts->method);
    add_part(digest, parts->target);
    add_sharing(digest, parts);
    add_part(digest, parts->regions);
    add_part(digest, parts->origin);
    add_form(digest, parts);
    add_body(digest, parts);
    digest_finish(digest, ret_key->bytes);
}

void cache_key_seal(struct digest *digest, struct str secret, struct cache_key *key)
{
    struct str plain = str_make((const char *)key->bytes, CACHE_KEY_BYTES);

    if (secret.len > 0) {
        digest_hmac(digest, secret, plain, key->bytes);
    }
}

void cache_key_of_form(struct digest *digest, const struct cache_key *key, enum cache_form form,
                       struct cache_key *ret_key)
{
    uint8_t number = (uint8_t)form;

    digest_start(digest);
    digest_add(digest, key->bytes, CACHE_KEY_BYTES);
    digest_add(digest, &number, sizeof(number));
    digest_finish(digest, ret_key->bytes);
}

void cache_key_text(const struct cache_key *key, char out[CACHE_KEY_TEXT_LEN])
{
    static const char prefix[] = CACHE_KEY_VERSION ":";

    memcpy(out, prefix, sizeof(prefix) - 1);
    str_hex(key->bytes, CACHE_KEY_BYTES, out + sizeof(prefix) - 1);
}
