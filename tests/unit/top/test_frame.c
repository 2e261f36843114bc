/* SPDX-License-Identifier: MIT */
/* What `nearside top` draws of a status, and that no text can do more than be read. */
#include "top/frame_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define WIDE 200

static const char status_text[] =
    "{\"edge\":{\"id\":\"fra-1\",\"version\":\"1.2\",\"uptime_s\":7300,\"config_generation\":3,"
    "\"time\":\"2026-11-22T10:20:30.123Z\",\"draining\":false,\"suspect\":false,"
    "\"last_reload\":{\"ok\":true},\"last_upgrade\":{\"ok\":false,\"error\":\"it ended\"}},"
    "\"home\":\"eu-west\",\"home_since_s\":65,"
    "\"choice\":{\"why\":\"the closest\",\"next\":\"ap-south\"},"
    "\"regions\":["
    "{\"name\":\"us-east\",\"tls_verify\":\"off\",\"state\":\"down\",\"breaker\":\"closed\","
    "\"since_s\":12,"
    "\"path_latency_ms\":null,\"pending\":0,\"inflight\":0,\"share\":null,"
    "\"redis\":{\"configured\":true,\"up\":false},\"endpoints\":["
    "{\"address\":\"10.0.0.5:8000\",\"state\":\"down\",\"breaker\":\"closed\",\"since_s\":12,"
    "\"reason\":\"connect_refused\"}]},"
    "{\"name\":\"eu-west\",\"state\":\"up\",\"breaker\":\"closed\",\"since_s\":90000,"
    "\"near\":true,\"path_latency_ms\":0.42,\"pending\":3,\"inflight\":7,\"share\":0.875,"
    "\"endpoints\":[{\"address\":\"10.1.0.5:8000\",\"state\":\"up\",\"breaker\":\"closed\"},"
    "{\"address\":\"10.1.0.6:8000\",\"state\":\"up\",\"breaker\":\"open\",\"since_s\":5,"
    "\"reason\":\"status_5xx\"}]}],"
    "\"requests\":{\"per_s\":12.34,\"inflight\":{\"queued\":1,\"waiting\":2,\"streaming\":4}},"
    "\"cache\":{\"enabled\":true,\"hit_ratio\":0.5,\"saved_tokens\":99},"
    "\"connections\":{\"clients\":8},\"limits_hit_recently\":{\"queue_length\":5},"
    "\"events\":[{\"endpoint\":\"10.0.0.5:8000\",\"time\":\"\",\"text\":\"of a pod\"},"
    "{\"endpoint\":\"\",\"time\":\"2026-11-22T10:20:18.000Z\",\"text\":\"home of eu-west\"}]}";

struct drawn {
    json_t *status;
    struct buf out;
};

static int setup(void **state)
{
    static struct drawn drawn;

    buf_init(&drawn.out);
    drawn.status = json_loads(status_text, 0, NULL);
    assert_non_null(drawn.status);
    *state = &drawn;
    return 0;
}

static int teardown(void **state)
{
    struct drawn *drawn = *state;

    buf_done(&drawn->out);
    json_decref(drawn->status);
    return 0;
}

static void draw(struct drawn *drawn, size_t width, size_t height, bool escapes)
{
    struct frame frame = {.status = drawn->status};
    struct page page = {.out = &drawn->out, .width = width, .height = height, .escapes = escapes};

    buf_clear(&drawn->out);
    frame_draw(&frame, &page);
}

static bool says(const struct drawn *drawn, const char *what)
{
    struct str text = buf_str(&drawn->out);

    return str_find(text, str_of(what)) < text.len;
}

static void test_it_tells_where_requests_go_what_is_wrong_and_what_happened(void **state)
{
    static const char *const wanted[] = {
        "Nearside fra-1  1.2  up 2 h 1 min  generation 3\n",
        "New requests go to eu-west, 0.42 ms, near, for 1 min: the closest\n",
        "If it fails: ap-south\n",
        "! last upgrade failed: it ended\n",
        "! certificates of us-east are not checked\n",
        "! limit hit: queue_length, 5 times in the last minute\n",
        "answers/s 12.3   queued 1   waiting 2   streaming 4   clients 8   cache hits 50 %   "
        "saved 99 tokens\n",
        "> eu-west  up        1 d 1 h    0.42 ms near   88 %",
        "  us-east  down      12 s       -              -",
        "DOWN",
        "  us-east 10.0.0.5:8000 down for 12 s connect_refused\n",
        "  eu-west 10.1.0.6:8000 aside for 5 s status_5xx\n",
        "  10:20:18 home of eu-west\n",
    };
    struct drawn *drawn = *state;

    draw(drawn, WIDE, WIDE, false);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        if (!says(drawn, wanted[i])) {
            fail_msg("no \"%s\" in\n%.*s", wanted[i], STR_FMT(buf_str(&drawn->out)));
        }
    }
    assert_false(says(drawn, "of a pod"));
    assert_false(says(drawn, "\033"));
    assert_false(says(drawn, " \n"));
}

