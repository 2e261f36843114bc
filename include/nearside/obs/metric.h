/* SPDX-License-Identifier: MIT */
/*
 * Metrics: every family is one row of METRIC_FAMILIES below; counters, histograms, the Prometheus
 * text and docs/metrics.md come from it.
 *
 * Each thread that counts has a block of its own (metric_block_new); only it writes, with relaxed
 * atomics; a scrape sums the blocks. Gauges that are facts of the fleet (a region's state, its
 * path latency) are not counted but written by whoever scrapes, through metric_text.h.
 *
 * Labels come from enums or from config, never from a request. A region's label is its *slot*, a
 * small number given to a region's name for the life of the process (metric_region_slot), so that
 * counters survive a reload.
 */
#ifndef NEARSIDE_OBS_METRIC_H
#define NEARSIDE_OBS_METRIC_H

#include <nearside/base/attr.h>
#include <nearside/base/str.h>

#include <stdint.h>

#define METRIC_REGIONS_MAX 64
#define METRIC_REGION_NONE METRIC_REGIONS_MAX /* label value "": answered without a region */

/* Whose doing an outcome is. What follows from a class, health says (docs/health.md). */
enum outcome_class {
    OUTCOME_CLASS_NONE,      /* nothing went wrong */
    OUTCOME_CLASS_CLIENT,    /* it left, or its time was over */
    OUTCOME_CLASS_LOCAL,     /* our own doing, or nobody's: shortages, moves, stale connections */
    OUTCOME_CLASS_CAPACITY,  /* the endpoint is full, and says so */
    OUTCOME_CLASS_TRANSIENT, /* too slow this time: may be load, may be a hung engine */
    OUTCOME_CLASS_FAULT,     /* the endpoint failed before the answer began */
    OUTCOME_CLASS_CORRUPT,   /* the answer broke off or was no answer */
    OUTCOME_CLASS_COUNT
};

/* What may go wrong with one attempt, in one vocabulary: log word, metric label, status page.
 * retry: may the request be tried elsewhere; blame: does it count against the endpoint. */
#define OUTCOMES(X)                                                                                \
    /* suffix           word                retry blame class */                                   \
    X(OK, "ok", 0, 0, NONE)                                                                        \
    X(CONNECT_REFUSED, "connect_refused", 1, 1, FAULT)                                             \
    X(CONNECT_TIMEOUT, "connect_timeout", 1, 1, FAULT)                                             \
    X(CONNECT_ERROR, "connect_error", 1, 1, FAULT)                                                 \
    X(TLS_ERROR, "tls_error", 1, 1, FAULT)                                                         \
    X(RESET, "reset", 1, 1, FAULT)                                                                 \
    X(STALE, "stale", 1, 0, LOCAL)                                                                 \
    X(MALFORMED, "malformed", 1, 1, CORRUPT)                                                       \
    X(HEAD_TIMEOUT, "head_timeout", 1, 1, TRANSIENT)                                               \
    X(STATUS_5XX, "status_5xx", 1, 1, FAULT)                                                       \
    X(FULL, "full", 1, 0, CAPACITY)                                                                \
    X(REGION_DOWN, "region_down", 1, 0, LOCAL)                                                     \
    X(IDLE_TIMEOUT, "idle_timeout", 0, 1, CORRUPT)                                                 \
    X(TOO_SLOW, "too_slow", 0, 1, TRANSIENT)                                                       \
    X(CUT, "cut", 0, 1, CORRUPT)                                                                   \
    X(CLIENT_GONE, "client_gone", 0, 0, CLIENT)                                                    \
    X(DEADLINE, "deadline", 0, 0, CLIENT)                                                          \
    X(LOCAL_LIMIT, "local_limit", 0, 0, LOCAL)

enum outcome {
#define X(suffix, word, retry, blame, class) OUTCOME_##suffix,
    OUTCOMES(X)
#undef X
        OUTCOME_COUNT
};

const char *outcome_word(enum outcome outcome);
bool outcome_may_retry(enum outcome outcome);
bool outcome_is_blamed(enum outcome outcome);
enum outcome_class outcome_class(enum outcome outcome);

