/* SPDX-License-Identifier: MIT */
/*
 * One request from its head to its end, whatever attempts that takes.
 *
 * The request is owned by the client connection it came by; request_finish() is its one end. A
 * request holds the world (config) it began with and takes the newest view at each attempt.
 *
 * Thread: the worker's.
 */
#ifndef NEARSIDE_PROXY_REQUEST_PRIVATE_H
#define NEARSIDE_PROXY_REQUEST_PRIVATE_H

#include "exchange_private.h"

#include <nearside/base/arena.h>
#include <nearside/base/buf.h>
#include <nearside/base/list.h>
#include <nearside/cache/cache.h>
#include <nearside/cache/flight.h>
#include <nearside/cache/rule.h>
#include <nearside/http/head.h>
#include <nearside/http/sse.h>
#include <nearside/http/trace_context.h>
#include <nearside/loop/loop.h>
#include <nearside/obs/metric.h>
#include <nearside/route/route.h>

#define REQUEST_MAGIC       0x72657173u
#define REQUEST_ID_MAX      128
#define REQUEST_ARENA_BYTES 1920   /* head and fields of a common request */
#define REQUEST_MOVES_MAX   8      /* times a waiting request is moved off a lost region */
#define REQUEST_PACE_S      10     /* a stream's pace is looked at over so long */
#define REQUEST_BODY_WINDOW 262144 /* unsent bytes of a body that is streamed through */

struct client_conn;
struct explain_note;
struct worker;
struct world;

enum request_state {
    REQUEST_READ,    /* the body is read: it decides about cache and model */
    REQUEST_LOOKUP,  /* Redis is asked */
    REQUEST_FOLLOW,  /* another request fetches the same answer: passed on as it comes */
    REQUEST_ROUTE,   /* choose region and endpoint */
    REQUEST_QUEUED,  /* every candidate is full */
    REQUEST_ATTEMPT, /* an exchange runs; nothing of its answer has been passed on */
    REQUEST_RELAY,   /* past the commit point */
    REQUEST_REPLY,   /* an answer of our own or of the cache is being written */
    REQUEST_END,
    REQUEST_STATE_COUNT
};

/* How a request ended; access log's `reason`. Attempt outcomes use their own words. */
enum request_end {
    REQUEST_END_OK,
    REQUEST_END_CLIENT_GONE,
    REQUEST_END_CUT,     /* an answer was broken off after the commit point */
    REQUEST_END_REFUSED, /* answered here with an error */
    REQUEST_END_ABORTED, /* the worker was stopped */
};

/* The request's body as far as it is kept. */
struct request_body {
    struct buf bytes;
    uint64_t start; /* offset of bytes' first byte in the body: 0 while all is kept */
    uint64_t received;
    uint64_t expected; /* framing LENGTH */
    uint64_t reserved; /* of shared->buffered_bytes, with what request_reserve() booked */
    enum http_body framing;
    bool complete;
    bool streaming; /* too large to keep, or nothing here needs it whole: sent as it comes */
    bool lost;      /* some of it is no longer kept */
};

/* Whose trace it belongs to. */
struct request_trace {
    struct trace_context context; /* this edge's span, when it takes part; else the client's */
    uint8_t parent_id[TRACE_SPAN_BYTES];
    bool has_parent; /* the client sent a good traceparent */
    bool takes_part; /* a collector is configured */
    bool known;      /* context.trace_id is one */
};

struct request {
    uint32_t magic;
    enum request_state state;

    /* What every piece of an answer touches stands together, up to `exchange` and in its first
     * half: with thousands of streams a token finds all of these lines cold. A request begins with
     * a line. */
    struct worker *worker; /* borrowed: outlives this */
    /* Borrowed: owns this. NULL: it has gone, and the request goes on for those who share its
     * answer; nothing is written, and there is always room (share.c). */
    struct client_conn *client;
    struct sse *sse; /* in the arena; NULL: not an event stream */
    struct cache_fill *fill;
    const struct conf_timeouts
        *timeouts; /* of the region it is sent to; owned by the view's conf */
    uint64_t bytes_sent;
    uint64_t counted_events; /* of sse->content_events */
    uint64_t pace_since_ns;  /* begin of the present window; 0: none yet */
    int served_slot;         /* -1: by no region */
    bool attempt_failed;     /* these two: noted by callbacks, acted upon by steps */
    bool answer_ended;
    bool out_of_time;
    bool driving;
    bool is_behind;              /* the client reads from the flight's log */
    struct flight_member flight; /* the answer it shares with others */
    struct exchange exchange;

