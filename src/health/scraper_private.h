/* SPDX-License-Identifier: MIT */
/*
 * One page of Prometheus text at a time, asked for over a connection of its own and read line by
 * line as it comes: of a page of any size, one line is held.
 *
 * Thread: control.
 */
#ifndef NEARSIDE_HEALTH_SCRAPER_PRIVATE_H
#define NEARSIDE_HEALTH_SCRAPER_PRIVATE_H

#include <nearside/base/addr.h>
#include <nearside/fleet/load.h>

#include <stdbool.h>
#include <stdint.h>

#define SCRAPE_PAGE_MAX ((size_t)4 << 20) /* bytes; vLLM writes about 100 KiB */
#define SCRAPE_LINE_MAX ((size_t)16 << 10)

struct conf;
struct loop;
struct scraper;
struct tls_ctx;

/* How a reading ended; the word is the report's reason. */
#define SCRAPE_ENDS(X)                                                                             \
    X(OK, "")                                                                                      \
    X(CONNECT, "page_connect") /* refused, unreachable */                                          \
    X(TLS, "page_tls")                                                                             \
    X(TIMEOUT, "page_timeout")                                                                     \
    X(RESET, "page_reset")         /* broke off */                                                 \
    X(STATUS, "page_status")       /* not 200 */                                                   \
    X(MALFORMED, "page_malformed") /* not HTTP, or not Prometheus text */                          \
    X(TOO_LONG, "page_too_long")   /* over SCRAPE_PAGE_MAX, or a line over SCRAPE_LINE_MAX */      \
    X(LOCAL, "page_local_limit")   /* our own shortage */

enum scrape_end {
#define X(suffix, word) SCRAPE_##suffix,
    SCRAPE_ENDS(X)
#undef X
        SCRAPE_END_COUNT
};

const char *scrape_end_word(enum scrape_end end);

/* Strings belong to `conf`, of which a reference is held while the reading runs. */
struct scrape_target {
    struct conf *conf;
    struct addr addr;
    const char *host; /* of the URL, without brackets */
    uint16_t port;
    struct tls_ctx *tls; /* NULL: plain; a reference is taken */
    const char *server_name;
    const char *path;
    uint32_t timeout_ms;
};

/* Called exactly once per reading that was not stopped, never before scraper_start() returns. The
 * load is complete for SCRAPE_OK alone; borrowed for the call. */
typedef void (*scraper_done_fn)(enum scrape_end end, const struct load *load, void *arg);

struct scraper *scraper_new(struct loop *loop, scraper_done_fn done, void *arg);
/* Stops what is under way, without a callback. NULL is fine. */
void scraper_free(struct scraper *scraper);

/* No reading may be under way. */
void scraper_start(struct scraper *scraper, const struct scrape_target *target);
bool scraper_is_busy(const struct scraper *scraper);

#endif
