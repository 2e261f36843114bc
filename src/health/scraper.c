/* SPDX-License-Identifier: MIT */
/*
 * One reading of a metrics page.
 *
 * Happy path:
 *   1. Connect, with TLS where the URL says so.
 *   2. Write the request; it asks for the connection to be closed.
 *   3. Read the head: 200, nothing else will do.
 *   4. Read the body, line by line.
 *   5. SCRAPE_OK with what the lines said.
 *
 * It can fail by: refused, connect error, TLS error, reset, early close, malformed answer, another
 * status, a page or a line too long, a line that is none, or the deadline, one for all of it. All
 * end in scrape_finish().
 *
 *   IDLE ──> CONNECT ──> SEND ──> HEAD ──> BODY ──> IDLE
 *
 * Waits:  CONNECT  stream open or failed          all under one deadline, timeout_ms
 *         SEND     stream writable
 *         HEAD     stream readable
 *         BODY     stream readable
 *
 * Not here: whose page it is and when it is read again (load_watch.c), what names mean
 * (load_read.c).
 */
#include "scraper_private.h"

#include "load_read_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/http/h1.h>
#include <nearside/loop/loop.h>
#include <nearside/net/stream.h>

#define SCRAPER_MAGIC      0x53435250u
#define SCRAPER_HEAD_MAX   16384
#define SCRAPER_READ_BYTES 16384
#define SCRAPER_STEPS_MAX  16 /* of a read each */

enum scraper_state { SCRAPER_IDLE, SCRAPER_CONNECT, SCRAPER_SEND, SCRAPER_HEAD, SCRAPER_BODY };

enum scraper_step { SCRAPER_MORE, SCRAPER_WAIT, SCRAPER_DONE };

struct scraper {
    uint32_t magic;
    struct loop *loop; /* borrowed */
    scraper_done_fn done;
    void *arg;
    struct scrape_target target; /* of the present reading */
    enum scraper_state state;
    struct stream *stream; /* owned; NULL when idle */
    struct deadline timeout;
    struct buf out;
    struct buf in;
    struct buf line; /* the beginning of one that is not whole yet */
    unsigned interim_count;
    enum http_body body;
    uint64_t body_left; /* HTTP_BODY_LENGTH */
    size_t page_bytes;  /* seen */
    struct h1_chunked chunked;
    struct load load;
};

static void on_timeout(struct deadline *deadline, void *arg);

const char *scrape_end_word(enum scrape_end end)
{
    static const char *const words[SCRAPE_END_COUNT] = {
#define X(suffix, word) [SCRAPE_##suffix] = word,
        SCRAPE_ENDS(X)
#undef X
    };

    ASSERT(end < SCRAPE_END_COUNT);
    return words[end];
}

struct scraper *scraper_new(struct loop *loop, scraper_done_fn done, void *arg)
{
    struct scraper *scraper = mem_new(struct scraper);

    scraper->magic = SCRAPER_MAGIC;
    scraper->loop = loop;
    scraper->done = done;
    scraper->arg = arg;
    deadline_init(&scraper->timeout, loop, on_timeout, scraper);
    buf_init(&scraper->out);
    buf_init(&scraper->in);
    buf_init(&scraper->line);
    return scraper;
}

/* Give back what the reading held. */
static void release(struct scraper *scraper)
{
    if (scraper->stream != NULL) {
        stream_close(scraper->stream, false);
        scraper->stream = NULL;
    }
    deadline_cancel(&scraper->timeout);
    buf_done(&scraper->out);
    buf_done(&scraper->in);
    buf_done(&scraper->line);
    conf_unref(scraper->target.conf);
    scraper->target = (struct scrape_target){.conf = NULL};
    scraper->state = SCRAPER_IDLE;
}

void scraper_free(struct scraper *scraper)
{
    if (scraper == NULL) {
        return;
    }
    release(scraper);
    deadline_done(&scraper->timeout);
    scraper->magic = 0;
    loop_defer_free(scraper->loop, scraper); /* it may be freed from its own `done` */
}

bool scraper_is_busy(const struct scraper *scraper)
{
    return scraper->state != SCRAPER_IDLE;
}

/* The one end of a reading. */
static enum scraper_step scrape_finish(struct scraper *scraper, enum scrape_end end)
{
    ASSERT(scraper->state != SCRAPER_IDLE);
    release(scraper);
    scraper->done(end, &scraper->load, scraper->arg);
    return SCRAPER_DONE;
}

static void on_timeout(struct deadline *deadline, void *arg)
{
    (void)deadline;
    (void)scrape_finish(OBJ_CAST(arg, scraper, SCRAPER_MAGIC), SCRAPE_TIMEOUT);
}

static enum scrape_end connect_end(enum stream_failure failure)
{
    switch (failure) {
    case STREAM_FAILURE_TLS:
        return SCRAPE_TLS;
    case STREAM_FAILURE_LOCAL:
        return SCRAPE_LOCAL;
    default:
        return SCRAPE_CONNECT;
    }
}

