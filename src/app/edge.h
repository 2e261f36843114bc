/* SPDX-License-Identifier: MIT */
/*
 * The running edge: what the control thread owns, and how it starts, reloads and stops.
 *
 *   startup.c  build everything in the order of its floors, and take it down
 *   signals.c  what signals do, from the first moment on
 *   open.c     accept clients once enough is known to serve them well
 *   source.c   the admin listener, and what it asks for
 *   warn.c     what an operator should know
 *   reload.c   read, validate, build all that can fail, commit, hand over
 *   drain.c    stop accepting, let requests finish, end
 *   trim.c     give free memory back
 *   upgrade.c  give the listening sockets to a new program, and go when it serves
 *   launch.c   how the new program is started
 *   successor.c  the new program's half of that
 *   service.c  what the service manager is told
 *
 * Thread: control.
 */
#ifndef NEARSIDE_APP_EDGE_H
#define NEARSIDE_APP_EDGE_H

#include "inheritance.h"
#include "options.h"
#include "trim.h"

#include <nearside/admin/admin.h>
#include <nearside/loop/loop.h>
#include <nearside/proxy/worker.h>

#define EDGE_MAGIC   0x65646765u
#define EDGE_SIGNALS 6
#define EDGE_OPEN_MS 2000 /* the doors open by then, whatever the first probes say */

struct cache;
struct fleet;
struct fleet_view;
struct health;
struct log_conf;
struct resolver;
struct trace;
struct tls_ctx;

/* A bound address, by the text of its config: it is never bound again while it stays. The sockets
 * are kept here for a new program; a worker listens on a duplicate. */
struct edge_listener {
    char *bind;       /* owned */
    struct addr addr; /* with the real port */
    int *sockets;     /* owned; one per worker, or what an old program left */
    uint32_t socket_count;
    int *fds; /* owned; duplicates, the n-th for worker n modulo workers; -1 once handed over */
    uint32_t fd_count;
};

/* An upgrade, of either side.
 *
 *   old:  NONE ──SIGUSR2──> STARTING ──"ready"──> OPENING ──"open"──> REPLACED
 *           ^──────────────────┴──────────────────────┘ failure: it stays in service
 *   new:  STANDBY ──first verdicts──> READY ──"go"──> NONE
 *
 * Waits: STARTING, OPENING, STANDBY and READY the other side, deadline upgrade_timeout_s. */
enum upgrade_state {
    UPGRADE_NONE,
    UPGRADE_STARTING,
    UPGRADE_OPENING,
    UPGRADE_REPLACED,
    UPGRADE_STANDBY,
    UPGRADE_READY,
    UPGRADE_STATE_COUNT
};

/* The last word of a new process to an old one that still drains: it ends in order. */
#define UPGRADE_STOPPED "stopped"

/* To another generation of this program. */
struct upgrade_channel {
    int fd; /* -1: none */
    struct watch *watch;
};

/* Two channels: an old process may still drain when its successor is itself replaced. */
struct upgrade {
    enum upgrade_state state;
    struct upgrade_channel younger; /* to the new process, from its start on */
    struct upgrade_channel elder;   /* to the old process, until it ends */
    pid_t successor;                /* 0: none */
    uint32_t regions_told;          /* READY: the number in the last "ready" */
    struct deadline deadline;
    bool tried;               /* last is set */
    struct admin_reload last; /* how the last one went */
};

struct edge {
    uint32_t magic;
    const struct options *options;
    struct loop *loop;
    struct metric_block *metrics;
    struct conf *conf;   /* in force; ref held */
    struct conf *begun;  /* at the start: what no reload changes is as it says; ref held */
    struct world *world; /* in force; ref held */
    struct fleet *fleet;
    struct resolver *resolver;
    struct health *health;
    struct cache *cache;
    struct trace *trace;
    struct admin *admin;
    int admin_fd;              /* bound, not served yet; -1: none */
    char *admin_bind;          /* owned; what is served now */
    struct tls_ctx *admin_tls; /* ref held; NULL: plain text */
    struct proxy_shared shared;
    struct worker **workers; /* owned array */
    uint32_t worker_count;
    struct edge_listener *listeners; /* owned array, in the config's order */
    uint32_t listener_count;
    struct inheritance *inheritance; /* borrowed */
    struct upgrade upgrade;
    char *program; /* owned; what an upgrade starts; empty: not found */
    struct deadline watchdog;
    uint64_t watchdog_us; /* 0: none */
    struct loop_signal *signals[EDGE_SIGNALS];
    struct deadline open_deadline;
    struct deadline drain_deadline;
    struct deadline trim_deadline;
    struct trim trim;
    bool doors_open;
    bool shared_read; /* other edges' drains are known, or were waited for */
    bool draining;
    bool told_to_stop; /* by a signal: the next one ends at once */
    uint32_t drained_workers;
    uint64_t started_wall_ms;
    uint64_t started_ns;
    struct admin_reload last_reload;
};

/* startup.c */

/* STATUS_INVALID: the config asks for what cannot be; STATUS_FAILED: the system refuses. */
enum status edge_start(struct edge *edge, const struct options *options, struct conf *conf,
                       struct inheritance *inheritance, struct errbuf *err) MUST_CHECK;
/* Until it is over. STATUS_FAILED: it never served, because the old program went on. */
enum status edge_run(struct edge *edge) MUST_CHECK;
void edge_free(struct edge *edge);
/* The config that the options name. */
enum status edge_read_conf(const struct options *options, struct conf **ret_conf,
                           struct errbuf *err) MUST_CHECK;
