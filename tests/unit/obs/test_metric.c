/* SPDX-License-Identifier: MIT */
/* Metrics: sums over threads, slots, quantiles, and a text that a Prometheus parser takes. */
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/obs/metric_text.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <pthread.h>

#define THREADS 4
#define ROUNDS  20000

/* Blocks and slots live as long as the process; each test counts in series of its own. */
static struct metric_block *block;

static int make_block(void **state)
{
    (void)state;
    block = metric_block_new();
    return 0;
}

static void *count_rounds(void *arg)
{
    struct metric_block *own = metric_block_new();
    unsigned slot = *(const unsigned *)arg;

    for (int i = 0; i < ROUNDS; i++) {
        metric_inc(own, METRIC_RETRIES, slot);
        metric_observe_ns(own, METRIC_CONNECT_SECONDS, slot, 2 * NS_PER_MS);
    }
    return NULL;
}

static void test_metric_sums_what_all_threads_counted_while_they_count(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    unsigned slot = metric_region_slot(STR_LIT("threads"));
    int64_t last = 0;

    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_rounds, &slot), 0);
    }
    for (int i = 0; i < 1000; i++) {
        int64_t now = metric_sum(METRIC_RETRIES, slot, 0, 0);
        assert_true(now >= last && now <= THREADS * ROUNDS);
        last = now;
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(metric_sum(METRIC_RETRIES, slot, 0, 0), THREADS * ROUNDS);
    assert_int_equal(metric_sum(METRIC_CONNECT_SECONDS, slot, 0, 0), THREADS * ROUNDS);
    assert_true(metric_sum(METRIC_CONNECT_SECONDS, slot, 1, 0) ==
                (int64_t)(THREADS * ROUNDS * 2 * NS_PER_MS));
}

static void test_metric_gauge_goes_up_on_one_block_and_down_on_another(void **state)
{
    (void)state;
    struct metric_block *other = metric_block_new();

    metric_add(block, METRIC_INFLIGHT, METRIC_PHASE_QUEUED, 0, 0, 3);
    metric_add(other, METRIC_INFLIGHT, METRIC_PHASE_QUEUED, 0, 0, -2);
    assert_int_equal(metric_sum(METRIC_INFLIGHT, METRIC_PHASE_QUEUED, 0, 0), 1);
    metric_add(other, METRIC_INFLIGHT, METRIC_PHASE_QUEUED, 0, 0, -1);
    assert_int_equal(metric_sum(METRIC_INFLIGHT, METRIC_PHASE_QUEUED, 0, 0), 0);
}

/* Every series has a cell of its own: neighbours at the edges of each dimension do not meet. */
static void test_metric_series_do_not_overlap(void **state)
{
    (void)state;
    unsigned last = METRIC_REGION_NONE;
    unsigned reason = OUTCOME_COUNT - 1;

    metric_add(block, METRIC_FAILOVERS, last, last, reason, 7);
    metric_add(block, METRIC_FAILOVERS, last, last, 0, 11);
    metric_add(block, METRIC_FAILOVERS, last, 0, 0, 13);
    assert_int_equal(metric_sum(METRIC_FAILOVERS, last, last, reason), 7);
    assert_int_equal(metric_sum(METRIC_FAILOVERS, last, last, 0), 11);
    assert_int_equal(metric_sum(METRIC_FAILOVERS, last, 0, 0), 13);
    assert_int_equal(metric_sum(METRIC_FAILOVERS, last, last - 1, reason), 0);
    /* The family after it is untouched. */
    assert_int_equal(metric_sum(METRIC_FAILOVER_SECONDS, 0, 0, 0), 0);
}

static void test_metric_region_keeps_its_slot(void **state)
{
    (void)state;
    unsigned first = metric_region_slot(STR_LIT("eu-west"));
    unsigned second = metric_region_slot(STR_LIT("us-east"));

    assert_true(first < METRIC_REGIONS_MAX && second < METRIC_REGIONS_MAX);
    assert_int_not_equal(first, second);
    assert_int_equal(metric_region_slot(STR_LIT("eu-west")), first);
    assert_string_equal(metric_region_name(first), "eu-west");
    assert_null(metric_region_name(METRIC_REGION_NONE));
    assert_null(metric_region_name(METRIC_REGIONS_MAX - 1));
}

static void assert_near(double value, double expected)
{
    assert_true(value > expected * 0.999 && value < expected * 1.001);
}

