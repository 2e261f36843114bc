/* SPDX-License-Identifier: MIT */
/*
 * The queue of spans.
 *
 * Happy path:
 *   1. A span arrives by message; it becomes text at once, in the last of the bundles that are
 *      pending. A bundle has up to BATCH_SPANS: collectors refuse bodies of more than some
 *      megabytes, and after one's absence thousands of spans wait.
 *   2. After BATCH_MS, or when it is full, the first bundle becomes the batch, if none is under
 * way.
 *   3. The collector takes it; the next one may go.
 *
 * A batch that got no answer, or one that says "later", is sent again after 1 s, 2 s, ... up to
 * TRIES_MAX times; another answer, and the last failure, drop it. Meanwhile spans pile up to
 * tracing.queue_spans. Turned off, what waits is dropped, and a batch under way is not sent again.
 */
#include "trace_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/list.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/obs/log.h>
#include <nearside/obs/metric.h>

#include <stdatomic.h>

#define TRACE_MAGIC 0x74726163u

#define BATCH_MS    1000
#define BATCH_SPANS 512
#define TRIES_MAX   4
#define SPAN_BYTES  16384 /* of one span's text: more than the longest, every byte of it escaped */
#define BATCH_BYTES 8192  /* of a batch's own text: head and tail */

/* Spans as text, with commas between them. */
struct bundle {
    struct list link; /* in trace->pending */
    struct buf spans;
    uint32_t count;
};

struct trace {
    uint32_t magic;
    struct loop *loop;            /* borrowed */
    struct metric_block *metrics; /* borrowed */
    struct conf *conf;            /* ref held; NULL before the first */
    struct post *post;            /* owned */
    atomic_uint held;             /* spans: on their way here, pending, in the batch */
    atomic_uint held_max;
    struct list pending;    /* of struct bundle, owned; all but the last are full */
    uint32_t pending_count; /* spans in them */
    struct buf batch;       /* a whole body */
    uint32_t batch_count;
    unsigned tries;
    struct deadline due; /* the next batch, or the same again */
    struct log_rate failures;
};

static bool is_on(const struct trace *trace)
{
    return trace->conf != NULL && trace->conf->tracing.otlp_url[0] != '\0';
}

static void release(struct trace *trace, uint32_t count, enum metric_result result)
{
    atomic_fetch_sub_explicit(&trace->held, count, memory_order_relaxed);
    metric_add(trace->metrics, METRIC_TRACE_SPANS, result, 0, 0, count);
}

static void drop_batch(struct trace *trace)
{
    release(trace, trace->batch_count, METRIC_FAILURE);
    trace->batch_count = 0;
    buf_clear(&trace->batch);
}

/* ---- what is pending ---- */

static struct bundle *bundle_with_room(struct trace *trace)
{
    struct list *last = list_last(&trace->pending);
    struct bundle *bundle = last == NULL ? NULL : LIST_ITEM(last, struct bundle, link);

    if (bundle == NULL || bundle->count == BATCH_SPANS) {
        bundle = mem_new(struct bundle);
        buf_init(&bundle->spans);
        list_push_back(&trace->pending, &bundle->link);
    }
    return bundle;
}

/* False: memory is refused. */
static bool add_pending(struct trace *trace, const struct trace_span *span)
{
    struct bundle *bundle = bundle_with_room(trace);

    if (!buf_reserve(&bundle->spans, SPAN_BYTES)) {
        return false;
    }
    buf_append_str(&bundle->spans, bundle->count == 0 ? STR_EMPTY : STR_LIT(","));
    otlp_write_span(&bundle->spans, span);
    bundle->count++;
    trace->pending_count++;
    return true;
}

static void end_bundle(struct trace *trace, struct bundle *bundle)
{
    trace->pending_count -= bundle->count;
    list_remove(&bundle->link);
    buf_done(&bundle->spans);
    mem_free(bundle);
}

static void drop_pending(struct trace *trace)
{
    struct list *first;

    while ((first = list_first(&trace->pending)) != NULL) {
        struct bundle *bundle = LIST_ITEM(first, struct bundle, link);
        release(trace, bundle->count, METRIC_FAILURE);
        end_bundle(trace, bundle);
    }
}

/* ---- sending ---- */

static void send_batch(struct trace *trace)
{
    trace->tries++;
    post_start(trace->post, trace->conf, buf_str(&trace->batch));
}

