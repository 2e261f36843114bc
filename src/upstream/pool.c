/* SPDX-License-Identifier: MIT */
/*
 * Idle connections by endpoint, and leases.
 *
 * A connection is in one of three places, which is its state:
 *
 *   CONNECTING ──open──> LEASED ──put──> IDLE ──take──> LEASED
 *        └───────────────────┴── close ────┴──> gone (freed at the end of the turn)
 *
 * Waits: IDLE has one deadline per pool (the sweep), which runs while anything is idle. An event
 * on an idle connection means that the peer closed it or speaks out of turn: it is closed.
 */
#include <nearside/upstream/pool.h>

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/hash.h>
#include <nearside/base/list.h>
#include <nearside/base/mem.h>
#include <nearside/base/table.h>
#include <nearside/fleet/live.h>
#include <nearside/loop/loop.h>
#include <nearside/net/tls_ctx.h>

#define POOL_MAGIC     0x706f6f6cu
#define CONN_MAGIC     0x75706373u
#define POOL_SWEEP_MS  1000
#define POOL_SWEEP_MAX 1000 /* connections looked at per turn */

/* The connections of one endpoint; exists while there are any, idle or leased, so that leasing and
 * giving back neither makes nor looks for one. */
struct pool_group {
    struct table_item item;
    uint64_t endpoint_id;
    struct list idle; /* of upstream_conn.link; newest first */
    uint32_t idle_count;
    uint32_t conn_count;
};

struct pool {
    uint32_t magic;
    struct loop *loop;
    struct metric_block *metrics;
    struct table groups;
    struct list idle_by_age; /* of upstream_conn.age_link; oldest first */
    struct deadline sweep;
    uint32_t leased;
};

struct upstream_conn {
    uint32_t magic;
    struct pool *pool;          /* borrowed: outlives this */
    struct stream *stream;      /* owned */
    struct endpoint_live *live; /* ref held */
    struct tls_ctx *tls;        /* ref held; NULL: plain */
    struct pool_group *group;   /* borrowed: outlives this */
    bool is_idle;
    struct list link; /* these two: while idle */
    struct list age_link;
    unsigned region_slot;
    uint64_t made_ns;
    uint64_t idle_since_ns;
    uint32_t uses;
};

static void on_sweep(struct deadline *deadline, void *arg);

struct pool *pool_new(struct loop *loop, struct metric_block *metrics)
{
    struct pool *pool = mem_new(struct pool);

    pool->magic = POOL_MAGIC;
    pool->loop = loop;
    pool->metrics = metrics;
    table_init(&pool->groups);
    list_init(&pool->idle_by_age);
    deadline_init(&pool->sweep, loop, on_sweep, pool);
    return pool;
}

static struct pool_group *group_find(struct pool *pool, uint64_t endpoint_id)
{
    struct table_item *item = table_first(&pool->groups, hash_u64(endpoint_id));

    for (; item != NULL; item = table_next(item)) {
        struct pool_group *group = CONTAINER_OF(item, struct pool_group, item);
        if (group->endpoint_id == endpoint_id) {
            return group;
        }
    }
    return NULL;
}

static struct pool_group *group_join(struct pool *pool, uint64_t endpoint_id)
{
    struct pool_group *group = group_find(pool, endpoint_id);

    if (group == NULL) {
        group = mem_new(struct pool_group);
        group->endpoint_id = endpoint_id;
        list_init(&group->idle);
        table_insert(&pool->groups, &group->item, hash_u64(endpoint_id));
    }
    group->conn_count++;
    return group;
}

static void group_leave(struct pool *pool, struct pool_group *group)
{
    group->conn_count--;
    if (group->conn_count == 0) {
        table_remove(&pool->groups, &group->item);
        mem_free(group);
    }
}

/* Out of the idle lists; the caller leases or closes it. */
static void conn_leave_idle(struct upstream_conn *conn)
{
    list_remove(&conn->link);
    list_remove(&conn->age_link);
    conn->is_idle = false;
    conn->group->idle_count--;
    metric_add(conn->pool->metrics, METRIC_UPSTREAM_IDLE, conn->region_slot, 0, 0, -1);
}

static void conn_destroy(struct upstream_conn *conn, bool abort)
{
    group_leave(conn->pool, conn->group);
    conn->group = NULL;
    stream_close(conn->stream, abort);
    conn->stream = NULL;
    endpoint_live_unref(conn->live);
    tls_ctx_unref(conn->tls);
    conn->magic = 0;
    loop_defer_free(conn->pool->loop, conn);
}

/* The peer closed an idle connection, or sent what nobody asked for. */
static void on_idle_event(struct stream *stream, unsigned events, void *arg)
{
    struct upstream_conn *conn = OBJ_CAST(arg, upstream_conn, CONN_MAGIC);

    if ((events & (STREAM_EV_READ | STREAM_EV_CLOSED)) == 0) {
        return;
    }
    if ((events & STREAM_EV_CLOSED) == 0 && stream_is_quiet(stream)) {
        return;
    }
    conn_leave_idle(conn);
    conn_destroy(conn, false);
}

