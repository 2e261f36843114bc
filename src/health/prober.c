/* SPDX-License-Identifier: MIT */
/*
 * One health probe: a request on a kept connection, and what its timing says about the path. The
 * request is a GET of health.path, or a POST of a prompt.
 *
 * Happy path:
 *   1. Use the kept connection if it is quiet, else connect (a sample: the handshake).
 *   2. Write the request.
 *   3. The first byte of the answer: on a connection that was warm, a sample of the round trip.
 *   4. Read head and body, judge them, keep the connection, take the kernel's RTT.
 *   5. On a new connection, when a round trip is wanted: once more from 2, for the sample.
 *
 * It can fail by: refused, connect error, TLS error, reset, early close, malformed answer, status
 * out of range, no match, no token, or the deadline, one for all of it. All end in probe_finish().
 *
 * A kept connection that the peer closed in the meantime (servers do after seconds) is no miss: as
 * long as no byte has been answered on it, the probe starts over on a new one, once.
 *
 *   IDLE ──> CONNECT ──> SEND ──> ANSWER ──> IDLE
 *     └──────────────────^  ^─────────┘ (5)
 *
 * Waits:  CONNECT  stream open or failed          all under one deadline, timeout_ms
 *         SEND     stream writable
 *         ANSWER   stream readable
 */
#include "prober_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/http/h1.h>
#include <nearside/loop/loop.h>
#include <nearside/net/stream.h>
#include <nearside/net/tls_ctx.h>

#define PROBER_MAGIC      0x50524f42u
#define PROBER_BODY_MAX   65536
#define PROBER_READ_BYTES 4096
#define PORT_HTTP         80
#define PORT_HTTPS        443

enum prober_state { PROBER_IDLE, PROBER_CONNECT, PROBER_SEND, PROBER_ANSWER };

enum prober_step { PROBER_MORE, PROBER_WAIT, PROBER_DONE };

struct prober {
    uint32_t magic;
    struct loop *loop; /* borrowed */
    prober_done_fn done;
    prober_sample_fn sample;
    void *arg;
    struct probe_target target; /* of the present probe */
    enum prober_state state;
    struct stream *stream;   /* owned; kept between probes, or NULL */
    struct tls_ctx *tls;     /* ref held: of the stream; NULL: plain */
    struct deadline timeout; /* of the whole probe */
    bool warm;               /* the stream has answered a request before this one */
    bool measuring;          /* the verdict is in; this round only takes the time */
    struct probe_result verdict;
    struct buf out;
    struct buf in;
    uint64_t sent_ns;
    bool got_bytes; /* of the present answer */
    struct h1_answer answer;
    uint64_t body_bytes; /* seen, framing and all */
    bool keep_alive;
    bool is_event_stream;
    bool has_retry_after;
    struct buf body; /* its beginning, when it is looked at */
};

static void on_stream(struct stream *stream, unsigned events, void *arg);
static void on_timeout(struct deadline *deadline, void *arg);

struct prober *prober_new(struct loop *loop, prober_done_fn done, prober_sample_fn sample,
                          void *arg)
{
    struct prober *prober = mem_new(struct prober);

    prober->magic = PROBER_MAGIC;
    prober->loop = loop;
    prober->done = done;
    prober->sample = sample;
    prober->arg = arg;
    deadline_init(&prober->timeout, loop, on_timeout, prober);
    buf_init(&prober->out);
    buf_init(&prober->in);
    buf_init(&prober->body);
    return prober;
}

static void drop_stream(struct prober *prober)
{
    if (prober->stream != NULL) {
        stream_close(prober->stream, false);
        prober->stream = NULL;
    }
    tls_ctx_unref(prober->tls);
    prober->tls = NULL;
    prober->warm = false;
}

static void forget_target(struct prober *prober)
{
    conf_unref(prober->target.conf);
    prober->target = (struct probe_target){.conf = NULL};
}

void prober_free(struct prober *prober)
{
    if (prober == NULL) {
        return;
    }
    drop_stream(prober);
    forget_target(prober);
    deadline_done(&prober->timeout);
    buf_done(&prober->out);
    buf_done(&prober->in);
    buf_done(&prober->body);
    prober->magic = 0;
    /* It may be freed from its own `done`. */
    loop_defer_free(prober->loop, prober);
}

static bool is_prompt(const struct prober *prober)
{
    return prober->target.prompt.path != NULL;
}

bool prober_is_busy(const struct prober *prober)
{
    return prober->state != PROBER_IDLE;
}

/* ---- end ---- */

