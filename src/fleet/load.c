/* SPDX-License-Identifier: MIT */
/* Load reports: adding parts up, and dropping what is stale. */
#include <nearside/fleet/load.h>

#include <nearside/base/assert.h>
#include <nearside/base/attr.h>
#include <nearside/base/hash.h>

static const struct {
    const char *word;
    bool is_share;
} signals[LOAD_SIGNAL_COUNT] = {
#define X(suffix, text, share) [LOAD_##suffix] = {text, share},
    LOAD_SIGNALS(X)
#undef X
};

const char *load_signal_word(enum load_signal signal)
{
    ASSERT(signal < LOAD_SIGNAL_COUNT);
    return signals[signal].word;
}

void load_add(struct load *load, enum load_signal signal, double value)
{
    ASSERT(signal < LOAD_SIGNAL_COUNT);
    if (!(value >= 0 && value <= LOAD_VALUE_MAX)) { /* NaN is neither */
        return;
    }
    load->parts[signal]++;
    load->sums[signal] += value;
}

void load_merge(struct load *load, const struct load *other)
{
    for (unsigned signal = 0; signal < LOAD_SIGNAL_COUNT; signal++) {
        load->parts[signal] += other->parts[signal];
        load->sums[signal] += other->sums[signal];
    }
}

bool load_value(const struct load *load, enum load_signal signal, double *ret_value)
{
    ASSERT(signal < LOAD_SIGNAL_COUNT);
    if (load->parts[signal] == 0) {
        return false;
    }
    *ret_value = load->sums[signal] / (signals[signal].is_share ? (double)load->parts[signal] : 1);
    return true;
}

/* ---- reports ---- */

void load_reports_init(struct load_reports *reports)
{
    list_init(&reports->all);
    table_init(&reports->endpoints);
}

void load_reports_done(struct load_reports *reports)
{
    ASSERT(list_is_empty(&reports->all));
    table_done(&reports->endpoints);
}

void load_reports_add(struct load_reports *reports, struct load_report *report)
{
    list_push_back(&reports->all, &report->link);
    if (report->endpoint_id != 0) {
        table_insert(&reports->endpoints, &report->by_endpoint, hash_u64(report->endpoint_id));
    }
}

void load_reports_remove(struct load_reports *reports, struct load_report *report)
{
    list_remove(&report->link);
    if (report->endpoint_id != 0) {
        table_remove(&reports->endpoints, &report->by_endpoint);
    }
}

bool load_report_is_fresh(const struct load_report *report, uint64_t now_ns)
{
    return report->read_ns != 0 && now_ns < report->read_ns + report->keep_ns;
}

struct load_report *load_reports_find(const struct load_reports *reports, uint64_t endpoint_id)
{
    struct table_item *item = table_first(&reports->endpoints, hash_u64(endpoint_id));

    while (item != NULL) {
        struct load_report *report = CONTAINER_OF(item, struct load_report, by_endpoint);

        if (report->endpoint_id == endpoint_id) {
            return report;
        }
        item = table_next(item);
    }
    return NULL;
}

void load_of_region(const struct load_reports *reports, unsigned slot, uint64_t now_ns,
                    struct load *ret_load)
{
    struct list *item;

    *ret_load = (struct load){.parts = {0}};
    LIST_FOREACH (item, &reports->all) {
        const struct load_report *report = LIST_ITEM(item, struct load_report, link);

        if (report->slot == slot && load_report_is_fresh(report, now_ns)) {
            load_merge(ret_load, &report->load);
        }
    }
}
