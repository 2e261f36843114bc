/* SPDX-License-Identifier: MIT */
/*
 * The writing half of a client connection: heads, bodies, framing, back-pressure.
 *
 * Bytes on their way out stand in this order:
 *
 *     conn->out | worker->reply_head | chunk head | batch pieces | CRLF | last chunk
 *     (blocked)   (this callback)      (this write)                       (at the end)
 *
 * One flush is one writev; only what the kernel refuses is copied, to conn->out. A token has just
 * been read, and is the only piece: it is framed where it stands, so that it goes out as one. While
 * the loop has more events in hand a small flush is copied to the worker's outbox instead, which
 * writes it after them (outbox_private.h).
 */
#include "client_private.h"

#include "request_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/view.h>
#include <nearside/net/stream.h>

#define LAST_CHUNK "0\r\n\r\n"
#define CRLF_LEN   2

/* Of a head, all that is not a pod's: status line, ids, framing, an error's fields. */
#define CLIENT_HEAD_OWN_BYTES 2048

static struct client_batch *batch_of(struct client_conn *conn)
{
    struct client_batch *batch = &conn->worker->batch;

    ASSERT(batch->conn == NULL || batch->conn == conn);
    batch->conn = conn;
    return batch;
}

bool client_reply_reserve(struct worker *worker, size_t fields_len)
{
    /* "name:value" becomes "name: value", so a field may grow by one byte. */
    return buf_reserve(&worker->reply_head, fields_len + HTTP_FIELDS_MAX + CLIENT_HEAD_OWN_BYTES);
}

void client_reply_head(struct client_conn *conn, unsigned status)
{
    (void)batch_of(conn);
    h1_write_status_line(&conn->worker->reply_head, 1, status);
}

void client_reply_field(struct client_conn *conn, struct str name, struct str value)
{
    h1_write_field(&conn->worker->reply_head, name, value);
}

void client_reply_continue(struct client_conn *conn)
{
    if (conn->version_minor == 0) {
        return;
    }
    client_reply_head(conn, 100);
    h1_write_end(&conn->worker->reply_head);
    (void)client_reply_flush(conn);
}

/* Connection: only said where it differs from what the version implies. */
static void write_connection(struct client_conn *conn)
{
    if (conn->close_after && conn->version_minor == 1) {
        client_reply_field(conn, STR_LIT("Connection"), STR_LIT("close"));
    } else if (!conn->close_after && conn->version_minor == 0) {
        client_reply_field(conn, STR_LIT("Connection"), STR_LIT("keep-alive"));
    }
}

void client_reply_head_end(struct client_conn *conn, unsigned status, enum http_body body,
                           uint64_t length, bool no_body)
{
    struct buf *head = &conn->worker->reply_head;
    bool unknown_length = body == HTTP_BODY_CHUNKED || body == HTTP_BODY_CLOSE;

    if (status < 200) {
        h1_write_end(head);
        return;
    }
    conn->reply_begun = true;
    conn->reply_none = no_body || body == HTTP_BODY_NONE;
    conn->reply_chunked = unknown_length && conn->version_minor == 1 && !conn->reply_none;
    conn->reply_counted = body == HTTP_BODY_LENGTH && !conn->reply_none;
    if (unknown_length && conn->version_minor == 0) {
        conn->close_after = true;
    }
    /* A client still sending a body nobody reads cannot be kept. */
    if (conn->body_framing != HTTP_BODY_NONE) {
        conn->close_after = true;
    }
    if (body == HTTP_BODY_LENGTH) {
        buf_append_str(head, STR_LIT("Content-Length: "));
        buf_append_u64(head, length);
        buf_append_str(head, STR_LIT("\r\n"));
    } else if (unknown_length && conn->version_minor == 1) {
        client_reply_field(conn, STR_LIT("Transfer-Encoding"), STR_LIT("chunked"));
    }
    write_connection(conn);
    h1_write_end(head);
}

void client_reply_data(struct client_conn *conn, struct str bytes)
{
    struct client_batch *batch = batch_of(conn);

    if (bytes.len == 0 || conn->reply_none) {
        return;
    }
    if (batch->count == WORKER_PIECES_MAX) {
        (void)client_reply_flush(conn);
        batch = batch_of(conn);
    }
    batch->pieces[batch->count].iov_base = (void *)(uintptr_t)bytes.ptr;
    batch->pieces[batch->count].iov_len = bytes.len;
    batch->count++;
    batch->bytes += bytes.len;
}

void client_reply_end(struct client_conn *conn)
{
    (void)batch_of(conn);
    conn->reply_ended = true;
}