/* What a health probe tries, one after the other; the last is a probe of its own. */
#define PROBE_CLASSES(X)                                                                           \
    X(TCP, "tcp")           /* connecting */                                                       \
    X(TLS, "tls")           /* the handshake */                                                    \
    X(HTTP, "http")         /* an answer with the right status */                                  \
    X(MATCH, "match")       /* the right text in it */                                             \
    X(GENERATE, "generate") /* one token */

enum probe_class {
#define X(suffix, word) PROBE_CLASS_##suffix,
    PROBE_CLASSES(X)
#undef X
        PROBE_CLASS_COUNT
};

const char *probe_class_word(enum probe_class class);

/* How a client's TLS handshake ended: label of tls_handshakes_total. */
#define HANDSHAKE_ENDS(X)                                                                          \
    X(DONE, "done")                                                                                \
    X(TIMEOUT, "timeout")         /* timeouts.handshake_ms */                                      \
    X(CLOSED, "closed")           /* the client left in the middle of it */                        \
    X(NOT_TLS, "not_tls")         /* plain HTTP, or something else */                              \
    X(VERSION, "version")         /* older than min_version */                                     \
    X(CIPHER, "cipher")           /* none in common */                                             \
    X(ALPN, "alpn")               /* offers protocols, but not http/1.1 */                         \
    X(CERTIFICATE, "certificate") /* client_ca: none shown, or not a good one */                   \
    X(ALERT, "alert")             /* the client refuses us: our certificate, mostly */             \
    X(LOCAL, "local")             /* ours: no memory */                                            \
    X(OTHER, "other")

enum handshake_end {
#define X(suffix, word) HANDSHAKE_##suffix,
    HANDSHAKE_ENDS(X)
#undef X
        HANDSHAKE_END_COUNT
};

const char *handshake_end_word(enum handshake_end end);

/* Why a region's Redis did not do what it was asked: label of redis_errors_total. `said`: Redis
 * gave the reason itself. */
#define KV_ERRORS(X)                                                                               \
    /* suffix        word              said */                                                     \
    X(NONE, "none", 0)                                                                             \
    X(TIMEOUT, "timeout", 0)                 /* no reply within the time */                        \
    X(DOWN, "down", 0)                       /* no connection */                                   \
    X(OOM, "oom", 1)                         /* over maxmemory, and nothing may be evicted */      \
    X(READONLY, "readonly", 1)               /* a replica */                                       \
    X(LOADING, "loading", 1)                 /* reads its data set */                              \
    X(BUSY, "busy", 1)                       /* runs a script */                                   \
    X(MISCONF, "misconf", 1)                 /* cannot save, and so does not write */              \
    X(MASTERDOWN, "masterdown", 1)           /* a replica that lost its primary */                 \
    X(CLUSTERDOWN, "clusterdown", 1)         /* slots without an owner, or on the move */          \
    X(MOVED, "moved", 1)                     /* a node of a Redis Cluster */                       \
    X(NOAUTH, "noauth", 1)                   /* wants a password */                                \
    X(WRONGPASS, "wrongpass", 1)             /* wants another one */                               \
    X(NOPERM, "noperm", 1)                   /* its ACL does not allow it */                       \
    X(PROTECTED, "protected", 1)             /* protected mode */                                  \
    X(MAXCLIENTS, "maxclients", 1)           /* too many connections */                            \
    X(UNKNOWN_COMMAND, "unknown_command", 1) /* a Sentinel, or no Redis */                         \
    X(WRONGTYPE, "wrongtype", 0)             /* that one key: somebody else's value */             \
    X(OTHER, "other", 1)

enum kv_error {
#define X(suffix, word, said) KV_ERROR_##suffix,
    KV_ERRORS(X)
#undef X
        KV_ERROR_COUNT
};

const char *kv_error_word(enum kv_error error);
bool kv_error_is_said(enum kv_error error);