static void test_metric_quantile_interpolates_inside_a_bucket(void **state)
{
    (void)state;
    unsigned slot = metric_region_slot(STR_LIT("quantile"));

    assert_true(metric_quantile(METRIC_TTFT_SECONDS, slot, 0.5) == 0);
    for (int i = 0; i < 100; i++) {
        metric_observe_ns(block, METRIC_TTFT_SECONDS, slot, 60 * NS_PER_MS); /* 0.05 .. 0.1 */
    }
    assert_near(metric_quantile(METRIC_TTFT_SECONDS, slot, 0.5), 0.075);
    assert_near(metric_quantile(METRIC_TTFT_SECONDS, slot, 1), 0.1);
    for (int i = 0; i < 100; i++) {
        metric_observe_ns(block, METRIC_TTFT_SECONDS, slot, 2 * NS_PER_S); /* 1 .. 2.5 */
    }
    assert_near(metric_quantile(METRIC_TTFT_SECONDS, slot, 0.25), 0.075);
    assert_near(metric_quantile(METRIC_TTFT_SECONDS, slot, 0.75), 1.75);
    for (int i = 0; i < 200; i++) {
        metric_observe_ns(block, METRIC_TTFT_SECONDS, slot, 3600 * NS_PER_S); /* no bound */
    }
    assert_near(metric_quantile(METRIC_TTFT_SECONDS, slot, 0.99), 600);
}

static void test_outcomes_say_what_may_be_retried_and_who_is_blamed(void **state)
{
    (void)state;
    assert_string_equal(outcome_word(OUTCOME_CONNECT_REFUSED), "connect_refused");
    assert_true(outcome_may_retry(OUTCOME_STALE));
    assert_false(outcome_is_blamed(OUTCOME_STALE));
    assert_false(outcome_may_retry(OUTCOME_CUT));
    assert_true(outcome_is_blamed(OUTCOME_CUT));
}

/* --- text ------------------------------------------------------------------------------------ */

static void assert_has_line(const struct buf *text, const char *line)
{
    char *wanted = mem_printf("\n%s\n", line);

    if (str_find(buf_str(text), str_of(wanted)) == buf_len(text)) {
        fail_msg("no line: %s", line);
    }
    mem_free(wanted);
}

static void assert_lacks(const struct buf *text, const char *part)
{
    assert_int_equal(str_find(buf_str(text), str_of(part)), buf_len(text));
}

static void test_metric_text_shows_counters_gauges_and_histograms(void **state)
{
    (void)state;
    struct buf text;
    unsigned slot = metric_region_slot(STR_LIT("text"));

    metric_region_slot(STR_LIT("quiet"));
    metric_add(block, METRIC_REQUESTS, slot, METRIC_2XX, 0, 12);
    metric_add(block, METRIC_REQUESTS, METRIC_REGION_NONE, METRIC_5XX, 0, 1);
    metric_add(block, METRIC_PENDING, slot, 0, 0, 2);
    metric_add(block, METRIC_CACHE, METRIC_TIER_REDIS, METRIC_CACHE_HIT, 0, 5);
    metric_observe_ns(block, METRIC_REQUEST_SECONDS, slot, 100 * NS_PER_MS); /* on a bound */
    metric_observe_ns(block, METRIC_REQUEST_SECONDS, slot, 100 * NS_PER_MS + 1);
    metric_observe_ns(block, METRIC_REQUEST_SECONDS, slot, 700 * NS_PER_S);

    buf_init(&text);
    buf_append_char(&text, '\n');
    metric_text_families(&text);
    assert_has_line(&text, "# TYPE nearside_requests_total counter");
    assert_has_line(&text, "nearside_requests_total{region=\"text\",class=\"2xx\"} 12");
    assert_has_line(&text, "nearside_requests_total{region=\"\",class=\"5xx\"} 1");
    assert_has_line(&text, "nearside_pending_requests{region=\"text\"} 2");
    assert_has_line(&text, "nearside_pending_requests{region=\"quiet\"} 0");
    assert_has_line(&text, "nearside_cache_requests_total{tier=\"redis\",result=\"hit\"} 5");
    assert_has_line(&text, "nearside_cache_requests_total{tier=\"memory\",result=\"reject\"} 0");
    assert_has_line(&text, "nearside_bad_requests_total 0");
    assert_has_line(&text, "nearside_overhead_seconds_bucket{le=\"+Inf\"} 0");
    assert_has_line(&text,
                    "nearside_request_duration_seconds_bucket{region=\"text\",le=\"0.05\"} 0");
    assert_has_line(&text,
                    "nearside_request_duration_seconds_bucket{region=\"text\",le=\"0.1\"} 1");
    assert_has_line(&text,
                    "nearside_request_duration_seconds_bucket{region=\"text\",le=\"0.25\"} 2");
    assert_has_line(&text,
                    "nearside_request_duration_seconds_bucket{region=\"text\",le=\"600\"} 2");
    assert_has_line(&text,
                    "nearside_request_duration_seconds_bucket{region=\"text\",le=\"+Inf\"} 3");
    assert_has_line(&text, "nearside_request_duration_seconds_sum{region=\"text\"} 700.200000001");
    assert_has_line(&text, "nearside_request_duration_seconds_count{region=\"text\"} 3");
    assert_lacks(&text, "nearside_request_duration_seconds_count{region=\"quiet\"}");
    assert_lacks(&text, "region=\"quiet\",class");
    buf_done(&text);
}

