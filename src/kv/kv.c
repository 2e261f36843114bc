/* SPDX-License-Identifier: MIT */
/*
 * Requests to a region's Redis: bounded, each with its deadline, behind a breaker.
 *
 * Happy path:
 *   1. A starter checks breaker and bounds, and submits a command to the connection.
 *   2. Its reply, its deadline or the loss of the connection gives the request a result.
 *   3. A task at the end of the turn calls back. Nothing of the caller's runs before that, so
 *      that replies can be parsed and connections dropped without a caller changing things.
 *
 * It can fail by: breaker open or connection down, bounds reached (at once: but the callback
 * still comes later), deadline, loss, an error from Redis. All end in kv_request_finish().
 *
 *     active ──(result)──> finished ──(end of turn)──> batch ──> callback, gone
 *
 * While the breaker is open, a PING is tried when the backoff has passed and whenever the
 * connection becomes ready; the connection itself is kept and re-made by kv_conn.c.
 *
 * Pressure: fire-and-forget requests are turned away from half of the bounds on, so that storing
 * never stands in the way of asking.
 */
#include <nearside/kv/kv.h>

#include "kv_breaker_private.h"
#include "kv_conn_private.h"
#include "kv_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/errbuf.h>
#include <nearside/base/list.h>
#include <nearside/base/mem.h>
#include <nearside/base/rng.h>
#include <nearside/loop/loop.h>

#include <inttypes.h>
#include <stdio.h>

#define KV_MAGIC      0x6b764b56u
#define REQUEST_MAGIC 0x6b767271u

_Static_assert(KV_COMMAND_WORDS_MAX <= KV_WORDS_MAX, "any command fits the pipeline");

/* RESP's framing of a command of a few words, beyond their bytes. */
#define COMMAND_FRAME_BYTES 128

struct kv {
    uint32_t magic;
    struct loop *loop;    /* borrowed: outlives this */
    struct kv_conn *conn; /* owned */
    struct list active;   /* of struct kv_request, owned: a command is under way */
    size_t active_count;
    struct list finished; /* of struct kv_request, owned: the callback is due */
    struct list batch;    /* the same, to be called back by the present task */
    struct loop_task deliver;

    struct kv_breaker breaker;
    struct deadline trial_due;        /* armed while the breaker is open and no trial is on */
    struct kv_request *trial_request; /* borrowed: the PING under way, or NULL */
    struct rng rng;
    struct errbuf error;
    enum kv_error error_kind; /* of `error` */
};

static void trial_start(struct kv *kv);

const char *kv_result_word(enum kv_result result)
{
    static const char *const words[KV_RESULT_COUNT] = {
        [KV_OK] = "ok",     [KV_MISS] = "miss", [KV_TIMEOUT] = "timeout",
        [KV_DOWN] = "down", [KV_FULL] = "full", [KV_REFUSED] = "refused",
    };

    ASSERT(result < KV_RESULT_COUNT);
    return words[result];
}

bool kv_is_up(const struct kv *kv)
{
    return kv_conn_is_ready(kv->conn) && !kv->breaker.is_open;
}

const char *kv_last_error(const struct kv *kv)
{
    return kv->error.text;
}

enum kv_error kv_last_error_kind(const struct kv *kv)
{
    return kv->error_kind;
}

void kv_expect(struct kv *kv, uint32_t timeout_ms)
{
    kv_breaker_expect(&kv->breaker, timeout_ms);
}

/* ---- the breaker and its trials ---- */

static void trial_wait(struct kv *kv)
{
    deadline_set_in_ms(&kv->trial_due, kv_breaker_wait_ms(&kv->breaker, rng_next(&kv->rng)));
}

/* A PING is stopped by no open breaker and opens none: its owner may be less patient with it than
 * with what he really wants. */
static void note_failure(const struct kv_request *request)
{
    struct kv *kv = request->kv;

    if (request->kind != KV_KIND_PING && kv_breaker_failure(&kv->breaker, request->patience_ms)) {
        trial_wait(kv);
    }
}

static void note_success(struct kv *kv, uint32_t took_ms)
{
    if (kv_breaker_success(&kv->breaker, took_ms)) {
        deadline_cancel(&kv->trial_due);
    }
}

static void on_trial_done(enum kv_result result, struct str value, void *arg)
{
    struct kv *kv = OBJ_CAST(arg, kv, KV_MAGIC);

    (void)result; /* its success has closed the breaker before this */
    (void)value;
    kv->trial_request = NULL;
    if (kv->breaker.is_open) {
        trial_wait(kv);
    }
}

