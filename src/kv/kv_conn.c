/* SPDX-License-Identifier: MIT */
/*
 * One pipelined connection to a Redis.
 *
 * Happy path:
 *   1. The first command starts the connection, and waits.
 *   2. Connected (TLS included): AUTH if there is a password, SELECT if the database is not 0.
 *   3. Ready: the commands held back are released. Commands of one turn go out together in one
 *      write at its end; what the kernel does not take waits until it says so.
 *   4. Replies come in the order of the commands (kv_pipeline.c).
 *
 * It can fail by: connect or handshake failure, login refused, loss, bytes that are not RESP, a
 * reply over the limits, a reply nobody asked for, silence. All end in conn_drop(), which ends
 * every command under way and waits before the next attempt.
 *
 *   IDLE ──> CONNECTING ──> AUTH ──> SELECT ──> READY
 *              ^   │  └───────┴──────────┴────────^ │   (AUTH, SELECT: only when needed)
 *              │   v          v          v          v
 *              └─ BACKOFF <─────── any failure ─────┘
 *
 * Waits:  IDLE        the first command
 *         CONNECTING  the stream, its deadline
 *         AUTH,SELECT a reply, loss, its deadline
 *         READY       commands, replies, loss; the stall deadline while abandoned commands wait
 *         BACKOFF     its deadline
 *
 * Abandoned commands leave tombstones in the pipeline. A Redis that leaves tombstones unanswered
 * for KV_STALL_MS, or KV_TOMBSTONES_MAX of them, is taken for lost.
 */
#include "kv_conn_private.h"

#include "kv_breaker_private.h"
#include "kv_pipeline_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/errbuf.h>
#include <nearside/base/mem.h>
#include <nearside/base/rng.h>
#include <nearside/loop/loop.h>
#include <nearside/net/stream.h>
#include <nearside/net/tls_ctx.h>
#include <nearside/obs/log.h>

#define CONN_MAGIC 0x6b76636eu

/* TCP and TLS take three round trips, each step of the login one: 3 s is ten times the longest
 * round trip on this planet. */
#define KV_CONNECT_MS 3000
#define KV_LOGIN_MS   3000

/* No reply at all for so long although some are overdue: the connection is dead or its Redis
 * frozen, and a new one is the only way to find out which. */
#define KV_STALL_MS       5000
#define KV_TOMBSTONES_MAX KV_PENDING_MAX

/* A connection that served this long was a good one: after its loss the next attempt is made at
 * once (Redis closes idle clients, fails over, restarts) and the backoff starts anew. */
#define KV_STABLE_MS 5000

#define KV_READ_CHUNK_BYTES    65536
#define KV_READ_TURN_BYTES_MAX 1048576 /* a big reply must not hold up the other connections */

enum conn_state {
    CONN_IDLE,
    CONN_CONNECTING,
    CONN_AUTH,
    CONN_SELECT,
    CONN_READY,
    CONN_BACKOFF,
    CONN_STATE_COUNT
};

struct conn_row {
    const char *name;
    unsigned allowed;
    uint32_t timeout_ms; /* 0: none, or (BACKOFF) computed */
};

#define TO(X) (1u << CONN_##X)

static const struct conn_row rows[CONN_STATE_COUNT] = {
    [CONN_IDLE] = {"idle", TO(CONNECTING), 0},
    [CONN_CONNECTING] = {"connecting", TO(AUTH) | TO(SELECT) | TO(READY) | TO(BACKOFF),
                         KV_CONNECT_MS},
    [CONN_AUTH] = {"auth", TO(SELECT) | TO(READY) | TO(BACKOFF), KV_LOGIN_MS},
    [CONN_SELECT] = {"select", TO(READY) | TO(BACKOFF), KV_LOGIN_MS},
    [CONN_READY] = {"ready", TO(BACKOFF), 0},
    [CONN_BACKOFF] = {"backoff", TO(CONNECTING), 0},
};

struct kv_conn {
    uint32_t magic;
    enum conn_state state;
    struct loop *loop;        /* borrowed: outlives this */
    struct stream *stream;    /* owned; NULL when idle or in backoff */
    struct kv_reader *reader; /* owned, as long as the stream */
    char *chunk;              /* owned: where reads go, as long as the stream */

    struct kv_pipeline pipeline;
    struct loop_task flush;

    struct deadline deadline; /* of the state */
    struct deadline stall;    /* armed while there are tombstones */
    unsigned attempts;        /* failed since the last good connection */
    struct errbuf last_words; /* the last reply, if it was an error */
    uint64_t ready_since_ns;
    struct rng rng;

    struct addr addr;
    struct tls_ctx *tls; /* ref held; NULL: plain */
    char *server_name;   /* owned, like the rest of the target */
    char *user;
    char *password;
    uint32_t database;

