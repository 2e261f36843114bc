/* SPDX-License-Identifier: MIT */
/* TLS contexts for every listener and region of a config, built before anything is committed. */
#include <nearside/proxy/world.h>

#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/net/tls_ctx.h>

static enum status load_listeners(struct world *world, struct errbuf *err)
{
    const struct conf *conf = world->conf;

    for (uint32_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];
        enum status status;
        if (!listener->has_tls) {
            continue;
        }
        status = tls_ctx_new_server(&listener->tls, &world->listener_tls[i], err);
        if (status != STATUS_OK) {
            err_wrap(err, "listener %s: ", listener->bind);
            return status;
        }
    }
    return STATUS_OK;
}

static bool region_speaks_tls(const struct conf_region *region)
{
    for (uint32_t i = 0; i < region->endpoint_count; i++) {
        if (region->endpoints[i].tls) {
            return true;
        }
    }
    return region->redis.tls;
}

static enum status load_regions(struct world *world, struct errbuf *err)
{
    const struct conf *conf = world->conf;

    for (uint32_t i = 0; i < conf->region_count; i++) {
        const struct conf_region *region = &conf->regions[i];
        enum status status;
        if (!region_speaks_tls(region)) {
            continue;
        }
        status = tls_ctx_new_client(&region->tls, &world->region_tls[i], err);
        if (status != STATUS_OK) {
            err_wrap(err, "region %s: ", region->name);
            return status;
        }
    }
    return STATUS_OK;
}

enum status world_new(struct conf *conf, struct world **ret_world, struct errbuf *err)
{
    struct world *world = mem_new(struct world);
    enum status status;

    atomic_init(&world->refs, 1);
    world->conf = conf_ref(conf);
    world->listener_tls = mem_new_array(conf->listener_count, struct tls_ctx *);
    world->region_tls = mem_new_array(conf->region_count, struct tls_ctx *);
    status = load_listeners(world, err);
    if (status == STATUS_OK) {
        status = load_regions(world, err);
    }
    if (status != STATUS_OK) {
        world_unref(world);
        return status;
    }
    *ret_world = world;
    return STATUS_OK;
}

struct world *world_ref(struct world *world)
{
    atomic_fetch_add_explicit(&world->refs, 1, memory_order_relaxed);
    return world;
}

void world_unref(struct world *world)
{
    if (world == NULL || atomic_fetch_sub_explicit(&world->refs, 1, memory_order_acq_rel) != 1) {
        return;
    }
    for (uint32_t i = 0; i < world->conf->listener_count; i++) {
        tls_ctx_unref(world->listener_tls[i]);
    }
    for (uint32_t i = 0; i < world->conf->region_count; i++) {
        tls_ctx_unref(world->region_tls[i]);
    }
    mem_free(world->listener_tls);
    mem_free(world->region_tls);
    conf_unref(world->conf);
    mem_free(world);
}
