/* SPDX-License-Identifier: MIT */
/*
 * One POST to the collector, on a connection of its own: there is one a second at most.
 *
 * Happy path:
 *   1. Resolve the name, unless it is an address.
 *   2. Connect; write head and body.
 *   3. Read the answer's head: its status is all that matters.
 *
 * It can fail by: no address, refused, reset, a malformed answer, or the deadline, one for all of
 * it. All end in finish().
 *
 *   IDLE ──> RESOLVE ──> CONNECT ──> SEND ──> ANSWER ──> IDLE
 *
 * Waits: each its event, under one deadline, tracing.timeout_ms.
 */
#include "trace_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/dns/resolver.h>
#include <nearside/http/h1.h>
#include <nearside/net/stream.h>

#include <stdio.h>

#define POST_MAGIC      0x706f7374u
#define POST_HEAD_MAX   16384
#define POST_READ_BYTES 4096
#define POST_STEPS      16 /* reads and writes per turn: nobody else waits longer */

enum post_state { POST_IDLE, POST_RESOLVE, POST_CONNECT, POST_SEND, POST_ANSWER };

struct post {
    uint32_t magic;
    struct loop *loop;         /* borrowed */
    struct resolver *resolver; /* borrowed */
    post_done_fn done;
    void *arg;
    enum post_state state;
    struct conf *conf; /* ref held while one is under way */
    struct dns_query *query;
    struct stream *stream;
    struct deadline timeout;
    struct buf head;
    struct str body; /* borrowed while one is under way */
    size_t sent;     /* of both */
    struct buf in;
    unsigned interim_count;
};

static void on_stream(struct stream *stream, unsigned events, void *arg);

/* The one end. */
static void finish(struct post *post, enum post_end end, const char *why)
{
    ASSERT(post->state != POST_IDLE);
    if (post->query != NULL) {
        dns_cancel(post->query);
        post->query = NULL;
    }
    if (post->stream != NULL) {
        stream_close(post->stream, false);
        post->stream = NULL;
    }
    deadline_cancel(&post->timeout);
    buf_clear(&post->head);
    buf_clear(&post->in);
    conf_unref(post->conf);
    post->conf = NULL;
    post->state = POST_IDLE;
    post->done(end, why, post->arg);
}

static void on_timeout(struct deadline *deadline, void *arg)
{
    (void)deadline;
    finish(OBJ_CAST(arg, post, POST_MAGIC), POST_LATER, "no answer in time");
}

struct post *post_new(struct loop *loop, struct resolver *resolver, post_done_fn done, void *arg)
{
    struct post *post = mem_new(struct post);

    post->magic = POST_MAGIC;
    post->loop = loop;
    post->resolver = resolver;
    post->done = done;
    post->arg = arg;
    deadline_init(&post->timeout, loop, on_timeout, post);
    buf_init(&post->head);
    buf_init(&post->in);
    return post;
}

void post_free(struct post *post)
{
    if (post->query != NULL) {
        dns_cancel(post->query);
    }
    if (post->stream != NULL) {
        stream_close(post->stream, false);
    }
    deadline_done(&post->timeout);
    buf_done(&post->head);
    buf_done(&post->in);
    conf_unref(post->conf);
    post->magic = 0;
    loop_defer_free(post->loop, post);
}

bool post_is_busy(const struct post *post)
{
    return post->state != POST_IDLE;
}

/* ---- the request ---- */

static void write_head(struct post *post)
{
    const struct conf_tracing *conf = &post->conf->tracing;
    struct buf *out = &post->head;

    h1_write_request_line(out, STR_LIT("POST"), str_of(conf->path));
    h1_write_field(out, STR_LIT("Host"), str_of(conf->authority));
    h1_write_field(out, STR_LIT("User-Agent"), STR_LIT("nearside/" NEARSIDE_VERSION));
    h1_write_field(out, STR_LIT("Content-Type"), STR_LIT("application/json"));
    if (conf->authorization[0] != '\0') {
        h1_write_field(out, STR_LIT("Authorization"), str_of(conf->authorization));
    }
    buf_printf(out, "Connection: close\r\nContent-Length: %zu\r\n", post->body.len);
    h1_write_end(out);
}

static void connect_to(struct post *post, const struct addr *addr)
{
    post->state = POST_CONNECT;
    post->stream = stream_connect(post->loop, addr, NULL, NULL, on_stream, post);
}

