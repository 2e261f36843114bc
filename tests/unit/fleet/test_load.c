/* SPDX-License-Identifier: MIT */
/* Load reports: requests add up, shares are averaged, stale ones do not count. */
#include <nearside/base/clock.h>
#include <nearside/fleet/load.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void fill(struct load_report *report, uint64_t endpoint_id, unsigned slot, double waiting,
                 double gpu)
{
    *report = (struct load_report){.endpoint_id = endpoint_id,
                                   .slot = slot,
                                   .read_ns = 10 * NS_PER_S,
                                   .keep_ns = 5 * NS_PER_S,
                                   .reason = ""};
    load_add(&report->load, LOAD_WAITING, waiting);
    load_add(&report->load, LOAD_GPU, gpu);
}

static void test_a_region_is_the_sum_of_its_requests_and_the_mean_of_its_shares(void **state)
{
    struct load_reports reports;
    struct load_report a;
    struct load_report b;
    struct load_report elsewhere;
    struct load load;
    double value = 0;

    (void)state;
    load_reports_init(&reports);
    fill(&a, 1, 0, 4, 0.5);
    fill(&b, 0, 0, 3, 1.0);
    fill(&elsewhere, 2, 1, 100, 0);
    load_reports_add(&reports, &a);
    load_reports_add(&reports, &b);
    load_reports_add(&reports, &elsewhere);
    load_of_region(&reports, 0, 11 * NS_PER_S, &load);
    assert_true(load_value(&load, LOAD_WAITING, &value));
    assert_float_equal(value, 7, 1e-9);
    assert_true(load_value(&load, LOAD_GPU, &value));
    assert_float_equal(value, 0.75, 1e-9);
    assert_false(load_value(&load, LOAD_RUNNING, &value));
    assert_ptr_equal(load_reports_find(&reports, 2), &elsewhere);
    assert_null(load_reports_find(&reports, 3));
    load_reports_remove(&reports, &a);
    load_reports_remove(&reports, &b);
    load_reports_remove(&reports, &elsewhere);
    assert_null(load_reports_find(&reports, 2));
    load_reports_done(&reports);
}

static void test_a_stale_report_does_not_count(void **state)
{
    struct load_reports reports;
    struct load_report report;
    struct load load;
    double value;

    (void)state;
    load_reports_init(&reports);
    fill(&report, 1, 0, 4, 0.5);
    load_reports_add(&reports, &report);
    load_of_region(&reports, 0, 15 * NS_PER_S - 1, &load);
    assert_true(load_value(&load, LOAD_WAITING, &value));
    load_of_region(&reports, 0, 15 * NS_PER_S, &load);
    assert_false(load_value(&load, LOAD_WAITING, &value));
    report.read_ns = 0; /* never read */
    assert_false(load_report_is_fresh(&report, 0));
    load_reports_remove(&reports, &report);
    load_reports_done(&reports);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_region_is_the_sum_of_its_requests_and_the_mean_of_its_shares),
        cmocka_unit_test(test_a_stale_report_does_not_count),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
