/* SPDX-License-Identifier: MIT */
/*
 * One GET over HTTP or HTTPS, in steps between polls, so that keys are read while an edge is
 * silent.
 *
 *   fetch_start() ─> poll its fd for fetch_events() ─> fetch_step() ─┬─> FETCH_MORE: again
 *                                                                    └─> DONE, FAILED
 */
#ifndef NEARSIDE_TOP_FETCH_PRIVATE_H
#define NEARSIDE_TOP_FETCH_PRIVATE_H

#include "channel_private.h"

#include <nearside/base/addr.h>
#include <nearside/base/attr.h>
#include <nearside/base/buf.h>
#include <nearside/base/errbuf.h>

#include <stdbool.h>
#include <stdint.h>

#define FETCH_TIMEOUT_MS 3000
#define FETCH_BODY_MAX   (16U << 20)
#define FETCH_HOST_LEN   256

/* Where to ask. */
struct fetch_target {
    char host[FETCH_HOST_LEN]; /* without brackets */
    char port[6];
    char authority[FETCH_HOST_LEN + 8]; /* for the Host field */
    bool is_tls;
    struct ssl_ctx_st *trust; /* borrowed; where is_tls */
};

/* "http://HOST[:PORT][/]" or https, without a scheme http; port 9901 unless given. Leaves `trust`
 * NULL. */
enum status fetch_parse_url(const char *url, struct fetch_target *ret_target,
                            struct errbuf *err) MUST_CHECK;

struct addrinfo;

enum fetch_result { FETCH_MORE, FETCH_DONE, FETCH_FAILED };

struct fetch {
    int fd;                            /* -1: none under way */
    const struct fetch_target *target; /* borrowed */
    struct channel channel;            /* once connected */
    bool is_connected;
    uint64_t due_ns;             /* monotonic */
    struct addrinfo *addresses;  /* owned */
    const struct addrinfo *next; /* of them, when this one cannot be reached */
    struct buf out;
    struct buf in;
    struct str body;   /* FETCH_DONE: views into `in` */
    struct errbuf err; /* FETCH_FAILED: why */
};

void fetch_init(struct fetch *fetch);
void fetch_done(struct fetch *fetch);

/* `target` stays until the end of the fetch. Drops one that is under way. Looks the host up, which
 * may take as long as the resolver lets it. FETCH_MORE or FETCH_FAILED. */
enum fetch_result fetch_start(struct fetch *fetch, const struct fetch_target *target,
                              const char *path);
short fetch_events(const struct fetch *fetch); /* for poll() */
/* After poll(), with `events` 0 when only time has passed. */
enum fetch_result fetch_step(struct fetch *fetch, short events);

#endif