struct upstream_conn *pool_take(struct pool *pool, const struct upstream_target *target,
                                stream_fn fn, void *arg)
{
    struct pool_group *group = group_find(pool, target->live->id);
    struct list *link;

    if (group == NULL) {
        return NULL;
    }
    LIST_FOREACH (link, &group->idle) {
        struct upstream_conn *conn = LIST_ITEM(link, struct upstream_conn, link);
        if (conn->tls == target->tls) {
            conn_leave_idle(conn);
            conn->uses++;
            pool->leased++;
            stream_set_owner(conn->stream, fn, arg);
            return conn;
        }
    }
    return NULL;
}

struct upstream_conn *pool_connect(struct pool *pool, const struct upstream_target *target,
                                   stream_fn fn, void *arg)
{
    struct upstream_conn *conn = mem_new(struct upstream_conn);

    conn->magic = CONN_MAGIC;
    conn->pool = pool;
    conn->live = endpoint_live_ref(target->live);
    conn->tls = target->tls == NULL ? NULL : tls_ctx_ref(target->tls);
    conn->group = group_join(pool, target->live->id);
    list_init(&conn->link);
    list_init(&conn->age_link);
    conn->region_slot = target->region_slot;
    conn->made_ns = loop_now_ns(pool->loop);
    conn->stream =
        stream_connect(pool->loop, &target->addr, target->tls, target->server_name, fn, arg);
    stream_refuse_from(conn->stream, target->descriptor_end);
    pool->leased++;
    metric_inc(pool->metrics, METRIC_UPSTREAM_CONNECTS, target->region_slot);
    return conn;
}

void pool_put(struct upstream_conn *conn)
{
    struct pool *pool = conn->pool;
    uint64_t now_ns = loop_now_ns(pool->loop);
    struct pool_group *group = conn->group;

    ASSERT(!conn->is_idle && pool->leased > 0);
    pool->leased--;
    conn->is_idle = true;
    conn->idle_since_ns = now_ns;
    list_push_front(&group->idle, &conn->link);
    list_push_back(&pool->idle_by_age, &conn->age_link);
    group->idle_count++;
    metric_add(pool->metrics, METRIC_UPSTREAM_IDLE, conn->region_slot, 0, 0, 1);
    stream_set_owner(conn->stream, on_idle_event, conn);

    if (stream_peer_is_closed(conn->stream) || group->idle_count > UPSTREAM_IDLE_MAX ||
        now_ns - conn->made_ns > UPSTREAM_AGE_MS * NS_PER_MS) {
        conn_leave_idle(conn);
        conn_destroy(conn, false);
        return;
    }
    if (!deadline_is_set(&pool->sweep)) {
        deadline_set_in_ms(&pool->sweep, POOL_SWEEP_MS);
    }
}

void pool_close(struct upstream_conn *conn, bool abort)
{
    ASSERT(!conn->is_idle && conn->pool->leased > 0);
    conn->pool->leased--;
    conn_destroy(conn, abort);
}

struct stream *upstream_stream(const struct upstream_conn *conn)
{
    return conn->stream;
}

bool upstream_is_reused(const struct upstream_conn *conn)
{
    return conn->uses > 0;
}

static void on_sweep(struct deadline *deadline, void *arg)
{
    struct pool *pool = OBJ_CAST(arg, pool, POOL_MAGIC);
    uint64_t now_ns = loop_now_ns(pool->loop);

    (void)deadline;
    for (unsigned looked = 0; looked < POOL_SWEEP_MAX; looked++) {
        struct list *oldest = list_first(&pool->idle_by_age);
        struct upstream_conn *conn;
        if (oldest == NULL) {
            return;
        }
        conn = LIST_ITEM(oldest, struct upstream_conn, age_link);
        if (now_ns - conn->idle_since_ns < UPSTREAM_IDLE_MS * NS_PER_MS) {
            break;
        }
        conn_leave_idle(conn);
        conn_destroy(conn, false);
    }
    deadline_set_in_ms(&pool->sweep, POOL_SWEEP_MS);
}

void pool_drop(struct pool *pool, uint64_t endpoint_id)
{
    struct pool_group *group = group_find(pool, endpoint_id);
    uint32_t count = group == NULL ? 0 : group->idle_count; /* the group goes with its last one */

    for (; count > 0; count--) {
        struct upstream_conn *conn =
            LIST_ITEM(list_first(&group->idle), struct upstream_conn, link);

        conn_leave_idle(conn);
        conn_destroy(conn, false);
    }
}

void pool_sweep(struct pool *pool, bool (*keep)(uint64_t endpoint_id, void *arg), void *arg)
{
    struct list *link;
    struct list *after;

    LIST_FOREACH_SAFE (link, after, &pool->idle_by_age) {
        struct upstream_conn *conn = LIST_ITEM(link, struct upstream_conn, age_link);
        if (!keep(conn->live->id, arg)) {
            conn_leave_idle(conn);
            conn_destroy(conn, false);
        }
    }
}

static bool keep_none(uint64_t endpoint_id, void *arg)
{
    (void)endpoint_id;
    (void)arg;
    return false;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pool_sweep(pool, keep_none, NULL);
    ASSERT(pool->leased == 0);
    deadline_done(&pool->sweep);
    table_done(&pool->groups);
    pool->magic = 0;
    loop_defer_free(pool->loop, pool);
}
