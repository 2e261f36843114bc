/* SPDX-License-Identifier: MIT */
/*
 * The registry of metrics: where each family's cells lie in a block, counting, and summing.
 *
 *     block of thread 1:  next | REQUESTS cells | REQUEST_SECONDS cells | ...
 *     block of thread 2:  next | REQUESTS cells | REQUEST_SECONDS cells | ...
 *
 * A series is one cell (counter, gauge) or one run of cells (histogram: buckets, then the sum in
 * ns). A cell has one writer, so that counting is a plain load and store; readers see each cell
 * whole, and a sum over blocks that may be a few events old. A block is about 0.7 MB of address
 * space of which only touched pages take memory: most pairs of regions never fail over.
 */
#include <nearside/obs/metric.h>

#include "metric_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>

#include <pthread.h>
#include <stdatomic.h>

#define REGION_VALUES (METRIC_REGIONS_MAX + 1) /* and METRIC_REGION_NONE */

/* Values of each label of a set. Named after the enum, for the table below. */
#define SIZES_METRIC_L_NONE            1, 1, 1
#define SIZES_METRIC_L_REGION          REGION_VALUES, 1, 1
#define SIZES_METRIC_L_REGION_CLASS    REGION_VALUES, METRIC_CLASSES, 1
#define SIZES_METRIC_L_FROM_TO_REASON  REGION_VALUES, REGION_VALUES, OUTCOME_COUNT
#define SIZES_METRIC_L_REGION_OUTCOME  REGION_VALUES, OUTCOME_COUNT, 1
#define SIZES_METRIC_L_REGION_PROBE    REGION_VALUES, PROBE_CLASS_COUNT, 1
#define SIZES_METRIC_L_REGION_RESULT   REGION_VALUES, METRIC_RESULTS, 1
#define SIZES_METRIC_L_REGION_GENAI    REGION_VALUES, METRIC_OPERATIONS, METRIC_PROVIDERS
#define SIZES_METRIC_L_TIER_RESULT     METRIC_TIERS, METRIC_CACHE_RESULTS, 1
#define SIZES_METRIC_L_REGION_KV_ERROR REGION_VALUES, KV_ERROR_COUNT, 1
#define SIZES_METRIC_L_TOKENS          METRIC_TOKENS, 1, 1
#define SIZES_METRIC_L_STAGE           METRIC_STAGES, 1, 1
#define SIZES_METRIC_L_RESULT          METRIC_RESULTS, 1, 1
#define SIZES_METRIC_L_LIMIT           LIMIT_COUNT, 1, 1
#define SIZES_METRIC_L_HANDSHAKE       HANDSHAKE_END_COUNT, 1, 1
#define SIZES_METRIC_L_PHASE           METRIC_PHASES, 1, 1

#define PRODUCT(a, b, c)  ((a) * (b) * (c))
#define SERIES_COUNT(...) PRODUCT(__VA_ARGS__)

/* Cells of a series, after its type. */
enum {
    CELLS_METRIC_COUNTER = 1,
    CELLS_METRIC_GAUGE = 1,
    CELLS_METRIC_HISTOGRAM = METRIC_BUCKET_COUNT + 1,
};

typedef _Atomic int64_t metric_cell;

struct cells {
#define X(id, name, type, labels, help) metric_cell id[SERIES_COUNT(SIZES_##labels) * CELLS_##type];
    METRIC_FAMILIES(X)
#undef X
};

struct metric_block {
    struct metric_block *next; /* owned; the list only grows */
    union {
        struct cells by_family;
        metric_cell all[sizeof(struct cells) / sizeof(metric_cell)];
    } cells;
};

