/* SPDX-License-Identifier: MIT */
/*
 * The running edge: what the control thread owns, and how it starts, reloads and stops.
 *
 *   startup.c  build everything in the order of its floors, then open the doors
 *   reload.c   read, validate, build all that can fail, commit, hand over
 *   drain.c    stop accepting, let requests finish, end
 *
 * Thread: control.
 */
#ifndef NEARSIDE_APP_EDGE_H
#define NEARSIDE_APP_EDGE_H

#include "options.h"

#include <nearside/admin/admin.h>
#include <nearside/loop/loop.h>
#include <nearside/proxy/worker.h>

#define EDGE_MAGIC   0x65646765u
#define EDGE_SIGNALS 5
#define EDGE_OPEN_MS 2000 /* the doors open by then, whatever the first probes say */

struct cache;
struct fleet;
struct health;
struct resolver;
struct tls_ctx;

/* A bound address, by the text of its config: it is never bound again while it stays. */
struct edge_listener {
    char *bind;       /* owned */
    struct addr addr; /* with the real port */
    int *fds;         /* owned; one per worker, -1 once handed over */
};

struct edge {
    uint32_t magic;
    const struct options *options;
    struct loop *loop;
    struct metric_block *metrics;
    struct conf *conf;   /* in force; ref held */
    struct world *world; /* in force; ref held */
    struct fleet *fleet;
    struct resolver *resolver;
    struct health *health;
    struct cache *cache;
    struct admin *admin;
    char *admin_bind;          /* owned; what is served now */
    struct tls_ctx *admin_tls; /* ref held; NULL: plain text */
    struct proxy_shared shared;
    struct worker **workers; /* owned array */
    uint32_t worker_count;
    struct edge_listener *listeners; /* owned array, in the config's order */
    uint32_t listener_count;
    struct loop_signal *signals[EDGE_SIGNALS];
    struct deadline open_deadline;
    struct deadline drain_deadline;
    bool doors_open;
    bool shared_read; /* other edges' drains are known, or were waited for */
    bool draining;
    uint32_t drained_workers;
    uint64_t started_wall_ms;
    struct admin_reload last_reload;
};

/* startup.c */
enum status edge_start(struct edge *edge, const struct options *options, struct conf *conf,
                       struct errbuf *err) MUST_CHECK;
void edge_run(struct edge *edge); /* until it is over */
void edge_free(struct edge *edge);
/* The config that the options name. */
enum status edge_read_conf(const struct options *options, struct conf **ret_conf,
                           struct errbuf *err) MUST_CHECK;

/* listen.c: sockets of a config's listeners; those that `edge` has already are not bound again
 * (their fds are NULL). */
enum status edge_bind(const struct edge *edge, const struct conf *conf,
                      struct edge_listener **ret_listeners, struct errbuf *err) MUST_CHECK;
void edge_listeners_free(struct edge_listener *listeners, uint32_t count, uint32_t workers);
/* Replace the edge's listeners by `listeners` (ownership passes), handing new sockets to the
 * workers if the doors are open. */
void edge_listeners_commit(struct edge *edge, struct edge_listener *listeners, uint32_t count);
/* Hand every socket that is still here to its worker. */
void edge_open_doors(struct edge *edge);

/* reload.c. False: nothing changed; last_reload says why. */
bool edge_reload(struct edge *edge);
struct log_conf;

/* certificate.c */

/* The admin listener's context; NULL when it speaks plain text. */
enum status edge_load_admin_tls(const struct conf *conf, struct tls_ctx **ret_tls,
                                struct errbuf *err) MUST_CHECK;
/* Every certificate of ours that is in use; `arg` is the edge. */
void edge_certificates(void *arg, admin_certificate_fn each, void *each_arg);
/* Warn of those that have expired, or will within two weeks. */
void edge_warn_certificates(struct edge *edge);
void edge_log_conf(const struct conf *conf, struct log_conf *ret_log);

/* drain.c */
void edge_drain(struct edge *edge);
void edge_on_drained(void *arg);
void edge_on_drain_deadline(struct deadline *deadline, void *arg);

#endif
