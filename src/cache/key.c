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
 *     {"stream_options":...} or {}         of a fixed form that streams; both objects end
 *     {canonical body}                     themselves: neither needs a length in front
 *
 * An odd value is JSON as written, so it is never empty and never one of the two words.
 */
#include <nearside/cache/key.h>

#include <nearside/conf/tree.h>

/* Members of the body that do not change what is answered, only how or for whom it is counted. */
static const char *const skipped[] = {"stream", "stream_options", "user", "metadata", NULL};

/* Rule 28: no magic, because the digest goes no further than json_scan_canonical() and back. */
static void on_canonical(void *arg, const void *bytes, size_t len)
{
    digest_add(arg, bytes, len);
}

static void add_part(struct digest *digest, struct str part)
{
    uint8_t length[8];

    for (unsigned i = 0; i < sizeof(length); i++) {
        length[i] = (uint8_t)((uint64_t)part.len >> (8 * i));
    }
    digest_add(digest, length, sizeof(length));
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

static struct str fixed_form_text(const struct json_scan *scan)
{
    if (is_plain(scan)) {
        return STR_LIT("plain");
    }
    if (scan->stream == JSON_SCAN_TRUE) {
        return STR_LIT("stream");
    }
    return find_member(scan, STR_LIT("stream"))->value; /* it is there: it is not plain */
}

static void add_form(struct digest *digest, const struct cache_key_parts *parts)
{
    const struct json_scan *scan = parts->scan;
    const struct json_member *options = find_value(scan, STR_LIT("stream_options"));
    bool is_fixed = parts->form == CACHE_FORM_FIXED;
    struct json_scan alone = {.member_count = 0};

    add_part(digest, is_fixed ? fixed_form_text(scan) : STR_EMPTY);
    if (is_fixed && options != NULL && !is_plain(scan)) {
        alone.members[0] = *options;
        alone.member_count = 1;
    }
    json_scan_canonical(&alone, NULL, on_canonical, digest);
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
    json_scan_canonical(parts->scan, skipped, on_canonical, digest);
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
