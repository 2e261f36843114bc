/* SPDX-License-Identifier: MIT */
/*
 * A pod that costs next to nothing, so that it is not what limits a proxy under measurement: its
 * answers are ready, bodies are read and forgotten, and what is still to be sent of an answer is a
 * place in it, not bytes that are kept. build/pod is the one that knows its prompts.
 *
 *     canned PORT [ADDRESS]
 *
 * GET /bytes/N: N spaces. `X-Pod-Stream: N`: N tokens as SSE, one each X-Pod-Gap-Ms (the same for
 * all streams of a process; 0: as fast as they go), late ones together. All else: a chat
 * completion. `X-Pod-Header: Name: value` goes into the answer's head. One thread, edge-triggered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_BYTES      4096 /* of a request */
#define EXTRA_BYTES     128
#define PIECE_BYTES     65536
#define PIECES_AT_ONCE  200
#define BYTES_MAX       32768 /* of /bytes/N, so that an answer fits a piece */
#define EVENTS_PER_TURN 256
#define NS_PER_MS       1000000ULL

#define CHUNK_HEAD                                                                                 \
    "data: "                                                                                       \
    "{\"id\":\"chatcmpl-canned\",\"object\":\"chat.completion.chunk\",\"created\":1795443345,"     \
    "\"model\":\"sim\",\"system_fingerprint\":\"pod\",\"choices\":[{\"index\":0,\"delta\":{"
#define CHUNK_TAIL(why) "},\"logprobs\":null,\"finish_reason\":" why "}]}\n\n"

static const char *const WORDS[] = {"low",  " slow",  " stone", " water", " boats", " is",
                                    " a",   " mills", " of",    " light", " past",  " again",
                                    " for", " about", " salt",  " where"};
#define WORD_COUNT (sizeof(WORDS) / sizeof(WORDS[0]))

static const char COMPLETION[] =
    "{\"id\":\"chatcmpl-canned\",\"object\":\"chat.completion\",\"created\":1795443345,\"model\":"
    "\"sim\","
    "\"system_fingerprint\":\"pod\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
    "\"content\":"
    "\"low slow stone water boats boats mills light falls past is again for about salt where\"},"
    "\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":11,"
    "\"completion_tokens\":16,\"total_tokens\":27}}";

enum step { STEP_HEAD, STEP_BODY, STEP_ANSWER };

struct conn {
    int fd;
    enum step step;
    bool is_ending;     /* the peer has sent its last byte: read until that is seen */
    bool closes;        /* after this answer */
    bool is_queued;     /* for its next token */
    size_t head_len;    /* read so far */
    uint64_t body_left; /* of the request */
    uint64_t bytes;     /* of /bytes/N */
    unsigned tokens;    /* 0: no stream */
    unsigned due;       /* so many pieces of the answer may go */
    unsigned piece;     /* the next to send */
    size_t piece_sent;  /* of that one */
    uint64_t gap_ns;
    uint64_t due_ns;     /* when the next token is due */
    struct conn *sooner; /* in the queue, by due time */
    struct conn *later;
    char extra[EXTRA_BYTES]; /* a line of the answer's head, with its end, or empty */
    char head[HEAD_BYTES + 1];
};

/* The first is due first: all streams have the same gap, so each that is put behind is due last (or
 * a little late, where the pod itself fell behind). */
static struct conn *first_due;
static struct conn *last_due;
static int epoll_fd;
static char chunks[WORD_COUNT][320]; /* a token's event, framed */
static char scratch[PIECE_BYTES];

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

/* ---- the queue of streams that wait for their next token ---- */

static void queue_leave(struct conn *conn)
{
    if (!conn->is_queued) {
        return;
    }
    *(conn->sooner != NULL ? &conn->sooner->later : &first_due) = conn->later;
    *(conn->later != NULL ? &conn->later->sooner : &last_due) = conn->sooner;
    conn->is_queued = false;
}

static void queue_join(struct conn *conn)
{
    queue_leave(conn);
    conn->sooner = last_due;
    conn->later = NULL;
    *(last_due != NULL ? &last_due->later : &first_due) = conn;
    last_due = conn;
    conn->is_queued = true;
}