/* The limits that can be hit: label of limit_hits_total. */
#define LIMITS(X)                                                                                  \
    X(MAX_CONNECTIONS, "max_connections")                                                          \
    X(CLIENT_CONNECTIONS, "max_connections_per_client")                                            \
    X(CLIENT_INFLIGHT, "max_inflight_per_client")                                                  \
    X(HANDSHAKES, "max_handshakes")                                                                \
    X(HANDSHAKE_TIME, "handshake_ms")                                                              \
    X(CONNECTION_REQUESTS, "requests_per_connection")                                              \
    X(PIPELINED, "pipelined_requests")                                                             \
    X(HEADER_BYTES, "header_bytes")                                                                \
    X(HEADER_COUNT, "header_count")                                                                \
    X(HEADER_TIME, "client_header_ms")                                                             \
    X(URI, "uri_bytes")                                                                            \
    X(BODY_BYTES, "body_bytes")                                                                    \
    X(BODY_TIME, "request_ms")                                                                     \
    X(BODY_RATE, "body_min_bytes_per_s")                                                           \
    X(ANSWER_TIME, "idle_ms")                                                                      \
    X(ANSWER_RATE, "answer_min_bytes_per_s")                                                       \
    X(INTERIM_ANSWERS, "interim_answers")                                                          \
    X(DNS_ADDRESSES, "dns_addresses")                                                              \
    X(ADMIN_CONNECTIONS, "admin.max_connections")                                                  \
    X(ADMIN_REQUEST_TIME, "admin_request_time")                                                    \
    X(BUFFER_BYTES, "buffer_bytes")                                                                \
    X(BUFFER_TOTAL, "buffer_total_bytes")                                                          \
    X(ENDPOINT_INFLIGHT, "max_inflight_per_endpoint")                                              \
    X(QUEUE_LENGTH, "queue_length")                                                                \
    X(QUEUE_TIMEOUT, "queue_timeout_ms")                                                           \
    X(RETRY_ATTEMPTS, "retry_attempts")                                                            \
    X(RETRY_BUDGET, "retry_budget")                                                                \
    X(CACHE_ENTRY_BYTES, "cache_max_entry_bytes")                                                  \
    X(CACHE_FOLLOWERS, "cache_followers")                                                          \
    X(CACHE_FOLLOWER_LAG, "cache_follower_lag")                                                    \
    X(REDIS_PENDING, "redis_pending")                                                              \
    X(METRICS_PAGE, "metrics_page_bytes")                                                          \
    X(FILE_DESCRIPTORS, "file_descriptors")                                                        \
    X(TRACE_QUEUE, "trace_queue_spans")                                                            \
    X(LOG_BUFFER, "log_buffer")

