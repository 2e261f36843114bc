/* SPDX-License-Identifier: MIT */
/* Records of ended requests, a store per worker: written here, found by id. */
#include "explain_private.h"

#include "request_private.h"
#include "worker_private.h"

#include <nearside/base/clock.h>

#include <string.h>

_Static_assert(REQUEST_ID_MAX <= EXPLAIN_ID_MAX, "every id is kept whole");
_Static_assert(METRIC_REGIONS_MAX <= UINT8_MAX, "a slot fits");

void explain_ring_init(struct explain_ring *ring, uint32_t worker_count)
{
    *ring = (struct explain_ring){.scratch = {.started_wall_ms = 0}};
    explain_store_init(&ring->store, (EXPLAIN_RECORDS + worker_count - 1) / worker_count);
    (void)pthread_mutex_init(&ring->lock, NULL); /* cannot fail without attributes */
}

void explain_ring_done(struct explain_ring *ring)
{
    explain_store_done(&ring->store);
    (void)pthread_mutex_destroy(&ring->lock);
}

void explain_note_attempt(struct request *request, enum outcome outcome, uint64_t now_ns)
{
    const struct view_region *region = &request->view->regions[request->choice.region];
    struct explain_note *note;

    request->explain_count++;
    if (request->explain_count > EXPLAIN_ATTEMPTS_MAX) {
        return;
    }
    note = arena_alloc(&request->arena, sizeof(*note));
    note->next = NULL;
    note->attempt = (struct explain_attempt){
        .addr = region->endpoints[request->choice.endpoint].addr,
        .begun_ns = request->attempt_ns - request->started_ns,
        .took_ns = now_ns - request->attempt_ns,
        .slot = (uint8_t)request->attempt_slot,
        .route = (uint8_t)request->choice.reason,
        .outcome = (uint8_t)outcome,
    };
    *request->explain_end = note;
    request->explain_end = &note->next;
}

/* ---- writing a record ---- */

static void put_candidate(struct explain_record *record, const struct request *request,
                          uint32_t index)
{
    const struct fleet_view *view = request->view;
    const struct view_region *region = &view->regions[index];

    record->candidates[record->region_count++] = (struct explain_region){
        .latency_ms = (float)region->latency_ms,
        .cost_ms = (float)(region->latency_known ? region->latency_ms : ROUTE_UNKNOWN_MS),
        .weight = region->weight,
        .slot = (uint8_t)region->slot,
        .state = (uint8_t)region->state,
        .verdict = (uint8_t)route_judge(view, &request->route, &request->choice, index),
        .latency_known = region->latency_known,
        .near = region->near,
        .drained = region->drained,
        .home = (int)index == view->home,
    };
}

/* The chosen one is among those kept, whatever their number. */
static void put_candidates(struct explain_record *record, const struct request *request)
{
    const struct fleet_view *view = request->view;
    int chosen = request->choice.region;

    record->regions = view->region_count;
    for (uint32_t i = 0; i < view->region_count && i < EXPLAIN_REGIONS_MAX - 1; i++) {
        put_candidate(record, request, i);
    }
    if (view->region_count >= EXPLAIN_REGIONS_MAX) {
        bool is_late = chosen >= EXPLAIN_REGIONS_MAX - 1;
        put_candidate(record, request, is_late ? (uint32_t)chosen : EXPLAIN_REGIONS_MAX - 1);
    }
}

/* ---- what the request before found ---- */

/* A verdict depends on the view, the choice, the regions tried, the model and the client's list. */
static bool can_remember(const struct request *request)
{
    return request->route.regions.len == 0 && request->model.len <= EXPLAIN_MODEL_MAX;
}

static bool remembers(const struct explain_memory *memory, const struct request *request)
{
    return memory->view_version == request->view->version &&
           memory->chosen == request->choice.region && memory->reason == request->choice.reason &&
           memory->tried_slots == request->route.tried_slots &&
           str_eq(str_make(memory->model, memory->model_len), request->model);
}

static void remember(struct explain_memory *memory, const struct request *request,
                     const struct explain_record *record)
{
    memory->view_version = request->view->version;
    memory->chosen = request->choice.region;
    memory->reason = request->choice.reason;
    memory->tried_slots = request->route.tried_slots;
    memory->model_len = (uint8_t)request->model.len;
    memory->region_count = record->region_count;
    memcpy(memory->candidates, record->candidates,
           record->region_count * sizeof(record->candidates[0]));
    if (request->model.len > 0) {
        memcpy(memory->model, request->model.ptr, request->model.len);
    }
}

static void recall_candidates(struct explain_memory *memory, struct explain_record *record,
                              const struct request *request)
{
    if (!can_remember(request)) {
        put_candidates(record, request);
        return;
    }
    if (!remembers(memory, request)) {
        put_candidates(record, request);
        remember(memory, request, record);
        return;
    }
    record->regions = request->view->region_count;
    record->region_count = memory->region_count;
    memcpy(record->candidates, memory->candidates,
           memory->region_count * sizeof(memory->candidates[0]));
}

static void put_route(struct explain_memory *memory, struct explain_record *record,
                      const struct request *request)
{
    const struct explain_note *note;

    record->routed = request->view != NULL;
    record->regions = 0;
    record->region_count = 0;
    record->chosen_slot = -1;
    if (record->routed) {
        int chosen = request->choice.region;

        record->route = (uint8_t)request->choice.reason;
        record->chosen_slot =
            chosen == ROUTE_NOBODY ? -1 : (int16_t)request->view->regions[chosen].slot;
        recall_candidates(memory, record, request);
    }
    record->attempts = request->explain_count;
    record->attempt_count = 0;
    for (note = request->explain_notes; note != NULL; note = note->next) {
        record->tries[record->attempt_count++] = note->attempt;
    }
}

static void put_request(struct explain_record *record, const struct request *request,
                        uint64_t now_ns)
{
    uint64_t asked_ns = request->body_done_ns != 0 ? request->body_done_ns : now_ns;

    record->total_ns = now_ns - request->started_ns;
    record->started_wall_ms = clock_wall_ms() - record->total_ns / NS_PER_MS;
    record->read_ns = asked_ns - request->started_ns;
    record->ttft_ns = request->commit_ns > asked_ns ? request->commit_ns - asked_ns : 0;
    record->waited_ns = request->waited_ns;
    record->cache = request->cache_word;
    record->reason = request->reason;
    record->status = (uint16_t)request->status;
    record->id_len = (uint8_t)request->id.len;
    memcpy(record->id, request->id.ptr, request->id.len);
    record->model_len =
        (uint8_t)(request->model.len < EXPLAIN_MODEL_MAX ? request->model.len : EXPLAIN_MODEL_MAX);
    if (record->model_len > 0) {
        memcpy(record->model, request->model.ptr, record->model_len);
    }
}

void explain_keep(struct request *request, uint64_t now_ns)
{
    struct explain_ring *ring = &request->worker->explain;

    (void)pthread_mutex_lock(&ring->lock);
    put_request(&ring->scratch, request, now_ns);
    put_route(&ring->memory, &ring->scratch, request);
    explain_store_add(&ring->store, &ring->scratch);
    (void)pthread_mutex_unlock(&ring->lock);
}

bool explain_ring_find(struct explain_ring *ring, struct str id, struct explain_record *ret_record)
{
    bool found;

    (void)pthread_mutex_lock(&ring->lock);
    found = explain_store_find(&ring->store, id, ret_record);
    (void)pthread_mutex_unlock(&ring->lock);
    return found;
}