/* Not before the connection is ready: becoming ready starts the trial then. */
static void trial_start(struct kv *kv)
{
    if (!kv->breaker.is_open || kv->trial_request != NULL || !kv_conn_is_ready(kv->conn)) {
        return;
    }
    deadline_cancel(&kv->trial_due);
    kv->trial_request = kv_ping(kv, kv->breaker.patience_ms, on_trial_done, kv);
}

static void on_trial_due(struct deadline *deadline, void *arg)
{
    (void)deadline;
    trial_start(OBJ_CAST(arg, kv, KV_MAGIC));
}

static void on_ready(void *arg)
{
    trial_start(OBJ_CAST(arg, kv, KV_MAGIC));
}

/* `why` is what Redis said, if it said something, or our own words. */
static void on_lost(const char *why, void *arg)
{
    struct kv *kv = OBJ_CAST(arg, kv, KV_MAGIC);
    enum kv_error kind = kv_error_of(str_of(why));

    err_set(&kv->error, "%s", why);
    kv->error_kind = kind == KV_ERROR_OTHER ? KV_ERROR_DOWN : kind;
}

/* ---- the end of a request ---- */

void kv_request_note_refusal(struct kv_request *request, const struct kv_reply *reply)
{
    bool is_error = reply->kind == KV_REPLY_ERROR;

    err_set(&request->kv->error, "%s", is_error ? reply->text.ptr : "an unexpected kind of reply");
    request->kv->error_kind = is_error ? kv_error_of(reply->text) : KV_ERROR_OTHER;
}

void kv_request_finish(struct kv_request *request, enum kv_result result, struct kv_reply *reply)
{
    struct kv *kv = request->kv;

    ASSERT(request->command == NULL && request->reply == NULL);
    request->result = result;
    request->reply = reply;
    deadline_cancel(&request->deadline);
    list_remove(&request->link);
    list_push_back(&kv->finished, &request->link);
    kv->active_count--;
    loop_task_queue(kv->loop, &kv->deliver);
}

static void request_free(struct kv_request *request)
{
    list_remove(&request->link);
    deadline_done(&request->deadline);
    kv_reply_free(request->reply);
    kv_sweep_done(&request->sweep);
    mem_free(request->items);
    request->magic = 0;
    loop_defer_free(request->kv->loop, request);
}

/* A callback may start, cancel or free the whole. */
static void on_deliver(struct loop_task *task, void *arg)
{
    struct kv *kv = OBJ_CAST(arg, kv, KV_MAGIC);

    (void)task;
    list_append(&kv->batch, &kv->finished);
    while (!list_is_empty(&kv->batch)) {
        struct kv_request *request = LIST_ITEM(list_first(&kv->batch), struct kv_request, link);
        struct kv_waiter waiter = request->waiter;

        list_remove(&request->link);
        request->magic = 0; /* from here on it must not be cancelled */
        if (waiter.items != NULL) {
            waiter.items(request->result, request->items, request->item_count, waiter.arg);
        } else if (waiter.done != NULL) {
            waiter.done(request->result, request->value, waiter.arg);
        }
        request_free(request);
    }
}

/* ---- replies ---- */

/* An answer of another kind than the command has would mean that the replies are out of step:
 * better no value than another key's. */
static enum kv_result result_of_reply(struct kv_request *request, const struct kv_reply *reply)
{
    static const enum kv_reply_kind wanted[KV_KIND_COUNT] = {
        [KV_KIND_GET] = KV_REPLY_STRING,
        [KV_KIND_SET] = KV_REPLY_STATUS,
        [KV_KIND_PING] = KV_REPLY_STATUS,
    };

    if (request->kind == KV_KIND_COMMAND) {
        if (kv_items_take(request, reply)) {
            return KV_OK;
        }
        request->item_count = 0;
        kv_request_note_refusal(request, reply);
        return KV_REFUSED;
    }
    if (reply->kind == wanted[request->kind]) {
        request->value = reply->text;
        return KV_OK;
    }
    if (reply->kind == KV_REPLY_NIL && request->kind == KV_KIND_GET) {
        return KV_MISS;
    }
    kv_request_note_refusal(request, reply);
    return KV_REFUSED;
}

/* What the command under way has waited. Not more than it was given: it is in time, even if the
 * loop stood still. */
static uint32_t waited_ms(const struct kv_request *request)
{
    uint64_t ns = loop_now_ns(request->kv->loop) - request->begun_ns;
    uint64_t ms = (ns + NS_PER_MS - 1) / NS_PER_MS;

    return ms < request->patience_ms ? (uint32_t)ms : request->patience_ms;
}

/* A Redis that answers is well, even if it refuses this command; unless it refuses them all. */
static void note_reply(struct kv_request *request, const struct kv_reply *reply)
{
    if (reply->kind == KV_REPLY_ERROR && kv_error_is_unready(reply->text)) {
        note_failure(request);
    } else {
        note_success(request->kv, waited_ms(request));
    }
}

