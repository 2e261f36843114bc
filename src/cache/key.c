/* SPDX-License-Identifier: MIT */
/*
 * Cache keys. The digest is fed, in this order:
 *
 *     length u64 | method
 *     length u64 | target
 *     length u64 | "all" or "key"          so that turning sharing on and off never mixes answers
 *     length u64 | credentials             empty when all share
 *     length u64 | regions
 *     length u64 | origin
 *     length u64 | form                    "plain", "stream", or an odd `stream` value as written
 *     {"stream_options":...} or {}         both objects end themselves: their closing brace is
 *     {canonical body}                     known, so neither needs a length in front
 */
#include <nearside/cache/key.h>

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

/* Servers that take "stream": 1 for true exist, so that a value which is neither boolean nor null
 * is a form of its own. */
static struct str form_of(const struct json_scan *scan)
{
    if (scan->stream == JSON_SCAN_TRUE) {
        return STR_LIT("stream");
    }
    const struct json_member *member = find_member(scan, STR_LIT("stream"));
    if (scan->stream == JSON_SCAN_FALSE || member == NULL ||
        str_eq(member->value, STR_LIT("null"))) {
        return STR_LIT("plain");
    }
    return member->value;
}

static void add_stream_options(struct digest *digest, const struct json_scan *scan, struct str form)
{
    const struct json_member *member = find_member(scan, STR_LIT("stream_options"));
    struct json_scan alone = {.member_count = 0};

    if (member != NULL && !str_eq(form, STR_LIT("plain")) &&
        !str_eq(member->value, STR_LIT("null"))) {
        alone.members[0] = *member;
        alone.member_count = 1;
    }
    json_scan_canonical(&alone, NULL, on_canonical, digest);
}

void cache_key_make(struct digest *digest, const struct cache_key_parts *parts,
                    struct cache_key *ret_key)
{
    struct str form = form_of(parts->scan);

    digest_start(digest);
    add_part(digest, parts->method);
    add_part(digest, parts->target);
    add_part(digest, parts->share_all ? STR_LIT("all") : STR_LIT("key"));
    add_part(digest, parts->share_all ? STR_EMPTY : parts->authorization);
    add_part(digest, parts->regions);
    add_part(digest, parts->origin);
    add_part(digest, form);
    add_stream_options(digest, parts->scan, form);
    json_scan_canonical(parts->scan, skipped, on_canonical, digest);
    digest_finish(digest, ret_key->bytes);
}

void cache_key_text(const struct cache_key *key, char out[CACHE_KEY_TEXT_LEN])
{
    static const char prefix[] = CACHE_KEY_VERSION ":";

    memcpy(out, prefix, sizeof(prefix) - 1);
    str_hex(key->bytes, CACHE_KEY_BYTES, out + sizeof(prefix) - 1);
}
