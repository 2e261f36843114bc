/* SPDX-License-Identifier: MIT */
/*
 * An inference pod for health tests: a listening socket on loopback, served by the test's own
 * loop, that answers GET /health in one of several good and bad ways. Include after <cmocka.h>.
 */
#ifndef NEARSIDE_TESTS_MODULE_FAKE_POD_H
#define NEARSIDE_TESTS_MODULE_FAKE_POD_H

#include <nearside/base/clock.h>
#include <nearside/base/list.h>
#include <nearside/base/mem.h>
#include <nearside/loop/loop.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum pod_manner {
    POD_HEALTHY,
    POD_SILENT,    /* accepts, never answers */
    POD_BROKEN,    /* 500 */
    POD_MISSING,   /* 404 */
    POD_GARBAGE,   /* not HTTP */
    POD_HANGS_UP,  /* closes instead of answering */
    POD_ONE_SHOT,  /* answers as if to be kept, then closes */
    POD_CHUNKED,   /* an interim response, then chunks */
    POD_TO_CLOSE,  /* a body until the end of the connection */
    POD_TALKATIVE, /* a body beyond every bound */
    POD_STALLS,    /* half a body, then nothing */
};

/* How its engine answers POSTs. */
enum pod_engine {
    ENGINE_WORKS,   /* a chat completion */
    ENGINE_STREAMS, /* the same as an event stream */
    ENGINE_HANGS,
    ENGINE_BROKEN, /* 500 */
    ENGINE_EMPTY,  /* 200 and an error */
    ENGINE_FULL,   /* 429 */
    ENGINE_PICKY,  /* 404: no such model */
};

struct pod {
    struct loop *loop;
    int fd; /* -1: refuses */
    uint16_t port;
    struct watch *watch;
    struct list conns;
    enum pod_manner manner;
    enum pod_engine engine;
    unsigned generated; /* POSTs seen */
    char last_post[1024];
    uint64_t delay_ms; /* before each answer: distance that TCP does not see */
    unsigned accepted;
    unsigned asked;
    char last_request[1024];
};

struct pod_conn {
    struct list link;
    struct pod *pod;
    int fd;
    struct watch *watch;
    struct deadline answer;
    bool is_post;
};

static inline const char *pod_engine_answer(enum pod_engine engine)
{
    switch (engine) {
    case ENGINE_WORKS:
        return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 44\r\n\r\n"
               "{\"choices\":[{\"message\":{\"content\":\"pong\"}}]}";
    case ENGINE_STREAMS:
        return "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
               "Transfer-Encoding: chunked\r\n\r\n2f\r\n"
               "data: {\"choices\":[{\"delta\":{\"content\":\"p\"}}]}\n\n\r\n"
               "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";
    case ENGINE_BROKEN:
        return "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";
    case ENGINE_EMPTY:
        return "HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"choices\":[]}";
    case ENGINE_FULL:
        return "HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n\r\n";
    case ENGINE_PICKY:
        return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    default:
        return "";
    }
}