/* ---- the request ---- */

static void write_request(struct scraper *scraper)
{
    const struct scrape_target *target = &scraper->target;
    bool is_v6 = str_find_char(str_of(target->host), ':') < strlen(target->host);
    struct buf host;

    buf_init(&host);
    buf_printf(&host, is_v6 ? "[%s]:%u" : "%s:%u", target->host, (unsigned)target->port);
    h1_write_request_line(&scraper->out, STR_LIT("GET"), str_of(target->path));
    h1_write_field(&scraper->out, STR_LIT("Host"), buf_str(&host));
    h1_write_field(&scraper->out, STR_LIT("User-Agent"), STR_LIT("nearside/" NEARSIDE_VERSION));
    h1_write_field(&scraper->out, STR_LIT("Accept"), STR_LIT("text/plain;version=0.0.4"));
    h1_write_field(&scraper->out, STR_LIT("Connection"), STR_LIT("close"));
    h1_write_end(&scraper->out);
    buf_done(&host);
}

/* The connection broke: there, or here. */
static enum scraper_step scrape_broke(struct scraper *scraper)
{
    bool is_ours = stream_failure(scraper->stream) == STREAM_FAILURE_LOCAL;

    return scrape_finish(scraper, is_ours ? SCRAPE_LOCAL : SCRAPE_RESET);
}

static enum scraper_step step_send(struct scraper *scraper)
{
    while (buf_len(&scraper->out) > 0) {
        struct str left = buf_str(&scraper->out);
        struct iovec piece = {.iov_base = (void *)(uintptr_t)left.ptr, .iov_len = left.len};
        size_t len;

        switch (stream_writev(scraper->stream, &piece, 1, &len)) {
        case STREAM_OK:
            buf_consume(&scraper->out, len);
            break;
        case STREAM_AGAIN:
            return SCRAPER_WAIT;
        default:
            return scrape_broke(scraper);
        }
    }
    scraper->state = SCRAPER_HEAD;
    return SCRAPER_MORE;
}

/* ---- the answer ---- */

/* One read. *ret_ended: the peer ended its side. */
static enum scraper_step read_some(struct scraper *scraper, bool *ret_ended)
{
    size_t len = 0;

    *ret_ended = false;
    if (!buf_reserve(&scraper->in, SCRAPER_READ_BYTES)) {
        return scrape_finish(scraper, SCRAPE_LOCAL);
    }
    switch (stream_read(scraper->stream, buf_tail(&scraper->in), SCRAPER_READ_BYTES, &len)) {
    case STREAM_OK:
        buf_produced(&scraper->in, len);
        return SCRAPER_MORE;
    case STREAM_AGAIN:
        return SCRAPER_WAIT;
    case STREAM_EOF:
        *ret_ended = true;
        return SCRAPER_MORE;
    default:
        return scrape_broke(scraper);
    }
}

static enum scraper_step take_head(struct scraper *scraper)
{
    static const struct h1_limits limits = {
        .head_bytes = SCRAPER_HEAD_MAX, .uri_bytes = SCRAPER_HEAD_MAX, .fields = HTTP_FIELDS_MAX};
    struct http_head head;
    size_t used;
    enum h1_result result =
        h1_parse_response(buf_str(&scraper->in), &limits, HTTP_GET, &head, &used);

    if (result == H1_NEED_MORE) {
        return SCRAPER_WAIT;
    }
    if (result != H1_COMPLETE) {
        return scrape_finish(scraper, SCRAPE_MALFORMED);
    }
    buf_consume(&scraper->in, used);
    if (head.status < 200) {
        return ++scraper->interim_count > H1_INTERIM_MAX ? scrape_finish(scraper, SCRAPE_MALFORMED)
                                                         : SCRAPER_MORE;
    }
    if (head.status != 200) {
        return scrape_finish(scraper, SCRAPE_STATUS);
    }
    scraper->body = head.body;
    scraper->body_left = head.content_length;
    h1_chunked_init(&scraper->chunked);
    scraper->state = SCRAPER_BODY;
    return SCRAPER_MORE;
}

static enum scraper_step step_head(struct scraper *scraper)
{
    bool ended;
    enum scraper_step step = read_some(scraper, &ended);

    if (step != SCRAPER_MORE) {
        return step;
    }
    if (ended) {
        return scrape_finish(scraper, SCRAPE_RESET);
    }
    while (step == SCRAPER_MORE && scraper->state == SCRAPER_HEAD) {
        step = take_head(scraper);
    }
    return step == SCRAPER_WAIT ? SCRAPER_MORE : step; /* read on: more may be there already */
}