enum limit {
#define X(suffix, word) LIMIT_##suffix,
    LIMITS(X)
#undef X
        LIMIT_COUNT
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Label dimensions of a family. */
enum metric_labels {
    METRIC_L_NONE,
    METRIC_L_REGION,          /* region */
    METRIC_L_REGION_CLASS,    /* region, class: 1xx 2xx 3xx 4xx 5xx */
    METRIC_L_FROM_TO_REASON,  /* from, to (regions), reason (outcome) */
    METRIC_L_REGION_OUTCOME,  /* region, outcome */
    METRIC_L_REGION_PROBE,    /* region, class: tcp tls http match generate */
    METRIC_L_REGION_RESULT,   /* region, result: success failure */
    METRIC_L_REGION_GENAI,    /* region, OpenTelemetry's operation name and provider name */
    METRIC_L_TIER_RESULT,     /* tier: memory redis; result: hit miss error timeout store reject
                                 collapsed stale */
    METRIC_L_REGION_KV_ERROR, /* region, error */
    METRIC_L_TOKENS,          /* kind: prompt completion */
    METRIC_L_STAGE,           /* stage: entry sent */
    METRIC_L_RESULT,          /* result: success failure */
    METRIC_L_LIMIT,           /* limit */
    METRIC_L_HANDSHAKE,       /* result: done timeout closed not_tls version cipher alpn certificate
                                 alert local other */
    METRIC_L_PHASE,           /* phase: reading queued waiting streaming */
};

enum metric_class { METRIC_1XX, METRIC_2XX, METRIC_3XX, METRIC_4XX, METRIC_5XX, METRIC_CLASSES };
enum metric_tier { METRIC_TIER_MEMORY, METRIC_TIER_REDIS, METRIC_TIERS };
enum metric_cache_result {
    METRIC_CACHE_HIT,
    METRIC_CACHE_MISS,
    METRIC_CACHE_ERROR,
    METRIC_CACHE_TIMEOUT,
    METRIC_CACHE_STORE,
    METRIC_CACHE_REJECT,
    METRIC_CACHE_COLLAPSED, /* answered by another request's upstream request */
    METRIC_CACHE_STALE,     /* answered past its time, because no region could */
    METRIC_CACHE_RESULTS
};
/* Words of OpenTelemetry's conventions for generative AI. The provider is whose dialect a path
 * speaks, which is what the convention asks for when more cannot be known. */
enum metric_operation {
    METRIC_OPERATION_CHAT,
    METRIC_OPERATION_TEXT,
    METRIC_OPERATION_EMBEDDINGS,
    METRIC_OPERATIONS
};
enum metric_provider { METRIC_PROVIDER_OPENAI, METRIC_PROVIDER_ANTHROPIC, METRIC_PROVIDERS };
enum metric_result { METRIC_SUCCESS, METRIC_FAILURE, METRIC_RESULTS };
enum metric_tokens { METRIC_TOKENS_PROMPT, METRIC_TOKENS_COMPLETION, METRIC_TOKENS };
enum metric_stage { METRIC_STAGE_ENTRY, METRIC_STAGE_SENT, METRIC_STAGES };
enum metric_phase {
    METRIC_PHASE_READING,
    METRIC_PHASE_QUEUED,
    METRIC_PHASE_WAITING,
    METRIC_PHASE_STREAMING,
    METRIC_PHASES
};

/* Families counted in blocks. Gauges here are up/down counts (populations). */
#define METRIC_FAMILIES(X)                                                                         \
    X(REQUESTS, "nearside_requests_total", METRIC_COUNTER, METRIC_L_REGION_CLASS,                  \
      "Requests answered, by the region that served them and status class; region is empty when "  \
      "none did (cache in memory, errors made here).")                                             \
    X(REQUEST_SECONDS, "nearside_request_duration_seconds", METRIC_HISTOGRAM, METRIC_L_REGION,     \
      "Time from a request's first byte to the answer's last.")                                    \
    X(TTFT_SECONDS, "nearside_ttft_seconds", METRIC_HISTOGRAM, METRIC_L_REGION,                    \
      "Time from a request's last byte to the first content byte of the answer.")                  \
    X(CONNECT_SECONDS, "nearside_upstream_connect_seconds", METRIC_HISTOGRAM, METRIC_L_REGION,     \
      "Time to connect to an endpoint, TLS included.")                                             \
    X(OVERHEAD_SECONDS, "nearside_overhead_seconds", METRIC_HISTOGRAM, METRIC_L_NONE,              \
      "Time a request spent here and not waiting for a client, a queue, a cache or an endpoint.")  \
    X(INFLIGHT, "nearside_inflight_requests", METRIC_GAUGE, METRIC_L_PHASE,                        \
      "Requests not finished, by phase.")                                                          \
    X(PENDING, "nearside_pending_requests", METRIC_GAUGE, METRIC_L_REGION,                         \
      "Requests queued for or sent to a region that have had no content byte yet.")                \
    X(CLIENT_CONNECTIONS, "nearside_client_connections", METRIC_GAUGE, METRIC_L_NONE,              \
      "Open client connections.")                                                                  \
    X(ACCEPTED, "nearside_client_connections_total", METRIC_COUNTER, METRIC_L_NONE,                \
      "Client connections accepted.")                                                              \
    X(HANDSHAKES, "nearside_tls_handshakes_total", METRIC_COUNTER, METRIC_L_HANDSHAKE,             \
      "TLS handshakes of clients by how they ended.")                                              \
    X(UPSTREAM_IDLE, "nearside_upstream_idle_connections", METRIC_GAUGE, METRIC_L_REGION,          \
      "Idle connections kept to a region's endpoints.")                                            \
    X(UPSTREAM_CONNECTS, "nearside_upstream_connects_total", METRIC_COUNTER, METRIC_L_REGION,      \
      "Connections opened to a region's endpoints for requests.")                                  \
    X(FAILOVERS, "nearside_failovers_total", METRIC_COUNTER, METRIC_L_FROM_TO_REASON,              \
      "Requests moved from one region to another, and why.")                                       \
    X(FAILOVER_SECONDS, "nearside_failover_duration_seconds", METRIC_HISTOGRAM, METRIC_L_NONE,     \
      "Time from the failure of a request's first attempt to the commit of the one that served.")  \
    X(RETRIES, "nearside_retries_total", METRIC_COUNTER, METRIC_L_REGION,                          \
      "Attempts after the first, by the region tried.")                                            \
    X(ATTEMPTS, "nearside_attempt_outcomes_total", METRIC_COUNTER, METRIC_L_REGION_OUTCOME,        \
      "Attempts on endpoints by how they ended.")                                                  \
    X(STREAM_EVENTS, "nearside_stream_tokens_total", METRIC_COUNTER, METRIC_L_REGION,              \
      "Content events of streamed answers passed on.")                                             \
    X(STREAMS_CUT, "nearside_streams_cut_total", METRIC_COUNTER, METRIC_L_REGION,                  \
      "Answers broken off after the commit point: by the endpoint, a time limit or a limit of "    \
      "ours.")                                                                                     \
    X(CACHE, "nearside_cache_requests_total", METRIC_COUNTER, METRIC_L_TIER_RESULT,                \
      "Cache look-ups and stores by tier and result.")                                             \
    X(CACHE_FOLLOWERS, "nearside_cache_followers", METRIC_GAUGE, METRIC_L_NONE,                    \
      "Requests that wait for, or get, what an identical request before them fetches.")            \
    X(CACHE_SAVED_TOKENS, "nearside_cache_saved_tokens_total", METRIC_COUNTER, METRIC_L_TOKENS,    \
      "Tokens of the answers that the cache gave, as their usage tells; a stream that does not "   \
      "tell counts by its content events.")                                                        \
    X(CACHE_SAVED_SECONDS, "nearside_cache_saved_seconds", METRIC_HISTOGRAM, METRIC_L_NONE,        \
      "Time the endpoints took for the answers that the cache gave; the sum is what it saved.")    \
    X(REDIS_SECONDS, "nearside_redis_latency_seconds", METRIC_HISTOGRAM, METRIC_L_REGION,          \
      "Time from asking a region's Redis for an answer to its reply, or to giving up.")            \
    X(REDIS_ERRORS, "nearside_redis_errors_total", METRIC_COUNTER, METRIC_L_REGION_KV_ERROR,       \
      "Commands of the cache that a region's Redis did not carry out, and why.")                   \
    X(REDIS_STORED_BYTES, "nearside_redis_stored_bytes_total", METRIC_COUNTER, METRIC_L_STAGE,     \
      "Bytes of answers written to Redis: entry: before they were compressed; sent: after.")       \
    X(CLIENT_DISCONNECTS, "nearside_client_disconnects_total", METRIC_COUNTER, METRIC_L_PHASE,     \
      "Clients that left before their answer was complete.")                                       \
    X(REQUESTS_STARTED, "nearside_requests_started_total", METRIC_COUNTER, METRIC_L_NONE,          \
      "Requests begun; equals the finished ones when nothing is in flight.")                       \
    X(REQUESTS_FINISHED, "nearside_requests_finished_total", METRIC_COUNTER, METRIC_L_NONE,        \
      "Requests ended, in whatever way.")                                                          \
    X(BAD_REQUESTS, "nearside_bad_requests_total", METRIC_COUNTER, METRIC_L_NONE,                  \
      "Requests refused because they were malformed.")                                             \
    X(FAR, "nearside_far_requests_total", METRIC_COUNTER, METRIC_L_REGION,                         \
      "Requests sent to a region over the latency budget.")                                        \
    X(PANIC, "nearside_panic_requests_total", METRIC_COUNTER, METRIC_L_REGION,                     \
      "Requests tried although every region was down.")                                            \
    X(LIMIT_HITS, "nearside_limit_hits_total", METRIC_COUNTER, METRIC_L_LIMIT,                     \
      "Times a limit was hit.")                                                                    \
    X(BUFFERED, "nearside_buffered_bytes", METRIC_GAUGE, METRIC_L_NONE,                            \
      "Bytes held, against limits.buffer_total_bytes: requests' bodies, hits turned for one "      \
      "client, parts of heads, and what clients have not taken yet.")                              \
    X(PROBES, "nearside_probes_total", METRIC_COUNTER, METRIC_L_REGION_OUTCOME,                    \
      "Health probes by how they ended.")                                                          \
    X(PEER_SUSPICIONS, "nearside_peer_suspicions_total", METRIC_COUNTER, METRIC_L_REGION,          \
      "Times another edge reported a region down that is up here, so that it was probed at once.") \
    X(SHARED_EXCHANGES, "nearside_shared_state_exchanges_total", METRIC_COUNTER, METRIC_L_RESULT,  \
      "Exchanges of shared state with a region's Redis.")                                          \
    X(PROBE_FAILURES, "nearside_probe_failures_total", METRIC_COUNTER, METRIC_L_REGION_PROBE,      \
      "Health probes that failed, by what they failed at.")                                        \
    X(LOAD_READS, "nearside_load_reads_total", METRIC_COUNTER, METRIC_L_REGION_RESULT,             \
      "Readings of the metrics pages of endpoints and exporters.")                                 \
    X(TRACE_SPANS, "nearside_trace_spans_total", METRIC_COUNTER, METRIC_L_RESULT,                  \
      "Spans that the collector took, or that were dropped.")                                      \
    X(WARMUPS, "nearside_warmup_requests_total", METRIC_COUNTER, METRIC_L_REGION_OUTCOME,          \
      "Prompts sent to warm an endpoint up, by how they ended.")                                   \
    X(RELOADS, "nearside_reloads_total", METRIC_COUNTER, METRIC_L_RESULT,                          \
      "Configuration reloads.")                                                                    \
    X(UPGRADES, "nearside_upgrades_total", METRIC_COUNTER, METRIC_L_RESULT,                        \
      "Upgrades of the program: taken over by this process, or failed while it stayed.")           \
    X(GENAI_SECONDS, "gen_ai_server_request_duration_seconds", METRIC_HISTOGRAM,                   \
      METRIC_L_REGION_GENAI,                                                                       \
      "Time from a request's first byte to the answer's last, of successful requests that a "      \
      "region served, under OpenTelemetry's name.")                                                \
    X(GENAI_TTFT, "gen_ai_server_time_to_first_token_seconds", METRIC_HISTOGRAM,                   \
      METRIC_L_REGION_GENAI,                                                                       \
      "Time from a request's last byte to the first content byte, of successful requests that a "  \
      "region served, under OpenTelemetry's name.")

enum metric_family {
#define X(id, name, type, labels, help) METRIC_##id,
    METRIC_FAMILIES(X)
#undef X
        METRIC_FAMILY_COUNT
};

struct metric_row {
    const char *name;
    enum metric_type type;
    enum metric_labels labels;
    const char *help;
};

const struct metric_row *metric_row(enum metric_family family);

struct metric_block;

/* A block for the calling thread, registered for scrapes. Lives until the process ends. */
struct metric_block *metric_block_new(void);

/* Count. `l0..l2` are label values in the family's order; 0 for missing dimensions. */
void metric_add(struct metric_block *block, enum metric_family family, unsigned l0, unsigned l1,
                unsigned l2, int64_t value);

static inline void metric_inc(struct metric_block *block, enum metric_family family, unsigned l0)
{
    metric_add(block, family, l0, 0, 0, 1);
}

static inline void metric_limit_hit(struct metric_block *block, enum limit limit)
{
    metric_add(block, METRIC_LIMIT_HITS, (unsigned)limit, 0, 0, 1);
}

/* One observation of a histogram family with at most one label. */
void metric_observe_ns(struct metric_block *block, enum metric_family family, unsigned l0,
                       uint64_t ns);
/* The same with all labels. */
void metric_observe_labels_ns(struct metric_block *block, enum metric_family family, unsigned l0,
                              unsigned l1, unsigned l2, uint64_t ns);

/* The slot of a region's name, given on first use and kept. METRIC_REGION_NONE when all 64 are
 * taken. Thread: control. */
unsigned metric_region_slot(struct str name);
/* NULL when the slot is not in use. Thread: any. */
const char *metric_region_name(unsigned slot);

/* Sum over all blocks. For histograms, l1: 0 count, 1 sum in ns. Thread: any. */
int64_t metric_sum(enum metric_family family, unsigned l0, unsigned l1, unsigned l2);

/* Approximate quantile (0..1) of a histogram family over all blocks, in seconds; 0 when empty. */
double metric_quantile(enum metric_family family, unsigned l0, double q);

/* A histogram's counts at a moment, to take quantiles of what came after it. */
#define METRIC_MARK_BUCKETS 32
struct metric_mark {
    uint32_t buckets[METRIC_MARK_BUCKETS]; /* modulo 2^32: differences are what counts */
};
void metric_mark(enum metric_family family, unsigned l0, struct metric_mark *ret_mark);
/* Of the observations since; 0 when there was none. */
double metric_quantile_since(enum metric_family family, unsigned l0, const struct metric_mark *mark,
                             double q);

#endif
