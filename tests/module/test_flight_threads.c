/* SPDX-License-Identifier: MIT */
/*
 * Flights on many threads at random: actors join, lead, read, leave, fail. Every follower must see
 * a beginning of what its leader wrote, all of it when the answer ended; no flight may have two
 * leaders at once; in the end nothing is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <nearside/base/assert.h>
#include <nearside/base/hash.h>
#include <nearside/base/mem.h>
#include <nearside/base/rng.h>
#include <nearside/cache/flight.h>
#include <nearside/loop/loop.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define THREADS     8
#define ACTORS      24 /* per thread */
#define KEYS        60
#define ROUNDS      40 /* flights that each actor joins */
#define TICK_MS_MAX 3
#define ANSWER_MAX  20000
#define BYTES_MAX   10000000 /* of all logs: never reached here */
#define PIECE_MAX   3000
#define LEADERS_MAX (THREADS * ACTORS)

/* cmocka's assertions work on the test's own thread only; on these it is ASSERT. */

/* What all actors share: who leads which flight, to see that there is one at a time. */
struct stage {
    struct flights *flights;
    pthread_mutex_t lock;
    const struct flight *led[LEADERS_MAX];
    atomic_ullong answers;
    atomic_uint ended;
    atomic_uint broken;
    atomic_uint refused;
    atomic_uint inherited;
    atomic_uint deserted;
};

struct troupe {
    struct stage *stage;
    struct loop *loop;
    struct rng rng;
    pthread_t thread;
    unsigned busy;
    struct actor *actors;
};

struct actor {
    struct flight_member member;
    struct troupe *troupe;
    struct deadline tick;
    unsigned rounds;
    bool is_leading; /* as it has been told */
    bool is_detached;
    bool is_published;
    uint64_t answer; /* 1... */
    uint64_t length;
    uint64_t produced;
};

static char byte_of(uint64_t answer, uint64_t at)
{
    return (char)(uint8_t)hash_u64(answer * ANSWER_MAX + at);
}

static unsigned dice(struct actor *actor, unsigned sides)
{
    return (unsigned)(rng_next(&actor->troupe->rng) % sides);
}

static void begin_to_lead(struct actor *actor)
{
    struct stage *stage = actor->troupe->stage;
    size_t free_slot = LEADERS_MAX;

    pthread_mutex_lock(&stage->lock);
    for (size_t i = 0; i < LEADERS_MAX; i++) {
        ASSERT(stage->led[i] != actor->member.flight);
        free_slot = stage->led[i] == NULL ? i : free_slot;
    }
    stage->led[free_slot] = actor->member.flight;
    pthread_mutex_unlock(&stage->lock);
    actor->is_leading = true;
    actor->is_detached = false;
    actor->is_published = false;
    actor->answer = 1 + atomic_fetch_add(&stage->answers, 1);
    actor->length = 1 + dice(actor, ANSWER_MAX - 1);
    actor->produced = 0;
}

static void stop_leading(struct actor *actor)
{
    struct stage *stage = actor->troupe->stage;

    pthread_mutex_lock(&stage->lock);
    for (size_t i = 0; i < LEADERS_MAX; i++) {
        if (stage->led[i] == actor->member.flight) {
            stage->led[i] = NULL;
        }
    }
    pthread_mutex_unlock(&stage->lock);
    actor->is_leading = false;
}

static void leave(struct actor *actor)
{
    if (actor->is_leading) {
        stop_leading(actor);
    }
    flight_leave(&actor->member);
    actor->answer = 0;
}

static void publish(struct actor *actor)
{
    char fields[32];
    int len = snprintf(fields, sizeof(fields), "X: %llu\r\n", (unsigned long long)actor->answer);
    struct flight_head head = {.status = 200,
                               .fields = str_make(fields, (size_t)len),
                               .has_length = true,
                               .length = actor->length,
                               .region_slot = (int)actor->answer};

    flight_publish(&actor->member, &head);
    actor->is_published = true;
}

/* One piece of the answer, or its beginning, its end, or an accident. */
static void lead_on(struct actor *actor)
{
    char piece[PIECE_MAX];
    size_t len = 1 + dice(actor, PIECE_MAX - 1);
    unsigned luck = dice(actor, actor->is_published ? 60 : 20);

    if (luck < 2) {
        leave(actor);
    } else if (luck < 5 && !actor->is_detached) {
        actor->is_detached = flight_detach(&actor->member);
        if (!actor->is_detached) {
            leave(actor);
        }
    } else if (!actor->is_published && luck == 5) {
        stop_leading(actor);
        flight_refuse(&actor->member);
    } else if (!actor->is_published && luck < 12) {
        publish(actor);
    } else if (!actor->is_published) {
        return; /* upstream thinks */
    } else if (actor->produced == actor->length) {
        stop_leading(actor);
        flight_end(&actor->member);
    } else {
        len =
            len > actor->length - actor->produced ? (size_t)(actor->length - actor->produced) : len;
        for (size_t i = 0; i < len; i++) {
            piece[i] = byte_of(actor->answer, actor->produced + i);
        }
        ASSERT(flight_append(&actor->member, str_make(piece, len)));
        actor->produced += len;
    }
}

