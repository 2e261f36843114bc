/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a stored entry, whole and as the fields of one. What passes must be a message that
 * our own strict parser reads as we would send it: these fields, framed by our Content-Length
 * alone; turned into another form, too. And as a value in Redis, which may be packed.
 */
#include "cache/pack_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/cache/entry.h>
#include <nearside/cache/fit.h>
#include <nearside/http/h1.h>

#define VALUE_MAX   65536
#define PIECE_BYTES 100

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_message(const struct cache_entry *entry)
{
    static const struct h1_limits limits = {
        .head_bytes = 65536, .uri_bytes = 64, .fields = HTTP_FIELDS_MAX};
    static struct http_head head;
    struct str body = cache_entry_body(entry);
    struct buf out;
    size_t used;

    buf_init(&out);
    buf_append_str(&out, STR_LIT("HTTP/1.1 200 OK\r\n"));
    buf_append_str(&out, cache_entry_fields(entry));
    buf_printf(&out, "Content-Length: %zu\r\n\r\n", body.len);
    enum h1_result result = h1_parse_response(buf_str(&out), &limits, HTTP_POST, &head, &used);
    if (result == H1_COMPLETE) {
        ASSERT(used == buf_len(&out));
        ASSERT(head.body == HTTP_BODY_LENGTH && head.content_length == body.len);
        ASSERT(http_head_find(&head, HTTP_NAME_SET_COOKIE) == NULL);
    } else {
        ASSERT(result == H1_TOO_MANY); /* ours was one too many */
    }
    buf_done(&out);
}

/* Takes the reference. */
static void check_turned(struct cache_entry *entry)
{
    for (unsigned form = 0; form < CACHE_FORM_COUNT; form++) {
        struct cache_entry *turned =
            cache_entry_fit(cache_entry_ref(entry), API_CHAT, (enum cache_form)form, 65536);
        if (turned != NULL) {
            check_message(turned);
        }
        cache_entry_unref(turned);
    }
    cache_entry_unref(entry);
}

static void check(struct str bytes)
{
    struct cache_entry *entry = cache_entry_from_bytes(bytes);

    if (entry == NULL) {
        return;
    }
    ASSERT(str_eq(cache_entry_bytes(entry), bytes));
    ASSERT(cache_entry_fields(entry).len + cache_entry_body(entry).len + 48 == bytes.len);
    ASSERT(cache_entry_ttl_ms(entry) > 0);
    ASSERT(cache_entry_stored_wall_ms(entry) + cache_entry_ttl_ms(entry) > 0);
    check_message(entry);
    check_turned(entry);
}

/* As a value in Redis, packed or not: nothing over the bound comes out of it. */
static void check_value(struct str bytes)
{
    struct pack *pack = pack_new();
    struct cache_entry *entry = pack_open(pack, bytes, VALUE_MAX);

    if (entry != NULL) {
        ASSERT(cache_entry_bytes(entry).len <= VALUE_MAX);
        check_message(entry);
        check_turned(entry);
    }
    pack_free(pack);
}

/* Few inputs are frames of zstd's: so let all of them be packed, too. */
static void check_packed(struct str bytes)
{
    struct pack *pack = pack_new();
    struct str value;
    enum pack_step step = PACK_MORE;

    if (!pack_begin(pack, bytes)) {
        pack_free(pack);
        return;
    }
    while (step == PACK_MORE) {
        step = pack_step(pack, PIECE_BYTES, &value);
    }
    if (step == PACK_DONE) {
        struct cache_entry *packed = pack_open(pack, value, VALUE_MAX);
        struct cache_entry *plain = cache_entry_from_bytes(bytes);
        ASSERT((packed == NULL) == (plain == NULL));
        ASSERT(packed == NULL || str_eq(cache_entry_bytes(packed), cache_entry_bytes(plain)));
        cache_entry_unref(packed);
        cache_entry_unref(plain);
    }
    pack_end(pack);
    pack_free(pack);
}

/* Few inputs have lengths that add up; so let all of them be fields, too, of an answer that can be
 * turned. */
static void check_as_fields(struct str fields)
{
    static const char body[] =
        "{\"object\":\"chat.completion\",\"choices\":[{\"index\":0,\"message\":"
        "{\"role\":\"assistant\",\"content\":\"a\"},"
        "\"finish_reason\":\"stop\"}]}";
    static const char head[40] = "NSC2\0\0\0\0\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0";
    const uint8_t lengths[8] = {(uint8_t)fields.len, (uint8_t)(fields.len >> 8),
                                (uint8_t)(fields.len >> 16), (uint8_t)(fields.len >> 24),
                                sizeof(body) - 1};
    struct buf block;

    buf_init(&block);
    buf_append(&block, head, sizeof(head));
    buf_append(&block, lengths, sizeof(lengths));
    buf_append_str(&block, fields);
    buf_append_str(&block, str_of(body));
    check(buf_str(&block));
    buf_done(&block);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = str_make((const char *)data, size);

    check(bytes);
    check_value(bytes);
    check_packed(bytes);
    check_as_fields(bytes);
    return 0;
}