static void test_a_region_whose_pods_were_all_drained_does_not_look_well(void **state)
{
    struct drawn *drawn = *state;
    json_t *region = json_array_get(json_object_get(drawn->status, "regions"), 1);

    assert_int_equal(json_object_set_new(region, "verdict", json_string("no_endpoint")), 0);
    draw(drawn, WIDE, WIDE, false);
    assert_true(says(drawn, "> eu-west  no pod    "));
    assert_int_equal(json_object_set_new(region, "drained", json_true()), 0);
    assert_int_equal(json_object_set_new(region, "state", json_string("drained")), 0);
    draw(drawn, WIDE, WIDE, false);
    assert_true(says(drawn, "> eu-west  drained   "));
}

/* At every width no line is longer, at every height there are no more lines. */
static void test_it_never_draws_outside_of_the_screen(void **state)
{
    struct drawn *drawn = *state;

    for (size_t size = 1; size <= 150; size++) {
        struct str rest;
        size_t lines = 1;

        draw(drawn, size, size / 4 + 1, false);
        rest = buf_str(&drawn->out);
        while (rest.len > 0) {
            size_t end = str_find_char(rest, '\n');

            assert_true(end <= size);
            assert_true(lines++ <= size / 4 + 1);
            rest = str_slice(rest, end + 1, rest.len);
        }
    }
}

static void test_the_last_line_of_the_screen_does_not_scroll_it(void **state)
{
    struct drawn *drawn = *state;

    draw(drawn, 80, 5, true);
    assert_true(str_ends(buf_str(&drawn->out), STR_LIT("\033[K")));
}

static void test_a_narrow_terminal_keeps_state_and_latency(void **state)
{
    struct drawn *drawn = *state;

    draw(drawn, 39, 40, false);
    assert_true(says(drawn, "LATENCY"));
    assert_false(says(drawn, "PODS  "));
    assert_false(says(drawn, "TTFT99"));
    draw(drawn, 80, 40, false);
    assert_true(says(drawn, "TTFT99"));
    assert_false(says(drawn, "EDGES"));
}

static void test_what_an_edge_sends_cannot_act_on_the_terminal(void **state)
{
    struct drawn *drawn = *state;
    json_t *edge = json_object_get(drawn->status, "edge");

    assert_int_equal(json_object_set_new(edge, "id",
                                         json_string("\033[2Ja\x7f\xc2\x9b"
                                                     "2J\xc3\xa9")),
                     0);
    draw(drawn, WIDE, WIDE, false);
    assert_true(says(drawn, "Nearside ?[2Ja???2J\xc3\xa9  "));
}

static void test_a_lost_edge_is_told_with_how_long_and_why(void **state)
{
    struct drawn *drawn = *state;
    struct frame frame = {.status = drawn->status, .trouble = "edge:1: refused", .lost_s = 75};
    struct page page = {.out = &drawn->out, .width = WIDE, .height = WIDE};

    frame_draw(&frame, &page);
    assert_true(says(drawn, "! no answer for 1 min: edge:1: refused\n"));
    assert_true(says(drawn, "what follows is from 10:20:30 UTC\n"));
    frame.status = NULL;
    buf_clear(&drawn->out);
    page.row = 0;
    frame_draw(&frame, &page);
    assert_true(says(drawn, "! no answer for 1 min: edge:1: refused\n"));
}

/* An edge of another version may lack anything. */
static void test_an_empty_status_is_drawn(void **state)
{
    struct drawn *drawn = *state;

    (void)json_object_clear(drawn->status);
    draw(drawn, 80, 24, true);
    assert_true(says(drawn, "No region can serve new requests."));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_it_tells_where_requests_go_what_is_wrong_and_what_happened),
        TEST(test_a_region_whose_pods_were_all_drained_does_not_look_well),
        TEST(test_it_never_draws_outside_of_the_screen),
        TEST(test_the_last_line_of_the_screen_does_not_scroll_it),
        TEST(test_a_narrow_terminal_keeps_state_and_latency),
        TEST(test_what_an_edge_sends_cannot_act_on_the_terminal),
        TEST(test_a_lost_edge_is_told_with_how_long_and_why),
        TEST(test_an_empty_status_is_drawn),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
