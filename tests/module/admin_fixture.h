/* SPDX-License-Identifier: MIT */
/*
 * An admin server with a real loop and fleet, and an HTTP client on the same loop. Include after
 * <cmocka.h>.
 */
#ifndef NEARSIDE_TESTS_MODULE_ADMIN_FIXTURE_H
#define NEARSIDE_TESTS_MODULE_ADMIN_FIXTURE_H

#include <nearside/admin/admin.h>
#include <nearside/base/buf.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/conf/parse.h>
#include <nearside/conf/tree.h>
#include <nearside/fleet/fleet.h>
#include <nearside/fleet/load.h>
#include <nearside/fleet/peers.h>
#include <nearside/loop/loop.h>
#include <nearside/obs/metric.h>

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUARD_MS 10000 /* a test that waits longer has failed */
#define LOOK_MS  5     /* how often a condition is looked at */

struct fixture {
    struct loop *loop;
    struct fleet *fleet;
    struct conf *conf;
    struct admin *admin;
    struct addr addr; /* where admin is served */
    struct deadline guard;
    struct deadline look;
    bool (*is_reached)(struct fixture *fixture);
    bool timed_out;

    /* What the source says and was asked. */
    struct admin_reload last_reload;
    struct admin_cache cache;
    bool draining;
    bool reload_ok;
    bool reload_moves; /* the reload puts admin on another port */
    unsigned reloads;
    unsigned purges;
    unsigned redis_purges;

    struct peers peers;
    struct load_reports loads;

    /* The answer under way, or the last one. */
    int client;
    struct watch *watch;
    struct buf answer;
    int status;
    struct str head;
    struct str body;
};

/* ---- the source ---- */

static inline struct conf *source_conf(void *arg)
{
    return ((struct fixture *)arg)->conf;
}

static inline const struct admin_reload *source_last_upgrade(void *arg)
{
    (void)arg;
    return NULL;
}

static inline const struct admin_reload *source_last_reload(void *arg)
{
    return &((struct fixture *)arg)->last_reload;
}

/* The region in slot 0 has a full Redis. */
static inline void source_redis(void *arg, unsigned region_slot, struct admin_redis *ret_redis)
{
    (void)arg;
    *ret_redis = (struct admin_redis){
        .error = region_slot == 0 ? "oom" : NULL, .command = "set", .advice = "raise maxmemory"};
}

static inline void source_cache(void *arg, struct admin_cache *ret_cache)
{
    *ret_cache = ((struct fixture *)arg)->cache;
}

static inline uint32_t source_workers(void *arg)
{
    (void)arg;
    return 2;
}

static inline uint64_t source_worker_cpu_ns(void *arg, uint32_t index)
{
    (void)arg;
    return (index + 1) * NS_PER_S / 2;
}

static inline bool source_is_draining(void *arg)
{
    return ((struct fixture *)arg)->draining;
}

static inline uint64_t source_started(void *arg)
{
    (void)arg;
    return clock_wall_ms() - 90 * 1000;
}

static inline uint64_t source_started_ns(void *arg)
{
    (void)arg;
    return clock_mono_ns() - 90 * NS_PER_S;
}

static inline void serve(struct fixture *f, const char *token, bool loopback);

static inline bool source_reload(void *arg)
{
    struct fixture *f = arg;

    f->reloads++;
    if (f->reload_moves) {
        serve(f, "", true);
    }
    return f->reload_ok;
}

static inline void source_purge(void *arg, bool redis)
{
    struct fixture *f = arg;

    f->purges++;
    f->redis_purges += redis ? 1 : 0;
}

static inline bool source_explain(void *arg, struct str id, struct buf *out)
{
    (void)arg;
    if (!str_eq(id, STR_LIT("a/b"))) {
        return false;
    }
    buf_append_str(out, STR_LIT("{\"id\":\"a/b\"}\n"));
    return true;
}

static inline const struct load_reports *source_loads(void *arg)
{
    return &((struct fixture *)arg)->loads;
}

