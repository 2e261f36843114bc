/* SPDX-License-Identifier: MIT */
/*
 * HTTP for the admin listener: evhttp with limits around it.
 *
 * evhttp does not count its connections, so this does: each one's bufferevent is made here, and at
 * the end of the turn, when evhttp has taken it, its connection gets a close callback. At
 * admin.max_connections accepting stops until one ends: further ones wait in the kernel's queue.
 *
 * evhttp's time-out is one of silence. Who sends a byte now and then, in a handshake or a head, or
 * takes one of an answer, would keep its place for ever, and a probe would find none; so each
 * connection has SERVER_REQUEST_S for a whole request, from its beginning or the last one on.
 *
 * evhttp must not be freed while one of its callbacks runs, and a reload asked for over HTTP may
 * move the very listener that has to answer it. So a server is retired first: the socket closes at
 * once, replies under way are sent, and SERVER_LINGER_MS later all the rest goes.
 *
 *   SERVING ──retire──> RETIRED ──linger over──> freed
 */
#include "server_private.h"

#include "admin_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/loop/loop.h>
#include <nearside/net/tls_bufferevent.h>
#include <nearside/obs/log.h>
#include <nearside/obs/metric.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>

#include <errno.h>
#include <stdio.h>

#define SERVER_MAGIC 0x61737276U

#define SERVER_HEADERS_BYTES 16384
#define SERVER_BODY_BYTES    65536  /* nothing here takes a body; clients may still send one */
#define SERVER_INPUT_BYTES   131072 /* read and not understood: a whole body, and more */
#define SERVER_TIMEOUT_S     10     /* without a byte, idle kept connections included */
#define SERVER_REQUEST_S     15     /* without a whole request */
#define SERVER_LINGER_MS     1000
#define SERVER_TICK_MS       1000 /* how long accepting stays off after a failure, at most */

struct server {
    uint32_t magic;
    struct admin *admin;             /* borrowed: outlives this */
    struct evhttp *http;             /* owned; NULL: ended */
    struct evconnlistener *listener; /* owned by http; NULL: retired */
    struct evhttp_bound_socket *bound;
    bool loopback;
    struct list conns; /* of struct server_conn */
    unsigned conn_count;
    bool is_full;             /* and that was told */
    struct deadline deadline; /* serving: look after connections; retired: end */
    struct list link;         /* in admin->retired, when retired */
};

/* ---- connections ---- */

struct server_conn {
    struct list link;                /* in server->conns */
    struct server *server;           /* borrowed: its memory is freed after that of this */
    struct bufferevent *bufferevent; /* ref held until adopt(); then NULL */
    struct evhttp_connection *conn;  /* evhttp's; NULL until adopt() */
    uint64_t since_ns;               /* when it was accepted, or last asked a whole request */
};

static unsigned conns_max(const struct server *server)
{
    const struct admin_source *source = &server->admin->source;

    return source->conf(source->arg)->admin.max_connections;
}

static void accept_if_room(struct server *server)
{
    if (server->listener == NULL) {
        return;
    }
    if (server->conn_count < conns_max(server)) {
        server->is_full = false;
        (void)evconnlistener_enable(server->listener);
        return;
    }
    if (!server->is_full) {
        server->is_full = true;
        metric_limit_hit(server->admin->source.metrics, LIMIT_ADMIN_CONNECTIONS);
        log_warn("admin_full", "connections=%u", server->conn_count);
    }
    (void)evconnlistener_disable(server->listener);
}

static void conn_end(struct server_conn *mine)
{
    struct server *server = mine->server;

    list_remove(&mine->link);
    server->conn_count--;
    accept_if_room(server);
    mem_free(mine);
}

static void on_conn_closed(struct evhttp_connection *conn, void *arg)
{
    (void)conn;
    conn_end(arg);
}

/* evhttp gives its connection only to request callbacks, but also makes it the argument of the
 * bufferevent's callbacks, from where it is read here. */
static void adopt(void *arg)
{
    struct server_conn *mine = arg;
    struct bufferevent *bufferevent = mine->bufferevent;
    void *conn = NULL;

    bufferevent_getcb(bufferevent, NULL, NULL, NULL, &conn);
    mine->bufferevent = NULL;
    if (conn != NULL && mine->server->http != NULL) {
        mine->conn = conn;
        evhttp_connection_set_closecb(conn, on_conn_closed, mine);
    } else {
        conn_end(mine); /* evhttp has given it up already */
    }
    (void)bufferevent_decref(bufferevent);
}

static struct bufferevent *on_conn_accepted(struct event_base *base, void *arg)
{
    struct server *server = OBJ_CAST(arg, server, SERVER_MAGIC);
    struct loop *loop = server->admin->loop;
    struct tls_ctx *tls = server->admin->tls;
    struct bufferevent *bufferevent =
        tls == NULL ? bufferevent_socket_new(base, -1, 0) : tls_bufferevent_new(tls, base);
    struct server_conn *mine;

