/* SPDX-License-Identifier: MIT */
/*
 * Delete every key that matches a pattern, a step of 500 at a time, so that neither Redis nor we
 * are busy with it for long:
 *
 *     SCAN cursor MATCH pattern COUNT 500 ──> keys ──> UNLINK keys ──> next SCAN, until cursor 0
 *
 * Keys that appear meanwhile may stay; keys that were there from start to end are deleted (SCAN's
 * guarantee). Each command waits for the one before: ordinary commands go in between. One that gets
 * no answer in KV_SWEEP_STEP_MS ends it all, however long it may take.
 */
#include "kv_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <inttypes.h>
#include <stdio.h>

#define SWEEP_STEP       "500"
#define CURSOR_BYTES_MAX 32 /* a number; 20 digits are the longest */
#define SWEEP_KEYS_MAX                                                                             \
    500 /* of one UNLINK; a SCAN may find somewhat more than it was asked for                      \
         */

_Static_assert(SWEEP_KEYS_MAX < KV_WORDS_MAX, "UNLINK and its keys are one command");

static bool sweep_scan(struct kv_request *request)
{
    struct kv_sweep *sweep = &request->sweep;
    const struct str words[] = {
        STR_LIT("SCAN"),  str_of(sweep->cursor),
        STR_LIT("MATCH"), str_make(sweep->pattern, sweep->pattern_len),
        STR_LIT("COUNT"), STR_LIT(SWEEP_STEP),
    };

    return kv_request_submit(request, words, ARRAY_LEN(words));
}

static bool sweep_unlink(struct kv_request *request)
{
    struct kv_sweep *sweep = &request->sweep;
    struct str words[KV_WORDS_MAX] = {STR_LIT("UNLINK")};
    size_t count = 1;

    while (sweep->next < sweep->found->count && count <= SWEEP_KEYS_MAX) {
        words[count++] = sweep->found->items[sweep->next++]->text;
    }
    return kv_request_submit(request, words, count);
}

static void sweep_forget_found(struct kv_sweep *sweep)
{
    kv_reply_free(sweep->found);
    sweep->found = NULL;
    sweep->next = 0;
}

static void sweep_finish(struct kv_request *request)
{
    struct kv_sweep *sweep = &request->sweep;
    int len = snprintf(sweep->text, sizeof(sweep->text), "%" PRIu64, sweep->deleted);

    request->value = str_make(sweep->text, (size_t)len);
    kv_request_finish(request, KV_OK, NULL);
}

/* The next command, or the end. */
static void sweep_next(struct kv_request *request)
{
    struct kv_sweep *sweep = &request->sweep;
    bool is_sent;

    if (sweep->found != NULL && sweep->next < sweep->found->count) {
        is_sent = sweep_unlink(request);
    } else if (str_eq(str_of(sweep->cursor), STR_LIT("0"))) {
        sweep_finish(request);
        return;
    } else {
        sweep_forget_found(sweep);
        is_sent = sweep_scan(request);
    }
    if (!is_sent) {
        kv_request_finish(request, KV_FULL, NULL);
    }
}

static bool is_key_list(const struct kv_reply *keys)
{
    for (size_t i = 0; i < keys->count; i++) {
        if (keys->items[i]->kind != KV_REPLY_STRING) {
            return false;
        }
    }
    return keys->kind == KV_REPLY_ARRAY;
}

/* [cursor, [key, ...]]; takes the keys out of `reply`. */
static bool take_scan(struct kv_sweep *sweep, struct kv_reply *reply)
{
    if (reply->count != 2 || reply->items[0]->kind != KV_REPLY_STRING ||
        reply->items[0]->text.len > CURSOR_BYTES_MAX || !is_key_list(reply->items[1])) {
        return false;
    }
    mem_free(sweep->cursor);
    sweep->cursor = mem_strndup(reply->items[0]->text.ptr, reply->items[0]->text.len);
    sweep->found = reply->items[1];
    sweep->next = 0;
    reply->items[1] = NULL;
    return true;
}

void kv_sweep_reply(struct kv_request *request, struct kv_reply *reply)
{
    struct kv_sweep *sweep = &request->sweep;

    if (reply->kind == KV_REPLY_ARRAY && sweep->found == NULL && take_scan(sweep, reply)) {
        sweep_next(request);
    } else if (reply->kind == KV_REPLY_INTEGER && sweep->found != NULL) {
        sweep->deleted += (uint64_t)reply->integer;
        sweep_next(request);
    } else {
        kv_request_note_refusal(request, reply);
        kv_request_finish(request, KV_REFUSED, NULL);
    }
    kv_reply_free(reply);
}

bool kv_sweep_start(struct kv_request *request, struct str pattern)
{
    struct kv_sweep *sweep = &request->sweep;

    sweep->pattern = mem_strndup(pattern.ptr, pattern.len);
    sweep->pattern_len = pattern.len;
    sweep->cursor = mem_strdup("0");
    return sweep_scan(request);
}

void kv_sweep_done(struct kv_sweep *sweep)
{
    sweep_forget_found(sweep);
    mem_free(sweep->pattern);
    mem_free(sweep->cursor);
}