static void read_and_check(struct actor *actor)
{
    const struct flight_head *head = flight_head(&actor->member);
    char fields[32];
    struct str bytes;

    ASSERT(head != NULL);
    if (actor->answer == 0) {
        actor->answer = (uint64_t)head->region_slot;
        actor->length = head->length;
    }
    (void)snprintf(fields, sizeof(fields), "X: %llu\r\n", (unsigned long long)actor->answer);
    ASSERT(str_eq(head->fields, str_of(fields)));
    while ((bytes = flight_peek(&actor->member)).len > 0) {
        size_t len = 1 + dice(actor, (unsigned)bytes.len);
        for (size_t i = 0; i < len; i++) {
            ASSERT(bytes.ptr[i] == byte_of(actor->answer, actor->member.reader.consumed + i));
        }
        flight_consume(&actor->member, len);
    }
}

static void follow_on(struct actor *actor)
{
    struct stage *stage = actor->troupe->stage;
    enum flight_state state = flight_state(&actor->member);

    if (state == FLIGHT_REFUSED) {
        atomic_fetch_add(&stage->refused, 1);
        leave(actor);
        return;
    }
    if (state == FLIGHT_OPEN) {
        return;
    }
    read_and_check(actor);
    ASSERT(!flight_is_late(&actor->member)); /* it has read all there was */
    if (state == FLIGHT_ENDED) {
        atomic_fetch_add(&stage->ended, 1);
        ASSERT(actor->member.reader.consumed == actor->length);
        leave(actor);
    } else if (state == FLIGHT_BROKEN) {
        atomic_fetch_add(&stage->broken, 1);
        leave(actor);
    }
}

static void on_actor_news(struct flight_member *member, void *arg)
{
    struct actor *actor = arg;
    struct stage *stage = actor->troupe->stage;

    ASSERT(flight_is_joined(member));
    if (flight_leads(member) && !actor->is_leading) {
        atomic_fetch_add(&stage->inherited, 1);
        ASSERT(actor->answer == 0); /* had read nothing */
        begin_to_lead(actor);
    } else if (actor->is_leading && flight_is_deserted(member)) {
        atomic_fetch_add(&stage->deserted, 1);
        ASSERT(actor->is_detached);
        leave(actor);
    } else if (!actor->is_leading) {
        follow_on(actor);
    }
}

static void on_tick(struct deadline *deadline, void *arg)
{
    struct actor *actor = arg;
    struct troupe *troupe = actor->troupe;

    if (!flight_is_joined(&actor->member) && actor->rounds == ROUNDS) {
        troupe->busy--;
        if (troupe->busy == 0) {
            loop_stop(troupe->loop);
        }
        return;
    }
    if (!flight_is_joined(&actor->member)) {
        struct cache_key key = {.bytes = {(uint8_t)dice(actor, KEYS)}};
        actor->rounds++;
        actor->answer = 0;
        if (flight_join(troupe->stage->flights, &key, ANSWER_MAX / 2, &actor->member) ==
            FLIGHT_LEAD) {
            begin_to_lead(actor);
        }
    } else if (actor->is_leading) {
        lead_on(actor);
    } else if (dice(actor, 20) == 0 && !flight_leads(&actor->member)) {
        leave(actor);
    }
    deadline_set_in_ms(deadline, dice(actor, TICK_MS_MAX + 1));
}

static void *perform(void *arg)
{
    struct troupe *troupe = arg;

    loop_run(troupe->loop);
    return NULL;
}

static void troupe_start(struct troupe *troupe, struct stage *stage)
{
    troupe->stage = stage;
    troupe->loop = loop_new("troupe");
    troupe->busy = ACTORS;
    troupe->actors = mem_new_array(ACTORS, struct actor);
    rng_init(&troupe->rng);
    for (size_t i = 0; i < ACTORS; i++) {
        struct actor *actor = &troupe->actors[i];
        actor->troupe = troupe;
        flight_member_init(&actor->member, troupe->loop, on_actor_news, actor);
        deadline_init(&actor->tick, troupe->loop, on_tick, actor);
        deadline_set_in_ms(&actor->tick, 1);
    }
    assert_int_equal(pthread_create(&troupe->thread, NULL, perform, troupe), 0);
}

static void troupe_end(struct troupe *troupe)
{
    for (size_t i = 0; i < ACTORS; i++) {
        deadline_done(&troupe->actors[i].tick);
    }
    loop_free(troupe->loop);
    mem_free(troupe->actors);
}

static void test_every_follower_reads_what_its_leader_wrote_on_many_threads(void **state)
{
    struct stage stage = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct troupe troupes[THREADS];

    (void)state;
    stage.flights = flights_new(BYTES_MAX, THREADS * ACTORS);
    for (size_t i = 0; i < THREADS; i++) {
        troupe_start(&troupes[i], &stage);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(troupes[i].thread, NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        troupe_end(&troupes[i]);
    }
    print_message("ended=%u broken=%u refused=%u inherited=%u deserted=%u\n", stage.ended,
                  stage.broken, stage.refused, stage.inherited, stage.deserted);
    /* All of it must have happened, or the test has shown nothing. */
    assert_true(stage.ended > 0 && stage.broken > 0 && stage.refused > 0);
    assert_true(stage.inherited > 0 && stage.deserted > 0);
    assert_int_equal(flights_count(stage.flights), 0);
    assert_int_equal(flights_bytes(stage.flights), 0);
    flights_free(stage.flights); /* asserts that no follower is left either */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_follower_reads_what_its_leader_wrote_on_many_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