/* The conventions that `promtool check metrics` asks for. */
static void test_metric_text_declares_each_family_once_and_names_it_by_its_type(void **state)
{
    (void)state;
    struct buf text;

    buf_init(&text);
    metric_text_families(&text);
    for (unsigned i = 0; i < METRIC_FAMILY_COUNT; i++) {
        const struct metric_row *row = metric_row((enum metric_family)i);
        char *help = mem_printf("# HELP %s ", row->name);
        struct str rest = buf_str(&text);
        bool is_total = str_ends(str_of(row->name), STR_LIT("_total"));

        size_t at = str_find(rest, str_of(help));
        assert_true(at < rest.len);
        rest = str_slice(rest, at + 1, rest.len);
        assert_int_equal(str_find(rest, str_of(help)), rest.len);
        assert_int_equal(is_total, row->type == METRIC_COUNTER);
        assert_int_equal(str_ends(str_of(row->name), STR_LIT("_seconds")),
                         row->type == METRIC_HISTOGRAM);
        mem_free(help);
    }
    buf_done(&text);
}

static void test_metric_text_escapes_labels_and_keeps_numbers_exact(void **state)
{
    (void)state;
    struct buf text;
    struct buf labels;

    buf_init(&text);
    buf_init(&labels);
    metric_text_label(&labels, "region", STR_LIT("a\"b\\c\nd"));
    metric_text_label(&labels, "state", STR_LIT("up"));
    metric_text_head(&text, "nearside_region_state", METRIC_GAUGE, "State.");
    metric_text_sample(&text, "nearside_region_state", labels.data, 1);
    metric_text_sample(&text, "x", "", 0.1);
    metric_text_sample(&text, "x", "", 1e15 + 1);
    metric_text_sample(&text, "x", "", 1.0 / 0.0);
    buf_append_char(&text, '\0');
    assert_string_equal(buf_str(&text).ptr,
                        "# HELP nearside_region_state State.\n"
                        "# TYPE nearside_region_state gauge\n"
                        "nearside_region_state{region=\"a\\\"b\\\\c\\nd\",state=\"up\"} 1\n"
                        "x 0.1\n"
                        "x 1000000000000001\n"
                        "x +Inf\n");
    buf_done(&text);
    buf_done(&labels);
}

static void test_metric_docs_name_every_family_and_label_value(void **state)
{
    (void)state;
    struct buf docs;

    buf_init(&docs);
    metric_text_docs(&docs);
    for (unsigned i = 0; i < METRIC_FAMILY_COUNT; i++) {
        const char *name = metric_row((enum metric_family)i)->name;
        assert_true(str_find(buf_str(&docs), str_of(name)) < buf_len(&docs));
    }
    assert_true(str_find(buf_str(&docs), STR_LIT("`tier` is one of `memory`, `redis`.")) <
                buf_len(&docs));
    buf_done(&docs);
}

/* Last: takes all slots. */
static void test_metric_region_slots_run_out(void **state)
{
    (void)state;
    char name[32];

    for (int i = 0; i < METRIC_REGIONS_MAX; i++) {
        snprintf(name, sizeof(name), "fill-%d", i);
        (void)metric_region_slot(str_of(name));
    }
    assert_int_equal(metric_region_slot(STR_LIT("one too many")), METRIC_REGION_NONE);
    assert_true(metric_region_slot(STR_LIT("eu-west")) < METRIC_REGIONS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metric_sums_what_all_threads_counted_while_they_count),
        cmocka_unit_test(test_metric_gauge_goes_up_on_one_block_and_down_on_another),
        cmocka_unit_test(test_metric_series_do_not_overlap),
        cmocka_unit_test(test_metric_region_keeps_its_slot),
        cmocka_unit_test(test_metric_quantile_interpolates_inside_a_bucket),
        cmocka_unit_test(test_outcomes_say_what_may_be_retried_and_who_is_blamed),
        cmocka_unit_test(test_metric_text_shows_counters_gauges_and_histograms),
        cmocka_unit_test(test_metric_text_declares_each_family_once_and_names_it_by_its_type),
        cmocka_unit_test(test_metric_text_escapes_labels_and_keeps_numbers_exact),
        cmocka_unit_test(test_metric_docs_name_every_family_and_label_value),
        cmocka_unit_test(test_metric_region_slots_run_out),
    };
    return cmocka_run_group_tests(tests, make_block, NULL);
}