static inline const char *pod_answer(enum pod_manner manner)
{
    switch (manner) {
    case POD_BROKEN:
        return "HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\nno";
    case POD_MISSING:
        return "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    case POD_GARBAGE:
        return "220 mail.test ESMTP\r\n";
    case POD_CHUNKED:
        return "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n"
               "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
    case POD_TO_CLOSE:
        return "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfine";
    case POD_TALKATIVE:
        return "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n";
    case POD_STALLS:
        return "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    default:
        return "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    }
}

static inline void pod_conn_end(struct pod_conn *conn)
{
    watch_free(conn->watch);
    deadline_done(&conn->answer);
    (void)close(conn->fd);
    list_remove(&conn->link);
    loop_defer_free(conn->pod->loop, conn);
}

static inline void pod_send(struct pod_conn *conn, const char *bytes, size_t len)
{
    /* Kernel buffers take what the pods say; POD_TALKATIVE does not care how much they take. */
    (void)send(conn->fd, bytes, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static inline void pod_talk(struct pod_conn *conn)
{
    static const char block[200000];

    pod_send(conn, block, sizeof(block));
}

static inline void on_pod_answer(struct deadline *deadline, void *arg)
{
    struct pod_conn *conn = arg;
    enum pod_manner manner = conn->pod->manner;

    (void)deadline;
    if (conn->is_post) {
        const char *answer = pod_engine_answer(conn->pod->engine);

        pod_send(conn, answer, strlen(answer));
        return;
    }
    if (manner == POD_SILENT) {
        return;
    }
    if (manner == POD_HANGS_UP) {
        pod_conn_end(conn);
        return;
    }
    pod_send(conn, pod_answer(manner), strlen(pod_answer(manner)));
    if (manner == POD_TALKATIVE) {
        pod_talk(conn);
    }
    if (manner == POD_ONE_SHOT || manner == POD_TO_CLOSE) {
        pod_conn_end(conn);
    }
}

static inline void on_pod_readable(struct watch *watch, unsigned events, void *arg)
{
    struct pod_conn *conn = arg;
    struct pod *pod = conn->pod;
    ssize_t len = recv(conn->fd, pod->last_request, sizeof(pod->last_request) - 1, MSG_DONTWAIT);

    (void)watch;
    (void)events;
    if (len < 0 && errno == EAGAIN) {
        return;
    }
    if (len <= 0) {
        pod_conn_end(conn);
        return;
    }
    pod->last_request[len] = '\0';
    conn->is_post = strncmp(pod->last_request, "POST", 4) == 0;
    if (conn->is_post) {
        pod->generated++;
        memcpy(pod->last_post, pod->last_request, (size_t)len + 1);
    } else {
        pod->asked++;
    }
    deadline_set_in_ms(&conn->answer, pod->delay_ms);
}

static inline void on_pod_accept(struct watch *watch, unsigned events, void *arg)
{
    struct pod *pod = arg;
    int fd = accept(watch_fd(watch), NULL, NULL);
    struct pod_conn *conn;

    (void)events;
    if (fd < 0) {
        return;
    }
    conn = mem_new(struct pod_conn);
    pod->accepted++;
    conn->pod = pod;
    conn->fd = fd;
    conn->watch = watch_level(pod->loop, fd, WATCH_READ, on_pod_readable, conn);
    deadline_init(&conn->answer, pod->loop, on_pod_answer, conn);
    list_push_back(&pod->conns, &conn->link);
}

/* Listen: on a free port the first time, on the same one later. */
static inline void pod_listen(struct pod *pod)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                               .sin_port = htons(pod->port)};
    socklen_t len = sizeof(addr);
    int one = 1;

    pod->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(pod->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
    assert_int_equal(bind(pod->fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(pod->fd, (struct sockaddr *)&addr, &len), 0);
    assert_int_equal(listen(pod->fd, 64), 0);
    pod->port = ntohs(addr.sin_port);
    pod->watch = watch_level(pod->loop, pod->fd, WATCH_READ, on_pod_accept, pod);
}

static inline void pod_drop_conns(struct pod *pod)
{
    struct list *first;

    while ((first = list_first(&pod->conns)) != NULL) {
        pod_conn_end(LIST_ITEM(first, struct pod_conn, link));
    }
}

/* As when its process is killed: connections end, new ones are refused. */
static inline void pod_kill(struct pod *pod)
{
    pod_drop_conns(pod);
    if (pod->fd >= 0) {
        watch_free(pod->watch);
        (void)close(pod->fd);
        pod->fd = -1;
    }
}

static inline void pod_start(struct pod *pod, struct loop *loop)
{
    *pod = (struct pod){.loop = loop, .fd = -1};
    list_init(&pod->conns);
    pod_listen(pod);
}

#endif