/* Whole lines are read, the beginning of the last one is kept. */
static enum scrape_end take_bytes(struct scraper *scraper, struct str bytes)
{
    scraper->page_bytes += bytes.len;
    if (scraper->page_bytes > SCRAPE_PAGE_MAX) {
        return SCRAPE_TOO_LONG;
    }
    while (bytes.len > 0) {
        size_t end = str_find_char(bytes, '\n');

        if (buf_len(&scraper->line) + end > SCRAPE_LINE_MAX) {
            return SCRAPE_TOO_LONG;
        }
        buf_append_str(&scraper->line, str_slice(bytes, 0, end));
        if (end == bytes.len) {
            return SCRAPE_OK;
        }
        if (!load_read_line(&scraper->load, buf_str(&scraper->line))) {
            return SCRAPE_MALFORMED;
        }
        buf_clear(&scraper->line);
        bytes = str_slice(bytes, end + 1, bytes.len);
    }
    return SCRAPE_OK;
}

/* The page is whole. Its last line need not end. */
static enum scraper_step on_page(struct scraper *scraper)
{
    bool good = load_read_line(&scraper->load, buf_str(&scraper->line));

    return scrape_finish(scraper, good ? SCRAPE_OK : SCRAPE_MALFORMED);
}

static enum scraper_step take_chunks(struct scraper *scraper)
{
    for (;;) {
        size_t used;
        struct str data;
        enum h1_result result =
            h1_chunked_parse(&scraper->chunked, buf_str(&scraper->in), &used, &data);
        enum scrape_end end = take_bytes(scraper, data);

        buf_consume(&scraper->in, used);
        if (end != SCRAPE_OK) {
            return scrape_finish(scraper, end);
        }
        if (result == H1_COMPLETE) {
            return on_page(scraper);
        }
        if (result != H1_NEED_MORE) {
            return scrape_finish(scraper, SCRAPE_MALFORMED);
        }
        if (used == 0) {
            return SCRAPER_MORE;
        }
    }
}

/* What is in `in`, by the body's form. SCRAPER_MORE: not over yet. */
static enum scraper_step take_body(struct scraper *scraper)
{
    struct str bytes = buf_str(&scraper->in);
    enum scrape_end end;

    if (scraper->body == HTTP_BODY_CHUNKED) {
        return take_chunks(scraper);
    }
    if (scraper->body == HTTP_BODY_NONE) {
        return on_page(scraper);
    }
    if (scraper->body == HTTP_BODY_LENGTH && bytes.len > scraper->body_left) {
        bytes.len = (size_t)scraper->body_left;
    }
    end = take_bytes(scraper, bytes);
    if (end != SCRAPE_OK) {
        return scrape_finish(scraper, end);
    }
    scraper->body_left -= scraper->body == HTTP_BODY_LENGTH ? bytes.len : 0;
    buf_clear(&scraper->in);
    if (scraper->body == HTTP_BODY_LENGTH && scraper->body_left == 0) {
        return on_page(scraper);
    }
    return SCRAPER_MORE;
}

static enum scraper_step step_body(struct scraper *scraper)
{
    enum scraper_step step = take_body(scraper);
    bool ended;

    if (step != SCRAPER_MORE) {
        return step;
    }
    step = read_some(scraper, &ended);
    if (step != SCRAPER_MORE || !ended) {
        return step;
    }
    return scraper->body == HTTP_BODY_CLOSE ? on_page(scraper)
                                            : scrape_finish(scraper, SCRAPE_RESET);
}

/* ---- driving ---- */

/* So much in one turn; the rest in the next, after whatever else waits. */
static void drive(struct scraper *scraper)
{
    enum scraper_step step = SCRAPER_MORE;

    for (unsigned steps = 0; step == SCRAPER_MORE; steps++) {
        if (steps == SCRAPER_STEPS_MAX) {
            stream_again(scraper->stream);
            return;
        }
        switch (scraper->state) {
        case SCRAPER_SEND:
            step = step_send(scraper);
            break;
        case SCRAPER_HEAD:
            step = step_head(scraper);
            break;
        case SCRAPER_BODY:
            step = step_body(scraper);
            break;
        case SCRAPER_IDLE:
        case SCRAPER_CONNECT:
            return;
        }
    }
}

static void on_stream(struct stream *stream, unsigned events, void *arg)
{
    struct scraper *scraper = OBJ_CAST(arg, scraper, SCRAPER_MAGIC);

    if ((events & STREAM_EV_FAILED) != 0) {
        (void)scrape_finish(scraper, connect_end(stream_failure(stream)));
        return;
    }
    if ((events & STREAM_EV_OPEN) != 0 && scraper->state == SCRAPER_CONNECT) {
        write_request(scraper);
        scraper->state = SCRAPER_SEND;
    }
    drive(scraper);
}

void scraper_start(struct scraper *scraper, const struct scrape_target *target)
{
    ASSERT(scraper->state == SCRAPER_IDLE);
    scraper->target = *target;
    (void)conf_ref(target->conf); /* given back in release() */
    scraper->load = (struct load){.parts = {0}};
    scraper->interim_count = 0;
    scraper->page_bytes = 0;
    scraper->state = SCRAPER_CONNECT;
    deadline_set_in_ms(&scraper->timeout, target->timeout_ms);
    scraper->stream = stream_connect(scraper->loop, &target->addr, target->tls, target->server_name,
                                     on_stream, scraper);
}
