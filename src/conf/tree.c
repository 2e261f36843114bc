/* SPDX-License-Identifier: MIT */
/* Life of the config tree, and the arithmetic that readers of it share. */
#include <nearside/conf/tree.h>

#include "schema_private.h"
#include "tree_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <sched.h>
#include <unistd.h>

#define STRINGS_BLOCK_BYTES 4096

struct conf *conf_new(void)
{
    struct conf *conf = mem_new(struct conf);

    conf->refs = 1;
    conf->path = "";
    conf->strings = mem_new(struct conf_strings);
    arena_init(&conf->strings->arena, STRINGS_BLOCK_BYTES);
    conf_table_defaults(&conf_table_root, conf);
    return conf;
}

const char *conf_keep(struct conf *conf, struct str text)
{
    return arena_str(&conf->strings->arena, text).ptr;
}

struct conf_block *conf_make_blocks(struct conf *conf, uint32_t count)
{
    return arena_zero(&conf->strings->arena, count * sizeof(struct conf_block));
}

void conf_make_listeners(struct conf *conf, uint32_t count)
{
    ASSERT(conf->listeners == NULL);
    conf->listeners = mem_new_array(count, struct conf_listener);
    conf->listener_count = count;
    for (uint32_t i = 0; i < count; i++) {
        conf_table_defaults(&conf_table_listener, &conf->listeners[i]);
        conf_table_defaults(&conf_table_listener_tls, &conf->listeners[i].tls);
    }
}

void conf_make_regions(struct conf *conf, uint32_t count)
{
    ASSERT(conf->regions == NULL);
    conf->regions = mem_new_array(count, struct conf_region);
    conf->region_count = count;
    for (uint32_t i = 0; i < count; i++) {
        conf_table_defaults(&conf_table_region, &conf->regions[i]);
        conf->regions[i].redis.host = "";
        conf->regions[i].health = conf->health;
        conf->regions[i].metrics = conf->metrics;
        conf->regions[i].timeouts = conf->timeouts;
        conf->regions[i].limits = conf->limits;
        conf->regions[i].warmup = conf->warmup;
    }
}

/* A host's name may hold what a name of ours may not; that becomes a dash. */
static const char *host_name(struct conf *conf)
{
    char name[CONF_NAME_LEN_MAX + 1] = "";

    if (gethostname(name, sizeof(name) - 1) != 0 || name[0] == '\0') {
        return "nearside";
    }
    for (char *at = name; *at != '\0'; at++) {
        char one[2] = {*at, '\0'};

        *at = conf_name_is_good(one) ? *at : '-';
    }
    return conf_keep(conf, str_of(name));
}

static uint32_t cpu_count(void)
{
    cpu_set_t set;
    long count;

    if (sched_getaffinity(0, sizeof(set), &set) == 0) {
        count = CPU_COUNT(&set);
    } else {
        count = sysconf(_SC_NPROCESSORS_ONLN); /* more CPUs than the set can hold */
    }
    return count < 1 ? 1 : (uint32_t)count;
}

void conf_settle_edge(struct conf *conf)
{
    struct conf_edge *edge = &conf->edge;

    if (edge->id[0] == '\0') {
        edge->id = host_name(conf);
    }
    if (edge->workers == 0) {
        edge->workers = cpu_count();
    }
    if (edge->workers > CONF_WORKERS_MAX) {
        edge->workers = CONF_WORKERS_MAX;
    }
}

bool conf_blocks_have(const struct conf_blocks *blocks, const struct addr *addr)
{
    for (uint32_t i = 0; i < blocks->count; i++) {
        if (addr_block_has(&blocks->items[i].block, addr)) {
            return true;
        }
    }
    return false;
}

struct conf *conf_ref(struct conf *conf)
{
    unsigned before = __atomic_fetch_add(&conf->refs, 1, __ATOMIC_RELAXED);

    ASSERT(before > 0);
    return conf;
}

static void conf_free(struct conf *conf)
{
    for (uint32_t i = 0; i < conf->listener_count; i++) {
        mem_free(conf->listeners[i].tls.certificates);
    }
    for (uint32_t i = 0; i < conf->region_count; i++) {
        mem_free(conf->regions[i].endpoints);
        mem_free(conf->regions[i].exporters);
        mem_free(conf->regions[i].models);
    }
    mem_free(conf->listeners);
    mem_free(conf->regions);
    arena_wipe(&conf->strings->arena);
    mem_free(conf->strings);
    mem_free(conf);
}

void conf_unref(struct conf *conf)
{
    if (conf == NULL) {
        return;
    }
    unsigned before = __atomic_fetch_sub(&conf->refs, 1, __ATOMIC_ACQ_REL);

    ASSERT(before > 0);
    if (before == 1) {
        conf_free(conf);
    }
}

bool conf_region_speaks_tls(const struct conf_region *region)
{
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        if (region->endpoints[i].tls) {
            return true;
        }
    }
    for (uint32_t i = 0; i < region->exporter_count; i++) {
        if (region->exporters[i].tls) {
            return true;
        }
    }
    return region->redis.url[0] != '\0' && region->redis.tls;
}

const struct conf_region *conf_find_region(const struct conf *conf, struct str name)
{
    for (uint32_t i = 0; i < conf->region_count; i++) {
        if (str_eq(str_of(conf->regions[i].name), name)) {
            return &conf->regions[i];
        }
    }
    return NULL;
}

/* Probes are spread by up to 10 %; rounded up. */
static uint64_t with_jitter(uint64_t ms)
{
    return ms + (ms + 9) / 10;
}

uint64_t conf_detect_refused_ms(const struct conf_health *health)
{
    uint64_t fast = health->fast_interval_ms;

    return with_jitter(health->interval_ms + (uint64_t)(health->fall - 1) * fast);
}

uint64_t conf_detect_vanished_ms(const struct conf_health *health)
{
    uint64_t step = health->timeout_ms;

    /* Probes run start to start: one that times out early still waits for the next turn. */
    if (step < health->fast_interval_ms) {
        step = health->fast_interval_ms;
    }
    return with_jitter(health->interval_ms + (uint64_t)health->fall * step);
}

uint64_t conf_detect_hung_ms(const struct conf_health *health)
{
    const struct conf_generate *generate = &health->generate;
    uint64_t step = generate->timeout_ms;

    if (generate->interval_s == 0) {
        return 0;
    }
    /* After the first failure the next ones come every interval_ms. */
    if (step < health->interval_ms) {
        step = health->interval_ms;
    }
    return with_jitter(generate->interval_s * 1000ULL + (uint64_t)health->fall * step);
}