static void on_command(enum kv_result result, struct kv_reply *reply, void *arg)
{
    struct kv_request *request = OBJ_CAST(arg, kv_request, REQUEST_MAGIC);

    request->command = NULL;
    if (result != KV_OK) {
        note_failure(request);
        kv_request_finish(request, result, NULL);
        return;
    }
    note_reply(request, reply);
    if (request->kind == KV_KIND_DELETE_MATCHING) {
        kv_sweep_reply(request, reply);
    } else {
        kv_request_finish(request, result_of_reply(request, reply), reply);
    }
}

static void on_deadline(struct deadline *deadline, void *arg)
{
    struct kv_request *request = OBJ_CAST(arg, kv_request, REQUEST_MAGIC);

    (void)deadline;
    request->kv->error_kind = KV_ERROR_TIMEOUT;
    err_set(&request->kv->error, "no answer within %" PRIu32 " ms", request->patience_ms);
    kv_conn_abandon(request->kv->conn, request->command);
    request->command = NULL;
    note_failure(request);
    kv_request_finish(request, KV_TIMEOUT, NULL);
}

/* ---- starting ---- */

bool kv_request_submit(struct kv_request *request, const struct str *words, size_t count)
{
    struct kv_listener listener = {.fn = on_command, .arg = request};
    uint64_t now_ns = loop_now_ns(request->kv->loop);
    uint64_t due_ns = now_ns + request->patience_ms * NS_PER_MS;

    request->begun_ns = now_ns;
    deadline_set_ns(&request->deadline, due_ns < request->end_ns ? due_ns : request->end_ns);
    request->command = kv_conn_submit(request->kv->conn, words, count, listener);
    return request->command != NULL;
}

/* May a command of about `bytes` be sent now? KV_OK or why not. */
static enum kv_result admit(const struct kv *kv, enum kv_kind kind, size_t bytes, bool wanted)
{
    size_t count_max = wanted ? KV_PENDING_MAX : KV_PENDING_MAX / 2;
    size_t bytes_max = wanted ? KV_PENDING_BYTES : KV_PENDING_BYTES / 2;
    size_t bytes_now = kv_conn_unsent_bytes(kv->conn);

    if (kv_conn_is_down(kv->conn) || (kv->breaker.is_open && kind != KV_KIND_PING)) {
        return KV_DOWN;
    }
    if (kv->active_count >= count_max || bytes_now >= bytes_max || bytes > bytes_max - bytes_now) {
        return KV_FULL;
    }
    return KV_OK;
}

static struct kv_request *request_new(struct kv *kv, enum kv_kind kind, struct kv_waiter waiter)
{
    struct kv_request *request = mem_new(struct kv_request);

    ASSERT(loop_is_home(kv->loop) && waiter.timeout_ms > 0);
    request->magic = REQUEST_MAGIC;
    request->kind = kind;
    request->kv = kv;
    request->waiter = waiter;
    request->end_ns = loop_now_ns(kv->loop) + waiter.timeout_ms * NS_PER_MS;
    request->patience_ms = waiter.timeout_ms;
    deadline_init(&request->deadline, kv->loop, on_deadline, request);
    list_push_back(&kv->active, &request->link);
    kv->active_count++;
    return request;
}

static size_t size_of_words(const struct str *words, size_t count)
{
    size_t bytes = COMMAND_FRAME_BYTES;

    for (size_t i = 0; i < count; i++) {
        bytes += words[i].len;
    }
    return bytes;
}

static bool is_wanted(struct kv_waiter waiter)
{
    return waiter.done != NULL || waiter.items != NULL;
}

/* A request that has failed before it began; NULL when nobody wants to know. */
static struct kv_request *request_refused(struct kv *kv, enum kv_kind kind, enum kv_result why,
                                          struct kv_waiter waiter)
{
    struct kv_request *request;

    if (!is_wanted(waiter)) {
        return NULL;
    }
    request = request_new(kv, kind, waiter);
    kv_request_finish(request, why, NULL);
    return request;
}

/* Begin with the command in `words`. NULL when nobody wants to know the end: there is nothing to
 * cancel then. */
static struct kv_request *request_start(struct kv *kv, enum kv_kind kind, const struct str *words,
                                        size_t count, struct kv_waiter waiter)
{
    enum kv_result verdict = admit(kv, kind, size_of_words(words, count), is_wanted(waiter));
    struct kv_request *request;

    if (verdict != KV_OK) {
        return request_refused(kv, kind, verdict, waiter);
    }
    request = request_new(kv, kind, waiter);
    if (!kv_request_submit(request, words, count)) {
        kv_request_finish(request, KV_FULL, NULL);
    }
    return is_wanted(waiter) ? request : NULL;
}

