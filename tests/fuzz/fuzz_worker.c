/* SPDX-License-Identifier: MIT */
/*
 * A whole worker between a client and an endpoint, whose bytes are the input's. Sockets are pairs,
 * time is the input's too. After each input:
 *
 *   - the edge began as many requests as its own parsers find in what the client sent, and ended
 *     each. Exactly as many, one after the other, while it keeps the connection; when it has
 * closed, at most as many, and the client was told before the first that was not begun;
 *   - what each endpoint connection got is well-formed requests, exactly as many as heads were
 *     written to it while it was open;
 *   - what the client got is well-formed answers: exactly one for each request that has ended, and
 *     one more may be under way; after a close one refusal more at most;
 *   - every gauge is back to zero, and never was more memory taken than the limits allow.
 *
 * The input is a list of acts: an operation, a length or an index, bytes.
 */
#include <conf/parse_private.h>
#include <net/stream_private.h>
#include <proxy/admission_private.h>
#include <proxy/client_private.h>
#include <proxy/request_private.h>
#include <proxy/worker_private.h>

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/cache/cache.h>
#include <nearside/conf/parse.h>
#include <nearside/conf/tree.h>
#include <nearside/dns/resolver.h>
#include <nearside/fleet/fleet.h>
#include <nearside/health/health.h>
#include <nearside/proxy/worker.h>
#include <nearside/proxy/world.h>
#include <nearside/upstream/pool.h>

#include <errno.h>
#include <fcntl.h>
#include <sanitizer/allocator_interface.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PEERS_MAX  16
#define ACTS_MAX   64
#define TURNS      4
#define JUMPS      4
#define TURNS_LAST 24
#define MEMORY_MAX (4u << 20) /* over what an idle worker takes */
#define LATER_MS   200000     /* past every timeout */
#define RECORD_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len);
void __real_request_write_head(struct request *request, struct buf *out);
void __wrap_request_write_head(struct request *request, struct buf *out);
int __real_clock_gettime(clockid_t id, struct timespec *time);
int __wrap_clock_gettime(clockid_t id, struct timespec *time);

static const char conf_text[] =
    "edge = { id = \"fuzz\"; workers = 1; trusted_proxies = [\"10.0.0.0/8\"]; };\n"
    "listeners = ( { bind = \"127.0.0.1:0\"; } );\n"
    "log = { file = \"\"; access_file = \"\"; };\n"
    "limits = { header_bytes = 2048; uri_bytes = 1024; body_bytes = 16384; buffer_bytes = 4096;\n"
    "           buffer_total_bytes = 65536; };\n"
    "retry = { attempts = 1; };\n"
    "cache = { enabled = false; };\n"
    "regions = ( { name = \"near\"; endpoints = [\"http://127.0.0.1:9\"]; } );\n";

/* One end of a pair that the edge holds the other end of, and all that it wrote there. */
struct peer {
    int fd;      /* -1: closed */
    int edge_fd; /* the edge's end */
    bool at_end; /* the edge has closed, or sends no more */
    unsigned heads;
    struct buf got;
};

static struct {
    struct loop *control;
    struct loop *loop; /* the worker's */
    struct worker *worker;
    struct fleet *fleet;
    struct health *health;
    struct resolver *resolver;
    struct cache *cache;
    struct world *world;
    struct proxy_shared shared;
    struct endpoint_live *live; /* borrowed */
    struct peer client;
    struct buf sent; /* by the client */
    bool sent_all;   /* it said so */
    struct peer upstream[PEERS_MAX];
    unsigned upstream_count;
    uint64_t ahead_ns; /* of the real clock */
    size_t memory_max; /* that one input may make the worker take */
} fuzz;

/* ---- time and sockets ---- */

int __wrap_clock_gettime(clockid_t id, struct timespec *time)
{
    const int rc = __real_clock_gettime(id, time);
    const uint64_t nsec = (uint64_t)time->tv_nsec + fuzz.ahead_ns;

    time->tv_sec += (time_t)(nsec / NS_PER_S);
    time->tv_nsec = (long)(nsec % NS_PER_S);
    return rc;
}

static void make_pair(int fds[2])
{
    ASSERT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0);
}