static void on_resolved(enum dns_result result, const struct addr *addrs, size_t count,
                        uint32_t ttl_s, void *arg)
{
    struct post *post = OBJ_CAST(arg, post, POST_MAGIC);
    struct addr addr;

    (void)ttl_s;
    post->query = NULL;
    if (result != DNS_OK || count == 0) {
        finish(post, POST_LATER, dns_result_word(result));
        return;
    }
    addr = addrs[0];
    addr_set_port(&addr, post->conf->tracing.port);
    connect_to(post, &addr);
}

void post_start(struct post *post, struct conf *conf, struct str body)
{
    ASSERT(post->state == POST_IDLE);
    post->conf = conf_ref(conf);
    post->body = body;
    post->sent = 0;
    post->interim_count = 0;
    write_head(post);
    deadline_set_in_ms(&post->timeout, conf->tracing.timeout_ms);
    if (conf->tracing.is_address) {
        connect_to(post, &conf->tracing.addr);
        return;
    }
    post->state = POST_RESOLVE;
    post->query = dns_resolve(post->resolver, conf->tracing.host, on_resolved, post);
}

/* ---- the exchange ---- */

/* False: it has ended, or waits. */
static bool send_some(struct post *post)
{
    struct str head = str_slice(buf_str(&post->head), post->sent, buf_len(&post->head));
    size_t of_body = post->sent < buf_len(&post->head) ? 0 : post->sent - buf_len(&post->head);
    struct str body = str_slice(post->body, of_body, post->body.len);
    struct iovec pieces[] = {
        {.iov_base = (void *)(uintptr_t)head.ptr, .iov_len = head.len},
        {.iov_base = (void *)(uintptr_t)body.ptr, .iov_len = body.len},
    };
    int first = head.len == 0 ? 1 : 0;
    size_t len;

    if (head.len + body.len == 0) {
        post->state = POST_ANSWER;
        return true;
    }
    switch (stream_writev(post->stream, pieces + first, 2 - first, &len)) {
    case STREAM_OK:
        post->sent += len;
        return true;
    case STREAM_AGAIN:
        return false;
    default:
        finish(post, POST_LATER, "the connection broke");
        return false;
    }
}

static void judge(struct post *post, unsigned status)
{
    char why[32];

    (void)snprintf(why, sizeof(why), "status %u", status);
    if (status >= 200 && status < 300) {
        finish(post, POST_TAKEN, why);
    } else {
        finish(post, status == 408 || status == 429 || status >= 500 ? POST_LATER : POST_REFUSED,
               why);
    }
}

static bool read_some(struct post *post)
{
    static const struct h1_limits limits = {
        .head_bytes = POST_HEAD_MAX, .uri_bytes = POST_HEAD_MAX, .fields = HTTP_FIELDS_MAX};
    struct http_head head;
    enum h1_result result;
    size_t len = 0;
    size_t used;
    enum stream_io io;

    if (!buf_reserve(&post->in, POST_READ_BYTES)) {
        finish(post, POST_LATER, "no memory");
        return false;
    }
    io = stream_read(post->stream, buf_tail(&post->in), POST_READ_BYTES, &len);
    if (io != STREAM_OK) {
        if (io != STREAM_AGAIN) {
            finish(post, POST_LATER, "the connection ended before the answer");
        }
        return false;
    }
    buf_produced(&post->in, len);
    result = h1_parse_response(buf_str(&post->in), &limits, HTTP_POST, &head, &used);
    while (result == H1_COMPLETE && head.status < 200 && ++post->interim_count <= H1_INTERIM_MAX) {
        buf_consume(&post->in, used);
        result = h1_parse_response(buf_str(&post->in), &limits, HTTP_POST, &head, &used);
    }
    if (result == H1_NEED_MORE) {
        return true;
    }
    if (result != H1_COMPLETE || head.status < 200) {
        finish(post, POST_REFUSED, "the answer is not HTTP");
        return false;
    }
    judge(post, head.status);
    return false;
}

static bool is_talking(const struct post *post)
{
    return post->state == POST_SEND || post->state == POST_ANSWER;
}

static void on_stream(struct stream *stream, unsigned events, void *arg)
{
    struct post *post = OBJ_CAST(arg, post, POST_MAGIC);
    bool more = true;

    if ((events & STREAM_EV_FAILED) != 0) {
        char why[128];
        (void)snprintf(why, sizeof(why), "%s", stream_failure_text(stream));
        finish(post, POST_LATER, why);
        return;
    }
    if ((events & STREAM_EV_OPEN) != 0 && post->state == POST_CONNECT) {
        post->state = POST_SEND;
    }
    for (unsigned steps = 0; more && is_talking(post); steps++) {
        if (steps == POST_STEPS) {
            stream_again(post->stream);
            return;
        }
        more = post->state == POST_SEND ? send_some(post) : read_some(post);
    }
}
