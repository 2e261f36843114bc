/* SPDX-License-Identifier: MIT */
/*
 * Warm before traffic: prompts to an endpoint that is new or back from down, whose answers it owes
 * before it counts as up. Health probes go on meanwhile, and a dead one is down as ever.
 *
 * Happy path:
 *   1. The threshold says WARMING: send the first prompt.
 *   2. It is answered: send the next, until warmup.requests have been.
 *   3. Tell the target, which is up now; slow start begins.
 *
 * A prompt that fails (5xx, broken off, late) is sent again after health.interval_ms. One that is
 * declined (4xx, full) ends the warm-up: what is wrong is the prompt, or others have warmed the
 * endpoint more than well.
 *
 * Waits: an answer, deadline warmup.timeout_ms; the next prompt, deadline next_warm.
 */
#include "health_private.h"

#include <nearside/base/assert.h>
#include <nearside/fleet/fleet.h>
#include <nearside/obs/log.h>

static const char *model_of(const struct conf_region *region)
{
    if (region->health.generate.model[0] != '\0') {
        return region->health.generate.model;
    }
    return region->model_count > 0 ? region->models[0] : "";
}

static void note_failure(struct target *target, const struct probe_result *result)
{
    const char *word = probe_end_row(result->end)->word;

    if (!target->warm_failed) {
        log_warn("warmup_failed", "region=%s endpoint=%s reason=%s status=%u", target->region->name,
                 target->address, word, result->status);
    }
    target->warm_failed = true;
    fleet_set_endpoint_state(target->health->fleet, target->live->id, ENDPOINT_WARMING, word);
}

static void on_answered(const struct probe_result *result, void *arg)
{
    struct target *target = OBJ_CAST(arg, target, TARGET_MAGIC);
    const struct probe_end_row *row = probe_end_row(result->end);
    bool is_over = result->end == PROBE_END_DECLINED;

    metric_add(target->health->metrics, METRIC_WARMUPS, target->region_slot, row->outcome, 0, 1);
    if (is_over) {
        log_warn("warmup_declined", "region=%s endpoint=%s status=%u", target->region->name,
                 target->address, result->status);
    } else if (row->verdict == PROBE_PASS) {
        target->warm_failed = false;
        is_over = ++target->warm_answers >= target->region->warmup.requests;
    } else {
        note_failure(target, result);
    }
    if (is_over) {
        target_on_warmed(target);
    } else {
        deadline_set_in_ms(&target->next_warm,
                           row->verdict == PROBE_PASS ? 0 : target->region->health.interval_ms);
    }
}

static void on_next(struct deadline *deadline, void *arg)
{
    struct target *target = OBJ_CAST(arg, target, TARGET_MAGIC);
    const struct conf_warmup *conf = &target->region->warmup;
    struct probe_target what = target_probe(target);

    (void)deadline;
    what.is_warmup = true;
    what.prompt = (struct probe_prompt){.path = conf->path,
                                        .model = model_of(target->region),
                                        .body = conf->body[0] == '\0' ? NULL : conf->body,
                                        .timeout_ms = conf->timeout_ms};
    prober_start(target->warmer, &what);
}

void warmup_init(struct target *target)
{
    deadline_init(&target->next_warm, target->health->loop, on_next, target);
}

void warmup_end(struct target *target)
{
    prober_free(target->warmer);
    target->warmer = NULL;
    deadline_cancel(&target->next_warm);
}

void warmup_follow(struct target *target)
{
    bool is_wanted = target->threshold.state == ENDPOINT_WARMING && target_rules(target).warmup;

    if (!is_wanted) {
        warmup_end(target);
    } else if (target->warmer == NULL) {
        target->warmer = prober_new(target->health->loop, on_answered, target_on_sample, target);
        target->warm_answers = 0;
        target->warm_failed = false;
        deadline_set_in_ms(&target->next_warm, 0);
    }
}
