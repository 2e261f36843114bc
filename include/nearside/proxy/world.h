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
#include <nearside/base/digest.h>
#include <nearside/base/errbuf.h>

#include <stdatomic.h>

struct conf;
struct tls_ctx;

/* Digest of the settings and file contents that a TLS context was made of. */
struct tls_mark {
    uint8_t sum[DIGEST_BYTES];
};

struct world {
    atomic_uint refs;
    struct conf *conf;               /* ref held */
    struct tls_ctx **listener_tls;   /* owned array of refs, by listener; NULL entries: plain */
    struct tls_ctx **region_tls;     /* owned array of refs, by region */
    struct tls_mark *listener_marks; /* owned arrays, likewise */
    struct tls_mark *region_marks;
};

/* Load every certificate the config names; what is the same in `old` (NULL: none) is shared with
 * it. Takes a reference to `conf`. */
enum status world_new(struct conf *conf, const struct world *old, struct world **ret_world,
                      struct errbuf *err) MUST_CHECK;
struct world *world_ref(struct world *world);
void world_unref(struct world *world); /* NULL is fine */

#endif