/* The edge connects to its endpoint: it gets one end of a pair in place of its socket. */
int __wrap_connect(int fd, const struct sockaddr *addr, socklen_t len)
{
    int fds[2];

    (void)addr;
    (void)len;
    if (fuzz.upstream_count == PEERS_MAX) {
        errno = ECONNREFUSED;
        return -1;
    }
    make_pair(fds);
    ASSERT(dup3(fds[0], fd, O_CLOEXEC) == fd);
    (void)close(fds[0]);
    struct peer *peer = &fuzz.upstream[fuzz.upstream_count];
    peer->fd = fds[1];
    peer->edge_fd = fd;
    peer->heads = 0;
    buf_clear(&peer->got);
    fuzz.upstream_count++;
    return 0;
}

/* A head goes out as one with what comes behind it, and no pair is ever full: if the peer is there,
 * it gets all of it. */
void __wrap_request_write_head(struct request *request, struct buf *out)
{
    const int fd = upstream_stream(request->exchange.conn)->fd;

    for (unsigned i = fuzz.upstream_count; i > 0; i--) {
        struct peer *peer = &fuzz.upstream[i - 1];

        if (peer->edge_fd == fd) {
            peer->heads += peer->fd >= 0 ? 1 : 0;
            break;
        }
    }
    __real_request_write_head(request, out);
}

static void peer_close(struct peer *peer)
{
    if (peer->fd >= 0) {
        (void)close(peer->fd);
        peer->fd = -1;
    }
}

static void peer_read(struct peer *peer)
{
    char bytes[4096];
    ssize_t got = -1;

    errno = EAGAIN;
    while (peer->fd >= 0 && (got = recv(peer->fd, bytes, sizeof(bytes), 0)) > 0) {
        ASSERT(buf_len(&peer->got) + (size_t)got < RECORD_MAX);
        buf_append(&peer->got, bytes, (size_t)got);
    }
    peer->at_end = peer->at_end || got == 0 || errno != EAGAIN;
}

static size_t peer_write(struct peer *peer, struct str bytes)
{
    const ssize_t sent =
        peer->fd < 0 || bytes.len == 0 ? 0 : send(peer->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);

    return sent > 0 ? (size_t)sent : 0;
}

/* ---- turns of the loop ---- */

struct turns {
    struct loop_task task;
    struct loop *loop;
    unsigned left;
};

static void on_turn(struct loop_task *task, void *arg)
{
    struct turns *turns = arg;

    if (--turns->left == 0) {
        loop_stop(turns->loop);
    } else {
        loop_task_queue(turns->loop, task);
    }
}

static void run(struct loop *loop, unsigned count)
{
    struct turns turns = {.loop = loop, .left = count};

    loop_task_init(&turns.task, on_turn, &turns);
    loop_task_queue(loop, &turns.task);
    loop_run(loop);
}

static void read_all(void)
{
    peer_read(&fuzz.client);
    for (unsigned i = 0; i < fuzz.upstream_count; i++) {
        peer_read(&fuzz.upstream[i]);
    }
}

/* ---- the world around ---- */

static void on_view(struct fleet_view *view, void *arg)
{
    (void)view;
    (void)arg;
}

static void on_drained(void *arg)
{
    (void)arg;
}

static void on_room(unsigned index, void *arg)
{
    (void)index;
    (void)arg;
}

static void make_worker(struct conf *conf)
{
    const struct worker_deps deps = {
        .cache = fuzz.cache,
        .health = fuzz.health,
        .shared = &fuzz.shared,
        .worker_count = 1,
        .control = fuzz.control,
        .drained = on_drained,
        .wake_queues = on_room,
    };
    struct fleet_view *view;

    proxy_shared_init(&fuzz.shared, 0);
    fleet_apply(fuzz.fleet, conf);
    view = fleet_view_now(fuzz.fleet);
    fuzz.live = view->regions[0].endpoints[0].live;
    fleet_set_endpoint_state(fuzz.fleet, fuzz.live->id, ENDPOINT_UP, "probe_ok");
    fuzz.worker = worker_new(0, &deps, fuzz.world, fleet_view_now(fuzz.fleet));
    fuzz.loop = fuzz.worker->loop;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const uint8_t first[] = {1, 0, 3, 0};
    struct conf *conf = NULL;
    struct errbuf err;

    (void)argc;
    (void)argv;
    ASSERT(conf_read_text(str_of(conf_text), "fuzz", "/", &conf, &err) == STATUS_OK);
    ASSERT(world_new(conf, NULL, &fuzz.world, &err) == STATUS_OK);
    fuzz.control = loop_new("control");
    ASSERT(resolver_new(fuzz.control, &fuzz.resolver, &err) == STATUS_OK);
    fuzz.cache = cache_new(0);
    fuzz.fleet = fleet_new(fuzz.control, on_view, NULL);
    fuzz.health = health_new(fuzz.control, fuzz.fleet, fuzz.resolver, metric_block_new());
    make_worker(conf);
    buf_init(&fuzz.client.got);
    buf_init(&fuzz.sent);
    for (unsigned i = 0; i < PEERS_MAX; i++) {
        fuzz.upstream[i].fd = -1;
        buf_init(&fuzz.upstream[i].got);
    }
    fuzz.memory_max = SIZE_MAX; /* the first request makes what lives as long as the worker */
    (void)LLVMFuzzerTestOneInput(first, sizeof(first));
    fuzz.memory_max = MEMORY_MAX;
    return 0;
}

