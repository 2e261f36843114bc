/* SPDX-License-Identifier: MIT */
/* Flights on one loop, step by step: one leads, the others get what it gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <nearside/base/mem.h>
#include <nearside/cache/flight.h>
#include <nearside/loop/loop.h>

#include <string.h>

#define BYTES_MAX 100000 /* of one log */
#define ALL_BYTES 3000000
#define FOLLOWERS 5

/* ---- on one loop ---- */

struct fixture {
    struct flights *flights;
    struct loop *loop;
};

/* A request, as far as flights see one. */
struct party {
    struct flight_member member;
    unsigned calls;
    bool leaves; /* in its next call */
};

static const struct flight_head json_head = {
    .status = 200,
    .fields = {.ptr = "Content-Type: application/json\r\n", .len = 32},
    .has_length = true,
    .length = 6,
    .region_slot = 3,
};

static struct cache_key key_of(uint8_t number)
{
    return (struct cache_key){.bytes = {number, 1, 2, 3}};
}

static void on_party_news(struct flight_member *member, void *arg)
{
    struct party *party = arg;

    assert_ptr_equal(member, &party->member);
    party->calls++;
    if (party->leaves) {
        flight_leave(member);
    }
}

static void party_init(struct fixture *fixture, struct party *party)
{
    *party = (struct party){.calls = 0};
    flight_member_init(&party->member, fixture->loop, on_party_news, party);
}

static enum flight_part join(struct fixture *fixture, struct party *party, uint8_t number)
{
    struct cache_key key = key_of(number);

    party_init(fixture, party);
    return flight_join(fixture->flights, &key, BYTES_MAX, &party->member);
}

static void on_stop_message(struct loop_message *message, void *arg)
{
    mem_free(message);
    loop_stop(arg);
}

/* Let every message that is under way arrive, and those that follow from it. */
static void deliver(struct fixture *fixture)
{
    for (unsigned i = 0; i < 8; i++) {
        loop_post(fixture->loop, mem_new(struct loop_message), on_stop_message, fixture->loop);
        loop_run(fixture->loop);
    }
}

static void append(struct party *leader, const char *text)
{
    assert_true(flight_append(&leader->member, str_of(text)));
}

/* Everything there is to read, as text. */
static const char *read_all(struct party *party)
{
    static char text[BYTES_MAX * 4];
    size_t len = 0;
    struct str bytes;

    while ((bytes = flight_peek(&party->member)).len > 0) {
        assert_true(len + bytes.len < sizeof(text));
        memcpy(text + len, bytes.ptr, bytes.len);
        len += bytes.len;
        flight_consume(&party->member, bytes.len);
    }
    text[len] = '\0';
    return text;
}

static int setup(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);

    fixture->flights = flights_new(ALL_BYTES, FOLLOWERS);
    fixture->loop = loop_new("test");
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    loop_free(fixture->loop);
    assert_int_equal(flights_count(fixture->flights), 0);
    assert_int_equal(flights_bytes(fixture->flights), 0);
    flights_free(fixture->flights);
    mem_free(fixture);
    return 0;
}

static void test_the_first_leads_and_the_others_follow(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party follower;
    struct party other;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    assert_int_equal(join(fixture, &other, 2), FLIGHT_LEAD);
    assert_true(flight_leads(&leader.member));
    assert_false(flight_leads(&follower.member));
    assert_int_equal(flights_count(fixture->flights), 2);
    flight_leave(&follower.member);
    flight_leave(&follower.member); /* harmless */
    flight_leave(&leader.member);
    flight_leave(&other.member);
    assert_int_equal(flights_count(fixture->flights), 0);
}

static void test_a_follower_gets_head_bytes_and_end_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party follower;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    assert_int_equal(flight_state(&follower.member), FLIGHT_OPEN);
    assert_null(flight_head(&follower.member));

    flight_publish(&leader.member, &json_head);
    deliver(fixture);
    assert_int_equal(follower.calls, 0); /* a head without bytes is no news yet */
    append(&leader, "abc");
    assert_int_equal(follower.calls, 0); /* never from inside a call */
    deliver(fixture);
    assert_int_equal(follower.calls, 1);
    assert_int_equal(flight_state(&follower.member), FLIGHT_FLOWING);
    const struct flight_head *head = flight_head(&follower.member);
    assert_int_equal(head->status, 200);
    assert_memory_equal(head->fields.ptr, json_head.fields.ptr, json_head.fields.len);
    assert_int_equal(head->length, 6);
    assert_int_equal(head->region_slot, 3);
    assert_string_equal(read_all(&follower), "abc");

    append(&leader, "def");
    deliver(fixture);
    assert_int_equal(follower.calls, 2);
    assert_string_equal(read_all(&follower), "def");
    flight_end(&leader.member);
    assert_false(flight_is_joined(&leader.member));
    deliver(fixture);
    assert_int_equal(follower.calls, 3);
    assert_int_equal(flight_state(&follower.member), FLIGHT_ENDED);
    assert_string_equal(read_all(&follower), "");
    flight_leave(&follower.member);
}

