/* SPDX-License-Identifier: MIT */
/*
 * What the cache costs, by itself: nanoseconds per memory hit and per key. Not a test; for a quiet
 * machine.
 *
 *   make bench-micro
 */
#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/base/clock.h>
#include <nearside/base/digest.h>
#include <nearside/base/mem.h>
#include <nearside/base/rng.h>
#include <nearside/cache/cache.h>
#include <nearside/cache/form.h>
#include <nearside/cache/key.h>
#include <nearside/http/h1.h>
#include <nearside/http/json_scan.h>
#include <nearside/loop/loop.h>
#include <nearside/obs/metric.h>

#include <stdio.h>
#include <string.h>

#define ENTRIES 100000u
#define BODY    1000

#define READ_BYTES 65536 /* as the proxy reads */

static volatile uint64_t keep;

/* The best of five rounds: the others met somebody else's work. */
#define MEASURE(ret_ns, count, statement)                                                          \
    do {                                                                                           \
        (ret_ns) = 1e18;                                                                           \
        for (int round = 0; round < 5; round++) {                                                  \
            const uint64_t start = clock_mono_ns();                                                \
            for (uint64_t i = 0; i < (count); i++) {                                               \
                statement;                                                                         \
            }                                                                                      \
            const double took = (double)(clock_mono_ns() - start) / (double)(count);               \
            (ret_ns) = took < (ret_ns) ? took : (ret_ns);                                          \
        }                                                                                          \
    } while (0)

/* ---- memory ---- */

static struct cache_key key_of(uint64_t number)
{
    struct cache_key key = {.bytes = {0}};

    memcpy(key.bytes, &number, sizeof(number));
    return key;
}

static void store(struct cache_worker *worker, uint64_t number)
{
    static const struct h1_limits limits = {.head_bytes = 4096, .uri_bytes = 64, .fields = 32};
    static const char head[] = "HTTP/1.1 200 OK\r\n"
                               "content-type: application/json\r\n"
                               "server: uvicorn\r\n"
                               "transfer-encoding: chunked\r\n\r\n";
    static char body[BODY];
    static struct http_head response;
    struct cache_key key = key_of(number);
    size_t used;

    enum h1_result result = h1_parse_response(str_of(head), &limits, HTTP_POST, &response, &used);
    ASSERT(result == H1_COMPLETE);
    struct cache_fill *fill =
        cache_fill_start(worker, &key, CACHE_FORM_PLAIN, &response, 3600000, 1048576);
    cache_fill_add(fill, str_make(body, sizeof(body)));
    bool is_stored = cache_fill_commit(fill, METRIC_REGION_NONE, 5);
    ASSERT(is_stored);
}

static void get(struct cache_worker *worker, uint64_t number, bool is_there)
{
    struct cache_key key = key_of(number);
    struct cache_entry *entry = cache_get_memory(worker, &key);

    ASSERT((entry != NULL) == is_there);
    keep += entry == NULL ? 0 : cache_entry_body(entry).len;
    cache_entry_unref(entry);
}

static void measure_memory(void)
{
    struct loop *loop = loop_new("bench");
    struct cache *cache = cache_new(1ULL << 30);
    struct cache_worker *worker = cache_worker_new(cache, loop, metric_block_new());
    struct rng rng;
    double ns;

    rng_init_seed(&rng, 1);
    MEASURE(ns, ENTRIES, store(worker, i));
    printf("memory_store_1000_bytes_ns %.0f\n", ns);
    MEASURE(ns, 1000000, get(worker, 7, true));
    printf("memory_hit_same_key_ns %.0f\n", ns);
    MEASURE(ns, 1000000, get(worker, rng_below(&rng, ENTRIES), true));
    printf("memory_hit_of_%u_ns %.0f\n", ENTRIES, ns);
    MEASURE(ns, 1000000, get(worker, ENTRIES + i, false));
    printf("memory_miss_ns %.0f\n", ns);
    cache_worker_free(worker);
    cache_free(cache);
}

/* ---- keys ---- */

struct keyer {
    struct digest *digest;
    struct digest *early_digest;
    struct cache_key_early early;
    struct json_scan scan;
};