static inline void source_certificates(void *arg, admin_certificate_fn each, void *each_arg)
{
    (void)arg;
    each("listener", "0.0.0.0:8443", 2000000000, each_arg);
}

static inline const struct peers *source_peers(void *arg)
{
    return &((struct fixture *)arg)->peers;
}

/* ---- steps ---- */

/* Serve on a port of the kernel's choice. */
static inline void serve(struct fixture *f, const char *token, bool loopback)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);
    struct errbuf err;
    struct addr any;
    int fd;

    assert_true(addr_parse(str_of("127.0.0.1:0"), &any));
    assert_int_equal(admin_bind(&any, -1, &fd, &err), STATUS_OK);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&bound, &len), 0);
    assert_true(addr_from_sockaddr((struct sockaddr *)&bound, len, &f->addr));
    admin_serve(f->admin, fd, token, loopback);
}

static inline void on_guard(struct deadline *deadline, void *arg)
{
    struct fixture *f = arg;

    (void)deadline;
    f->timed_out = true;
    loop_stop(f->loop);
}

static inline void on_look(struct deadline *deadline, void *arg)
{
    struct fixture *f = arg;

    if (f->is_reached(f)) {
        loop_stop(f->loop);
    } else {
        deadline_set_in_ms(deadline, LOOK_MS);
    }
}

/* Run the loop until it is stopped, for `ms` at most. */
static inline void run_for(struct fixture *f, uint64_t ms)
{
    f->timed_out = false;
    (void)loop_refresh_now_ns(f->loop);
    deadline_set_in_ms(&f->guard, ms);
    loop_run(f->loop);
    deadline_cancel(&f->guard);
}

static inline void run_until(struct fixture *f, bool (*is_reached)(struct fixture *fixture))
{
    f->is_reached = is_reached;
    deadline_set_in_ms(&f->look, 0);
    run_for(f, GUARD_MS);
    deadline_cancel(&f->look);
    assert_false(f->timed_out);
}