static void test_a_late_follower_gets_what_has_come_and_then_the_rest(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party follower;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    flight_publish(&leader.member, &json_head);
    append(&leader, "abc");
    append(&leader, "def");
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    deliver(fixture);
    assert_int_equal(follower.calls, 1);
    assert_string_equal(read_all(&follower), "abcdef");
    append(&leader, "g");
    flight_end(&leader.member);
    deliver(fixture);
    assert_string_equal(read_all(&follower), "g");
    flight_leave(&follower.member);
}

static void test_an_ended_flight_is_not_joined_but_read_to_its_end(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party follower;
    struct party next;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    flight_publish(&leader.member, &json_head);
    append(&leader, "abc");
    flight_end(&leader.member);
    assert_int_equal(join(fixture, &next, 1), FLIGHT_LEAD);
    flight_leave(&next.member);
    assert_string_equal(read_all(&follower), "abc");
    flight_leave(&follower.member);
}

static void test_a_leader_lost_before_the_answer_is_followed_by_another(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party first;
    struct party second;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &first, 1), FLIGHT_FOLLOW);
    assert_int_equal(join(fixture, &second, 1), FLIGHT_FOLLOW);
    flight_leave(&leader.member);
    deliver(fixture);
    assert_int_equal(flight_leads(&first.member) + flight_leads(&second.member), 1);
    struct party *heir = flight_leads(&first.member) ? &first : &second;
    struct party *rest = flight_leads(&first.member) ? &second : &first;
    assert_int_equal(heir->calls, 1);
    flight_publish(&heir->member, &json_head);
    append(heir, "abc");
    flight_end(&heir->member);
    assert_string_equal(read_all(rest), "abc");
    flight_leave(&rest->member);
}

static void test_a_flight_between_leaders_can_be_joined(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party first;
    struct party second;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &first, 1), FLIGHT_FOLLOW);
    flight_leave(&leader.member);
    assert_int_equal(join(fixture, &second, 1), FLIGHT_FOLLOW);
    flight_leave(&first.member); /* before it was told */
    deliver(fixture);
    assert_true(flight_leads(&second.member));
    flight_leave(&second.member);
}

static void test_after_too_many_lost_leaders_all_go_alone(void **state)
{
    struct fixture *fixture = *state;
    struct party parties[FLIGHT_LEADERS_MAX + 2];
    unsigned lost = 0;
    unsigned refused = 0;

    for (size_t i = 0; i < ARRAY_LEN(parties); i++) {
        assert_int_equal(join(fixture, &parties[i], 1), i == 0 ? FLIGHT_LEAD : FLIGHT_FOLLOW);
    }
    for (unsigned round = 0; round < FLIGHT_LEADERS_MAX; round++) {
        for (size_t i = 0; i < ARRAY_LEN(parties); i++) {
            if (flight_leads(&parties[i].member)) {
                flight_leave(&parties[i].member);
                lost++;
                break;
            }
        }
        deliver(fixture);
    }
    assert_int_equal(lost, FLIGHT_LEADERS_MAX);
    for (size_t i = 0; i < ARRAY_LEN(parties); i++) {
        if (flight_is_joined(&parties[i].member)) {
            assert_int_equal(flight_state(&parties[i].member), FLIGHT_REFUSED);
            flight_leave(&parties[i].member);
            refused++;
        }
    }
    assert_int_equal(refused, 2);
}

static void test_a_leader_lost_within_the_answer_breaks_it(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party follower;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    flight_publish(&leader.member, &json_head);
    append(&leader, "ab");
    flight_leave(&leader.member);
    deliver(fixture);
    assert_int_equal(flight_state(&follower.member), FLIGHT_BROKEN);
    assert_string_equal(read_all(&follower), "ab");
    assert_int_equal(flights_count(fixture->flights), 0);
    flight_leave(&follower.member);
}

static void test_an_answer_that_may_not_be_shared_sends_all_their_own_way(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party follower;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    flight_refuse(&leader.member);
    assert_false(flight_is_joined(&leader.member));
    deliver(fixture);
    assert_int_equal(follower.calls, 1);
    assert_int_equal(flight_state(&follower.member), FLIGHT_REFUSED);
    assert_null(flight_head(&follower.member));
    flight_leave(&follower.member);
}

static void test_a_leader_that_no_region_answers_tells_all(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party follower;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    flight_fail(&leader.member);
    assert_false(flight_is_joined(&leader.member));
    deliver(fixture);
    assert_int_equal(follower.calls, 1);
    assert_int_equal(flight_state(&follower.member), FLIGHT_FAILED);
    assert_true(flight_is_off(&follower.member));
    assert_null(flight_head(&follower.member));
    assert_int_equal(flights_count(fixture->flights), 0); /* the next one tries anew */
    flight_leave(&follower.member);
}

