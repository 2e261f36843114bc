/* SPDX-License-Identifier: MIT */
/*
 * One reading of a metrics page.
 *
 * Happy path:
 *   1. Connect, with TLS where the URL says so.
 *   2. Write the request; it asks for the connection to be closed.
 *   3. Read the answer: 200, nothing else will do, and its body line by line.
 *   4. SCRAPE_OK with what the lines said.
 *
 * It can fail by: refused, connect error, TLS error, reset, early close, malformed answer, another
 * status, a page or a line too long, a line that is none, or the deadline, one for all of it. All
 * end in scrape_finish().
 *
 *   IDLE ──> CONNECT ──> SEND ──> ANSWER ──> IDLE
 *
 * Waits:  CONNECT  stream open or failed          all under one deadline, timeout_ms
 *         SEND     stream writable
 *         ANSWER   stream readable
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
#define SCRAPER_READ_BYTES 16384
#define SCRAPER_STEPS_MAX  16 /* of a read each */

enum scraper_state { SCRAPER_IDLE, SCRAPER_CONNECT, SCRAPER_SEND, SCRAPER_ANSWER };

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
    struct h1_answer answer;
    size_t page_bytes; /* seen */
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
    scraper->state = SCRAPER_ANSWER;
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

/* All of the answer that is in `in`. SCRAPER_MORE: not over yet. */
static enum scraper_step take_answer(struct scraper *scraper)
{
    for (;;) {
        struct http_head head;
        struct str data;
        size_t used;
        enum h1_answer_event event =
            h1_answer_next(&scraper->answer, buf_str(&scraper->in), &head, &data, &used);
        enum scrape_end end = SCRAPE_OK;

        switch (event) {
        case H1_ANSWER_HEAD:
            end = head.status == 200 ? SCRAPE_OK : SCRAPE_STATUS;
            break;
        case H1_ANSWER_DATA:
            end = take_bytes(scraper, data);
            break;
        case H1_ANSWER_BAD:
            end = SCRAPE_MALFORMED;
            break;
        case H1_ANSWER_WAIT:
        case H1_ANSWER_END:
            break;
        }
        buf_consume(&scraper->in, used);
        if (end != SCRAPE_OK) {
            return scrape_finish(scraper, end);
        }
        if (event == H1_ANSWER_END) {
            return on_page(scraper);
        }
        if (event == H1_ANSWER_WAIT) {
            return SCRAPER_MORE;
        }
    }
}

static enum scraper_step step_answer(struct scraper *scraper)
{
    bool ended;
    enum scraper_step step = read_some(scraper, &ended);

    if (step != SCRAPER_MORE) {
        return step;
    }
    if (!ended) {
        return take_answer(scraper);
    }
    return h1_answer_may_end(&scraper->answer) ? on_page(scraper)
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
        case SCRAPER_ANSWER:
            step = step_answer(scraper);
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
    h1_answer_init(&scraper->answer, HTTP_GET);
    scraper->page_bytes = 0;
    scraper->state = SCRAPER_CONNECT;
    deadline_set_in_ms(&scraper->timeout, target->timeout_ms);
    scraper->stream = stream_connect(scraper->loop, &target->addr, target->tls, target->server_name,
                                     on_stream, scraper);
}