    ASSERT(bufferevent != NULL); /* a small structural object: see mem.h */
    bufferevent_incref(bufferevent);
    /* Without this it reads on while an answer waits to be taken, however much comes. Over TLS
     * libevent may leave what OpenSSL has read of the rest where it is: such a client is closed for
     * its silence. */
    bufferevent_setwatermark(bufferevent, EV_READ, 0, SERVER_INPUT_BYTES);
    mine = mem_new(struct server_conn);
    mine->server = server;
    mine->bufferevent = bufferevent;
    mine->since_ns = loop_now_ns(loop);
    list_push_back(&server->conns, &mine->link);
    server->conn_count++;
    accept_if_room(server);
    loop_defer_call(loop, adopt, mine);
    return bufferevent;
}

static void note_request(struct server *server, const struct evhttp_connection *conn)
{
    struct list *item;

    LIST_FOREACH (item, &server->conns) {
        struct server_conn *mine = LIST_ITEM(item, struct server_conn, link);

        if (mine->conn == conn) {
            mine->since_ns = loop_now_ns(server->admin->loop);
        }
    }
}

/* Not from a callback of evhttp. */
static void conn_cut(struct server_conn *mine)
{
    struct evhttp_connection *conn = mine->conn;

    evhttp_connection_set_closecb(conn, NULL, NULL);
    conn_end(mine);
    evhttp_connection_free(conn);
}

static void cut_slow(struct server *server)
{
    uint64_t now_ns = loop_now_ns(server->admin->loop);
    struct list *item;
    struct list *after;

    LIST_FOREACH_SAFE (item, after, &server->conns) {
        struct server_conn *mine = LIST_ITEM(item, struct server_conn, link);

        if (mine->conn != NULL && now_ns - mine->since_ns >= SERVER_REQUEST_S * NS_PER_S) {
            metric_limit_hit(server->admin->source.metrics, LIMIT_ADMIN_REQUEST_TIME);
            conn_cut(mine);
        }
    }
}

/* accept() failed, for want of descriptors mostly: without this the loop would spin. The argument
 * is evhttp's, so the way back to the server is its deadline, which accepts again. */
static void on_accept_failed(struct evconnlistener *listener, void *arg)
{
    (void)arg;
    log_warn("admin_accept_failed", "errno=%d pause_ms=%d", errno, SERVER_TICK_MS);
    (void)evconnlistener_disable(listener);
}

/* ---- requests ---- */

static enum admin_method method_of(struct evhttp_request *http_request)
{
    switch (evhttp_request_get_command(http_request)) {
    case EVHTTP_REQ_GET:
        return ADMIN_GET;
    case EVHTTP_REQ_HEAD:
        return ADMIN_HEAD;
    case EVHTTP_REQ_POST:
        return ADMIN_POST;
    default:
        return ADMIN_OTHER;
    }
}

static void read_request(struct server *server, struct evhttp_request *http_request,
                         struct admin_request *ret_request)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(http_request);
    struct evkeyvalq *headers = evhttp_request_get_input_headers(http_request);
    struct evhttp_connection *conn = evhttp_request_get_connection(http_request);
    char *peer = NULL;
    uint16_t port = 0;

    evhttp_connection_get_peer(conn, &peer, &port);
    *ret_request = (struct admin_request){
        .method = method_of(http_request),
        .path = str_of(evhttp_uri_get_path(uri)),
        .query = str_of(evhttp_uri_get_query(uri)),
        .peer = peer == NULL ? "" : peer,
        .loopback = server->loopback,
        .has_peer = tls_bufferevent_has_peer(evhttp_connection_get_bufferevent(conn)),
        .accept = evhttp_find_header(headers, "Accept"),
        .authorization = evhttp_find_header(headers, "Authorization"),
        .admin_token = evhttp_find_header(headers, "X-Admin-Token"),
        .origin = evhttp_find_header(headers, "Origin"),
        .host = evhttp_find_header(headers, "Host"),
    };
}

static void add_headers(struct server *server, struct evkeyvalq *headers,
                        const struct admin_reply *reply)
{
    char length[24];

    (void)snprintf(length, sizeof(length), "%zu", buf_len(&reply->body));
    (void)evhttp_add_header(headers, "Content-Length", length);
    (void)evhttp_add_header(headers, "Content-Type", reply->content_type);
    (void)evhttp_add_header(headers, "Cache-Control", "no-store");
    (void)evhttp_add_header(headers, "X-Content-Type-Options", "nosniff");
    (void)evhttp_add_header(headers, "Referrer-Policy", "no-referrer");
    (void)evhttp_add_header(headers, "Content-Security-Policy",
                            reply->policy == NULL ? "default-src 'none'; frame-ancestors 'none'"
                                                  : reply->policy);
    if (reply->allow[0] != '\0') {
        (void)evhttp_add_header(headers, "Allow", reply->allow);
    }
    if (reply->status == 401) {
        (void)evhttp_add_header(headers, "WWW-Authenticate", "Bearer");
    }
    if (server->listener == NULL) {
        (void)evhttp_add_header(headers, "Connection", "close");
    }
}

