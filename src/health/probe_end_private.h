/* SPDX-License-Identifier: MIT */
/*
 * How a probe can end: one table of words, of what each end says about the endpoint, and of the
 * class that failed; and the pure judgement of an answer.
 */
#ifndef NEARSIDE_HEALTH_PROBE_END_PRIVATE_H
#define NEARSIDE_HEALTH_PROBE_END_PRIVATE_H

#include "threshold_private.h"

#include <nearside/base/str.h>
#include <nearside/obs/metric.h>

#include <stdbool.h>

/* The words are the reasons that the status page and the log show. */
#define PROBE_ENDS(X)                                                                              \
    /* suffix      word                  class     verdict  outcome counted */                     \
    X(OK, "probe_ok", HTTP, PASS, OK)                                                              \
    X(TCP_REFUSED, "probe_tcp_refused", TCP, REFUSED, CONNECT_REFUSED)                             \
    X(TCP_TIMEOUT, "probe_tcp_timeout", TCP, TIMEOUT, CONNECT_TIMEOUT)                             \
    X(TCP_ERROR, "probe_tcp_error", TCP, MISS, CONNECT_ERROR)                                      \
    X(TLS_TIMEOUT, "probe_tls_timeout", TLS, TIMEOUT, CONNECT_TIMEOUT)                             \
    X(TLS, "probe_tls", TLS, MISS, TLS_ERROR)                                                      \
    X(TIMEOUT, "probe_timeout", HTTP, TIMEOUT, HEAD_TIMEOUT)                                       \
    X(RESET, "probe_reset", HTTP, MISS, RESET)                                                     \
    X(MALFORMED, "probe_malformed", HTTP, MISS, MALFORMED)                                         \
    X(STATUS, "probe_status", HTTP, MISS, STATUS_5XX)                                              \
    X(MATCH, "probe_match", MATCH, MISS, MALFORMED)                                                \
    X(NO_TOKEN, "probe_no_token", GENERATE, MISS, MALFORMED)                                       \
    X(DECLINED, "probe_declined", GENERATE, NOTHING,                                               \
      FULL) /* full, or a request it does not like */                                              \
    X(LOCAL, "probe_local_limit", TCP, NOTHING, LOCAL_LIMIT) /* our own shortage */

enum probe_end {
#define X(suffix, word, class, verdict, outcome) PROBE_END_##suffix,
    PROBE_ENDS(X)
#undef X
        PROBE_END_COUNT
};

struct probe_end_row {
    const char *word;
    enum probe_class class;
    enum probe_verdict verdict;
    enum outcome outcome; /* for the counters */
};

const struct probe_end_row *probe_end_row(enum probe_end end);

/* An answer that came whole, or its first 64 KiB. */
struct probe_answer {
    unsigned status;
    bool is_event_stream;
    bool has_retry_after;
    struct str body;
};

/* `match` may be empty. */
enum probe_end probe_judge_health(const struct probe_answer *answer, unsigned expect_min,
                                  unsigned expect_max, struct str match);
enum probe_end probe_judge_generate(const struct probe_answer *answer);
/* Of a warm-up's prompt: whatever it asks for, a 2xx is an answer. */
enum probe_end probe_judge_warmup(const struct probe_answer *answer);

#endif