/* The one end of a probe. A connection in doubt is not kept. */
static void probe_finish(struct prober *prober, enum probe_end end, bool keep)
{
    ASSERT(prober->state != PROBER_IDLE);
    if (!keep) {
        drop_stream(prober);
    }
    if (!prober->measuring) {
        prober->verdict.end = end;
    }
    prober->state = PROBER_IDLE;
    deadline_cancel(&prober->timeout);
    buf_clear(&prober->in);
    buf_clear(&prober->body);
    forget_target(prober);
    prober->done(&prober->verdict, prober->arg);
}

static void on_timeout(struct deadline *deadline, void *arg)
{
    struct prober *prober = OBJ_CAST(arg, prober, PROBER_MAGIC);

    (void)deadline;
    if (prober->state != PROBER_CONNECT) {
        probe_finish(prober, PROBE_END_TIMEOUT, false);
        return;
    }
    probe_finish(prober,
                 stream_tcp_open_ns(prober->stream) > 0 ? PROBE_END_TLS_TIMEOUT
                                                        : PROBE_END_TCP_TIMEOUT,
                 false);
}

static enum probe_end connect_end(enum stream_failure failure)
{
    switch (failure) {
    case STREAM_FAILURE_REFUSED:
        return PROBE_END_TCP_REFUSED;
    case STREAM_FAILURE_TLS:
        return PROBE_END_TLS;
    case STREAM_FAILURE_LOCAL:
        return PROBE_END_LOCAL;
    default:
        return PROBE_END_TCP_ERROR;
    }
}

/* ---- begin ---- */

static void write_host(struct buf *out, const struct probe_target *target)
{
    struct str host = str_of(target->host);
    bool is_v6 = str_find_char(host, ':') < host.len;
    uint16_t usual = target->tls != NULL ? PORT_HTTPS : PORT_HTTP;
    struct buf value;

    buf_init(&value);
    buf_printf(&value, is_v6 ? "[%s]" : "%s", target->host);
    if (target->port != usual) {
        buf_printf(&value, ":%u", (unsigned)target->port);
    }
    h1_write_field(out, STR_LIT("Host"), buf_str(&value));
    buf_done(&value);
}

static void write_fields(struct prober *prober)
{
    write_host(&prober->out, &prober->target);
    h1_write_field(&prober->out, STR_LIT("User-Agent"), STR_LIT("nearside/" NEARSIDE_VERSION));
    h1_write_field(&prober->out, STR_LIT("Accept"), STR_LIT("*/*"));
}

/* The least that makes an engine do its work once, unless the config says what to send. */
static void write_body(struct buf *body, const struct probe_prompt *prompt)
{
    if (prompt->body != NULL) {
        buf_append_str(body, str_of(prompt->body));
        return;
    }
    buf_printf(body, "{");
    if (prompt->model[0] != '\0') {
        buf_printf(body, "\"model\":\"");
        buf_append_json(body, str_of(prompt->model));
        buf_printf(body, "\",");
    }
    buf_printf(body, "\"max_tokens\":1,"
                     "\"messages\":[{\"role\":\"user\",\"content\":\"ping\"}]}");
}

static void write_prompt(struct prober *prober, const struct probe_prompt *prompt)
{
    struct buf body;
    struct buf len;

    buf_init(&body);
    buf_init(&len);
    write_body(&body, prompt);
    buf_append_u64(&len, buf_len(&body));
    h1_write_request_line(&prober->out, STR_LIT("POST"), str_of(prompt->path));
    write_fields(prober);
    h1_write_field(&prober->out, STR_LIT("Content-Type"), STR_LIT("application/json"));
    h1_write_field(&prober->out, STR_LIT("Content-Length"), buf_str(&len));
    h1_write_end(&prober->out);
    buf_append_str(&prober->out, buf_str(&body));
    buf_done(&body);
    buf_done(&len);
}

static void write_request(struct prober *prober)
{
    buf_clear(&prober->out);
    if (is_prompt(prober)) {
        write_prompt(prober, &prober->target.prompt);
        return;
    }
    h1_write_request_line(&prober->out, STR_LIT("GET"), str_of(prober->target.health->path));
    write_fields(prober);
    h1_write_end(&prober->out);
}

static void connect_anew(struct prober *prober)
{
    drop_stream(prober);
    prober->state = PROBER_CONNECT;
    prober->tls = prober->target.tls == NULL ? NULL : tls_ctx_ref(prober->target.tls);
    prober->stream = stream_connect(prober->loop, &prober->target.addr, prober->tls,
                                    prober->target.server_name, on_stream, prober);
}

static void begin_request(struct prober *prober)
{
    prober->state = PROBER_SEND;
    prober->got_bytes = false;
    buf_clear(&prober->in);
    write_request(prober);
}

