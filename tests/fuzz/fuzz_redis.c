/* SPDX-License-Identifier: MIT */
/*
 * Any bytes from a Redis: replies, and what their texts are taken for: cached answers, other edges'
 * reports, operators' drains. The first byte is the size of the pieces they come in.
 */
#include <health/shared_private.h>
#include <kv/kv_reply_private.h>

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>
#include <nearside/cache/entry.h>
#include <nearside/fleet/view.h>
#include <nearside/http/h1.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take_entry(struct str text)
{
    struct cache_entry *entry = cache_entry_from_bytes(text);

    if (entry != NULL) {
        ASSERT(str_eq(cache_entry_bytes(entry), text));
        ASSERT(cache_entry_fields(entry).len + cache_entry_body(entry).len < text.len);
        cache_entry_unref(entry);
    }
}

static void take_report(struct str text)
{
    struct peers peers;
    struct peer *peer;
    uint64_t epoch;
    uint64_t sequence;

    peers_init(&peers);
    peer = peers_add(&peers, "edge");
    if (shared_report_head(&text, &epoch, &sequence) && shared_report_read(text, peer)) {
        for (uint32_t i = 0; i < peer->region_count; i++) {
            ASSERT(memchr(peer->regions[i].name, '\0', PEER_NAME_SIZE) != NULL);
            ASSERT(peer->regions[i].state < REGION_STATE_COUNT);
        }
    }
    peers_done(&peers);
}

/* A drain that was read must be written as the same one. */
static void take_drain(struct str field, struct str value)
{
    struct shared_drains drains;

    shared_drains_init(&drains);
    shared_drains_take(&drains, field, value);
    shared_drains_take(&drains, field, value);
    ASSERT(drains.count <= 1);
    if (drains.count == 1) {
        struct shared_drain *drain = LIST_ITEM(list_first(&drains.all), struct shared_drain, link);
        struct buf out;

        buf_init(&out);
        shared_drain_value(drain, &out);
        shared_drains_take(&drains, field, buf_str(&out));
        ASSERT(drains.count == 1);
        buf_done(&out);
    }
    shared_drains_done(&drains);
}

static void take_reply(const struct kv_reply *reply)
{
    take_entry(reply->text);
    take_report(reply->text);
    take_drain(STR_LIT("region/near"), reply->text);
    (void)kv_error_is_unready(reply->text);
    for (size_t i = 0; i < reply->count; i++) {
        ASSERT(reply->items[i] != NULL);
        take_reply(reply->items[i]);
        if (i + 1 < reply->count) {
            take_drain(reply->items[i]->text, reply->items[i + 1]->text);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kv_reader *reader;
    struct str input;
    enum kv_read state = KV_READ_MORE;
    size_t piece;

    if (size < 2) {
        return 0;
    }
    reader = kv_reader_new();
    piece = data[0] % 64 + 1U;
    input = str_make((const char *)data + 1, size - 1);
    while (input.len > 0 && state != KV_READ_BAD) {
        struct kv_reply *reply;
        const struct str some = str_slice(input, 0, piece);

        ASSERT(kv_reader_feed(reader, some.ptr, some.len));
        input = str_slice(input, some.len, input.len);
        while ((state = kv_reader_take(reader, &reply)) == KV_READ_REPLY) {
            take_reply(reply);
            kv_reply_free(reply);
        }
    }
    ASSERT(state != KV_READ_BAD || kv_reader_error(reader) != NULL);
    kv_reader_free(reader);
    return 0;
}