static inline int connect_client(const struct addr *addr)
{
    int fd = socket(addr->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (connect(fd, &addr->sa.any, addr->len) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static inline void read_answer(struct fixture *f)
{
    struct str all = buf_str(&f->answer);
    size_t end = str_find(all, STR_LIT("\r\n\r\n"));
    uint64_t status = 0;

    assert_true(str_starts(all, STR_LIT("HTTP/1.1 ")));
    assert_true(str_to_u64(str_slice(all, 9, 12), &status));
    assert_true(end < all.len);
    f->status = (int)status;
    f->head = str_slice(all, 0, end + 2);
    f->body = str_slice(all, end + 4, all.len);
}

static inline void on_client(struct watch *watch, unsigned events, void *arg)
{
    struct fixture *f = arg;
    char bytes[16384];
    ssize_t len = recv(watch_fd(watch), bytes, sizeof(bytes), MSG_DONTWAIT);

    (void)events;
    if (len > 0) {
        buf_append(&f->answer, bytes, (size_t)len);
    } else if (len == 0 || (errno != EAGAIN && errno != EINTR)) {
        loop_stop(f->loop);
    }
}

/* Send `bytes` on a connection of its own. */
static inline void begin(struct fixture *f, struct str bytes)
{
    f->client = connect_client(&f->addr);
    assert_true(f->client >= 0);
    assert_int_equal(send(f->client, bytes.ptr, bytes.len, MSG_NOSIGNAL), (ssize_t)bytes.len);
    buf_clear(&f->answer);
    f->watch = watch_level(f->loop, f->client, WATCH_READ, on_client, f);
}

static inline void end(struct fixture *f)
{
    watch_free(f->watch);
    f->watch = NULL;
    (void)close(f->client);
    f->client = -1;
}

static inline void exchange(struct fixture *f, struct str bytes)
{
    begin(f, bytes);
    run_for(f, GUARD_MS);
    end(f);
    assert_false(f->timed_out);
    read_answer(f);
}

/* `headers`: whole lines with their ends. */
static inline void request(struct fixture *f, const char *method, const char *target,
                           const char *headers)
{
    struct buf bytes;

    buf_init(&bytes);
    buf_printf(&bytes, "%s %s HTTP/1.1\r\nConnection: close\r\n%s\r\n", method, target, headers);
    exchange(f, buf_str(&bytes));
    buf_done(&bytes);
}

static inline void get(struct fixture *f, const char *target)
{
    request(f, "GET", target, "Host: localhost\r\n");
}

static inline void post(struct fixture *f, const char *target)
{
    request(f, "POST", target, "Host: localhost\r\nContent-Length: 0\r\n");
}

static inline bool says(struct str text, const char *what)
{
    return str_find(text, str_of(what)) < text.len;
}

/* The body as JSON; the caller drops the reference. */
static inline json_t *body_json(struct fixture *f)
{
    json_error_t error;
    json_t *value = json_loadb(f->body.ptr, f->body.len, 0, &error);

    if (value == NULL) {
        fail_msg("%s in %.*s", error.text, STR_FMT(f->body));
    }
    return value;
}

static inline const struct view_region *region_of(struct fixture *f, uint32_t index)
{
    return &fleet_view_now(f->fleet)->regions[index];
}

static inline void set_up_state(struct fixture *f, uint32_t region, enum endpoint_state state,
                                const char *reason)
{
    for (uint32_t i = 0; i < region_of(f, region)->endpoint_count; i++) {
        fleet_set_endpoint_state(f->fleet, region_of(f, region)->endpoints[i].live->id, state,
                                 reason);
    }
}

/* ---- life ---- */

static inline void on_view(struct fleet_view *view, void *arg)
{
    (void)view;
    (void)arg;
}

static inline void start_admin(struct fixture *f)
{
    struct admin_source source = {
        .arg = f,
        .metrics = metric_block_new(),
        .conf = source_conf,
        .last_reload = source_last_reload,
        .last_upgrade = source_last_upgrade,
        .cache = source_cache,
        .redis = source_redis,
        .is_draining = source_is_draining,
        .workers = source_workers,
        .worker_cpu_ns = source_worker_cpu_ns,
        .started_wall_ms = source_started,
        .started_ns = source_started_ns,
        .reload = source_reload,
        .purge = source_purge,
        .explain = source_explain,
        .peers = source_peers,
        .loads = source_loads,
        .certificates = source_certificates,
    };

    f->admin = admin_new(f->loop, f->fleet, &source);
    serve(f, "", true);
}

/* Two regions: near with two endpoints, far with one. */
static inline int set_up(void **state)
{
    static char near_text[] = "near=http://127.0.0.1:7001,http://127.0.0.1:7002";
    static char far_text[] = "far=http://127.0.0.1:7003";
    char *regions[] = {near_text, far_text};
    struct fixture *f = mem_new(struct fixture);
    struct errbuf err;

    f->client = -1;
    f->loop = loop_new("admin");
    f->last_reload = (struct admin_reload){.ok = true, .wall_ms = clock_wall_ms()};
    f->reload_ok = true;
    peers_init(&f->peers);
    load_reports_init(&f->loads);
    buf_init(&f->answer);
    deadline_init(&f->guard, f->loop, on_guard, f);
    deadline_init(&f->look, f->loop, on_look, f);
    assert_int_equal(conf_from_args(2, regions, &f->conf, &err), STATUS_OK);
    f->conf->generation = 1;
    f->fleet = fleet_new(f->loop, on_view, f);
    fleet_apply(f->fleet, f->conf);
    start_admin(f);
    *state = f;
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *f = *state;

    admin_free(f->admin);
    fleet_free(f->fleet);
    peers_done(&f->peers);
    load_reports_done(&f->loads);
    deadline_done(&f->guard);
    deadline_done(&f->look);
    loop_free(f->loop);
    conf_unref(f->conf);
    buf_done(&f->answer);
    mem_free(f);
    return 0;
}

#endif