static void on_request(struct evhttp_request *http_request, void *arg)
{
    struct server *server = OBJ_CAST(arg, server, SERVER_MAGIC);
    struct admin_reply reply = {.status = 0};
    struct admin_request request;
    struct evbuffer *body = evbuffer_new();

    ASSERT(body != NULL);
    buf_init(&reply.body);
    note_request(server, evhttp_request_get_connection(http_request));
    read_request(server, http_request, &request);
    admin_route(server->admin, &request, &reply);
    add_headers(server, evhttp_request_get_output_headers(http_request), &reply);
    if (request.method != ADMIN_HEAD) { /* evhttp itself would send the body of a HEAD */
        (void)evbuffer_add(body, buf_str(&reply.body).ptr, buf_len(&reply.body));
    }
    evhttp_send_reply(http_request, reply.status, NULL, body);
    evbuffer_free(body);
    buf_done(&reply.body);
}

/* ---- life ---- */

static void on_deadline(struct deadline *deadline, void *arg)
{
    struct server *server = OBJ_CAST(arg, server, SERVER_MAGIC);

    (void)deadline;
    if (server->listener == NULL) {
        server_free(server);
    } else {
        cut_slow(server);
        accept_if_room(server);
        deadline_set_in_ms(&server->deadline, SERVER_TICK_MS);
    }
}

struct server *server_new(struct admin *admin, int fd, bool loopback)
{
    struct server *server = mem_new(struct server);

    server->magic = SERVER_MAGIC;
    server->admin = admin;
    server->loopback = loopback;
    list_init(&server->link);
    list_init(&server->conns);
    deadline_init(&server->deadline, admin->loop, on_deadline, server);
    server->http = evhttp_new(loop_event_base(admin->loop));
    ASSERT(server->http != NULL);
    evhttp_set_max_headers_size(server->http, SERVER_HEADERS_BYTES);
    evhttp_set_max_body_size(server->http, SERVER_BODY_BYTES);
    evhttp_set_timeout(server->http, SERVER_TIMEOUT_S);
    /* All that it knows: evhttp answers others with 501, and lacks the 405 that is ours to give. */
    evhttp_set_allowed_methods(server->http, UINT16_MAX);
    evhttp_set_bevcb(server->http, on_conn_accepted, server);
    evhttp_set_gencb(server->http, on_request, server);
    server->bound = evhttp_accept_socket_with_handle(server->http, fd);
    ASSERT(server->bound != NULL);
    server->listener = evhttp_bound_socket_get_listener(server->bound);
    evconnlistener_set_error_cb(server->listener, on_accept_failed);
    deadline_set_in_ms(&server->deadline, SERVER_TICK_MS);
    return server;
}

int server_socket(const struct server *server)
{
    return server->bound == NULL ? -1 : evhttp_bound_socket_get_fd(server->bound);
}

void server_retire(struct server *server)
{
    server->listener = NULL;
    evhttp_del_accept_socket(server->http, server->bound); /* closes the descriptor */
    server->bound = NULL;
    list_push_back(&server->admin->retired, &server->link);
    deadline_set_in_ms(&server->deadline, SERVER_LINGER_MS);
}

/* evhttp is gone, and told the end only of connections that it thought open. The others that are
 * left end in adopt(). */
static void forget_conns(struct server *server)
{
    struct list *item;
    struct list *after;

    LIST_FOREACH_SAFE (item, after, &server->conns) {
        struct server_conn *mine = LIST_ITEM(item, struct server_conn, link);

        if (mine->conn != NULL) {
            conn_end(mine);
        }
    }
}

void server_free(struct server *server)
{
    struct evhttp *http;

    if (server == NULL) {
        return;
    }
    ASSERT(server->magic == SERVER_MAGIC);
    http = server->http;
    server->listener = NULL;
    server->http = NULL;
    list_remove(&server->link);
    deadline_done(&server->deadline);
    evhttp_free(http);
    forget_conns(server);
    loop_defer_free(server->admin->loop, server);
}

void server_free_retired(struct admin *admin)
{
    struct list *first;

    while ((first = list_first(&admin->retired)) != NULL) {
        server_free(LIST_ITEM(first, struct server, link));
    }
}