    const struct kv_conn_events *events; /* borrowed: outlives this */
    void *arg;
};

static void conn_drop(struct kv_conn *conn, enum kv_result result, const char *why);
static void conn_read(struct kv_conn *conn);
static void conn_start(struct kv_conn *conn);

/* The only place that changes conn->state. */
static void conn_move(struct kv_conn *conn, enum conn_state next)
{
    char peer[ADDR_TEXT_LEN];

    ASSERT(rows[conn->state].allowed & (1u << next));
    if (log_is_on(LOG_LEVEL_DEBUG)) {
        addr_format(&conn->addr, peer);
        log_debug("kv_move", "redis=%s from=%s to=%s", peer, rows[conn->state].name,
                  rows[next].name);
    }
    conn->state = next;
    if (rows[next].timeout_ms > 0) {
        deadline_set_in_ms(&conn->deadline, rows[next].timeout_ms);
    } else {
        deadline_cancel(&conn->deadline);
    }
}

bool kv_conn_is_ready(const struct kv_conn *conn)
{
    return conn->state == CONN_READY;
}

bool kv_conn_is_down(const struct kv_conn *conn)
{
    return conn->state == CONN_BACKOFF;
}

size_t kv_conn_unsent_bytes(const struct kv_conn *conn)
{
    return conn->pipeline.unsent_bytes;
}

/* ---- commands ---- */

struct kv_command *kv_conn_submit(struct kv_conn *conn, const struct str *words, size_t count,
                                  struct kv_listener listener)
{
    struct kv_command *command;

    ASSERT(conn->state != CONN_BACKOFF);
    command = kv_pipeline_add(&conn->pipeline, words, count, listener, conn->state != CONN_READY);
    if (command == NULL) {
        return NULL;
    }
    if (conn->state == CONN_IDLE) {
        conn_start(conn);
    }
    if (conn->state == CONN_READY) {
        loop_task_queue(conn->loop, &conn->flush);
    }
    return command;
}

void kv_conn_abandon(struct kv_conn *conn, struct kv_command *command)
{
    if (!kv_pipeline_abandon(&conn->pipeline, command)) {
        return;
    }
    if (conn->pipeline.tombstones >= KV_TOMBSTONES_MAX) {
        deadline_set_in_ms(&conn->stall, 0); /* not from here: a caller's cancel is under way */
    } else if (!deadline_is_set(&conn->stall)) {
        deadline_set_in_ms(&conn->stall, KV_STALL_MS);
    }
}

static void on_stall(struct deadline *deadline, void *arg)
{
    struct kv_conn *conn = OBJ_CAST(arg, kv_conn, CONN_MAGIC);

    (void)deadline;
    conn_drop(conn, KV_DOWN, "Redis has stopped answering");
}

/* ---- writing ---- */

/* Writing failed. What Redis said before (why it closes) may still be there to read. */
static void conn_broke(struct kv_conn *conn)
{
    conn_read(conn);
    if (conn->stream != NULL) {
        conn_drop(conn, KV_DOWN, "the connection broke");
    }
}

/* Write until all is out or the kernel takes no more. Bounded by KV_PENDING_BYTES. */
static void conn_flush(struct kv_conn *conn)
{
    struct iovec pieces[KV_PIECES_MAX];
    int count = kv_pipeline_gather(&conn->pipeline, pieces);

    while (count > 0) {
        size_t written = 0;

        switch (stream_writev(conn->stream, pieces, count, &written)) {
        case STREAM_OK:
            kv_pipeline_written(&conn->pipeline, written);
            break;
        case STREAM_AGAIN:
            return;
        case STREAM_EOF:
        case STREAM_ERROR:
            conn_broke(conn);
            return;
        }
        count = kv_pipeline_gather(&conn->pipeline, pieces);
    }
}

static void on_flush(struct loop_task *task, void *arg)
{
    struct kv_conn *conn = OBJ_CAST(arg, kv_conn, CONN_MAGIC);

    (void)task;
    if (conn->stream != NULL) {
        conn_flush(conn);
    }
}

/* ---- login ---- */

static void conn_advance(struct kv_conn *conn);

static void on_login_reply(enum kv_result result, struct kv_reply *reply, void *arg)
{
    struct kv_conn *conn = OBJ_CAST(arg, kv_conn, CONN_MAGIC);

    if (result != KV_OK) {
        return; /* lost: conn_drop() is at work */
    }
    if (reply->kind == KV_REPLY_ERROR) {
        conn_drop(conn, KV_REFUSED, reply->text.ptr);
    } else {
        conn_advance(conn);
    }
    kv_reply_free(reply);
}