    struct world *world;  /* ref held */
    uint64_t pace_events; /* content events before pace_since_ns */
    struct list link;     /* worker->waiting, worker->queued[], or worker->free_requests */
    struct arena arena;
    struct addr peer;     /* whoever connected */
    struct addr from;     /* the client: the peer, or whom a trusted peer names */
    bool peer_is_trusted; /* edge.trusted_proxies */
    bool from_counted;    /* in limits.max_inflight_per_client */
    bool over_tls;

    /* what was asked */
    struct http_head *head; /* in the arena */
    size_t head_bytes;      /* as the client wrote it */
    size_t head_reserved;   /* of shared->buffered_bytes, for a large one */
    struct str id;          /* in the arena */
    enum api api;
    struct str model; /* in the arena */
    bool wants_stream;
    bool scan_ok;
    bool acts; /* it asks for something to be done, not only said: twice is not once */
    struct request_trace trace;
    struct cache_control control;
    struct cache_plan plan;
    enum cache_form form; /* with `key`: once key_made */
    /* When the entry was stored that could not be turned into `form`: to turn it once is enough,
     * though it is found again in the next tier, and before this request leads. 0: none. */
    uint64_t unfit_wall_ms;
    struct cache_key key;
    bool key_made;
    struct request_body body;
    struct body_scan
        *scan; /* lent by the worker while the body is read; NULL: not begun, or over */

    /* the way */
    struct route_request route;
    struct route_choice choice;
    struct fleet_view *view;     /* ref held: `choice` is in its terms */
    struct deadline deadline;    /* total_ms; queue_timeout_ms while queued */
    struct cache_lookup *lookup; /* while Redis is asked */
    struct cache_entry *entry;   /* the hit being written; ref held */
    size_t entry_offset;
    struct cache_entry *stale; /* past its time, kept aside for when no region can; ref held */
    enum metric_tier stale_tier;
    uint64_t asked_redis;      /* bits: region slots whose Redis was asked */
    struct list detached_link; /* in worker->detached, while `client` is NULL */
    bool follows;              /* counted as a follower */
    bool is_logged;            /* its access line is written */
    struct http_head *answer;  /* held back until the commit point; in the arena */
    struct str held_back;      /* likewise: the beginning of a first event; in the arena */

    /* attempt accounting: what is to be given back */
    struct endpoint_live *counted; /* ref held while an attempt is counted */
    bool counted_pending;
    bool on_trial; /* this attempt holds counted->trial, and owes a report on it */
    unsigned attempt_slot;
    uint64_t attempt_ns;   /* when it began */
    unsigned pending_slot; /* region slot of the PENDING gauge, while held */
    bool pending_held;

    /* facts noted by callbacks, acted upon by steps */
    enum outcome failure;
    enum outcome answer_outcome; /* what the answer's status says */
    enum request_end end;
    uint32_t rtt_us;      /* the kernel's estimate; 0: not asked */
    bool dialled;         /* this attempt asked for a new connection */
    uint64_t tcp_open_ns; /* of a connection opened for this attempt; 0: none */
    uint64_t retry_after_ms;
    bool retry_granted; /* ... and its repetition is booked already */
    bool lookup_done;
    bool queue_expired;
    bool stale_wanted; /* this attempt's answer is an error: what is past its time is better */
    bool fresh_only;   /* a kept connection turned out stale: open a new one */

    /* for the log, the metrics, the headers */
    uint64_t started_ns;
    uint64_t body_done_ns;
    uint64_t commit_ns;
    uint64_t first_failure_ns;
    uint64_t waited_ns;     /* for a cache, a queue, an endpoint; not our doing */
    uint64_t wait_since_ns; /* 0: not waiting */
    uint64_t bytes_in;
    uint32_t attempts;
    uint32_t counted_attempts; /* those that count against retry.attempts */
    uint32_t moves;
    int first_region_slot; /* -1: none yet */
    int last_slot;         /* of the last attempt's region; -1: none yet */
    unsigned queue_slot;   /* while queued */
    uint64_t queue_until_ns;
    uint64_t seen_view; /* version of the view that this attempt was judged by */
    bool failed_5xx;    /* an endpoint has answered this request with a 5xx */
    char served_endpoint[ADDR_TEXT_LEN];
    unsigned status;
    enum metric_phase phase;
    const char *cache_word;             /* static: hit miss bypass ... */
    const char *reason;                 /* static: the end's word */
    struct explain_note *explain_notes; /* of ended attempts, in order; in the arena */
    struct explain_note **explain_end;  /* where the next one hangs */
    uint32_t explain_count;             /* attempts that ended */
};

/* What the exchange needs to know. */
void request_write_head(struct request *request, struct buf *out);

/* Begin. `head` is in worker scratch and is copied; `body` tells how the body is framed.
 * The request may have ended (and be gone) when this returns: conn->request tells.
 * False: memory for the head is refused, and there is no request. */
