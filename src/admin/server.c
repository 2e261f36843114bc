/* SPDX-License-Identifier: MIT */
/*
 * HTTP for the admin listener: evhttp with limits around it.
 *
 * evhttp does not count its connections, so this does: each one's bufferevent is made here, and at
 * the end of the turn, when evhttp has taken it, its connection gets a close callback. At
 * admin.max_connections accepting stops until one ends: further ones wait in the kernel's queue.
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
#define SERVER_BODY_BYTES    65536 /* nothing here takes a body; clients may still send one */
#define SERVER_TIMEOUT_S     10    /* without a byte, idle kept connections included */
#define SERVER_LINGER_MS     1000
#define SERVER_RESUME_MS     1000 /* how long accepting stays off after a failure, at most */

struct server {
    uint32_t magic;
    struct admin *admin;             /* borrowed: outlives this */
    struct evhttp *http;             /* owned; NULL: ended */
    struct evconnlistener *listener; /* owned by http; NULL: retired */
    struct evhttp_bound_socket *bound;
    bool loopback;
    unsigned conn_count;
    bool is_full;             /* and that was told */
    struct deadline deadline; /* serving: accept again if off; retired: end */
    struct list link;         /* in admin->retired, when retired */
};

/* ---- connections ---- */

/* A connection between accept() and the end of the turn. */
struct adoption {
    struct server *server;           /* borrowed: its memory is freed after this has run */
    struct bufferevent *bufferevent; /* ref held */
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

static void on_conn_closed(struct evhttp_connection *conn, void *arg)
{
    struct server *server = OBJ_CAST(arg, server, SERVER_MAGIC);

    (void)conn;
    server->conn_count--;
    accept_if_room(server);
}

/* evhttp gives its connection only to request callbacks, but also makes it the argument of the
 * bufferevent's callbacks, from where it is read here. */
static void adopt(void *arg)
{
    struct adoption *adoption = arg;
    struct server *server = OBJ_CAST(adoption->server, server, SERVER_MAGIC);
    void *conn = NULL;

    bufferevent_getcb(adoption->bufferevent, NULL, NULL, NULL, &conn);
    if (conn != NULL && server->http != NULL) {
        evhttp_connection_set_closecb(conn, on_conn_closed, server);
    } else {
        server->conn_count--; /* evhttp has given it up already */
        accept_if_room(server);
    }
    (void)bufferevent_decref(adoption->bufferevent);
    mem_free(adoption);
}

static struct bufferevent *on_conn_accepted(struct event_base *base, void *arg)
{
    struct server *server = OBJ_CAST(arg, server, SERVER_MAGIC);
    struct tls_ctx *tls = server->admin->tls;
    struct bufferevent *bufferevent =
        tls == NULL ? bufferevent_socket_new(base, -1, 0) : tls_bufferevent_new(tls, base);
    struct adoption *adoption;

    ASSERT(bufferevent != NULL); /* a small structural object: see mem.h */
    bufferevent_incref(bufferevent);
    adoption = mem_new(struct adoption);
    adoption->server = server;
    adoption->bufferevent = bufferevent;
    server->conn_count++;
    accept_if_room(server);
    loop_defer_call(server->admin->loop, adopt, adoption);
    return bufferevent;
}

/* accept() failed, for want of descriptors mostly: without this the loop would spin. The argument
 * is evhttp's, so the way back to the server is its deadline, which accepts again. */
static void on_accept_failed(struct evconnlistener *listener, void *arg)
{
    (void)arg;
    log_warn("admin_accept_failed", "errno=%d pause_ms=%d", errno, SERVER_RESUME_MS);
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
        accept_if_room(server);
        deadline_set_in_ms(&server->deadline, SERVER_RESUME_MS);
    }
}

struct server *server_new(struct admin *admin, int fd, bool loopback)
{
    struct server *server = mem_new(struct server);

    server->magic = SERVER_MAGIC;
    server->admin = admin;
    server->loopback = loopback;
    list_init(&server->link);
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
    deadline_set_in_ms(&server->deadline, SERVER_RESUME_MS);
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
    loop_defer_free(server->admin->loop, server);
}

void server_free_retired(struct admin *admin)
{
    struct list *first;

    while ((first = list_first(&admin->retired)) != NULL) {
        server_free(LIST_ITEM(first, struct server, link));
    }
}