/* Ahead of all commands: those are held. */
static void login_send(struct kv_conn *conn, enum conn_state state, const struct str *words,
                       size_t count)
{
    struct kv_listener listener = {.fn = on_login_reply, .arg = conn};

    if (kv_pipeline_add(&conn->pipeline, words, count, listener, false) == NULL) {
        conn_drop(conn, KV_DOWN, "no memory");
        return;
    }
    conn_move(conn, state);
    loop_task_queue(conn->loop, &conn->flush);
}

/* The default user is named by leaving the name out: Redis before 6 knows no other way. */
static bool has_own_user(const struct kv_conn *conn)
{
    return *conn->user != '\0' && !str_eq(str_of(conn->user), STR_LIT("default"));
}

static void login_auth(struct kv_conn *conn)
{
    struct str words[3] = {STR_LIT("AUTH")};
    size_t count = 1;

    if (has_own_user(conn)) {
        words[count++] = str_of(conn->user);
    }
    words[count++] = str_of(conn->password);
    login_send(conn, CONN_AUTH, words, count);
}

static void login_select(struct kv_conn *conn)
{
    char *number = mem_printf("%u", conn->database);
    struct str words[2] = {STR_LIT("SELECT"), str_of(number)};

    login_send(conn, CONN_SELECT, words, ARRAY_LEN(words));
    mem_free(number);
}

static void conn_ready(struct kv_conn *conn)
{
    conn_move(conn, CONN_READY);
    conn->ready_since_ns = loop_now_ns(conn->loop);
    kv_pipeline_release(&conn->pipeline);
    loop_task_queue(conn->loop, &conn->flush);
    conn->events->ready(conn->arg);
}

/* Connected, or a step of the login is done: the next one. */
static void conn_advance(struct kv_conn *conn)
{
    bool needs_auth = *conn->password != '\0' || has_own_user(conn);

    if (conn->state < CONN_AUTH && needs_auth) {
        login_auth(conn);
    } else if (conn->state < CONN_SELECT && conn->database != 0) {
        login_select(conn);
    } else {
        conn_ready(conn);
    }
}

/* ---- reading ---- */

/* Redis says something nobody asked for: why it does not want us, before it closes. */
static void take_unasked(struct kv_conn *conn, const struct kv_reply *reply)
{
    if (reply->kind == KV_REPLY_ERROR) {
        conn_drop(conn, KV_REFUSED, reply->text.ptr);
    } else {
        conn_drop(conn, KV_DOWN, "a reply that nobody asked for");
    }
}

static void take_reply(struct kv_conn *conn, struct kv_reply *reply)
{
    struct kv_listener listener;

    err_set(&conn->last_words, "%s", reply->kind == KV_REPLY_ERROR ? reply->text.ptr : "");
    if (!kv_pipeline_take_answered(&conn->pipeline, &listener)) {
        take_unasked(conn, reply);
        kv_reply_free(reply);
        return;
    }
    if (conn->pipeline.tombstones == 0) {
        deadline_cancel(&conn->stall);
    } else {
        deadline_set_in_ms(&conn->stall, KV_STALL_MS);
    }
    if (listener.fn == NULL) {
        kv_reply_free(reply);
    } else {
        listener.fn(KV_OK, reply, listener.arg);
    }
}

/* Any step may end in a drop, after which there is no stream and no reader. */
static void take_bytes(struct kv_conn *conn, const char *bytes, size_t len)
{
    if (!kv_reader_feed(conn->reader, bytes, len)) {
        conn_drop(conn, KV_DOWN, kv_reader_error(conn->reader));
        return;
    }
    while (conn->stream != NULL) {
        struct kv_reply *reply;

        switch (kv_reader_take(conn->reader, &reply)) {
        case KV_READ_REPLY:
            take_reply(conn, reply);
            break;
        case KV_READ_MORE:
            return;
        case KV_READ_BAD:
            conn_drop(conn, KV_DOWN, kv_reader_error(conn->reader));
            return;
        }
    }
}

/* An error right before the end is the reason for it ("max number of clients reached"). */
static void take_end(struct kv_conn *conn, const char *how)
{
    bool has_reason = conn->last_words.text[0] != '\0';

    conn_drop(conn, KV_DOWN, has_reason ? conn->last_words.text : how);
}

static void conn_read(struct kv_conn *conn)
{
    size_t total = 0;

    while (conn->stream != NULL) {
        size_t len = 0;

        if (total >= KV_READ_TURN_BYTES_MAX) {
            stream_again(conn->stream);
            return;
        }
        switch (stream_read(conn->stream, conn->chunk, KV_READ_CHUNK_BYTES, &len)) {
        case STREAM_OK:
            total += len;
            take_bytes(conn, conn->chunk, len);
            break;
        case STREAM_AGAIN:
            return;
        case STREAM_EOF:
            take_end(conn, "Redis closed the connection");
            return;
        case STREAM_ERROR:
            take_end(conn, "the connection broke");
            return;
        }
    }
}

/* ---- opening and losing ---- */