static void make_batch(struct trace *trace)
{
    struct bundle *first = LIST_ITEM(list_first(&trace->pending), struct bundle, link);

    if (!buf_reserve(&trace->batch, buf_len(&first->spans) + BATCH_BYTES)) {
        release(trace, first->count, METRIC_FAILURE); /* no memory for a luxury */
        end_bundle(trace, first);
        return;
    }
    otlp_write_head(&trace->batch, trace->conf);
    buf_append_str(&trace->batch, buf_str(&first->spans));
    otlp_write_tail(&trace->batch);
    trace->batch_count = first->count;
    trace->tries = 0;
    end_bundle(trace, first);
}

static void on_due(struct deadline *deadline, void *arg)
{
    struct trace *trace = OBJ_CAST(arg, trace, TRACE_MAGIC);

    (void)deadline;
    if (post_is_busy(trace->post)) {
        return;
    }
    if (trace->batch_count == 0 && trace->pending_count > 0) {
        make_batch(trace);
    }
    if (trace->batch_count > 0) {
        send_batch(trace);
    } else if (trace->pending_count > 0) {
        deadline_set_in_ms(&trace->due, BATCH_MS);
    }
}

static void schedule(struct trace *trace)
{
    if (trace->pending_count > 0) {
        deadline_set_in_ms(&trace->due, trace->pending_count >= BATCH_SPANS ? 0 : BATCH_MS);
    }
}

static void on_posted(enum post_end end, const char *why, void *arg)
{
    struct trace *trace = OBJ_CAST(arg, trace, TRACE_MAGIC);
    uint64_t suppressed = 0;

    if (end == POST_TAKEN) {
        release(trace, trace->batch_count, METRIC_SUCCESS);
        trace->batch_count = 0;
        buf_clear(&trace->batch);
    } else if (end == POST_LATER && trace->tries < TRIES_MAX && is_on(trace)) {
        deadline_set_in_ms(&trace->due, 1000ULL << (trace->tries - 1));
        return;
    } else {
        if (log_rate_allow(&trace->failures, loop_now_ns(trace->loop), &suppressed)) {
            log_warn("trace_dropped", "spans=%u url=%s reason=\"%s\" suppressed=%llu",
                     trace->batch_count, trace->conf->tracing.otlp_url, why,
                     (unsigned long long)suppressed);
        }
        drop_batch(trace);
    }
    schedule(trace);
}

/* ---- taking ---- */

static void on_span(struct loop_message *message, void *arg)
{
    struct trace *trace = OBJ_CAST(arg, trace, TRACE_MAGIC);
    struct trace_span *span = CONTAINER_OF(message, struct trace_span, message);

    if (!is_on(trace) || !add_pending(trace, span)) {
        release(trace, 1, METRIC_FAILURE);
    } else {
        if (trace->batch_count == 0 &&
            (trace->pending_count == 1 || trace->pending_count == BATCH_SPANS)) {
            schedule(trace);
        }
    }
    mem_free(span);
}

bool trace_put(struct trace *trace, struct trace_span *span)
{
    unsigned before = atomic_fetch_add_explicit(&trace->held, 1, memory_order_relaxed);

    if (before >= atomic_load_explicit(&trace->held_max, memory_order_relaxed)) {
        atomic_fetch_sub_explicit(&trace->held, 1, memory_order_relaxed);
        mem_free(span);
        return false;
    }
    loop_post(trace->loop, &span->message, on_span, trace);
    return true;
}

/* ---- life ---- */

struct trace *trace_new(struct loop *loop, struct resolver *resolver, struct metric_block *metrics)
{
    struct trace *trace = mem_new(struct trace);

    trace->magic = TRACE_MAGIC;
    trace->loop = loop;
    trace->metrics = metrics;
    trace->post = post_new(loop, resolver, on_posted, trace);
    deadline_init(&trace->due, loop, on_due, trace);
    list_init(&trace->pending);
    buf_init(&trace->batch);
    return trace;
}

void trace_apply(struct trace *trace, struct conf *conf)
{
    conf_unref(trace->conf);
    trace->conf = conf_ref(conf);
    atomic_store_explicit(&trace->held_max, conf->tracing.queue_spans, memory_order_relaxed);
    if (!is_on(trace)) {
        drop_pending(trace);
        if (!post_is_busy(trace->post)) {
            drop_batch(trace);
            deadline_cancel(&trace->due);
        }
    }
}

void trace_free(struct trace *trace)
{
    if (trace == NULL) {
        return;
    }
    post_free(trace->post);
    deadline_done(&trace->due);
    drop_pending(trace);
    buf_done(&trace->batch);
    conf_unref(trace->conf);
    trace->magic = 0;
    mem_free(trace);
}