/* ---- acts ---- */

static const char *const requests[] = {
    "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
    ("POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\n"
     "{\"model\":\"m\",\"stream\":true}"),
    "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a HTTP/1.0\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
};

static const char *const answers[] = {
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
     "9\r\ndata: {}\n\r\n1\r\n\n\r\n"),
    "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
    "HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n",
    "HTTP/1.1 204 None\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nuntil the end",
    "HTTP/1.1 503 Full\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
};

static void client_sends(struct str bytes)
{
    const size_t sent = peer_write(&fuzz.client, bytes);

    buf_append(&fuzz.sent, bytes.ptr, sent);
}

static void upstream_sends(struct str bytes)
{
    if (fuzz.upstream_count > 0) {
        (void)peer_write(&fuzz.upstream[fuzz.upstream_count - 1], bytes);
    }
}

/* One act off the front; what is left. */
static struct str act(struct str input)
{
    const unsigned operation = (unsigned char)input.ptr[0] % 8;
    const unsigned number = (unsigned char)input.ptr[1];
    struct str bytes = str_slice(input, 2, 2);

    switch (operation) {
    case 0:
        bytes = str_slice(input, 2, 2 + number);
        client_sends(bytes);
        break;
    case 1:
        client_sends(str_of(requests[number % ARRAY_LEN(requests)]));
        break;
    case 2:
        bytes = str_slice(input, 2, 2 + number);
        upstream_sends(bytes);
        break;
    case 3:
        upstream_sends(str_of(answers[number % ARRAY_LEN(answers)]));
        break;
    case 4:
        if (number % 2 == 0) {
            (void)shutdown(fuzz.client.fd, SHUT_WR);
            fuzz.sent_all = true;
        } else {
            peer_read(&fuzz.client);
            peer_close(&fuzz.client);
        }
        break;
    case 5:
        if (fuzz.upstream_count > 0) {
            peer_read(&fuzz.upstream[fuzz.upstream_count - 1]);
            peer_close(&fuzz.upstream[fuzz.upstream_count - 1]);
        }
        break;
    case 6:
        fuzz.ahead_ns += number * 500 * NS_PER_MS;
        break;
    default:
        read_all();
        break;
    }
    return str_slice(input, 2 + bytes.len, input.len);
}

/* ---- what must hold ---- */

static const struct h1_limits wide = {
    .head_bytes = 65536, .uri_bytes = 65536, .fields = HTTP_FIELDS_MAX};
static const struct h1_limits edge_limits = {
    .head_bytes = 2048, .uri_bytes = 1024, .fields = HTTP_FIELDS_MAX};

/* Skip a body; false: it is not whole or not well-formed (then *ret_bad). */
static bool skip_body(struct str *rest, const struct http_head *head, bool *ret_bad)
{
    struct h1_chunked chunked;
    enum h1_result result = H1_NEED_MORE;

    *ret_bad = false;
    if (head->body == HTTP_BODY_LENGTH) {
        const bool whole = head->content_length <= rest->len;

        *rest = str_slice(*rest, whole ? (size_t)head->content_length : rest->len, rest->len);
        return whole;
    }
    if (head->body == HTTP_BODY_CLOSE) {
        *rest = str_slice(*rest, rest->len, rest->len);
        return true;
    }
    h1_chunked_init(&chunked);
    while (head->body == HTTP_BODY_CHUNKED && result == H1_NEED_MORE && rest->len > 0) {
        struct str data;
        size_t used;

        result = h1_chunked_parse(&chunked, *rest, &used, &data);
        *rest = str_slice(*rest, used, rest->len);
    }
    *ret_bad = result != H1_NEED_MORE && result != H1_COMPLETE;
    return head->body == HTTP_BODY_NONE || result == H1_COMPLETE;
}