/* Scan and digest as the proxy does: in pieces of a read's size, as they come. */
static void make_key(struct keyer *keyer, struct str body)
{
    struct json_scanner scanner;
    struct cache_key key;
    struct cache_key_parts parts = {
        .method = STR_LIT("POST"),
        .target = STR_LIT("/v1/chat/completions"),
        .authorization = STR_LIT("Bearer sk-proj-0123456789abcdefghijklmnopqrstuvwxyz"),
        .scan = &keyer->scan,
        .early = &keyer->early,
    };

    cache_key_early_init(&keyer->early, keyer->early_digest, true);
    json_scanner_start(&scanner, &keyer->scan, CACHE_KEY_LONG_BYTES, cache_key_early_run,
                       &keyer->early);
    for (size_t come = READ_BYTES; come < body.len; come += READ_BYTES) {
        enum json_scan_result result = json_scanner_feed(&scanner, str_slice(body, 0, come));
        ASSERT(result == JSON_SCAN_OK);
    }
    enum json_scan_result result = json_scanner_end(&scanner, body);
    ASSERT(result == JSON_SCAN_OK);
    cache_key_make(keyer->digest, &parts, &key);
    keep += key.bytes[0];
}

static void measure_key(const char *name, size_t prompt_len, uint64_t count)
{
    static const char before[] =
        "{\"model\":\"meta-llama/Llama-3.1-8B-Instruct\",\"temperature\":0,"
        "\"messages\":[{\"role\":\"user\",\"content\":\"";
    static const char after[] = "\"}],\"stream\":true,\"max_tokens\":256}";
    static struct keyer keyer;
    size_t len = sizeof(before) - 1 + prompt_len + sizeof(after) - 1;
    char *body = mem_alloc(len);
    double ns;

    keyer.digest = digest_new();
    keyer.early_digest = digest_new();
    memcpy(body, before, sizeof(before) - 1);
    for (size_t i = 0; i < prompt_len; i++) {
        body[sizeof(before) - 1 + i] = "the quick brown fox "[i % 20];
    }
    memcpy(body + sizeof(before) - 1 + prompt_len, after, sizeof(after) - 1);
    MEASURE(ns, count, keep += json_scan(str_make(body, len), &keyer.scan));
    printf("scan_%s_ns %.0f\n", name, ns);
    MEASURE(ns, count, make_key(&keyer, str_make(body, len)));
    printf("scan_and_key_%s_ns %.0f\n", name, ns);
    digest_start(keyer.digest);
    MEASURE(ns, count, digest_add(keyer.digest, body, len));
    printf("sha256_alone_%s_ns %.0f\n", name, ns);
    mem_free(body);
    digest_free(keyer.digest);
    digest_free(keyer.early_digest);
}

/* ---- forms ---- */

static void filter(struct str events, struct buf *out)
{
    const struct form_wish wish = {.bytes_max = 2 * events.len};

    buf_clear(out);
    enum form_result result = form_stream_filter_usage(API_CHAT, events, &wish, out);
    ASSERT(result == FORM_OK);
    keep += buf_len(out);
}

/* 1 MiB of a stream whose events all say that there is no usage yet, as OpenAI's do. */
static void measure_filter(void)
{
    struct buf events;
    struct buf out;
    double ns;

    buf_init(&events);
    buf_init(&out);
    while (buf_len(&events) < 1048576) {
        buf_append_str(&events,
                       STR_LIT("data: {\"id\":\"chatcmpl-A1b2C3d4E5f6G7h8I9j0K1l2M3n4\","
                               "\"object\":\"chat.completion.chunk\",\"created\":1732000000,"
                               "\"model\":\"gpt-4o-mini-2024-07-18\",\"choices\":[{\"index\":0,"
                               "\"delta\":{\"content\":\" token\"},\"logprobs\":null,"
                               "\"finish_reason\":null}],\"usage\":null}\n\n"));
    }
    buf_append_str(&events, STR_LIT("data: [DONE]\n\n"));
    MEASURE(ns, 20, filter(buf_str(&events), &out));
    printf("filter_usage_1_mib_ns %.0f\n", ns);
    buf_done(&events);
    buf_done(&out);
}

int main(void)
{
    measure_memory();
    measure_key("1_kib", 1024, 200000);
    measure_key("1_mib", 1048576, 200);
    measure_filter();
    return 0;
}
