/* SPDX-License-Identifier: MIT */
/*
 * A request's way to an endpoint: choice, queue, attempt, and what to do when an attempt failed.
 *
 * The decisions themselves are pure and live in route/; here they are carried out.
 */
#include "request_private.h"

#include "admission_private.h"
#include "client_private.h"
#include "worker_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/conf/tree.h>
#include <nearside/upstream/pool.h>

struct route_choice request_pick(struct request *request)
{
    struct worker *worker = request->worker;

    /* Views may differ in the order of their regions; slots do not. */
    request->route.last_region = worker_region_index(worker, request->last_slot);
    return route_pick(worker->view, &request->route, loop_now_ns(worker->loop), &worker->rng);
}

struct route_choice request_peek(struct request *request)
{
    uint32_t *turns = request->route.turns;
    struct route_choice choice;

    request->route.turns = NULL;
    choice = request_pick(request);
    request->route.turns = turns;
    return choice;
}

bool request_allows_region(const struct request *request, const char *name)
{
    struct str list = request->route.regions;
    struct str item;

    while (str_next_item(&list, ',', &item)) {
        if (str_eq(item, str_of(name))) {
            return true;
        }
    }
    return request->route.regions.len == 0;
}

/* A limit to regions that do not exist will not become right by waiting. */
static bool names_no_region(const struct request *request)
{
    struct str list = request->route.regions;
    struct str name;

    while (str_next_item(&list, ',', &name)) {
        if (conf_find_region(request->world->conf, name) != NULL) {
            return false;
        }
    }
    return request->route.regions.len > 0;
}

static void refuse_route(struct request *request)
{
    struct reply_error error = {
        .status = 503,
        .type = "server_error",
        .code = "no_region",
        .proxy_status = "destination_unavailable",
        .retry_after_s = 2,
        .message = "No region can serve this request now: every one that is allowed is down or "
                   "drained. Try again shortly.",
    };

    if (names_no_region(request)) {
        error.status = 400;
        error.type = "invalid_request_error";
        error.code = "unknown_region";
        error.proxy_status = "http_request_error";
        error.retry_after_s = 0;
        error.message = "X-Nearside-Regions names no region of this proxy.";
    } else if (request->choice.reason == ROUTE_NO_MODEL) {
        error.status = 404;
        error.type = "invalid_request_error";
        error.code = "model_not_found";
        error.retry_after_s = 0;
        error.message = "No region serves the model that was asked for.";
    }
    if (error.status == 503 && stale_answer(request)) {
        return;
    }
    reply_error(request, &error);
}

static void refuse_queue(struct request *request, const char *message)
{
    struct reply_error error = {
        .status = 429,
        .type = "rate_limit_error",
        .code = "overloaded",
        .proxy_status = "destination_unavailable",
        .retry_after_s = 1,
        .message = message,
    };

    reply_error(request, &error);
}

/* Wait for room. False: the queue is full, and the request has been answered. */
static bool enqueue(struct request *request)
{
    struct worker *worker = request->worker;
    const struct view_region *region = &request->view->regions[request->choice.region];
    const struct conf_region *conf = conf_find_region(request->world->conf, str_of(region->name));
    const struct conf_limits *limits = conf != NULL ? &conf->limits : &request->world->conf->limits;
    atomic_uint *queued = &worker->deps.shared->queued[region->slot];

    metric_limit_hit(worker->metrics, LIMIT_ENDPOINT_INFLIGHT);
    if (atomic_fetch_add_explicit(queued, 1, memory_order_relaxed) >= limits->queue_length) {
        atomic_fetch_sub_explicit(queued, 1, memory_order_relaxed);
        metric_limit_hit(worker->metrics, LIMIT_QUEUE_LENGTH);
        refuse_queue(request, "Every endpoint is at its limit and the queue is full.");
        return false;
    }
    request->queue_slot = region->slot;
    list_push_back(&worker->queued[region->slot], &request->link);
    worker->queued_count++;
    worker->queued_here[region->slot]++;
    request_hold_pending(request, region->slot);
    if (request->queue_until_ns == 0) {
        request->queue_until_ns = loop_now_ns(worker->loop) + limits->queue_timeout_ms * NS_PER_MS;
    }
    if (!deadline_is_set(&request->deadline) ||
        request->deadline.due_ns > request->queue_until_ns) {
        deadline_set_ns(&request->deadline, request->queue_until_ns);
    }
    if (!deadline_is_set(&worker->queue_tick)) {
        deadline_set_in_ms(&worker->queue_tick, WORKER_QUEUE_TICK_MS);
    }
    request_wait_begin(request);
    request_move(request, REQUEST_QUEUED);
    return true;
}