bool request_start(struct client_conn *client, const struct http_head *head,
                   struct str raw) MUST_CHECK;

/* One that is kept for use again, in no list any more. */
void request_free(struct request *request);

/* ---- from the client connection ---- */

/* Body bytes, in order; valid for the call. */
void request_on_body(struct request *request, struct str bytes);
void request_on_body_end(struct request *request);
/* May more body be read now? */
bool request_wants_body(const struct request *request);
/* There is room for writing again. */
void request_on_room(struct request *request);
void request_on_client_gone(struct request *request);
/* The client ended its side: write something that only one who left does not take. */
void request_ask_client(struct request *request);
/* The client broke the protocol within its body. */
void request_on_bad_body(struct request *request, unsigned status, const char *word);

/* It is no longer its client's: limits.max_inflight_per_client. */
void request_uncount(struct request *request);

/* ---- from the exchange: facts; within exchange_start() only a failure ---- */

/* The final head, in worker scratch; `raw` are its bytes. */
void request_on_answer(struct request *request, const struct http_head *head, struct str raw);
void request_on_interim(struct request *request, const struct http_head *head, size_t raw_len);
void request_on_data(struct request *request, struct str bytes);
void request_on_answer_end(struct request *request);
void request_on_failure(struct request *request, enum outcome outcome);
/* A batch of the above is over: act. */
void request_drive(struct request *request);
/* The exchange took some of a streamed body. */
void request_on_body_sent(struct request *request);

/* ---- from the worker ---- */

/* The newest view says that the endpoint is down: go elsewhere if that can be. */
void request_evict(struct request *request, enum outcome why);
/* A queued request: look again. True: it left the queue. */
bool request_requeue(struct request *request);
/* End whatever is under way. */
void request_abort(struct request *request);

/* ---- between the files of a request ---- */

enum request_step { STEP_AGAIN, STEP_WAIT, STEP_DONE };

/* request.c */
void request_move(struct request *request, enum request_state next);
void request_leave(struct request *request, enum outcome outcome);
void request_finish(struct request *request);
void request_wait_begin(struct request *request); /* time from here on is others' */
void request_wait_end(struct request *request);
void request_observe_overhead(struct request *request);
/* Count a request that ends under OpenTelemetry's names, if it is one of theirs (genai.c). */
void request_count_genai(const struct request *request, uint64_t now_ns);
void request_reply(struct request *request);                 /* move to REPLY */
uint64_t request_deadline_ns(const struct request *request); /* total_ms; 0: none */

/* lookup.c, dispatch.c, relay.c: one step each */
enum request_step step_read(struct request *request);
enum request_step step_lookup(struct request *request);
enum request_step step_follow(struct request *request);
enum request_step step_route(struct request *request);
enum request_step step_queued(struct request *request);
enum request_step step_attempt(struct request *request);
enum request_step step_relay(struct request *request);
enum request_step step_reply(struct request *request);
enum request_step step_end(struct request *request);

/* lookup.c: memory once more; true: it has the answer, and the request moved to REPLY */
bool lookup_again(struct request *request);
/* The entry in the form that is wanted. Takes the reference; NULL: it cannot be turned. */
struct cache_entry *lookup_fit(struct request *request, struct cache_entry *entry) MUST_CHECK;
/* Answer with an entry that fits, and count it. Takes the reference. */
void lookup_reply(struct request *request, struct cache_entry *entry, enum metric_tier tier,
                  enum cache_use use);

/* stale.c: an entry past its time; keep it aside (takes the reference) */
void stale_keep(struct request *request, struct cache_entry *entry, enum metric_tier tier);
void stale_drop(struct request *request);
/* There is one, in the form that is wanted. */
bool stale_is_ready(struct request *request);
/* Answer with it. True: the request moved to REPLY; those who follow it are told. */
bool stale_answer(struct request *request);
/* ... when the last attempt has ended so; ... when no region is up and somebody else tries. */
bool stale_instead_of(struct request *request, enum outcome outcome);
bool stale_instead_of_waiting(struct request *request);

/* follow.c: after a miss, follow, lead or go alone; leave whatever flight it is in */
void follow_begin(struct request *request);
void follow_leave(struct request *request);

/* share.c: the hooks of a request that may lead; harmless when it does not */
void share_begin(struct request *request); /* at the commit point, with the fill begun */
void share_data(struct request *request, struct str bytes);
void share_end(struct request *request); /* after the answer was stored */
/* The client has gone. True: the request goes on without it, for others. */
bool share_detach(struct request *request);
/* The same in two steps, for a client that is told something in between. */
bool share_outlives_client(struct request *request) MUST_CHECK;
void share_let_client_go(struct request *request);
/* Neither a client nor a follower is left. */
bool share_is_pointless(const struct request *request);
/* The client has no room. True: the endpoint need not be paused for it. */
bool share_spares_pause(struct request *request);
/* A client that is behind: write what there is room for. True: it has caught up. */
bool share_catch_up(struct request *request);
/* The client is too far behind, and others wait: it must go. */
bool share_is_held_up(const struct request *request);
void share_on_news(struct request *request);

