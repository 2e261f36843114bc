/* SPDX-License-Identifier: MIT */
/*
 * What it costs to pack answers for Redis, and what it saves: microseconds and bytes, for plain
 * answers and for streams made of the words of this repository's own documents. Not a test; for a
 * quiet machine.
 *
 *   make bench-micro
 */
#include "cache/entry_private.h"
#include "cache/pack_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>

#include <stdio.h>
#include <string.h>

#define PIECE_BYTES 65536 /* as in src/cache/redis_store.c */
#define BLOCK_MAX   (8u << 20)
#define TEXT_MAX    (1u << 20)

static volatile size_t keep;

/* ---- answers ---- */

static struct str read_words(const char *path, struct buf *out)
{
    FILE *file = fopen(path, "re");

    ASSERT(file != NULL && buf_reserve(out, TEXT_MAX));
    static char bytes[TEXT_MAX];
    size_t len = fread(bytes, 1, sizeof(bytes), file);
    (void)fclose(file);
    for (size_t i = 0; i < len; i++) {
        char c = bytes[i];
        buf_append_char(out, c == '"' || c == '\\' || c < ' ' ? ' ' : c);
    }
    return buf_str(out);
}

static struct cache_entry *entry_of(struct str body)
{
    static const struct cache_entry_facts facts = {.stored_wall_ms = 1, .ttl_ms = 3600000};
    struct entry_build build;
    struct str fields = STR_LIT("Content-Type: application/json\r\nServer: uvicorn\r\n"
                                "Date: Mon, 23 Nov 2026 04:03:21 GMT\r\n");

    entry_build_init(&build);
    bool is_reserved = entry_build_reserve(&build, ENTRY_HEAD_BYTES + fields.len + body.len);
    ASSERT(is_reserved);
    entry_build_append(&build, fields);
    entry_build_end_fields(&build);
    entry_build_append(&build, body);
    return entry_build_take(&build, &facts);
}

static void make_plain(struct str words, struct buf *out)
{
    buf_append_str(out, STR_LIT("{\"id\":\"chatcmpl-9f8e7d6c5b4a\",\"object\":\"chat.completion\","
                                "\"created\":1700000000,\"model\":\"llama-3-70b-instruct\","
                                "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
                                "\"content\":\""));
    buf_append_str(out, words);
    buf_append_str(out, STR_LIT("\"},\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{"
                                "\"prompt_tokens\":120,\"completion_tokens\":300,"
                                "\"total_tokens\":420}}"));
}

/* A chunk for each word, as for each token. */
static void make_stream(struct str words, struct buf *out)
{
    struct str word;

    while (str_next_item(&words, ' ', &word)) {
        buf_append_str(out, STR_LIT("data: {\"id\":\"chatcmpl-9f8e7d6c5b4a\",\"object\":"
                                    "\"chat.completion.chunk\",\"created\":1700000000,"
                                    "\"model\":\"llama-3-70b-instruct\",\"choices\":[{\"index\":0,"
                                    "\"delta\":{\"content\":\" "));
        buf_append_str(out, word);
        buf_append_str(out, STR_LIT("\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"));
    }
    buf_append_str(out, STR_LIT("data: [DONE]\n\n"));
}

/* ---- measuring ---- */

static double best_pack_us(struct pack *pack, struct str block, unsigned rounds, size_t *ret_len,
                           double *ret_piece_us)
{
    double best = 1e18;

    *ret_piece_us = 1e18;
    for (unsigned i = 0; i < rounds; i++) {
        const uint64_t start = clock_mono_ns();
        uint64_t longest = 0;
        struct str value = STR_EMPTY;
        enum pack_step step = pack_begin(pack, block) ? PACK_MORE : PACK_USELESS;
        while (step == PACK_MORE) {
            const uint64_t piece = clock_mono_ns();
            step = pack_step(pack, PIECE_BYTES, &value);
            const uint64_t took = clock_mono_ns() - piece;
            longest = took > longest ? took : longest;
        }
        const double took = (double)(clock_mono_ns() - start) / 1e3;
        best = took < best ? took : best;
        *ret_piece_us =
            (double)longest / 1e3 < *ret_piece_us ? (double)longest / 1e3 : *ret_piece_us;
        *ret_len = step == PACK_DONE ? value.len : block.len;
        pack_end(pack);
    }
    return best;
}

static double best_open_us(struct pack *pack, struct str block, unsigned rounds)
{
    double best = 1e18;
    struct str value = STR_EMPTY;
    bool is_begun = pack_begin(pack, block);
    enum pack_step step = PACK_MORE;

    ASSERT(is_begun);
    while (step == PACK_MORE) {
        step = pack_step(pack, PIECE_BYTES, &value);
    }
    for (unsigned i = 0; i < rounds && step == PACK_DONE; i++) {
        const uint64_t start = clock_mono_ns();
        struct cache_entry *entry = pack_open(pack, value, BLOCK_MAX);
        const double took = (double)(clock_mono_ns() - start) / 1e3;
        best = took < best ? took : best;
        keep += cache_entry_bytes(entry).len;
        cache_entry_unref(entry);
    }
    pack_end(pack);
    return best;
}

static void measure(const char *name, struct str body, unsigned rounds)
{
    struct pack *pack = pack_new();
    struct cache_entry *entry = entry_of(body);
    struct str block = cache_entry_bytes(entry);
    double piece_us = 0;
    size_t len = 0;
    double pack_us = best_pack_us(pack, block, rounds, &len, &piece_us);
    double open_us = best_open_us(pack, block, rounds);

    printf("%s_bytes %zu packed_bytes %zu pack_us %.1f longest_piece_us %.1f open_us %.1f\n", name,
           block.len, len, pack_us, piece_us, open_us);
    cache_entry_unref(entry);
    pack_free(pack);
}

int main(void)
{
    static const struct {
        const char *name;
        size_t words_len;
        unsigned rounds;
    } rows[] = {{"0.3_kib_of_text", 300, 3000},
                {"1_kib_of_text", 1000, 3000},
                {"2_kib_of_text", 2000, 3000},
                {"5_kib_of_text", 5000, 1000},
                {"25_kib_of_text", 25000, 100}};
    struct buf words;
    struct buf body;

    buf_init(&words);
    buf_init(&body);
    (void)read_words("docs/cache.md", &words);
    (void)read_words("docs/redis.md", &words);
    (void)read_words("docs/routing.md", &words);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char name[64];
        struct str text = str_slice(buf_str(&words), 0, rows[i].words_len);
        buf_clear(&body);
        make_plain(text, &body);
        (void)snprintf(name, sizeof(name), "plain_%s", rows[i].name);
        measure(name, buf_str(&body), rows[i].rounds);
        buf_clear(&body);
        make_stream(text, &body);
        (void)snprintf(name, sizeof(name), "stream_%s", rows[i].name);
        measure(name, buf_str(&body), rows[i].rounds);
    }
    buf_done(&words);
    buf_done(&body);
    return 0;
}