void request_dequeue(struct request *request)
{
    struct worker *worker = request->worker;

    request_wait_end(request);
    list_remove(&request->link);
    worker->queued_count--;
    worker->queued_here[request->queue_slot]--;
    atomic_fetch_sub_explicit(&worker->deps.shared->queued[request->queue_slot], 1,
                              memory_order_relaxed);
    request_drop_pending(request);
}

/* Count what the choice says about regions: far, panic, a failover. */
static void note_choice(struct request *request, const struct view_region *region)
{
    struct metric_block *metrics = request->worker->metrics;
    const struct route_choice *choice = &request->choice;

    if (choice->reason == ROUTE_PANIC) {
        metric_inc(metrics, METRIC_PANIC, region->slot);
    }
    if (!region->near) {
        metric_inc(metrics, METRIC_FAR, region->slot);
    }
    if (request->last_slot >= 0 && request->attempts > 0) {
        metric_inc(metrics, METRIC_RETRIES, region->slot);
        if ((unsigned)request->last_slot != region->slot) {
            metric_add(metrics, METRIC_FAILOVERS, (unsigned)request->last_slot, region->slot,
                       (unsigned)request->failure, 1);
        }
    } else if (choice->preferred != ROUTE_NOBODY && choice->preferred != choice->region &&
               choice->reason != ROUTE_SLOW_START) {
        const struct view_region *preferred = &request->view->regions[choice->preferred];
        metric_add(metrics, METRIC_FAILOVERS, preferred->slot, region->slot,
                   preferred->usable ? OUTCOME_FULL : OUTCOME_REGION_DOWN, 1);
    }
}

static void remember_tried(struct request *request, const struct view_region *region,
                           const struct view_endpoint *endpoint)
{
    struct route_request *route = &request->route;

    if (route->tried_count == ROUTE_TRIED_MAX) {
        memmove(route->tried, route->tried + 1, sizeof(route->tried) - sizeof(route->tried[0]));
        route->tried_count--;
    }
    route->tried[route->tried_count++] = endpoint->live->id;
    route->tried_slots |= region->slot < METRIC_REGIONS_MAX ? UINT64_C(1) << region->slot : 0;
    if (request->last_slot == (int)region->slot) {
        route->last_region_attempts++;
    } else {
        route->last_region_attempts = 1;
    }
    route->last_region = request->choice.region;
    request->last_slot = (int)region->slot;
}

static void start_attempt(struct request *request)
{
    struct worker *worker = request->worker;
    const struct view_region *region = &request->view->regions[request->choice.region];
    const struct view_endpoint *endpoint = &region->endpoints[request->choice.endpoint];
    const struct conf_region *conf = region->conf;
    struct upstream_target target = {
        .live = endpoint->live,
        .addr = endpoint->addr,
        .tls = endpoint->tls ? worker_region_tls(worker, region->name) : NULL,
        .server_name = endpoint->host,
        .region_slot = region->slot,
        .descriptor_end = admission_upstream_descriptors(worker),
    };

    note_choice(request, region);
    remember_tried(request, region, endpoint);
    request->attempts++;
    request->timeouts = &conf->timeouts;
    request->attempt_failed = false;
    request->answer = NULL;
    request->held_back.len = 0;
    request->answer_outcome = OUTCOME_OK;
    request->answer_ended = false;
    if (request->first_region_slot < 0) {
        request->first_region_slot = (int)region->slot;
    }
    attempt_begin(request, endpoint, region->slot);
    list_push_back(&worker->waiting, &request->link);
    request_move(request, REQUEST_ATTEMPT);
    request_wait_begin(request);
    if (endpoint->tls && target.tls == NULL) {
        /* The view is older than the config: its region is gone. Never in the clear instead. */
        request_on_failure(request, OUTCOME_TLS_ERROR);
        return;
    }
    exchange_start(&request->exchange, &target);
}

