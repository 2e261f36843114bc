/* SPDX-License-Identifier: MIT */
/*
 * A config made ready for traffic: the tree, and the TLS contexts that were built from it.
 * Immutable and reference-counted; a request and a connection keep the one they began with.
 *
 * Thread: made on the control thread, used on any.
 */
#ifndef NEARSIDE_PROXY_WORLD_H
#define NEARSIDE_PROXY_WORLD_H

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>

#include <stdatomic.h>

struct conf;
struct tls_ctx;

struct world {
    atomic_uint refs;
    struct conf *conf;             /* ref held */
    struct tls_ctx **listener_tls; /* owned array of refs, by listener; NULL entries: plain */
    struct tls_ctx **region_tls;   /* owned array of refs, by region */
};

/* Load every certificate the config names. Takes a reference to `conf`. */
enum status world_new(struct conf *conf, struct world **ret_world, struct errbuf *err) MUST_CHECK;
struct world *world_ref(struct world *world);
void world_unref(struct world *world); /* NULL is fine */

#endif