/* The connection broke or ended before the answer was whole. */
static enum prober_step on_broken(struct prober *prober, enum probe_end end)
{
    if (prober->warm && !prober->got_bytes && !prober->measuring) {
        connect_anew(prober);
        return PROBER_WAIT;
    }
    if (stream_failure(prober->stream) == STREAM_FAILURE_LOCAL) {
        end = PROBE_END_LOCAL;
    }
    probe_finish(prober, end, false);
    return PROBER_DONE;
}

/* ---- steps ---- */

static enum prober_step step_send(struct prober *prober)
{
    while (buf_len(&prober->out) > 0) {
        struct str left = buf_str(&prober->out);
        struct iovec piece = {.iov_base = (void *)(uintptr_t)left.ptr, .iov_len = left.len};
        size_t len;

        switch (stream_writev(prober->stream, &piece, 1, &len)) {
        case STREAM_OK:
            buf_consume(&prober->out, len);
            break;
        case STREAM_AGAIN:
            return PROBER_WAIT;
        default:
            return on_broken(prober, PROBE_END_RESET);
        }
    }
    prober->sent_ns = loop_refresh_now_ns(prober->loop);
    h1_answer_init(&prober->answer, is_prompt(prober) ? HTTP_POST : HTTP_GET);
    prober->state = PROBER_ANSWER;
    return PROBER_MORE;
}

static double ms_since(struct prober *prober, uint64_t start_ns)
{
    return (double)(loop_refresh_now_ns(prober->loop) - start_ns) / (double)NS_PER_MS;
}

/* One read. *ret_ended: the peer ended its side. */
static enum prober_step read_some(struct prober *prober, bool *ret_ended)
{
    size_t len = 0;

    *ret_ended = false;
    if (!buf_reserve(&prober->in, PROBER_READ_BYTES)) {
        probe_finish(prober, PROBE_END_LOCAL, false);
        return PROBER_DONE;
    }
    switch (stream_read(prober->stream, buf_tail(&prober->in), PROBER_READ_BYTES, &len)) {
    case STREAM_OK:
        if (!prober->got_bytes && prober->warm && !is_prompt(prober)) {
            prober->sample(LATENCY_PROBE, ms_since(prober, prober->sent_ns), prober->arg);
        }
        prober->got_bytes = true;
        buf_produced(&prober->in, len);
        return PROBER_MORE;
    case STREAM_AGAIN:
        return PROBER_WAIT;
    case STREAM_EOF:
        *ret_ended = true;
        return PROBER_MORE;
    default:
        return on_broken(prober, PROBE_END_RESET);
    }
}

static bool is_event_stream(const struct http_head *head)
{
    return str_starts(http_head_value(head, HTTP_NAME_CONTENT_TYPE), STR_LIT("text/event-stream"));
}

static void take_head(struct prober *prober, const struct http_head *head)
{
    prober->verdict.status = head->status;
    prober->is_event_stream = is_event_stream(head);
    prober->has_retry_after = http_head_find(head, HTTP_NAME_RETRY_AFTER) != NULL;
    prober->keep_alive = head->keep_alive;
    prober->body_bytes = 0;
    buf_clear(&prober->body);
}

static enum probe_end judge(const struct prober *prober)
{
    const struct conf_health *health = prober->target.health;
    struct probe_answer answer = {.status = prober->verdict.status,
                                  .is_event_stream = prober->is_event_stream,
                                  .has_retry_after = prober->has_retry_after,
                                  .body = buf_str(&prober->body)};

    if (prober->target.is_warmup) {
        return probe_judge_warmup(&answer);
    }
    if (is_prompt(prober)) {
        return probe_judge_generate(&answer);
    }
    return probe_judge_health(&answer, health->expect_min, health->expect_max,
                              str_of(health->match));
}

static enum prober_step on_answered(struct prober *prober, bool reusable)
{
    uint32_t rtt_us;
    uint32_t min_rtt_us;
    bool first = !prober->warm;
    enum probe_end end = judge(prober);

    prober->warm = true;
    if (end != PROBE_END_OK) {
        probe_finish(prober, end, reusable);
        return PROBER_DONE;
    }
    if (!is_prompt(prober) && stream_rtt_us(prober->stream, &rtt_us, &min_rtt_us) && rtt_us > 0) {
        prober->sample(LATENCY_TCP_INFO, (double)rtt_us / 1000.0, prober->arg);
    }
    if (reusable && first && prober->target.want_round_trip && !prober->measuring) {
        prober->verdict.end = PROBE_END_OK;
        prober->measuring = true;
        begin_request(prober);
        return PROBER_MORE;
    }
    probe_finish(prober, PROBE_END_OK, reusable);
    return PROBER_DONE;
}