static void conn_close(struct conn *conn)
{
    queue_leave(conn);
    (void)close(conn->fd);
    free(conn);
}

/* ---- answers ---- */

static size_t put(char *out, size_t room, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static size_t put(char *out, size_t room, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(out, room, format, args);
    va_end(args);
    if (len < 0 || (size_t)len >= room) {
        abort(); /* all that is written here has a bound */
    }
    return (size_t)len;
}

static void make_chunks(void)
{
    char event[280];

    for (size_t i = 0; i < WORD_COUNT; i++) {
        size_t len =
            put(event, sizeof(event), CHUNK_HEAD "\"content\":\"%s\"" CHUNK_TAIL("null"), WORDS[i]);
        (void)put(chunks[i], sizeof(chunks[i]), "%zx\r\n%s\r\n", len, event);
    }
}

static size_t put_plain(const struct conn *conn, char *out, size_t room)
{
    static const char HEAD[] =
        "HTTP/1.1 200 OK\r\nServer: pod\r\nContent-Type: %s\r\n%s%sContent-Length: %zu\r\n\r\n";
    const char *closing = conn->closes ? "Connection: close\r\n" : "";

    if (conn->bytes > 0) {
        size_t len = put(out, room, HEAD, "application/octet-stream", conn->extra, closing,
                         (size_t)conn->bytes);
        memset(out + len, ' ', conn->bytes);
        return len + conn->bytes;
    }
    size_t len =
        put(out, room, HEAD, "application/json", conn->extra, closing, sizeof(COMPLETION) - 1);
    memcpy(out + len, COMPLETION, sizeof(COMPLETION) - 1);
    return len + sizeof(COMPLETION) - 1;
}

static size_t put_opening(const struct conn *conn, char *out, size_t room)
{
    static const char OPENING[] =
        CHUNK_HEAD "\"role\":\"assistant\",\"content\":\"\"" CHUNK_TAIL("null");

    return put(
        out, room,
        "HTTP/1.1 200 OK\r\nServer: pod\r\nContent-Type: text/event-stream; charset=utf-8\r\n%s%s"
        "Transfer-Encoding: chunked\r\n\r\n%zx\r\n%s\r\n",
        conn->extra, conn->closes ? "Connection: close\r\n" : "", sizeof(OPENING) - 1, OPENING);
}

static size_t put_ending(char *out, size_t room)
{
    static const char ENDING[] = CHUNK_HEAD CHUNK_TAIL("\"length\"") "data: [DONE]\n\n";

    return put(out, room, "%zx\r\n%s\r\n0\r\n\r\n", sizeof(ENDING) - 1, ENDING);
}

static unsigned piece_count(const struct conn *conn)
{
    return conn->tokens == 0 ? 1 : conn->tokens + 2;
}

/* Piece `piece` of the answer; an opening comes with the first token, the ending with the last. */
static size_t put_piece(const struct conn *conn, unsigned piece, char *out, size_t room)
{
    if (conn->tokens == 0) {
        return put_plain(conn, out, room);
    }
    if (piece == 0) {
        return put_opening(conn, out, room);
    }
    if (piece > conn->tokens) {
        return put_ending(out, room);
    }
    const char *chunk = chunks[piece % WORD_COUNT];
    size_t len = strlen(chunk);
    memcpy(out, chunk, len);
    return len;
}

/* How many pieces may have gone by now. The opening has no time of its own. */
static void note_due(struct conn *conn, uint64_t now)
{
    if (conn->tokens == 0 || conn->gap_ns == 0) {
        conn->due = piece_count(conn);
    } else if (conn->due_ns <= now) {
        uint64_t more = (now - conn->due_ns) / conn->gap_ns + 1;
        uint64_t due = (conn->due < 1 ? 1 : conn->due) + more;
        conn->due = due > conn->tokens ? piece_count(conn) : (unsigned)due;
        conn->due_ns += more * conn->gap_ns;
    }
}

/* Write what is due as far as the socket takes it. False: the connection is gone. */
static bool send_pieces(struct conn *conn)
{
    while (conn->piece < conn->due) {
        size_t sizes[PIECES_AT_ONCE];
        unsigned count = 0;
        size_t len = 0;

        while (conn->piece + count < conn->due && count < PIECES_AT_ONCE) {
            sizes[count] =
                put_piece(conn, conn->piece + count, scratch + len, sizeof(scratch) - len);
            len += sizes[count++];
        }
        ssize_t sent =
            send(conn->fd, scratch + conn->piece_sent, len - conn->piece_sent, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN;
        }
        bool is_all = (size_t)sent == len - conn->piece_sent;
        size_t gone = (size_t)sent + conn->piece_sent;
        for (unsigned i = 0; i < count && gone >= sizes[i]; i++) {
            gone -= sizes[i];
            conn->piece++;
        }
        conn->piece_sent = gone;
        if (!is_all) {
            return true; /* the next edge says when there is room */
        }
    }
    return true;
}

static void next_request(struct conn *conn)
{
    conn->step = STEP_HEAD;
    conn->head_len = 0;
}

/* False: the connection is gone. */
static bool answer(struct conn *conn, uint64_t now)
{
    note_due(conn, now);
    if (!send_pieces(conn)) {
        return false;
    }
    if (conn->piece == piece_count(conn)) {
        queue_leave(conn);
        next_request(conn);
        return !conn->closes;
    }
    if (conn->due < piece_count(conn)) {
        queue_join(conn);
    } else {
        queue_leave(conn); /* all is due: room is what it waits for */
    }
    return true;
}

/* ---- requests ---- */

static bool is_field(const char *line, const char *name, const char **ret_value)
{
    size_t len = strlen(name);

    if (strncasecmp(line, name, len) != 0) {
        return false;
    }
    *ret_value = line + len + strspn(line + len, " ");
    return true;
}

static void read_line(struct conn *conn, const char *line)
{
    const char *value;

    if (is_field(line, "content-length:", &value)) {
        conn->body_left = strtoull(value, NULL, 10);
    } else if (is_field(line, "connection:", &value)) {
        conn->closes = strncasecmp(value, "close", 5) == 0;
    } else if (is_field(line, "x-pod-stream:", &value)) {
        conn->tokens = (unsigned)strtoul(value, NULL, 10);
    } else if (is_field(line, "x-pod-gap-ms:", &value)) {
        conn->gap_ns = strtoull(value, NULL, 10) * NS_PER_MS;
    } else if (is_field(line, "x-pod-header:", &value)) {
        (void)put(conn->extra, EXTRA_BYTES, "%.*s\r\n", (int)strcspn(value, "\r"), value);
    }
}

/* A chunked request would be read as one without a body, and what follows as the next head: no
 * proxy here sends one for a request that has a length. */
static void read_head(struct conn *conn)
{
    const char *path = strchr(conn->head, ' ');
    const char *line = strchr(conn->head, '\n');

    conn->body_left = conn->bytes = conn->gap_ns = 0;
    conn->tokens = conn->due = conn->piece = 0;
    conn->piece_sent = 0;
    conn->closes = false;
    conn->extra[0] = '\0';
    if (path != NULL && strncmp(path, " /bytes/", 8) == 0) {
        uint64_t bytes = strtoull(path + 8, NULL, 10);
        conn->bytes = bytes < BYTES_MAX ? bytes : BYTES_MAX;
    }
    for (; line != NULL && line[1] != '\r'; line = strchr(line + 1, '\n')) {
        read_line(conn, line + 1);
    }
    conn->step = STEP_BODY;
}

/* Take the next bytes of a request; how many of them were taken. */
static size_t take_head(struct conn *conn, const char *bytes, size_t len)
{
    size_t before = conn->head_len;
    size_t room = HEAD_BYTES - before;
    size_t copied = len < room ? len : room;

    memcpy(conn->head + before, bytes, copied);
    conn->head[before + copied] = '\0';
    const char *end = strstr(conn->head + (before < 3 ? 0 : before - 3), "\r\n\r\n");
    if (end == NULL) {
        conn->head_len += copied;
        return copied;
    }
    read_head(conn);
    return (size_t)(end + 4 - conn->head) - before;
}

static size_t take_body(struct conn *conn, size_t len)
{
    size_t taken = conn->body_left < len ? (size_t)conn->body_left : len;
    conn->body_left -= taken;
    return taken;
}

/* False: the connection is gone. A request that comes while an answer is sent is a pipelined one,
 * which no proxy here sends. */
static bool take(struct conn *conn, const char *bytes, size_t len)
{
    size_t used = 0;

    while (used < len && conn->step != STEP_ANSWER && conn->head_len < HEAD_BYTES) {
        used += conn->step == STEP_HEAD ? take_head(conn, bytes + used, len - used)
                                        : take_body(conn, len - used);
        if (conn->step == STEP_BODY && conn->body_left == 0) {
            conn->step = STEP_ANSWER;
            conn->due_ns = now_ns();
            if (!answer(conn, conn->due_ns)) {
                return false;
            }
        }
    }
    return used == len;
}

static bool read_all(struct conn *conn)
{
    static char bytes[PIECE_BYTES];

    for (;;) {
        ssize_t len = recv(conn->fd, bytes, sizeof(bytes), 0);
        if (len <= 0) {
            return len < 0 && errno == EAGAIN;
        }
        if (!take(conn, bytes, (size_t)len)) {
            return false;
        }
        if ((size_t)len < sizeof(bytes) && !conn->is_ending) {
            return true; /* drained: the next edge will come */
        }
    }
}

/* ---- the loop ---- */

static void watch(int fd, void *ptr)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data = {.ptr = ptr}};
    (void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

static void accept_all(int listener)
{
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        int on = 1;
        if (fd < 0) {
            return;
        }
        struct conn *conn = calloc(1, sizeof(*conn));
        if (conn == NULL) {
            abort();
        }
        conn->fd = fd;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        watch(fd, conn);
    }
}