/* Take a request off `text`. False: its head is not whole, or not good. What follows one whose body
 * is not whole is nothing. */
static bool next_request(struct str *text, const struct h1_limits *limits, bool strictly,
                         struct http_head *head)
{
    size_t used;
    bool bad;
    const enum h1_result result = h1_parse_request(*text, limits, head, &used);

    if (text->len == 0 || result != H1_COMPLETE) {
        ASSERT(!strictly || text->len == 0 || result == H1_NEED_MORE);
        return false;
    }
    *text = str_slice(*text, used, text->len);
    if (!skip_body(text, head, &bad)) {
        ASSERT(!strictly || !bad);
        *text = STR_EMPTY;
    }
    return true;
}

/* Requests whose heads stand in `text`, up to the first fault. */
static unsigned count_requests(struct str text, const struct h1_limits *limits, bool strictly)
{
    static struct http_head head;
    unsigned count = 0;

    while (next_request(&text, limits, strictly, &head)) {
        count++;
    }
    return count;
}

/* Did the client want no more after its request of that number (1: the first)? */
static bool asked_to_end(struct str sent, int64_t number)
{
    static struct http_head head;
    bool is_last = false;

    for (int64_t i = 0; i < number && next_request(&sent, &edge_limits, false, &head); i++) {
        is_last = !head.keep_alive;
    }
    return is_last;
}

struct answers {
    int64_t count; /* heads */
    bool is_last;  /* the last one says that the connection ends */
    bool is_cut;   /* it is not whole, or none came */
};

/* Answers that the client got, interim ones left out. HEAD's have a length and no body; what
 * follows is then taken for one, so such inputs are not counted. */
static struct answers read_answers(struct str text)
{
    static struct http_head head;
    struct answers told = {.is_cut = true};

    while (text.len > 0) {
        size_t used;
        bool bad;
        const enum h1_result result = h1_parse_response(text, &wide, HTTP_GET, &head, &used);

        ASSERT(result == H1_COMPLETE || result == H1_NEED_MORE);
        told.is_cut = true;
        if (result == H1_NEED_MORE) {
            break;
        }
        told.count += head.status >= 200 ? 1 : 0;
        told.is_last = !head.keep_alive;
        text = str_slice(text, used, text.len);
        if (!skip_body(&text, &head, &bad)) {
            ASSERT(!bad);
            break;
        }
        told.is_cut = head.status < 200;
    }
    return told;
}

struct counts {
    int64_t started;
    int64_t finished;
    int64_t attempts;
};

static int64_t sum_attempts(void)
{
    int64_t sum = 0;

    for (unsigned outcome = 0; outcome < OUTCOME_COUNT; outcome++) {
        for (unsigned slot = 0; slot < METRIC_REGIONS_MAX; slot++) {
            sum += metric_sum(METRIC_ATTEMPTS, slot, outcome, 0);
        }
    }
    return sum;
}

static struct counts counts_now(void)
{
    return (struct counts){.started = metric_sum(METRIC_REQUESTS_STARTED, 0, 0, 0),
                           .finished = metric_sum(METRIC_REQUESTS_FINISHED, 0, 0, 0),
                           .attempts = sum_attempts()};
}

static void check_counts(const struct counts *before)
{
    const struct counts now = counts_now();
    unsigned at_origin = 0;

    for (unsigned i = 0; i < fuzz.upstream_count; i++) {
        const unsigned count = count_requests(buf_str(&fuzz.upstream[i].got), &wide, true);

        ASSERT(count == fuzz.upstream[i].heads);
        at_origin += count;
    }
    ASSERT(now.started - before->started == now.finished - before->finished);
    ASSERT(at_origin <= now.attempts - before->attempts);
}

