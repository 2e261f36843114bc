/* SPDX-License-Identifier: MIT */
/* The Prometheus text of all counted families, helpers for computed ones, and their docs page. */
#include <nearside/obs/metric_text.h>

#include "metric_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *type_word(enum metric_type type)
{
    switch (type) {
    case METRIC_COUNTER:
        return "counter";
    case METRIC_GAUGE:
        return "gauge";
    case METRIC_HISTOGRAM:
        return "histogram";
    }
    ASSERT_UNREACHABLE("metric type");
}

void metric_text_head(struct buf *out, const char *name, enum metric_type type, const char *help)
{
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type_word(type));
}

/* The shortest of two forms that reads back as the same number. */
static void append_double(struct buf *out, double value)
{
    char text[32];

    if (isnan(value)) {
        buf_append_str(out, STR_LIT("NaN"));
        return;
    }
    if (isinf(value)) {
        buf_append_str(out, value > 0 ? STR_LIT("+Inf") : STR_LIT("-Inf"));
        return;
    }
    snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) != value) {
        snprintf(text, sizeof(text), "%.17g", value);
    }
    buf_append_str(out, str_of(text));
}

/* `name` + `suffix` and the labels in braces, if there are any. */
static void append_series(struct buf *out, const char *name, const char *suffix, const char *labels)
{
    buf_append_str(out, str_of(name));
    buf_append_str(out, str_of(suffix));
    if (labels[0] != '\0') {
        buf_printf(out, "{%s}", labels);
    }
    buf_append_char(out, ' ');
}

void metric_text_sample(struct buf *out, const char *name, const char *labels, double value)
{
    append_series(out, name, "", labels);
    append_double(out, value);
    buf_append_char(out, '\n');
}

static void append_escaped(struct buf *out, struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        switch (value.ptr[i]) {
        case '\\':
            buf_append(out, "\\\\", 2);
            break;
        case '"':
            buf_append(out, "\\\"", 2);
            break;
        case '\n':
            buf_append(out, "\\n", 2);
            break;
        default:
            buf_append_char(out, value.ptr[i]);
            break;
        }
    }
}

void metric_text_label(struct buf *labels, const char *key, struct str value)
{
    if (buf_len(labels) > 0) {
        buf_append_char(labels, ',');
    }
    buf_printf(labels, "%s=\"", key);
    append_escaped(labels, value);
    buf_append_char(labels, '"');
    /* A NUL behind the text, not counted, so that the text is also a C string. */
    buf_append_char(labels, '\0');
    labels->end--;
}

/* --- counted families ------------------------------------------------------------------------ */

/* Where a walk over a family's series stands. */
struct series {
    enum metric_family family;
    const struct metric_row *row;
    const struct metric_dim *dims;
    unsigned values[METRIC_DIMS_MAX];
    struct buf labels; /* owned */
};

/* Set the label text. Returns how many labels got one: fewer than the family has when the next
 * one's value is a region that is not in use. */
static size_t set_labels(struct series *series)
{
    buf_clear(&series->labels);
    buf_append_char(&series->labels, '\0'); /* no labels: an empty C string */
    buf_clear(&series->labels);
    for (size_t i = 0; i < METRIC_DIMS_MAX; i++) {
        const struct metric_dim *dim = &series->dims[i];
        const char *word = dim->key == NULL ? "" : dim->word(series->values[i]);

        if (word == NULL) {
            return i;
        }
        if (dim->key != NULL) {
            metric_text_label(&series->labels, dim->key, str_of(word));
        }
    }
    return METRIC_DIMS_MAX;
}

/*
 * Zeros worth showing: every series of a family without regions, and one per known region. The
 * products of a region with something else, and the answers without a region, appear once counted.
 */
static bool is_shown_at_zero(const struct series *series)
{
    if (!series->dims[0].is_region) {
        return true;
    }
    return series->dims[1].key == NULL && series->values[0] != METRIC_REGION_NONE;
}

static void append_number(struct buf *out, const struct series *series)
{
    int64_t value =
        metric_sum(series->family, series->values[0], series->values[1], series->values[2]);

    if (value == 0 && !is_shown_at_zero(series)) {
        return;
    }
    append_series(out, series->row->name, "", series->labels.data);
    buf_printf(out, "%" PRId64 "\n", value);
}