/* Bytes of the answer's body, kept when somebody looks at them. */
static void take_data(struct prober *prober, struct str data)
{
    bool wanted = is_prompt(prober) || prober->target.health->match[0] != '\0';
    size_t room = PROBER_BODY_MAX - buf_len(&prober->body);

    if (wanted) {
        buf_append_str(&prober->body, str_slice(data, 0, data.len < room ? data.len : room));
    }
}

/* All of the answer that is in `in`. PROBER_MORE: not over yet. */
static enum prober_step take_answer(struct prober *prober)
{
    for (;;) {
        struct http_head head;
        struct str data;
        size_t used;
        enum h1_answer_event event =
            h1_answer_next(&prober->answer, buf_str(&prober->in), &head, &data, &used);

        prober->body_bytes += used; /* framing is no reason to read for ever */
        if (event == H1_ANSWER_HEAD) {
            take_head(prober, &head);
        }
        take_data(prober, data);
        buf_consume(&prober->in, used);
        switch (event) {
        case H1_ANSWER_HEAD:
        case H1_ANSWER_DATA:
            break;
        case H1_ANSWER_WAIT: /* the status has been seen; a long rest is not worth its bytes */
            return prober->answer.has_head && prober->body_bytes > PROBER_BODY_MAX
                       ? on_answered(prober, false)
                       : PROBER_MORE;
        case H1_ANSWER_END:
            return on_answered(prober, prober->keep_alive && buf_len(&prober->in) == 0);
        case H1_ANSWER_BAD:
            probe_finish(prober, PROBE_END_MALFORMED, false);
            return PROBER_DONE;
        }
    }
}

static enum prober_step step_answer(struct prober *prober)
{
    bool ended;
    enum prober_step step = read_some(prober, &ended);

    if (step != PROBER_MORE) {
        return step;
    }
    if (!ended) {
        return take_answer(prober);
    }
    return h1_answer_may_end(&prober->answer) ? on_answered(prober, false)
                                              : on_broken(prober, PROBE_END_RESET);
}

static void drive(struct prober *prober)
{
    enum prober_step step = PROBER_MORE;

    while (step == PROBER_MORE) {
        switch (prober->state) {
        case PROBER_SEND:
            step = step_send(prober);
            break;
        case PROBER_ANSWER:
            step = step_answer(prober);
            break;
        case PROBER_IDLE:
        case PROBER_CONNECT:
            return;
        }
    }
}

/* The handshake as the kernel timed it: the least of what it has seen so far, which leaves out what
 * a TLS handshake adds, and our own delay in noticing. */
static void sample_handshake(struct prober *prober)
{
    uint64_t open_ns = stream_tcp_open_ns(prober->stream);
    double ms = (double)open_ns / (double)NS_PER_MS;
    uint32_t rtt_us;
    uint32_t min_rtt_us;

    if (stream_rtt_us(prober->stream, &rtt_us, &min_rtt_us) && min_rtt_us > 0) {
        ms = (double)min_rtt_us / 1000.0;
    }
    if (ms > 0) {
        prober->sample(LATENCY_CONNECT, ms, prober->arg);
    }
}

static void on_stream(struct stream *stream, unsigned events, void *arg)
{
    struct prober *prober = OBJ_CAST(arg, prober, PROBER_MAGIC);

    if (prober->state == PROBER_IDLE) {
        if ((events & (STREAM_EV_CLOSED | STREAM_EV_FAILED)) != 0) {
            drop_stream(prober);
        }
        return; /* unasked bytes are found by stream_is_quiet() before the next use */
    }
    if ((events & STREAM_EV_FAILED) != 0) {
        probe_finish(prober, connect_end(stream_failure(stream)), false);
        return;
    }
    if ((events & STREAM_EV_OPEN) != 0 && prober->state == PROBER_CONNECT) {
        sample_handshake(prober);
        begin_request(prober);
    }
    drive(prober);
}

void prober_start(struct prober *prober, const struct probe_target *target)
{
    ASSERT(prober->state == PROBER_IDLE);
    prober->target = *target;
    (void)conf_ref(target->conf); /* given back in forget_target() */
    prober->measuring = false;
    prober->verdict = (struct probe_result){.end = PROBE_END_OK};
    deadline_set_in_ms(&prober->timeout,
                       is_prompt(prober) ? target->prompt.timeout_ms : target->health->timeout_ms);
    if (target->want_handshake || prober->stream == NULL || prober->tls != target->tls ||
        !stream_is_quiet(prober->stream)) {
        connect_anew(prober);
        return;
    }
    begin_request(prober);
    /* Not further: an answer that is there already must not call back from here. A send that
     * breaks connects anew. */
    (void)step_send(prober);
}