/* For a fault that shows only when a good file is put to use: the message names the file, too. */
void edge_name_file(const struct options *options, struct errbuf *err);
/* How that config wants its logs. The strings stay the config's. */
void edge_log_conf(const struct conf *conf, struct log_conf *ret_log);

/* signals.c */

/* The first thing of a process that will serve: signals that come during the start wait, or end it.
 */
void signals_await(void);
/* The edge is built: from now on signals do to it what they are for, also those that waited. */
void signals_start(struct edge *edge);
/* It ends: hear none any more. False: signals_start() was never called. */
bool signals_stop(struct edge *edge);

/* open.c */

/* Accept clients, and show the operator's page. */
void edge_open(struct edge *edge);
/* The same as soon as `view`, in force now, says enough; a successor tells the old program. */
void edge_open_when_known(struct edge *edge, const struct fleet_view *view);
/* Other edges' drains are known, or were waited for; `arg` is the edge. */
void edge_on_shared_read(void *arg);
void edge_on_open_deadline(struct deadline *deadline, void *arg);

/* source.c */

/* Bind the admin listener's socket, unless it was inherited. The caller closes it. */
enum status edge_bind_admin(struct edge *edge, int *ret_fd, struct errbuf *err) MUST_CHECK;
/* Make edge->admin; it serves at once, or in a successor when that takes over. */
void edge_start_admin(struct edge *edge);
/* Serve on edge->admin_fd, which passes to admin, if it is set and this process is not standing
 * by. */
void edge_serve_admin(struct edge *edge);

/* warn.c: lines in the log */

/* A process that may open fewer descriptors than its limits need. */
void edge_warn_descriptors(const struct edge *edge);
/* What was read as root and will be read again by edge.user, at a reload. */
void edge_warn_rights(const struct edge *edge);
/* Regions whose certificates are not checked; each time a config comes into force. */
void edge_warn_unverified(const struct edge *edge);
/* Keys that are read once, and are not what the config in force asks for. */
void edge_warn_restart(const struct edge *edge);

/* listen.c: sockets of a config's listeners; those that `edge` has already are not bound again
 * (their fds are NULL), nor those that it inherited. */
enum status edge_bind(const struct edge *edge, const struct conf *conf,
                      struct edge_listener **ret_listeners, struct errbuf *err) MUST_CHECK;
void edge_listeners_free(struct edge_listener *listeners, uint32_t count);
/* Close the edge's own descriptors; workers have theirs. */
void edge_listeners_close(struct edge *edge);
/* Replace the edge's listeners by `listeners` (ownership passes), handing new sockets to the
 * workers if the doors are open. */
void edge_listeners_commit(struct edge *edge, struct edge_listener *listeners, uint32_t count);
/* Hand every socket that is still here to its worker. */
void edge_open_doors(struct edge *edge);

/* reload.c. False: nothing changed; last_reload says why. */
bool edge_reload(struct edge *edge);

/* certificate.c */

/* The admin listener's context; NULL when it speaks plain text. */
enum status edge_load_admin_tls(const struct conf *conf, struct tls_ctx **ret_tls,
                                struct errbuf *err) MUST_CHECK;
/* Every certificate of ours that is in use; `arg` is the edge. */
void edge_certificates(void *arg, admin_certificate_fn each, void *each_arg);
/* Warn of those that have expired, or will within two weeks. */
void edge_warn_certificates(struct edge *edge);

/* trim.c: look now and then whether free memory should go back to the kernel */
void edge_trim_start(struct edge *edge);
void edge_on_trim_tick(struct deadline *deadline, void *arg);

/* drain.c */
void edge_drain(struct edge *edge);
/* The same after an upgrade: no request may be lost, since somebody else accepts. */
void edge_hand_over(struct edge *edge);
void edge_on_drained(void *arg);
void edge_on_drain_deadline(struct deadline *deadline, void *arg);

/* upgrade.c */
void upgrade_init(struct edge *edge);
void upgrade_done(struct edge *edge);
/* Hear no more of either side. */
void upgrade_deaf(struct edge *edge);
/* SIGUSR2: start the program anew and hand over to it once it is ready. */
void upgrade_start(struct edge *edge);
/* The edge is about to stop: end a successor that does not serve yet. */
void upgrade_abandon(struct edge *edge);
bool upgrade_is_under_way(const struct edge *edge);
/* Is what the new program reaches good enough, given the regions that this one reaches? */
bool upgrade_is_good(uint32_t reached_here, uint32_t reached_there);
/* Shared by both sides: the one mover, the channels, the record. */
void upgrade_move(struct edge *edge, enum upgrade_state next);
bool upgrade_say(const struct upgrade_channel *channel, const char *format, ...) PRINTF_LIKE(2, 3);
void upgrade_channel_close(struct upgrade_channel *channel);
void upgrade_note(struct edge *edge, bool ok, const char *error);
uint32_t upgrade_regions_reached(struct edge *edge);

/* launch.c: the absolute path by which argv[0] can be run again, links not followed: what they
 * point to may change. The caller frees it; empty: none is found. */
char *launch_program(const char *argv0);
/* Start edge->program: sets upgrade.successor and upgrade.younger.fd. False: *ret_error is an
 * errno.
 */
bool launch(struct edge *edge, int *ret_error) MUST_CHECK;

/* successor.c: nothing of it does anything in a process that replaces none. */
void successor_start(struct edge *edge);
bool successor_stands_by(const struct edge *edge);
/* Verdicts are in, or have changed: tell the old program. */
void successor_tell(struct edge *edge);

/* service.c */
void service_init(struct edge *edge);
void service_start(struct edge *edge);
void service_serving(const struct edge *edge);
void service_reloading(void);
void service_stopping(const struct edge *edge);
void service_replaced(pid_t successor);

#endif