/* dispatch.c: choose in the newest view; take out of the queue */
struct route_choice request_pick(struct request *request);
/* The same as a mere question: takes no turn of a round robin. */
struct route_choice request_peek(struct request *request);
/* May the request touch that region (X-Nearside-Regions)? */
bool request_allows_region(const struct request *request, const char *name);
void request_dequeue(struct request *request);
bool request_grant_retry(struct request *request, enum outcome outcome);
/* An attempt ends so: what the next choice, peeked at or made, should know of it. */
void request_learn(struct request *request, enum outcome outcome);

/* request_body.c */
bool request_body_begin(struct request *request);
/* `bytes` may lie at request_body_room() already. They may be gone with the request when it
 * returns. */
void request_body_add(struct request *request, struct str bytes);
/* Where the next bytes of a kept body may be read to and how many; NULL: there is no room yet, or
 * not enough for a read to be worth it. */
char *request_body_room(struct request *request, size_t *ret_size);
void request_body_release(struct request *request, uint64_t up_to);
void request_body_drop(struct request *request); /* once it cannot be needed again */
void request_body_done(struct request *request);
/* Book a large head until the request ends. False: the edge holds too many bytes. */
bool request_head_reserve(struct request *request) MUST_CHECK;
void request_head_done(struct request *request);
/* Book more kept bytes, of an answer, until the request ends. False: the edge holds too many. */
bool request_reserve(struct request *request, uint64_t bytes) MUST_CHECK;

/* attempt.c */
/* Take the chosen endpoint's trial if a breaker asks for one, right before attempt_begin(). False:
 * another request has it. */
bool attempt_claim(struct request *request) MUST_CHECK;
void attempt_begin(struct request *request, const struct view_endpoint *endpoint, unsigned slot);
void attempt_has_content(struct request *request);
/* Ask the kernel for its RTT estimate, now and then: a system call. The connection is leased. */
void attempt_sample_rtt(struct request *request);
void attempt_end(struct request *request, enum outcome outcome);
void request_hold_pending(struct request *request, unsigned slot);
void request_drop_pending(struct request *request);

/* forward.c */
void forward_request_head(struct request *request, const struct view_endpoint *endpoint,
                          struct buf *out);
void forward_answer_head(struct request *request, const struct http_head *head);
void forward_interim_head(struct request *request, const struct http_head *head);
void forward_common_fields(struct request *request);

/* span.c */
void span_begin(struct request *request); /* once the head is known */
void span_end(struct request *request, uint64_t now_ns);
/* Of the request's head: is the field written anew, and writing it. */
bool span_field_ends(const struct request *request, const struct http_field *field);
void span_write_field(const struct request *request, struct buf *out);

/* reply.c */
struct reply_error {
    unsigned status;
    const char *type;         /* OpenAI's: invalid_request_error, rate_limit_error, server_error */
    const char *code;         /* static word */
    const char *proxy_status; /* RFC 9209 error, or NULL */
    unsigned retry_after_s;   /* 0: none */
    const char *message;
};
extern const struct reply_error reply_buffers_full; /* limits.buffer_total_bytes, or no memory */
/* Write a whole error answer; the request moves to its end. */
void reply_error(struct request *request, const struct reply_error *error);
/* The same for a connection whose head could not be understood. */
void reply_error_raw(struct client_conn *conn, const struct reply_error *error);
/* Answer for a request whose last attempt ended so. */
void reply_failure(struct request *request, enum outcome outcome);
/* total_ms is over for the client, but not for others who wait for the same answer: it is told so,
 * and the request goes on without it. False: nobody else waits, or there is a better answer. */
bool reply_deadline_alone(struct request *request) MUST_CHECK;
/* Begin to write a cached answer (the reference is taken); goes on in reply_entry_more(). */
void reply_entry(struct request *request, struct cache_entry *entry, enum metric_tier tier);
/* True: all of it is written or waiting in the connection. */
bool reply_entry_more(struct request *request);
/* An SSE error event, at the place where the stream broke. */
void reply_stream_error(struct request *request);

/* access.c */
void access_log_request(struct request *request, uint64_t now_ns);
void access_log_refused(struct client_conn *client, unsigned status, const char *reason);

/* phase gauge */
void request_set_phase(struct request *request, enum metric_phase phase);

#endif