static void test_a_detached_leader_is_told_when_nobody_is_left(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party first;
    struct party second;
    struct party next;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_false(flight_detach(&leader.member)); /* nobody waits */
    assert_int_equal(join(fixture, &first, 1), FLIGHT_FOLLOW);
    assert_int_equal(join(fixture, &second, 1), FLIGHT_FOLLOW);
    assert_true(flight_detach(&leader.member));
    flight_publish(&leader.member, &json_head);
    flight_leave(&first.member);
    deliver(fixture);
    assert_int_equal(leader.calls, 0);
    assert_false(flight_is_deserted(&leader.member));
    flight_leave(&second.member);
    assert_int_equal(join(fixture, &next, 1), FLIGHT_LEAD); /* not into what is being cancelled */
    deliver(fixture);
    assert_int_equal(leader.calls, 1);
    assert_true(flight_is_deserted(&leader.member));
    flight_leave(&leader.member);
    flight_leave(&next.member);
}

static void test_a_leader_with_its_client_does_not_care_who_leaves(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party follower;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    flight_leave(&follower.member);
    deliver(fixture);
    assert_int_equal(leader.calls, 0);
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    flight_leave(&follower.member);
    flight_leave(&leader.member);
}

static void test_followers_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party followers[FOLLOWERS + 1];

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    for (size_t i = 0; i < FOLLOWERS; i++) {
        assert_int_equal(join(fixture, &followers[i], 1), FLIGHT_FOLLOW);
    }
    assert_int_equal(join(fixture, &followers[FOLLOWERS], 1), FLIGHT_NOT);
    assert_false(flight_is_joined(&followers[FOLLOWERS].member));
    flight_leave(&followers[0].member);
    assert_int_equal(join(fixture, &followers[FOLLOWERS], 1), FLIGHT_FOLLOW);
    for (size_t i = 1; i <= FOLLOWERS; i++) {
        flight_leave(&followers[i].member);
    }
    flight_leave(&leader.member);
}

static void append_bytes(struct party *leader, size_t len)
{
    static const char block[1000];

    for (size_t done = 0; done < len; done += sizeof(block)) {
        assert_true(flight_append(&leader->member, str_make(block, sizeof(block))));
    }
}

static void skip_all(struct party *party)
{
    struct str bytes;

    while ((bytes = flight_peek(&party->member)).len > 0) {
        flight_consume(&party->member, bytes.len);
    }
}

static void test_an_answer_over_its_bound_takes_nobody_new_and_is_let_go_as_it_is_read(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party quick;
    struct party slow;
    struct party next;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &quick, 1), FLIGHT_FOLLOW);
    assert_int_equal(join(fixture, &slow, 1), FLIGHT_FOLLOW);
    flight_publish(&leader.member, &json_head);
    append_bytes(&leader, FLIGHT_LAG_BYTES - 1000);
    assert_false(flight_is_late(&slow.member));
    skip_all(&quick);
    append_bytes(&leader, 2000);
    assert_true(flight_is_late(&slow.member));
    assert_false(flight_is_late(&quick.member));
    assert_int_equal(join(fixture, &next, 1), FLIGHT_LEAD);
    flight_leave(&next.member);
    flight_leave(&slow.member);
    for (unsigned i = 0; i < 20; i++) {
        append_bytes(&leader, BYTES_MAX / 2);
        skip_all(&quick);
        assert_true(flights_bytes(fixture->flights) < BYTES_MAX + 70000);
    }
    flight_end(&leader.member);
    assert_int_equal(flight_state(&quick.member), FLIGHT_ENDED);
    flight_leave(&quick.member);
}

static void test_an_answer_over_its_bound_that_nobody_follows_holds_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    flight_publish(&leader.member, &json_head);
    append_bytes(&leader, 20 * BYTES_MAX);
    assert_true(flights_bytes(fixture->flights) < 70000);
    assert_int_equal(flights_count(fixture->flights), 0);
    flight_end(&leader.member);
}

static void test_all_logs_together_are_bounded(void **state)
{
    struct fixture *fixture = *state;
    struct party leaders[40];
    struct party follower;
    size_t count = ARRAY_LEN(leaders);

    for (size_t i = 0; i < count; i++) {
        assert_int_equal(join(fixture, &leaders[i], (uint8_t)i), FLIGHT_LEAD);
        flight_publish(&leaders[i].member, &json_head);
        if (i == count - 1) {
            assert_int_equal(join(fixture, &follower, (uint8_t)i), FLIGHT_FOLLOW);
        }
        append_bytes(&leaders[i], BYTES_MAX);
    }
    assert_true(flights_bytes(fixture->flights) < ALL_BYTES + 200000);
    assert_true(flight_is_late(&follower.member)); /* the bound for stragglers is closer then */
    flight_leave(&follower.member);
    for (size_t i = 0; i < count; i++) {
        flight_end(&leaders[i].member);
    }
}

