/* SPDX-License-Identifier: MIT */
/*
 * The operator's view: status page, JSON, metrics, health of the process, drains, reload, purge.
 * Its own listener on the control thread (libevent's evhttp), so it never slows traffic.
 *
 * POSTs need the token when one is set (`Authorization: Bearer TOKEN` or `X-Admin-Token`, compared
 * in constant time); without one they are refused unless the listener is bound to loopback.
 *
 * Thread: control.
 */
#ifndef NEARSIDE_ADMIN_ADMIN_H
#define NEARSIDE_ADMIN_ADMIN_H

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>
#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

struct admin;
struct buf;
struct conf;
struct fleet;
struct load_reports;
struct loop;
struct metric_block;
struct peers;
struct tls_ctx;

/* The last attempt to load a config, or to replace the program. */
struct admin_reload {
    bool ok;
    uint64_t wall_ms;
    char error[1024]; /* empty when ok */
};

struct admin_cache {
    uint64_t bytes;
    uint64_t bytes_max;
    uint64_t entries;
    uint64_t evictions;
};

/* A certificate of ours: `kind` is "listener", "admin" or "region" (shown to its endpoints), `name`
 * says which one. */
typedef void (*admin_certificate_fn)(const char *kind, const char *name, int64_t expires_at_s,
                                     void *arg);

/* What a region's Redis refuses to the cache; static words. */
struct admin_redis {
    const char *error;   /* as in redis_errors_total; NULL: nothing */
    const char *command; /* "get" or "set" */
    const char *advice;
};

/* What admin cannot know by itself; all called on the control thread. */
struct admin_source {
    void *arg;
    struct metric_block *metrics;    /* the control thread's */
    struct conf *(*conf)(void *arg); /* the one in force; borrowed */
    const struct admin_reload *(*last_reload)(void *arg);
    /* NULL: the program was never to be replaced. */
    const struct admin_reload *(*last_upgrade)(void *arg);
    void (*cache)(void *arg, struct admin_cache *ret_cache);
    void (*redis)(void *arg, unsigned region_slot, struct admin_redis *ret_redis);
    bool (*is_draining)(void *arg);
    uint32_t (*workers)(void *arg); /* threads that run, whatever the config says by now */
    uint64_t (*worker_cpu_ns)(void *arg, uint32_t index);
    uint64_t (*started_wall_ms)(void *arg);
    uint64_t (*started_ns)(void *arg); /* the same by clock_mono_ns(), which never jumps */
    /* Do what SIGHUP does. False: refused; last_reload() says why. */
    bool (*reload)(void *arg);
    /* Empty the memory tier; with `redis`, this edge's keys in every region's Redis too. */
    void (*purge)(void *arg, bool redis);
    /* Why the request of that id went where it went, as JSON. False: it is not known (any more). */
    bool (*explain)(void *arg, struct str id, struct buf *out);
    /* What other edges report; borrowed. */
    const struct peers *(*peers)(void *arg);
    /* What pods and exporters say about their load; borrowed. */
    const struct load_reports *(*loads)(void *arg);
    /* Call `each` for every certificate that is in use. */
    void (*certificates)(void *arg, admin_certificate_fn each, void *each_arg);
};

struct admin *admin_new(struct loop *loop, struct fleet *fleet, const struct admin_source *source);
void admin_free(struct admin *admin); /* NULL is fine */

/* Bind a socket for `addr`; the caller owns it until admin_serve(). Refused where somebody listens
 * already, unless that is `own`, the socket that this one will replace; -1: none. */
enum status admin_bind(const struct addr *addr, int own, int *ret_fd,
                       struct errbuf *err) MUST_CHECK;
/* Serve on `fd` (ownership passes) instead of what was served before; -1: serve nowhere. `token` is
 * copied; empty: none. `loopback`: the bind is a loopback address. Never fails. */
void admin_serve(struct admin *admin, int fd, const char *token, bool loopback);
/* The socket it is served on; -1: none. Borrowed. */
int admin_socket(const struct admin *admin);
/* Connections from now on speak TLS as `tls` says (a reference is taken); NULL: plain text. With
 * `api_needs_peer`, requests under /apis/ are refused unless the client has shown a certificate. */
void admin_set_tls(struct admin *admin, struct tls_ctx *tls, bool api_needs_peer);
/* Change the token alone. */
void admin_set_token(struct admin *admin, const char *token);

#endif
