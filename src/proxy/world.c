/* SPDX-License-Identifier: MIT */
/*
 * TLS contexts for every listener and region of a config, built before anything is committed.
 *
 * A context whose settings and files are as they were is taken over from the world before: idle
 * connections that were opened with it stay usable, and its session tickets stay valid.
 */
#include <nearside/proxy/world.h>

#include <nearside/base/digest.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/net/tls_ctx.h>

#include <stdio.h>
#include <string.h>

/* ---- what a context was made of ---- */

static void mark_text(struct digest *digest, const char *text)
{
    digest_add(digest, text, strlen(text) + 1);
}

/* A file's content counts, not its name or age. One that cannot be read is told when it is loaded.
 */
static void mark_file(struct digest *digest, const char *path)
{
    char bytes[4096];
    FILE *file;
    size_t len;

    mark_text(digest, path);
    if (path[0] == '\0') {
        return;
    }
    file = fopen(path, "re");
    if (file == NULL) {
        return;
    }
    while ((len = fread(bytes, 1, sizeof(bytes), file)) > 0) {
        digest_add(digest, bytes, len);
    }
    (void)fclose(file);
    explicit_bzero(bytes, sizeof(bytes)); /* it held a private key */
}

static void mark_listener(struct digest *digest, const struct conf_listener_tls *conf,
                          struct tls_mark *ret_mark)
{
    uint32_t version = (uint32_t)conf->min_version;

    digest_start(digest);
    for (uint32_t i = 0; i < conf->certificate_count; i++) {
        mark_file(digest, conf->certificates[i].certificate);
        mark_file(digest, conf->certificates[i].key);
    }
    mark_file(digest, conf->client_ca);
    digest_add(digest, &version, sizeof(version));
    digest_finish(digest, ret_mark->sum);
}

static void mark_region(struct digest *digest, const struct conf_region_tls *conf,
                        struct tls_mark *ret_mark)
{
    digest_start(digest);
    mark_file(digest, conf->ca);
    mark_file(digest, conf->certificate);
    mark_file(digest, conf->key);
    mark_text(digest, conf->server_name);
    mark_text(digest, conf->verify ? "verify" : "");
    digest_finish(digest, ret_mark->sum);
}

/* ---- loading ---- */

/* The context of `old` that was made of the same things, with a new reference; or NULL. */
static struct tls_ctx *same_listener(const struct world *old, const char *bind,
                                     const struct tls_mark *mark)
{
    for (uint32_t i = 0; old != NULL && i < old->conf->listener_count; i++) {
        if (old->listener_tls[i] != NULL && strcmp(old->conf->listeners[i].bind, bind) == 0 &&
            memcmp(&old->listener_marks[i], mark, sizeof(*mark)) == 0) {
            return tls_ctx_ref(old->listener_tls[i]);
        }
    }
    return NULL;
}

static struct tls_ctx *same_region(const struct world *old, const char *name,
                                   const struct tls_mark *mark)
{
    for (uint32_t i = 0; old != NULL && i < old->conf->region_count; i++) {
        if (old->region_tls[i] != NULL && strcmp(old->conf->regions[i].name, name) == 0 &&
            memcmp(&old->region_marks[i], mark, sizeof(*mark)) == 0) {
            return tls_ctx_ref(old->region_tls[i]);
        }
    }
    return NULL;
}

static enum status load_listeners(struct world *world, const struct world *old,
                                  struct digest *digest, struct errbuf *err)
{
    const struct conf *conf = world->conf;

    for (uint32_t i = 0; i < conf->listener_count; i++) {
        const struct conf_listener *listener = &conf->listeners[i];
        enum status status;
        if (!listener->has_tls) {
            continue;
        }
        mark_listener(digest, &listener->tls, &world->listener_marks[i]);
        world->listener_tls[i] = same_listener(old, listener->bind, &world->listener_marks[i]);
        if (world->listener_tls[i] != NULL) {
            continue;
        }
        status = tls_ctx_new_server(&listener->tls, &world->listener_tls[i], err);
        if (status != STATUS_OK) {
            err_wrap(err, "listener %s", listener->bind);
            return status;
        }
    }
    return STATUS_OK;
}

static enum status load_regions(struct world *world, const struct world *old, struct digest *digest,
                                struct errbuf *err)
{
    const struct conf *conf = world->conf;

    for (uint32_t i = 0; i < conf->region_count; i++) {
        const struct conf_region *region = &conf->regions[i];
        enum status status;
        if (!conf_region_speaks_tls(region)) {
            continue;
        }
        mark_region(digest, &region->tls, &world->region_marks[i]);
        world->region_tls[i] = same_region(old, region->name, &world->region_marks[i]);
        if (world->region_tls[i] != NULL) {
            continue;
        }
        status = tls_ctx_new_client(&region->tls, &world->region_tls[i], err);
        if (status != STATUS_OK) {
            err_wrap(err, "region %s", region->name);
            return status;
        }
    }
    return STATUS_OK;
}

enum status world_new(struct conf *conf, const struct world *old, struct world **ret_world,
                      struct errbuf *err)
{
    struct world *world = mem_new(struct world);
    struct digest *digest = digest_new();
    enum status status;

    atomic_init(&world->refs, 1);
    world->conf = conf_ref(conf);
    world->listener_tls = mem_new_array(conf->listener_count, struct tls_ctx *);
    world->listener_marks = mem_new_array(conf->listener_count, struct tls_mark);
    world->region_tls = mem_new_array(conf->region_count, struct tls_ctx *);
    world->region_marks = mem_new_array(conf->region_count, struct tls_mark);
    status = load_listeners(world, old, digest, err);
    if (status == STATUS_OK) {
        status = load_regions(world, old, digest, err);
    }
    digest_free(digest);
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
    mem_free(world->listener_marks);
    mem_free(world->region_marks);
    conf_unref(world->conf);
    mem_free(world);
}