/* Everything of this flush as pieces; returns their number. `chunk_head` is storage. */
static int gather(struct client_conn *conn, struct iovec *pieces,
                  char chunk_head[H1_CHUNK_HEAD_LEN])
{
    struct client_batch *batch = &conn->worker->batch;
    struct str out = buf_str(&conn->out);
    struct str head = buf_str(&conn->worker->reply_head);
    int count = 0;

#define PIECE(p, l)                                                                                \
    do {                                                                                           \
        if ((l) > 0) {                                                                             \
            pieces[count].iov_base = (void *)(uintptr_t)(p);                                       \
            pieces[count].iov_len = (l);                                                           \
            count++;                                                                               \
        }                                                                                          \
    } while (0)

    PIECE(out.ptr, out.len);
    PIECE(head.ptr, head.len);
    if (batch->bytes > 0 && conn->reply_chunked) {
        char *const end = chunk_head + H1_CHUNK_HEAD_LEN;
        const char *const start = h1_chunk_head(batch->bytes, end);
        PIECE(start, (size_t)(end - start));
    }
    for (int i = 0; i < batch->count; i++) {
        PIECE(batch->pieces[i].iov_base, batch->pieces[i].iov_len);
    }
    if (batch->bytes > 0 && conn->reply_chunked) {
        PIECE("\r\n", (size_t)CRLF_LEN);
    }
    if (conn->reply_ended && conn->reply_chunked) {
        PIECE(LAST_CHUNK, sizeof(LAST_CHUNK) - 1);
        conn->reply_chunked = false; /* said once */
    }
#undef PIECE
    return count;
}

/* Forget what was written of conn->out; keep what was not written of the rest. False: no memory. */
static bool keep_unwritten(struct client_conn *conn, const struct iovec *pieces, int count,
                           size_t written)
{
    bool first_is_out = buf_len(&conn->out) > 0;

    ASSERT(!first_is_out || pieces[0].iov_base == (const void *)buf_str(&conn->out).ptr);
    for (int i = 0; i < count; i++) {
        size_t skip = written < pieces[i].iov_len ? written : pieces[i].iov_len;
        written -= skip;
        if (i == 0 && first_is_out) {
            buf_consume(&conn->out, skip);
            continue;
        }
        if (skip == pieces[i].iov_len) {
            continue;
        }
        if (!buf_reserve(&conn->out, pieces[i].iov_len - skip)) {
            return false;
        }
        buf_append(&conn->out, (const char *)pieces[i].iov_base + skip, pieces[i].iov_len - skip);
    }
    return true;
}

static void batch_clear(struct client_conn *conn)
{
    struct client_batch *batch = &conn->worker->batch;

    batch->conn = NULL;
    batch->count = 0;
    batch->bytes = 0;
    buf_clear(&conn->worker->reply_head);
}

static void write_fails(struct client_conn *conn)
{
    conn->write_failed = true;
    buf_clear(&conn->out);
    buf_trim(&conn->out);
    client_book(conn);
    loop_task_queue(conn->worker->loop, &conn->drive_task);
}

/* One writev of what there is. Writing errors are noted, not acted upon: the loop's next event, or
 * the drive task, finds `eof` and `write_failed`. */
static void write_pieces(struct client_conn *conn, const struct iovec *pieces, int count)
{
    size_t written = 0;
    enum stream_io io = STREAM_AGAIN;

    if (!conn->write_blocked) {
        io = stream_writev(conn->stream, pieces, count, &written);
    }
    if (io == STREAM_ERROR || io == STREAM_EOF) {
        write_fails(conn);
        return;
    }
    if (io == STREAM_AGAIN) {
        conn->write_blocked = true;
        written = 0;
    }
    if (!keep_unwritten(conn, pieces, count, written)) {
        write_fails(conn);
        return;
    }
    conn->bytes_out += written;
}

/* Go on until the kernel takes no more: TLS may take a record at a time, and no event is promised
 * before the kernel has refused. */
static void write_rest(struct client_conn *conn)
{
    while (buf_len(&conn->out) > 0 && !conn->write_blocked && !conn->write_failed) {
        struct str out = buf_str(&conn->out);
        struct iovec piece = {.iov_base = (void *)(uintptr_t)out.ptr, .iov_len = out.len};
        write_pieces(conn, &piece, 1);
    }
}

static void after_write(struct client_conn *conn)
{
    if (conn->out.data == NULL) {
        return; /* the kernel took all, as mostly: nothing was kept, before or now */
    }
    buf_trim(&conn->out);
    client_book(conn);
    if (buf_len(&conn->out) == 0) {
        deadline_cancel(&conn->write_deadline);
        return;
    }
    if (!deadline_is_set(&conn->write_deadline)) {
        client_take_begin(conn);
    }
}