/* What the client sees before it closes. */
static void check_client(const struct counts *before)
{
    const struct counts now = counts_now();
    const int64_t started = now.started - before->started;
    const int64_t finished = now.finished - before->finished;
    const struct str sent = buf_str(&fuzz.sent);
    const int64_t asked = count_requests(sent, &edge_limits, false);
    const bool has_head = str_find(sent, STR_LIT("HEAD")) < sent.len;
    const bool is_kept = fuzz.client.fd >= 0 && !fuzz.client.at_end && !fuzz.sent_all;
    struct answers answered = {.count = 0};

    ASSERT(started <= asked && started <= finished + 1);
    if (is_kept) {
        ASSERT(started == asked || started == finished + 1);
    }
    if (has_head) {
        return;
    }
    answered = read_answers(buf_str(&fuzz.client.got));
    ASSERT(answered.count <= started + 1);
    if (is_kept) {
        ASSERT(finished <= answered.count && answered.count <= started);
    } else if (fuzz.client.fd >= 0 && fuzz.client.at_end && started < asked) {
        ASSERT(answered.is_last || answered.is_cut || asked_to_end(sent, started));
    }
}

static void check_gauges(void)
{
    ASSERT(metric_sum(METRIC_CLIENT_CONNECTIONS, 0, 0, 0) == 0);
    ASSERT(metric_sum(METRIC_BUFFERED, 0, 0, 0) == 0);
    for (unsigned phase = 0; phase < METRIC_PHASES; phase++) {
        ASSERT(metric_sum(METRIC_INFLIGHT, phase, 0, 0) == 0);
    }
    for (unsigned slot = 0; slot < METRIC_REGIONS_MAX; slot++) {
        ASSERT(metric_sum(METRIC_PENDING, slot, 0, 0) == 0);
    }
    ASSERT(atomic_load(&fuzz.shared.connections) == 0);
    ASSERT(atomic_load(&fuzz.shared.buffered_bytes) == 0);
    ASSERT(atomic_load(&fuzz.live->inflight) == 0 && atomic_load(&fuzz.live->pending) == 0);
}

/* ---- one input ---- */

static void begin(void)
{
    struct addr peer;
    int fds[2];

    ASSERT(addr_parse(STR_LIT("10.0.0.1:4711"), &peer));
    make_pair(fds);
    fuzz.client.fd = fds[1];
    buf_clear(&fuzz.client.got);
    buf_clear(&fuzz.sent);
    fuzz.sent_all = false;
    fuzz.client.at_end = false;
    fuzz.upstream_count = 0;
    atomic_store(&fuzz.live->full_until_ns, 0);
    atomic_store(&fuzz.live->failures, 0);
    ASSERT(admission_take(fuzz.worker, fds[0], &peer, false) == ADMISSION_GRANTED);
    client_new(fuzz.worker, fuzz.world, 0, fds[0], &peer);
    run(fuzz.loop, TURNS);
}

/* Until nothing moves any more: requests that wait for their turn end one after the other. */
static void settle(void)
{
    int64_t finished;

    do {
        finished = counts_now().finished;
        read_all();
        run(fuzz.loop, TURNS_LAST);
        read_all();
    } while (counts_now().finished != finished);
}

static void end(const struct counts *before)
{
    settle();
    check_client(before);
    peer_close(&fuzz.client);
    run(fuzz.loop, TURNS);
    read_all();
    /* One deadline may begin where another ends, and a stale connection be replaced by a new one.
     */
    for (unsigned jump = 0; jump < JUMPS; jump++) {
        for (unsigned i = 0; i < fuzz.upstream_count; i++) {
            peer_read(&fuzz.upstream[i]);
            peer_close(&fuzz.upstream[i]);
        }
        run(fuzz.loop, TURNS_LAST);
        fuzz.ahead_ns += LATER_MS * NS_PER_MS;
        run(fuzz.loop, TURNS_LAST);
    }
    run(fuzz.control, TURNS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = str_make((const char *)data, size);
    const size_t idle_bytes = __sanitizer_get_current_allocated_bytes();
    struct counts before;

    before = counts_now();
    begin();
    for (unsigned i = 0; i < ACTS_MAX && input.len >= 2; i++) {
        input = act(input);
        run(fuzz.loop, TURNS);
        ASSERT(__sanitizer_get_current_allocated_bytes() - idle_bytes < fuzz.memory_max ||
               __sanitizer_get_current_allocated_bytes() < idle_bytes);
    }
    end(&before);
    check_counts(&before);
    check_gauges();
    return 0;
}