/* Room that the oldest of the queue could take is not a newcomer's. */
static bool must_line_up(struct request *request)
{
    struct worker *worker = request->worker;
    unsigned slot = request->view->regions[request->choice.region].slot;
    struct list *first = list_first(&worker->queued[slot]);
    struct route_choice choice;

    if (first == NULL || request->queue_until_ns != 0) {
        return false;
    }
    choice = request_peek(LIST_ITEM(first, struct request, link));
    return choice.region == request->choice.region && choice.endpoint != ROUTE_NOBODY;
}

enum request_step step_route(struct request *request)
{
    struct worker *worker = request->worker;
    bool second;

    if (request->out_of_time) {
        reply_failure(request, OUTCOME_DEADLINE);
        return STEP_AGAIN;
    }
    if (request->view != worker->view) {
        fleet_view_unref(request->view);
        request->view = fleet_view_ref(worker->view);
        request->timeouts = NULL;
    }
    second = request->route.no_trials;
    request->choice = request_pick(request);
    request->route.no_trials = false;
    if (request->choice.region == ROUTE_NOBODY) {
        if (request->attempts > 0) {
            reply_failure(request, request->failure);
        } else {
            refuse_route(request);
        }
        return STEP_AGAIN;
    }
    if (request->choice.endpoint == ROUTE_NOBODY) {
        (void)enqueue(request);
        return STEP_AGAIN;
    }
    if (must_line_up(request)) {
        (void)enqueue(request);
        return STEP_AGAIN;
    }
    if (!second && !attempt_claim(request)) {
        /* Somebody else took the trial: pick again without trials. What comes out then has none to
         * take, or is a last resort. */
        request->route.no_trials = true;
        return STEP_AGAIN;
    }
    start_attempt(request);
    return STEP_AGAIN;
}

enum request_step step_queued(struct request *request)
{
    if (request->out_of_time && reply_deadline_alone(request)) {
        return STEP_WAIT;
    }
    if (request->out_of_time || request->queue_expired) {
        bool total = request->out_of_time;
        request_dequeue(request);
        if (total) {
            reply_failure(request, OUTCOME_DEADLINE);
            return STEP_AGAIN;
        }
        metric_limit_hit(request->worker->metrics, LIMIT_QUEUE_TIMEOUT);
        refuse_queue(request, "No endpoint had room within limits.queue_timeout_ms.");
        return STEP_AGAIN;
    }
    return STEP_WAIT;
}

/* The queue's own deadline gave way to it. */
static void restore_deadline(struct request *request)
{
    uint64_t due_ns = request_deadline_ns(request);

    if (due_ns == 0) {
        deadline_cancel(&request->deadline);
    } else {
        deadline_set_ns(&request->deadline, due_ns);
    }
}

bool request_requeue(struct request *request)
{
    struct route_choice choice;

    ASSERT(request->state == REQUEST_QUEUED);
    choice = request_peek(request);
    if (choice.region != ROUTE_NOBODY && choice.endpoint == ROUTE_NOBODY) {
        return false;
    }
    request_dequeue(request);
    restore_deadline(request);
    request_move(request, REQUEST_ROUTE);
    request_drive(request);
    return true;
}

/* ---- attempt ---- */

/* What the next choice should know. Silence is its region's more often than one endpoint's: the
 * neighbour would cost the client the same wait, and the budget a second repetition. */
void request_learn(struct request *request, enum outcome outcome)
{
    request->route.in_vain = outcome_class(outcome) == OUTCOME_CLASS_FAULT;
    if (outcome == OUTCOME_CONNECT_TIMEOUT || outcome == OUTCOME_HEAD_TIMEOUT) {
        request->route.last_region_attempts = ROUTE_REGION_ATTEMPTS;
    }
}

/* Would the next attempt go to another region? */
static bool goes_elsewhere(struct request *request)
{
    struct route_choice next = request_peek(request);

    return next.region != ROUTE_NOBODY &&
           request->worker->view->regions[next.region].slot != request->attempt_slot;
}