/* Is the flush a chunk of one piece, and that a part of what was just read from an endpoint? There
 * is room around it: what stood there is understood, or kept elsewhere. */
static bool can_frame_in_place(const struct client_conn *conn)
{
    const struct worker *worker = conn->worker;
    const struct client_batch *batch = &worker->batch;
    const uintptr_t read = (uintptr_t)worker->upstream_bytes;

    return batch->count == 1 && conn->reply_chunked && !conn->reply_ended &&
           buf_len(&worker->reply_head) == 0 && buf_len(&conn->out) == 0 &&
           (uintptr_t)batch->pieces[0].iov_base - read < WORKER_READ_BYTES;
}

/* The middle of an answer may wait for what others get in this batch. */
static bool can_hold(const struct client_conn *conn)
{
    const struct worker *worker = conn->worker;
    const size_t most =
        buf_len(&worker->reply_head) + worker->batch.bytes + H1_CHUNK_HEAD_LEN + CRLF_LEN;

    return conn->state == CLIENT_REQUEST && !conn->reply_ended && buf_len(&conn->out) == 0 &&
           outbox_has_room(&worker->outbox, most);
}

static void hold_or_write(struct client_conn *conn, const struct iovec *pieces, int count,
                          bool hold)
{
    if (hold) {
        outbox_hold(&conn->worker->outbox, conn, pieces, count);
    } else {
        write_pieces(conn, pieces, count);
    }
}

static void write_in_place(struct client_conn *conn, const struct iovec *data, bool hold)
{
    char *const end = (char *)data->iov_base + data->iov_len;
    char *const start = h1_chunk_head(data->iov_len, data->iov_base);
    struct iovec chunk = {.iov_base = start, .iov_len = (size_t)(end + CRLF_LEN - start)};

    end[0] = '\r';
    end[1] = '\n';
    hold_or_write(conn, &chunk, 1, hold);
}

static void write_gathered(struct client_conn *conn, bool hold)
{
    struct iovec pieces[WORKER_PIECES_MAX + 6];
    char chunk_head[H1_CHUNK_HEAD_LEN];
    const int count = gather(conn, pieces, chunk_head);

    if (count > 0) {
        hold_or_write(conn, pieces, count, hold);
    }
}

enum client_room client_reply_flush(struct client_conn *conn)
{
    struct client_batch *batch = batch_of(conn);
    const bool hold = can_hold(conn);

    if (!hold) {
        outbox_let_go(&conn->worker->outbox); /* this one's own among it */
    }
    if (!conn->write_failed) {
        if (can_frame_in_place(conn)) {
            write_in_place(conn, &batch->pieces[0], hold);
        } else {
            write_gathered(conn, hold);
        }
        write_rest(conn);
    }
    batch_clear(conn);
    if (conn->write_failed) {
        return CLIENT_GONE;
    }
    after_write(conn);
    if (buf_len(&conn->out) > 0 && buf_len(&conn->out) >= client_out_high(conn)) {
        conn->paused_source = true;
        return CLIENT_NO_ROOM;
    }
    return CLIENT_ROOM;
}

void client_write_held(struct client_conn *conn, struct str bytes)
{
    const struct str out = buf_str(&conn->out);
    struct iovec pieces[2];
    int count = 0;

    ASSERT(conn->state == CLIENT_REQUEST);
    if (conn->write_failed) {
        return;
    }
    if (out.len > 0) { /* of the piece before, held like this one */
        pieces[count++] = (struct iovec){(void *)(uintptr_t)out.ptr, out.len};
    }
    pieces[count++] = (struct iovec){(void *)(uintptr_t)bytes.ptr, bytes.len};
    write_pieces(conn, pieces, count);
    write_rest(conn);
    if (!conn->write_failed) {
        after_write(conn);
    }
}

void client_write(struct client_conn *conn)
{
    if (buf_len(&conn->out) == 0 || conn->write_failed) {
        return;
    }
    conn->write_blocked = false;
    write_rest(conn);
    if (!conn->write_failed) {
        after_write(conn);
    }
}

void client_reply_abort(struct client_conn *conn)
{
    conn->close_after = true;
    /* Without chunks the end of the connection is the end of the body: only a reset tells. A
     * chunked or counted body that stops short shows it by itself, and a plain close lets the
     * client read what came before. */
    conn->abort_after = !conn->reply_chunked && !conn->reply_counted;
    conn->reply_chunked = false;
}
