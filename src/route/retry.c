/* SPDX-License-Identifier: MIT */
/* May a failed attempt be repeated, and who pays for it: the rule and its token bucket. */
#include <nearside/route/route.h>

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/obs/metric.h>

bool retry_is_charged(const struct retry_facts *facts)
{
    switch ((enum outcome)facts->outcome) {
    case OUTCOME_STALE:
    case OUTCOME_REGION_DOWN:
        return false;
    case OUTCOME_CONNECT_REFUSED:
    case OUTCOME_CONNECT_TIMEOUT:
    case OUTCOME_CONNECT_ERROR:
    case OUTCOME_TLS_ERROR:
    case OUTCOME_RESET:
        return facts->attempts > 1;
    case OUTCOME_HEAD_TIMEOUT:
        return facts->attempts > 1 || !facts->elsewhere;
    default:
        return true;
    }
}

/* Can an endpoint have done what it was asked before that happened? A kept connection that turns
 * out to be closed is one that was closed before, all but never one whose server worked first. */
static bool may_be_done(enum outcome outcome)
{
    switch (outcome) {
    case OUTCOME_CONNECT_REFUSED:
    case OUTCOME_CONNECT_TIMEOUT:
    case OUTCOME_CONNECT_ERROR:
    case OUTCOME_TLS_ERROR:
    case OUTCOME_STALE:
    case OUTCOME_FULL:
        return false;
    default:
        return true;
    }
}

enum retry_verdict retry_decide(const struct retry_facts *facts)
{
    if (!outcome_may_retry((enum outcome)facts->outcome)) {
        return RETRY_NO_OUTCOME;
    }
    if (facts->committed) {
        return RETRY_NO_COMMITTED;
    }
    if (!facts->body_replayable) {
        return RETRY_NO_BODY;
    }
    if (facts->acts && may_be_done((enum outcome)facts->outcome)) {
        return RETRY_NO_ACTS;
    }
    if (facts->attempts >= facts->attempts_max) {
        return RETRY_NO_ATTEMPTS;
    }
    if (facts->deadline_ns != 0 && facts->now_ns >= facts->deadline_ns) {
        return RETRY_NO_TIME;
    }
    if (!facts->budget_left && retry_is_charged(facts)) {
        return RETRY_NO_BUDGET;
    }
    return RETRY_YES;
}

const char *retry_verdict_word(enum retry_verdict verdict)
{
    switch (verdict) {
    case RETRY_YES:
        return "yes";
    case RETRY_NO_COMMITTED:
        return "committed";
    case RETRY_NO_BODY:
        return "body";
    case RETRY_NO_ACTS:
        return "acts";
    case RETRY_NO_OUTCOME:
        return "outcome";
    case RETRY_NO_ATTEMPTS:
        return "attempts";
    case RETRY_NO_BUDGET:
        return "budget";
    case RETRY_NO_TIME:
        return "time";
    }
    ASSERT_UNREACHABLE("no such verdict");
}

/* The bucket of the present second, emptied when it still holds an older one. */
static size_t budget_bucket(struct retry_budget *budget, uint64_t now_ns)
{
    uint64_t second = now_ns / NS_PER_S + 1; /* 0 stands for never used */
    size_t place = second % RETRY_BUDGET_BUCKETS;

    if (budget->second[place] != second) {
        budget->second[place] = second;
        budget->deposits[place] = 0;
        budget->withdrawals[place] = 0;
    }
    return place;
}

void retry_budget_deposit(struct retry_budget *budget, double ratio, uint64_t now_ns)
{
    budget->deposits[budget_bucket(budget, now_ns)] += ratio;
}

bool retry_budget_take(struct retry_budget *budget, double min_per_s, uint64_t now_ns)
{
    size_t present = budget_bucket(budget, now_ns);
    uint64_t second = budget->second[present];
    double balance = min_per_s * RETRY_BUDGET_BUCKETS;

    for (size_t i = 0; i < RETRY_BUDGET_BUCKETS; i++) {
        if (budget->second[i] + RETRY_BUDGET_BUCKETS > second) {
            balance += budget->deposits[i] - budget->withdrawals[i];
        }
    }
    if (balance < 1.0) {
        return false;
    }
    budget->withdrawals[present] += 1.0;
    return true;
}