/* May the attempt that ended so be repeated? Books the attempt, and the retry when there is one. */
bool request_grant_retry(struct request *request, enum outcome outcome)
{
    const struct conf_retry *conf = &request->world->conf->retry;
    struct worker *worker = request->worker;
    bool counts = outcome != OUTCOME_STALE && outcome != OUTCOME_REGION_DOWN;
    struct retry_facts facts = {
        .outcome = outcome,
        .committed = request->state == REQUEST_RELAY,
        .body_replayable = !request->body.lost,
        .acts = request->acts,
        .attempts_max = conf->attempts,
        .budget_left = true,
        .now_ns = loop_now_ns(worker->loop),
        .deadline_ns = request_deadline_ns(request),
    };
    enum retry_verdict verdict;

    request->counted_attempts += counts;
    request_learn(request, outcome);
    facts.attempts = counts ? request->counted_attempts : 0;
    facts.elsewhere = outcome == OUTCOME_HEAD_TIMEOUT && goes_elsewhere(request);
    verdict = retry_decide(&facts);
    if (verdict == RETRY_YES && retry_is_charged(&facts)) {
        facts.budget_left =
            retry_budget_take(&worker->retry_budget, worker_budget_floor(worker), facts.now_ns);
        verdict = retry_decide(&facts);
    }
    if (verdict == RETRY_NO_ATTEMPTS) {
        metric_limit_hit(worker->metrics, LIMIT_RETRY_ATTEMPTS);
    } else if (verdict == RETRY_NO_BUDGET) {
        metric_limit_hit(worker->metrics, LIMIT_RETRY_BUDGET);
    }
    return verdict == RETRY_YES;
}

/* Account for a failed attempt and take the connection down. */
static void attempt_over(struct request *request, enum outcome outcome)
{
    attempt_end(request, outcome);
    exchange_cancel(&request->exchange);
    list_remove(&request->link);
    request_wait_end(request);
    request->attempt_failed = false;
    request->failure = outcome;
    if (request->first_failure_ns == 0 && outcome != OUTCOME_STALE) {
        request->first_failure_ns = loop_now_ns(request->worker->loop);
    }
}

enum request_step step_attempt(struct request *request)
{
    enum outcome outcome = request->failure;

    if (request->out_of_time && reply_deadline_alone(request)) {
        return STEP_WAIT;
    }
    if (request->out_of_time) {
        attempt_over(request, OUTCOME_DEADLINE);
        reply_failure(request, OUTCOME_DEADLINE);
        return STEP_AGAIN;
    }
    if (!request->attempt_failed) {
        return STEP_WAIT;
    }
    if (outcome == OUTCOME_STALE) {
        /* Not the endpoint's fault, and nothing of it was tried: once more, on a new connection. */
        request->fresh_only = true;
        request->route.tried_count--;
        request->route.last_region_attempts--;
        request->attempts--;
    }
    if (!request->stale_wanted &&
        (request->retry_granted || request_grant_retry(request, outcome))) {
        request->retry_granted = false;
        attempt_over(request, outcome);
        request_move(request, REQUEST_ROUTE);
        return STEP_AGAIN;
    }
    attempt_over(request, outcome);
    reply_failure(request, outcome);
    return STEP_AGAIN;
}

/* What broke off before anything was passed on has not begun, for the client. */
static enum outcome before_commit(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_CUT:
        return OUTCOME_RESET;
    case OUTCOME_IDLE_TIMEOUT:
        return OUTCOME_HEAD_TIMEOUT;
    default:
        return outcome;
    }
}

void request_on_failure(struct request *request, enum outcome outcome)
{
    request->attempt_failed = true;
    request->failure = request->state == REQUEST_ATTEMPT ? before_commit(outcome) : outcome;
}

void request_evict(struct request *request, enum outcome why)
{
    struct route_choice choice;

    if (request->state != REQUEST_ATTEMPT || request->moves >= REQUEST_MOVES_MAX ||
        request->body.lost || request->acts) {
        return;
    }
    choice = request_peek(request);
    if (choice.region == ROUTE_NOBODY || choice.endpoint == ROUTE_NOBODY ||
        choice.reason == ROUTE_PANIC) {
        return; /* nowhere better to go: it may still be answered where it is */
    }
    request->moves++;
    request_on_failure(request, why);
    request_drive(request);
}