struct kv_request *kv_get(struct kv *kv, struct str key, uint32_t timeout_ms, kv_done_fn done,
                          void *arg)
{
    const struct str words[] = {STR_LIT("GET"), key};

    ASSERT(done != NULL);
    return request_start(kv, KV_KIND_GET, words, ARRAY_LEN(words),
                         (struct kv_waiter){.timeout_ms = timeout_ms, .done = done, .arg = arg});
}

struct kv_request *kv_set(struct kv *kv, struct str key, struct str value, uint64_t ttl_ms,
                          uint32_t timeout_ms, kv_done_fn done, void *arg)
{
    char ttl[24];
    int ttl_len = snprintf(ttl, sizeof(ttl), "%" PRIu64, ttl_ms);
    const struct str words[] = {STR_LIT("SET"), key, value, STR_LIT("PX"),
                                str_make(ttl, (size_t)ttl_len)};

    ASSERT(ttl_ms > 0);
    return request_start(kv, KV_KIND_SET, words, ARRAY_LEN(words),
                         (struct kv_waiter){.timeout_ms = timeout_ms, .done = done, .arg = arg});
}

struct kv_request *kv_ping(struct kv *kv, uint32_t timeout_ms, kv_done_fn done, void *arg)
{
    const struct str words[] = {STR_LIT("PING")};

    ASSERT(done != NULL);
    return request_start(kv, KV_KIND_PING, words, ARRAY_LEN(words),
                         (struct kv_waiter){.timeout_ms = timeout_ms, .done = done, .arg = arg});
}

struct kv_request *kv_delete_matching(struct kv *kv, struct str pattern, uint32_t timeout_ms,
                                      kv_done_fn done, void *arg)
{
    struct kv_waiter waiter = {.timeout_ms = timeout_ms, .done = done, .arg = arg};
    enum kv_result verdict = admit(kv, KV_KIND_DELETE_MATCHING, size_of_words(&pattern, 1), true);
    struct kv_request *request;

    ASSERT(done != NULL);
    if (verdict != KV_OK) {
        return request_refused(kv, KV_KIND_DELETE_MATCHING, verdict, waiter);
    }
    request = request_new(kv, KV_KIND_DELETE_MATCHING, waiter);
    request->patience_ms = KV_SWEEP_STEP_MS;
    if (!kv_sweep_start(request, pattern)) {
        kv_request_finish(request, KV_FULL, NULL);
    }
    return request;
}

struct kv_request *kv_command(struct kv *kv, const struct str *words, size_t count,
                              uint32_t timeout_ms, kv_items_fn done, void *arg)
{
    ASSERT(done != NULL && count > 0 && count <= KV_COMMAND_WORDS_MAX);
    return request_start(kv, KV_KIND_COMMAND, words, count,
                         (struct kv_waiter){.timeout_ms = timeout_ms, .items = done, .arg = arg});
}

void kv_cancel(struct kv_request *request)
{
    ASSERT(request->magic == REQUEST_MAGIC && loop_is_home(request->kv->loop));
    if (request->command != NULL) {
        kv_conn_abandon(request->kv->conn, request->command);
        request->kv->active_count--;
    }
    request_free(request);
}

/* ---- life ---- */

struct kv *kv_new(struct loop *loop, const struct kv_target *target)
{
    static const struct kv_conn_events events = {.ready = on_ready, .lost = on_lost};
    struct kv *kv = mem_new(struct kv);

    kv->magic = KV_MAGIC;
    kv->loop = loop;
    list_init(&kv->active);
    list_init(&kv->finished);
    list_init(&kv->batch);
    loop_task_init(&kv->deliver, on_deliver, kv);
    deadline_init(&kv->trial_due, loop, on_trial_due, kv);
    rng_init(&kv->rng);
    err_set(&kv->error, "not used yet");
    kv->conn = kv_conn_new(loop, target, &events, kv);
    return kv;
}

static void free_requests(struct list *head)
{
    while (!list_is_empty(head)) {
        request_free(LIST_ITEM(list_first(head), struct kv_request, link));
    }
}

void kv_free(struct kv *kv)
{
    if (kv == NULL) {
        return;
    }
    ASSERT(loop_is_home(kv->loop));
    kv_conn_free(kv->conn);
    free_requests(&kv->active);
    free_requests(&kv->finished);
    free_requests(&kv->batch);
    loop_task_cancel(&kv->deliver);
    deadline_done(&kv->trial_due);
    /* on_deliver() may be what called us, and looks at its batch again. */
    loop_defer_free(kv->loop, kv);
}