static const struct metric_row rows[METRIC_FAMILY_COUNT] = {
#define X(id, row_name, row_type, row_labels, row_help)                                            \
    [METRIC_##id] = {.name = row_name, .type = row_type, .labels = row_labels, .help = row_help},
    METRIC_FAMILIES(X)
#undef X
};

/* Where a family's cells are: all that counting looks at. */
struct place {
    uint32_t first;
    uint16_t sizes[METRIC_DIMS_MAX];
    uint16_t cells; /* of a series */
};

static const struct place places[METRIC_FAMILY_COUNT] = {
#define X(id, name, type, labels, help)                                                            \
    [METRIC_##                                                                                     \
        id] = {offsetof(struct cells, id) / sizeof(metric_cell), {SIZES_##labels}, CELLS_##type},
    METRIC_FAMILIES(X)
#undef X
};

static const uint64_t bounds_ns[METRIC_BOUND_COUNT] = {
#define X(ns, text) ns##ULL,
    METRIC_BUCKETS(X)
#undef X
};

const char *const metric_bound_texts[METRIC_BOUND_COUNT] = {
#define X(ns, text) text,
    METRIC_BUCKETS(X)
#undef X
};

/*
 * Process-wide state. Both only grow: an entry is complete before it is published with a release
 * store, and never changes or goes away afterwards, so that readers need no lock.
 */
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER; /* orders the writers */
static _Atomic(struct metric_block *) newest_block;
static _Atomic(const char *) region_names[METRIC_REGIONS_MAX]; /* owned */

/* --- words ----------------------------------------------------------------------------------- */

static const struct {
    const char *word;
    bool may_retry;
    bool is_blamed;
    enum outcome_class class;
} outcomes[OUTCOME_COUNT] = {
#define X(suffix, text, retry, blame, class)                                                       \
    [OUTCOME_##suffix] = {text, retry, blame, OUTCOME_CLASS_##class},
    OUTCOMES(X)
#undef X
};

const char *outcome_word(enum outcome outcome)
{
    ASSERT(outcome < OUTCOME_COUNT);
    return outcomes[outcome].word;
}

bool outcome_may_retry(enum outcome outcome)
{
    ASSERT(outcome < OUTCOME_COUNT);
    return outcomes[outcome].may_retry;
}

bool outcome_is_blamed(enum outcome outcome)
{
    ASSERT(outcome < OUTCOME_COUNT);
    return outcomes[outcome].is_blamed;
}

enum outcome_class outcome_class(enum outcome outcome)
{
    ASSERT(outcome < OUTCOME_COUNT);
    return outcomes[outcome].class;
}

static const char *region_word(unsigned value)
{
    return value == METRIC_REGION_NONE ? "" : metric_region_name(value);
}

static const char *class_word(unsigned value)
{
    static const char *const words[METRIC_CLASSES] = {"1xx", "2xx", "3xx", "4xx", "5xx"};
    return words[value];
}

static const char *outcome_value_word(unsigned value)
{
    return outcome_word((enum outcome)value);
}

const char *handshake_end_word(enum handshake_end end)
{
    static const char *const words[] = {
#define X(suffix, word) word,
        HANDSHAKE_ENDS(X)
#undef X
    };

    ASSERT((size_t)end < ARRAY_LEN(words));
    return words[end];
}

const char *probe_class_word(enum probe_class class)
{
    static const char *const words[PROBE_CLASS_COUNT] = {
#define X(suffix, word) [PROBE_CLASS_##suffix] = word,
        PROBE_CLASSES(X)
#undef X
    };

    ASSERT(class < PROBE_CLASS_COUNT);
    return words[class];
}

static const char *probe_class_value_word(unsigned value)
{
    return probe_class_word((enum probe_class)value);
}

static const char *tier_word(unsigned value)
{
    static const char *const words[METRIC_TIERS] = {
        [METRIC_TIER_MEMORY] = "memory",
        [METRIC_TIER_REDIS] = "redis",
    };
    return words[value];
}

static const char *cache_result_word(unsigned value)
{
    static const char *const words[METRIC_CACHE_RESULTS] = {
        [METRIC_CACHE_HIT] = "hit",
        [METRIC_CACHE_MISS] = "miss",
        [METRIC_CACHE_ERROR] = "error",
        [METRIC_CACHE_TIMEOUT] = "timeout",
        [METRIC_CACHE_STORE] = "store",
        [METRIC_CACHE_REJECT] = "reject",
        [METRIC_CACHE_COLLAPSED] = "collapsed",
        [METRIC_CACHE_STALE] = "stale",
    };
    return words[value];
}

static const struct {
    const char *word;
    bool is_said;
} kv_errors[KV_ERROR_COUNT] = {
#define X(suffix, text, said) [KV_ERROR_##suffix] = {text, said},
    KV_ERRORS(X)
#undef X
};

const char *kv_error_word(enum kv_error error)
{
    ASSERT(error < KV_ERROR_COUNT);
    return kv_errors[error].word;
}

bool kv_error_is_said(enum kv_error error)
{
    ASSERT(error < KV_ERROR_COUNT);
    return kv_errors[error].is_said;
}

static const char *kv_error_value_word(unsigned value)
{
    return kv_error_word((enum kv_error)value);
}

static const char *tokens_word(unsigned value)
{
    return value == METRIC_TOKENS_PROMPT ? "prompt" : "completion";
}

static const char *stage_word(unsigned value)
{
    return value == METRIC_STAGE_ENTRY ? "entry" : "sent";
}

static const char *result_word(unsigned value)
{
    return value == METRIC_SUCCESS ? "success" : "failure";
}

static const char *handshake_value_word(unsigned value)
{
    return handshake_end_word((enum handshake_end)value);
}

static const char *operation_word(unsigned value)
{
    static const char *const words[METRIC_OPERATIONS] = {
        [METRIC_OPERATION_CHAT] = "chat",
        [METRIC_OPERATION_TEXT] = "text_completion",
        [METRIC_OPERATION_EMBEDDINGS] = "embeddings",
    };
    return words[value];
}

static const char *provider_word(unsigned value)
{
    return value == METRIC_PROVIDER_OPENAI ? "openai" : "anthropic";
}

static const char *limit_word(unsigned value)
{
    static const char *const words[LIMIT_COUNT] = {
#define X(suffix, word) [LIMIT_##suffix] = word,
        LIMITS(X)
#undef X
    };
    return words[value];
}

static const char *phase_word(unsigned value)
{
    static const char *const words[METRIC_PHASES] = {
        [METRIC_PHASE_READING] = "reading",
        [METRIC_PHASE_QUEUED] = "queued",
        [METRIC_PHASE_WAITING] = "waiting",
        [METRIC_PHASE_STREAMING] = "streaming",
    };
    return words[value];
}

#define DIM_UNUSED                                                                                 \
    {                                                                                              \
        NULL, 1, NULL, false                                                                       \
    }
#define DIM_REGION(key)                                                                            \
    {                                                                                              \
        key, REGION_VALUES, region_word, true                                                      \
    }
#define DIM_OUTCOME(key)                                                                           \
    {                                                                                              \
        key, OUTCOME_COUNT, outcome_value_word, false                                              \
    }

static const struct metric_dim dims[][METRIC_DIMS_MAX] = {
    [METRIC_L_NONE] = {DIM_UNUSED, DIM_UNUSED, DIM_UNUSED},
    [METRIC_L_REGION] = {DIM_REGION("region"), DIM_UNUSED, DIM_UNUSED},
    [METRIC_L_REGION_CLASS] = {DIM_REGION("region"),
                               {"class", METRIC_CLASSES, class_word, false},
                               DIM_UNUSED},
    [METRIC_L_FROM_TO_REASON] = {DIM_REGION("from"), DIM_REGION("to"), DIM_OUTCOME("reason")},
    [METRIC_L_REGION_OUTCOME] = {DIM_REGION("region"), DIM_OUTCOME("outcome"), DIM_UNUSED},
    [METRIC_L_REGION_PROBE] = {DIM_REGION("region"),
                               {"class", PROBE_CLASS_COUNT, probe_class_value_word, false},
                               DIM_UNUSED},
    [METRIC_L_REGION_RESULT] = {DIM_REGION("region"),
                                {"result", METRIC_RESULTS, result_word, false},
                                DIM_UNUSED},
    [METRIC_L_REGION_GENAI] = {DIM_REGION("region"),
                               {"gen_ai_operation_name", METRIC_OPERATIONS, operation_word, false},
                               {"gen_ai_provider_name", METRIC_PROVIDERS, provider_word, false}},
    [METRIC_L_TIER_RESULT] = {{"tier", METRIC_TIERS, tier_word, false},
                              {"result", METRIC_CACHE_RESULTS, cache_result_word, false},
                              DIM_UNUSED},
    [METRIC_L_REGION_KV_ERROR] = {DIM_REGION("region"),
                                  {"error", KV_ERROR_COUNT, kv_error_value_word, false},
                                  DIM_UNUSED},
    [METRIC_L_TOKENS] = {{"kind", METRIC_TOKENS, tokens_word, false}, DIM_UNUSED, DIM_UNUSED},
    [METRIC_L_STAGE] = {{"stage", METRIC_STAGES, stage_word, false}, DIM_UNUSED, DIM_UNUSED},
    [METRIC_L_RESULT] = {{"result", METRIC_RESULTS, result_word, false}, DIM_UNUSED, DIM_UNUSED},
    [METRIC_L_HANDSHAKE] = {{"result", HANDSHAKE_END_COUNT, handshake_value_word, false},
                            DIM_UNUSED,
                            DIM_UNUSED},
    [METRIC_L_LIMIT] = {{"limit", LIMIT_COUNT, limit_word, false}, DIM_UNUSED, DIM_UNUSED},
    [METRIC_L_PHASE] = {{"phase", METRIC_PHASES, phase_word, false}, DIM_UNUSED, DIM_UNUSED},
};

const struct metric_row *metric_row(enum metric_family family)
{
    ASSERT(family < METRIC_FAMILY_COUNT);
    return &rows[family];
}

const struct metric_dim *metric_dims(enum metric_labels labels)
{
    ASSERT(labels < ARRAY_LEN(dims));
    return dims[labels];
}

/* --- counting -------------------------------------------------------------------------------- */

struct metric_block *metric_block_new(void)
{
    struct metric_block *block = mem_new(struct metric_block);

    pthread_mutex_lock(&registry_lock);
    block->next = atomic_load_explicit(&newest_block, memory_order_relaxed);
    atomic_store_explicit(&newest_block, block, memory_order_release);
    pthread_mutex_unlock(&registry_lock);
    return block;
}

/* The cell's number in every block: families in a row, series of a family in the labels' order. */
static size_t series_cell(enum metric_family family, unsigned l0, unsigned l1, unsigned l2)
{
    const struct place *place = &places[family];

    ASSERT(l0 < place->sizes[0] && l1 < place->sizes[1] && l2 < place->sizes[2]);
    return place->first +
           (((size_t)l0 * place->sizes[1] + l1) * place->sizes[2] + l2) * place->cells;
}

/* A block has one writer, so this needs no locked instruction. */
static void add_to_cell(struct metric_block *block, size_t cell, int64_t value)
{
    metric_cell *at = &block->cells.all[cell];

    atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + value,
                          memory_order_relaxed);
}

void metric_add(struct metric_block *block, enum metric_family family, unsigned l0, unsigned l1,
                unsigned l2, int64_t value)
{
    ASSERT(family < METRIC_FAMILY_COUNT && places[family].cells == 1);
    add_to_cell(block, series_cell(family, l0, l1, l2), value);
}

static size_t bucket_of(uint64_t ns)
{
    size_t low = 0;
    size_t high = METRIC_BOUND_COUNT;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (ns <= bounds_ns[middle]) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

void metric_observe_ns(struct metric_block *block, enum metric_family family, unsigned l0,
                       uint64_t ns)
{
    metric_observe_labels_ns(block, family, l0, 0, 0, ns);
}

void metric_observe_labels_ns(struct metric_block *block, enum metric_family family, unsigned l0,
                              unsigned l1, unsigned l2, uint64_t ns)
{
    ASSERT(family < METRIC_FAMILY_COUNT && places[family].cells == CELLS_METRIC_HISTOGRAM);
    size_t first = series_cell(family, l0, l1, l2);

    add_to_cell(block, first + bucket_of(ns), 1);
    add_to_cell(block, first + METRIC_BUCKET_COUNT, (int64_t)ns);
}

/* --- regions --------------------------------------------------------------------------------- */

unsigned metric_region_slot(struct str name)
{
    unsigned slot = 0;

    pthread_mutex_lock(&registry_lock);
    for (; slot < METRIC_REGIONS_MAX; slot++) {
        const char *taken = metric_region_name(slot);
        if (taken == NULL) {
            atomic_store_explicit(&region_names[slot], mem_strndup(name.ptr, name.len),
                                  memory_order_release);
            break;
        }
        if (str_eq(str_of(taken), name)) {
            break;
        }
    }
    pthread_mutex_unlock(&registry_lock);
    return slot; /* METRIC_REGION_NONE when none is left */
}

const char *metric_region_name(unsigned slot)
{
    if (slot >= METRIC_REGIONS_MAX) {
        return NULL;
    }
    return atomic_load_explicit(&region_names[slot], memory_order_acquire);
}

/* --- reading --------------------------------------------------------------------------------- */

static int64_t sum_of_cell(size_t cell)
{
    uint64_t sum = 0; /* unsigned, so that a sum of ns may wrap as Prometheus counters may */
    struct metric_block *block = atomic_load_explicit(&newest_block, memory_order_acquire);

    for (; block != NULL; block = block->next) {
        sum += (uint64_t)atomic_load_explicit(&block->cells.all[cell], memory_order_relaxed);
    }
    return (int64_t)sum;
}

void metric_read_histogram(enum metric_family family, unsigned l0, unsigned l1, unsigned l2,
                           struct metric_histogram *ret)
{
    size_t first = series_cell(family, l0, l1, l2);

    *ret = (struct metric_histogram){0};
    for (size_t i = 0; i < METRIC_BUCKET_COUNT; i++) {
        ret->buckets[i] = (uint64_t)sum_of_cell(first + i);
        ret->count += ret->buckets[i];
    }
    ret->sum_ns = (uint64_t)sum_of_cell(first + METRIC_BUCKET_COUNT);
}

int64_t metric_sum(enum metric_family family, unsigned l0, unsigned l1, unsigned l2)
{
    struct metric_histogram histogram;

    ASSERT(family < METRIC_FAMILY_COUNT);
    if (rows[family].type != METRIC_HISTOGRAM) {
        return sum_of_cell(series_cell(family, l0, l1, l2));
    }
    metric_read_histogram(family, l0, 0, 0, &histogram);
    return (int64_t)(l1 == 0 ? histogram.count : histogram.sum_ns);
}

static double quantile_of(const struct metric_histogram *histogram, double q)
{
    double rank = q * (double)histogram->count;
    double below = 0;

    if (histogram->count == 0) {
        return 0;
    }
    for (size_t i = 0; i < METRIC_BOUND_COUNT; i++) {
        double inside = (double)histogram->buckets[i];
        if (inside > 0 && below + inside >= rank) {
            double low = i == 0 ? 0 : (double)bounds_ns[i - 1];
            double high = (double)bounds_ns[i];
            return (low + (high - low) * (rank - below) / inside) / (double)NS_PER_S;
        }
        below += inside;
    }
    /* In the bucket without a bound: all that is known is "more than the last bound". */
    return (double)bounds_ns[METRIC_BOUND_COUNT - 1] / (double)NS_PER_S;
}

double metric_quantile(enum metric_family family, unsigned l0, double q)
{
    struct metric_histogram histogram;

    ASSERT(family < METRIC_FAMILY_COUNT && rows[family].type == METRIC_HISTOGRAM);
    metric_read_histogram(family, l0, 0, 0, &histogram);
    return quantile_of(&histogram, q);
}

void metric_mark(enum metric_family family, unsigned l0, struct metric_mark *ret_mark)
{
    struct metric_histogram histogram;

    _Static_assert(METRIC_BUCKET_COUNT <= METRIC_MARK_BUCKETS, "a mark holds every bucket");
    ASSERT(family < METRIC_FAMILY_COUNT && rows[family].type == METRIC_HISTOGRAM);
    metric_read_histogram(family, l0, 0, 0, &histogram);
    *ret_mark = (struct metric_mark){.buckets = {0}};
    for (size_t i = 0; i < METRIC_BUCKET_COUNT; i++) {
        ret_mark->buckets[i] = (uint32_t)histogram.buckets[i];
    }
}

double metric_quantile_since(enum metric_family family, unsigned l0, const struct metric_mark *mark,
                             double q)
{
    struct metric_histogram histogram;

    ASSERT(family < METRIC_FAMILY_COUNT && rows[family].type == METRIC_HISTOGRAM);
    metric_read_histogram(family, l0, 0, 0, &histogram);
    histogram.count = 0;
    for (size_t i = 0; i < METRIC_BUCKET_COUNT; i++) {
        histogram.buckets[i] = (uint32_t)histogram.buckets[i] - mark->buckets[i]; /* mod 2^32 */
        histogram.count += histogram.buckets[i];
    }
    return quantile_of(&histogram, q);
}