static void test_refused_memory_breaks_the_flight_and_nothing_else(void **state)
{
    struct fixture *fixture = *state;
    static const char large[60000];
    struct party leader;
    struct party follower;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    flight_publish(&leader.member, &json_head);
    append(&leader, "abc");
    mem_try_fail_after(1);
    assert_false(flight_append(&leader.member, str_make(large, sizeof(large))));
    mem_try_fail_after(0);
    assert_false(flight_is_joined(&leader.member));
    assert_int_equal(flight_state(&follower.member), FLIGHT_BROKEN);
    flight_leave(&follower.member);
}

static void test_a_held_leader_is_told_of_a_follower(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party follower;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    flight_publish(&leader.member, &json_head);
    append(&leader, "abc");
    flight_hold(&leader.member, true);
    deliver(fixture);
    assert_int_equal(leader.calls, 0);
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    deliver(fixture);
    assert_int_equal(leader.calls, 1);
    assert_true(flight_has_followers(&leader.member));
    flight_hold(&leader.member, false);
    flight_leave(&follower.member);
    flight_leave(&leader.member);
}

static void test_a_leader_can_read_what_it_appends(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    flight_publish(&leader.member, &json_head);
    append(&leader, "abc");
    flight_read_from_now(&leader.member);
    append(&leader, "def");
    assert_string_equal(read_all(&leader), "def");
    append(&leader, "g");
    flight_end(&leader.member);
    assert_string_equal(read_all(&leader), "g");
    flight_leave(&leader.member);
}

static void test_a_member_may_leave_in_its_callback(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party followers[FOLLOWERS];

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    for (size_t i = 0; i < FOLLOWERS; i++) {
        assert_int_equal(join(fixture, &followers[i], 1), FLIGHT_FOLLOW);
        followers[i].leaves = i % 2 == 0;
    }
    flight_publish(&leader.member, &json_head);
    append(&leader, "abc");
    deliver(fixture);
    for (size_t i = 0; i < FOLLOWERS; i++) {
        assert_int_equal(followers[i].calls, 1);
        assert_int_equal(flight_is_joined(&followers[i].member), i % 2 != 0);
        flight_leave(&followers[i].member);
    }
    flight_end(&leader.member);
}

static void test_no_news_after_leaving(void **state)
{
    struct fixture *fixture = *state;
    struct party leader;
    struct party follower;

    assert_int_equal(join(fixture, &leader, 1), FLIGHT_LEAD);
    assert_int_equal(join(fixture, &follower, 1), FLIGHT_FOLLOW);
    flight_publish(&leader.member, &json_head);
    flight_leave(&follower.member);
    flight_leave(&leader.member);
    deliver(fixture);
    assert_int_equal(follower.calls, 0);
}

#define ON_LOOP(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_LOOP(test_the_first_leads_and_the_others_follow),
        ON_LOOP(test_a_follower_gets_head_bytes_and_end_in_order),
        ON_LOOP(test_a_late_follower_gets_what_has_come_and_then_the_rest),
        ON_LOOP(test_an_ended_flight_is_not_joined_but_read_to_its_end),
        ON_LOOP(test_a_leader_lost_before_the_answer_is_followed_by_another),
        ON_LOOP(test_a_flight_between_leaders_can_be_joined),
        ON_LOOP(test_after_too_many_lost_leaders_all_go_alone),
        ON_LOOP(test_a_leader_lost_within_the_answer_breaks_it),
        ON_LOOP(test_an_answer_that_may_not_be_shared_sends_all_their_own_way),
        ON_LOOP(test_a_leader_that_no_region_answers_tells_all),
        ON_LOOP(test_a_detached_leader_is_told_when_nobody_is_left),
        ON_LOOP(test_a_leader_with_its_client_does_not_care_who_leaves),
        ON_LOOP(test_followers_are_bounded),
        ON_LOOP(test_an_answer_over_its_bound_takes_nobody_new_and_is_let_go_as_it_is_read),
        ON_LOOP(test_an_answer_over_its_bound_that_nobody_follows_holds_nothing),
        ON_LOOP(test_all_logs_together_are_bounded),
        ON_LOOP(test_refused_memory_breaks_the_flight_and_nothing_else),
        ON_LOOP(test_a_held_leader_is_told_of_a_follower),
        ON_LOOP(test_a_leader_can_read_what_it_appends),
        ON_LOOP(test_a_member_may_leave_in_its_callback),
        ON_LOOP(test_no_news_after_leaving),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