static void on_event(struct conn *conn, uint32_t events)
{
    bool is_alive = true;

    conn->is_ending |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if ((events & EPOLLOUT) != 0 && conn->step == STEP_ANSWER && !conn->is_queued) {
        is_alive = answer(conn, now_ns());
    }
    if (is_alive && (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        is_alive = read_all(conn);
    }
    if (!is_alive) {
        conn_close(conn);
    }
}

static void send_due(void)
{
    uint64_t now = now_ns();

    while (first_due != NULL && first_due->due_ns <= now) {
        struct conn *conn = first_due;
        if (!answer(conn, now)) {
            conn_close(conn);
        }
    }
}

static void turn(int listener)
{
    struct epoll_event events[EVENTS_PER_TURN];
    uint64_t now = first_due == NULL ? 0 : now_ns();
    uint64_t wait = first_due == NULL || first_due->due_ns <= now ? 0 : first_due->due_ns - now;
    struct timespec limit = {.tv_sec = (time_t)(wait / 1000000000ULL),
                             .tv_nsec = (long)(wait % 1000000000ULL)};
    int count =
        epoll_pwait2(epoll_fd, events, EVENTS_PER_TURN, first_due == NULL ? NULL : &limit, NULL);

    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL) {
            accept_all(listener);
        } else {
            on_event(events[i].data.ptr, events[i].events);
        }
    }
    send_due();
}

static int listen_on(uint16_t port, const char *address)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || inet_pton(AF_INET, address, &at.sin_addr) != 1 ||
        bind(fd, (const struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 4096) != 0) {
        return -1;
    }
    return fd;
}

int main(int argc, char **argv)
{
    struct rlimit limit;

    if (argc < 2) {
        (void)fputs("usage: canned PORT [ADDRESS]\n", stderr);
        return 1;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    int listener =
        listen_on((uint16_t)strtoul(argv[1], NULL, 10), argc > 2 ? argv[2] : "127.0.0.1");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || epoll_fd < 0) {
        perror("canned");
        return 1;
    }
    make_chunks();
    watch(listener, NULL);
    for (;;) {
        turn(listener);
    }
}