static void append_bucket(struct buf *out, const struct series *series, const char *bound,
                          uint64_t count)
{
    buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", series->row->name,
               series->labels.data, buf_len(&series->labels) > 0 ? "," : "", bound, count);
}

static void append_histogram(struct buf *out, const struct series *series)
{
    struct metric_histogram histogram;
    uint64_t below = 0;

    metric_read_histogram(series->family, series->values[0], series->values[1], series->values[2],
                          &histogram);
    if (histogram.count == 0 && series->dims[0].is_region) {
        return;
    }
    for (size_t i = 0; i < METRIC_BOUND_COUNT; i++) {
        below += histogram.buckets[i];
        append_bucket(out, series, metric_bound_texts[i], below);
    }
    append_bucket(out, series, "+Inf", histogram.count);
    append_series(out, series->row->name, "_sum", series->labels.data);
    append_double(out, (double)histogram.sum_ns / (double)NS_PER_S);
    buf_append_char(out, '\n');
    append_series(out, series->row->name, "_count", series->labels.data);
    buf_append_u64(out, histogram.count);
    buf_append_char(out, '\n');
}

/* On to the next value of label `dim`, or else of the one before; false after the last one. */
static bool next_value(struct series *series, size_t dim)
{
    for (size_t i = dim + 1; i-- > 0;) {
        series->values[i]++;
        if (series->values[i] < series->dims[i].count) {
            return true;
        }
        series->values[i] = 0;
    }
    return false;
}

static void append_family(struct buf *out, enum metric_family family)
{
    const struct metric_row *row = metric_row(family);
    struct series series = {.family = family, .row = row, .dims = metric_dims(row->labels)};
    size_t dim = METRIC_DIMS_MAX - 1;

    buf_init(&series.labels);
    metric_text_head(out, row->name, row->type, row->help);
    do {
        size_t set = set_labels(&series);

        if (set < METRIC_DIMS_MAX) {
            dim = set; /* nothing to see below an unused region */
            continue;
        }
        dim = METRIC_DIMS_MAX - 1;
        if (row->type == METRIC_HISTOGRAM) {
            append_histogram(out, &series);
        } else {
            append_number(out, &series);
        }
    } while (next_value(&series, dim));
    buf_done(&series.labels);
}

void metric_text_families(struct buf *out)
{
    for (unsigned family = 0; family < METRIC_FAMILY_COUNT; family++) {
        append_family(out, (enum metric_family)family);
    }
}

/* --- docs/metrics.md ------------------------------------------------------------------------- */

static void append_label_names(struct buf *out, enum metric_labels labels)
{
    const struct metric_dim *dims = metric_dims(labels);

    if (dims[0].key == NULL) {
        buf_append_char(out, '-');
    }
    for (size_t i = 0; i < METRIC_DIMS_MAX && dims[i].key != NULL; i++) {
        buf_printf(out, "%s`%s`", i == 0 ? "" : " ", dims[i].key);
    }
}

static void append_label_values(struct buf *out, enum metric_labels labels)
{
    const struct metric_dim *dims = metric_dims(labels);

    for (size_t i = 0; i < METRIC_DIMS_MAX && dims[i].key != NULL; i++) {
        if (dims[i].is_region) {
            continue;
        }
        buf_printf(out, " `%s` is one of", dims[i].key);
        for (unsigned value = 0; value < dims[i].count; value++) {
            buf_printf(out, "%s `%s`", value == 0 ? "" : ",", dims[i].word(value));
        }
        buf_append_char(out, '.');
    }
}

void metric_text_docs(struct buf *out)
{
    buf_append_str(out, STR_LIT("| name | type | labels | meaning |\n|---|---|---|---|\n"));
    for (unsigned family = 0; family < METRIC_FAMILY_COUNT; family++) {
        const struct metric_row *row = metric_row((enum metric_family)family);

        buf_printf(out, "| `%s` | %s | ", row->name, type_word(row->type));
        append_label_names(out, row->labels);
        buf_printf(out, " | %s", row->help);
        append_label_values(out, row->labels);
        buf_append_str(out, STR_LIT(" |\n"));
    }
    buf_append_str(out, STR_LIT("\nHistograms count into buckets with the upper bounds (seconds)"));
    for (size_t i = 0; i < METRIC_BOUND_COUNT; i++) {
        buf_printf(out, " %s", metric_bound_texts[i]);
    }
    buf_append_str(out, STR_LIT(" and +Inf.\n"));
}