static void on_stream(struct stream *stream, unsigned events, void *arg)
{
    struct kv_conn *conn = OBJ_CAST(arg, kv_conn, CONN_MAGIC);

    if (events & STREAM_EV_FAILED) {
        conn_drop(conn, KV_DOWN, stream_failure_text(stream));
        return;
    }
    if (events & STREAM_EV_OPEN) {
        conn_advance(conn);
    }
    if ((events & STREAM_EV_WRITE) && conn->stream != NULL) {
        conn_flush(conn);
    }
    if (events & (STREAM_EV_READ | STREAM_EV_CLOSED)) {
        conn_read(conn);
    }
}

static void conn_start(struct kv_conn *conn)
{
    ASSERT(conn->stream == NULL);
    err_set(&conn->last_words, "%s", "");
    conn_move(conn, CONN_CONNECTING);
    conn->reader = kv_reader_new();
    conn->chunk = mem_alloc(KV_READ_CHUNK_BYTES);
    conn->stream =
        stream_connect(conn->loop, &conn->addr, conn->tls, conn->server_name, on_stream, conn);
}

static void on_state_deadline(struct deadline *deadline, void *arg)
{
    struct kv_conn *conn = OBJ_CAST(arg, kv_conn, CONN_MAGIC);

    (void)deadline;
    switch (conn->state) {
    case CONN_BACKOFF:
        conn_start(conn);
        return;
    case CONN_CONNECTING:
        conn_drop(conn, KV_DOWN, "connecting took too long");
        return;
    default:
        conn_drop(conn, KV_DOWN, "Redis did not answer the login");
        return;
    }
}

/* 0 after a connection that served well, else longer with each failure. */
static uint64_t conn_wait_ms(struct kv_conn *conn)
{
    bool was_good = conn->state == CONN_READY &&
                    loop_now_ns(conn->loop) - conn->ready_since_ns >= KV_STABLE_MS * NS_PER_MS;

    if (was_good) {
        conn->attempts = 0;
        return 0;
    }
    return kv_backoff_ms(conn->attempts++, rng_next(&conn->rng));
}

/* Half-built is fine. */
static void conn_close(struct kv_conn *conn, bool abort)
{
    if (conn->stream != NULL) {
        stream_close(conn->stream, abort);
        conn->stream = NULL;
    }
    kv_reader_free(conn->reader);
    conn->reader = NULL;
    mem_free(conn->chunk);
    conn->chunk = NULL;
    loop_task_cancel(&conn->flush);
    deadline_cancel(&conn->stall);
}

static void conn_drop(struct kv_conn *conn, enum kv_result result, const char *why)
{
    uint64_t wait_ms = conn_wait_ms(conn);
    struct errbuf text; /* `why` may lie in what is closed now */
    struct kv_listener listener;

    err_set(&text, "%s", why);
    conn_close(conn, true); /* what is still on its way nobody waits for */
    conn_move(conn, CONN_BACKOFF);
    deadline_set_in_ms(&conn->deadline, wait_ms);

    /* Nobody can add to it: in BACKOFF nothing is submitted. */
    while (kv_pipeline_take_oldest(&conn->pipeline, &listener)) {
        if (listener.fn != NULL) {
            listener.fn(result, NULL, listener.arg);
        }
    }
    conn->events->lost(text.text, conn->arg);
}

/* ---- life ---- */

struct kv_conn *kv_conn_new(struct loop *loop, const struct kv_target *target,
                            const struct kv_conn_events *events, void *arg)
{
    struct kv_conn *conn = mem_new(struct kv_conn);

    conn->magic = CONN_MAGIC;
    conn->loop = loop;
    conn->events = events;
    conn->arg = arg;
    kv_pipeline_init(&conn->pipeline);
    loop_task_init(&conn->flush, on_flush, conn);
    deadline_init(&conn->deadline, loop, on_state_deadline, conn);
    deadline_init(&conn->stall, loop, on_stall, conn);
    rng_init(&conn->rng);

    conn->addr = target->addr;
    conn->tls = target->tls == NULL ? NULL : tls_ctx_ref(target->tls);
    conn->server_name = mem_strdup(target->server_name == NULL ? "" : target->server_name);
    conn->user = mem_strdup(target->user == NULL ? "" : target->user);
    conn->password = mem_strdup(target->password == NULL ? "" : target->password);
    conn->database = target->database;
    return conn;
}

void kv_conn_free(struct kv_conn *conn)
{
    conn_close(conn, false); /* what was stored last shall arrive */
    kv_pipeline_done(&conn->pipeline);
    deadline_done(&conn->deadline);
    deadline_done(&conn->stall);
    tls_ctx_unref(conn->tls);
    mem_free(conn->server_name);
    mem_free(conn->user);
    mem_free(conn->password);
    /* A callback of the stream may be what led here. */
    loop_defer_free(conn->loop, conn);
}
