/* SPDX-License-Identifier: MIT */
/*
 * Checks that need more than one key: impossible combinations, duplicates, and the promise that a
 * vanished region is noticed within routing.failover_deadline_s. Run on the finished tree.
 */
#include "reader_private.h"
#include "tree_private.h"

#include <nearside/conf/tree.h>

#include <string.h>

#define MS_PER_S 1000U

typedef unsigned long long wide; /* for %llu */

enum status conf_health_finish(const struct conf_reader *reader, const char *path,
                               struct conf_health *health)
{
    struct conf_path fast = conf_path_member(path, "fast_interval_ms");

    if (health->fast_interval_ms > health->interval_ms) {
        if (conf_reader_find(reader, fast.text) != NULL) {
            return conf_reader_fail(reader, fast.text,
                                    "found %u, allowed: at most interval_ms, which is %u (ms)",
                                    health->fast_interval_ms, health->interval_ms);
        }
        health->fast_interval_ms = health->interval_ms;
    }
    if (health->generate.interval_s > 0 && health->generate.model[0] == '\0') {
        struct conf_path group = conf_path_member(path, "generate");
        struct conf_path model = conf_path_member(group.text, "model");

        return conf_reader_fail(reader, model.text,
                                "found none with generate.interval_s = %u, allowed: the name of a "
                                "model to ask",
                                health->generate.interval_s);
    }
    /* The schema has checked the syntax. */
    return conf_expect_parse(health->expect, &health->expect_min, &health->expect_max)
               ? STATUS_OK
               : STATUS_INVALID;
}

/* Where the health settings of a region are written: its own group, the top-level one, neither. */
static const char *health_place(const struct conf_reader *reader, const struct conf_path *own)
{
    if (conf_reader_find(reader, own->text) != NULL) {
        return own->text;
    }
    return conf_reader_find(reader, "health") != NULL ? "health" : "routing.failover_deadline_s";
}

static enum status check_failover(const struct conf_reader *reader, const char *path,
                                  const struct conf_region *region)
{
    const struct conf_health *health = &region->health;
    uint32_t deadline_s = reader->conf->routing.failover_deadline_s;
    uint64_t deadline_ms = (uint64_t)deadline_s * MS_PER_S;
    uint64_t refused_ms = conf_detect_refused_ms(health);
    uint64_t vanished_ms = conf_detect_vanished_ms(health);
    struct conf_path own = conf_path_member(path, "health");

    if (vanished_ms > deadline_ms) {
        return conf_reader_fail(
            reader, health_place(reader, &own),
            "found settings that notice a vanished region %s after %llu ms (interval_ms %u + fall "
            "%u * the larger of timeout_ms %u and fast_interval_ms %u, + 10 %% jitter), allowed: "
            "at most routing.failover_deadline_s, %u s",
            region->name, (wide)vanished_ms, health->interval_ms, health->fall, health->timeout_ms,
            health->fast_interval_ms, deadline_s);
    }
    if (refused_ms > deadline_ms) {
        return conf_reader_fail(
            reader, health_place(reader, &own),
            "found settings that notice that region %s refuses connections after %llu ms "
            "(interval_ms %u + (fall %u - 1) * fast_interval_ms %u, + 10 %% jitter), allowed: at "
            "most routing.failover_deadline_s, %u s",
            region->name, (wide)refused_ms, health->interval_ms, health->fall,
            health->fast_interval_ms, deadline_s);
    }
    return STATUS_OK;
}

static enum status check_buffers(const struct conf_reader *reader)
{
    const struct conf_limits *limits = &reader->conf->limits;

    if (limits->buffer_bytes > limits->buffer_total_bytes) {
        return conf_reader_fail(reader, "limits.buffer_bytes",
                                "found %llu, allowed: at most limits.buffer_total_bytes, which is "
                                "%llu (bytes)",
                                (wide)limits->buffer_bytes, (wide)limits->buffer_total_bytes);
    }
    return STATUS_OK;
}

static enum status check_tls(const struct conf_reader *reader, const char *path,
                             const struct conf_region *region)
{
    const struct conf_region_tls *tls = &region->tls;
    bool has_certificate = tls->certificate[0] != '\0';
    bool is_set = tls->ca[0] != '\0' || !tls->verify || tls->server_name[0] != '\0' ||
                  has_certificate || tls->key[0] != '\0';
    struct conf_path place = conf_path_member(path, "tls");

    if (has_certificate != (tls->key[0] != '\0')) {
        return conf_reader_fail(
            reader, place.text, "found a %s without a %s, allowed: both or neither",
            has_certificate ? "certificate" : "key", has_certificate ? "key" : "certificate");
    }
    if (!tls->verify && tls->ca[0] != '\0') {
        return conf_reader_fail(reader, place.text,
                                "found verify = false with a ca, which would check nothing, "
                                "allowed: verify = true, or no ca");
    }
    if (is_set && !conf_region_speaks_tls(region)) {
        return conf_reader_fail(reader, place.text,
                                "found settings for TLS, but no endpoint or exporter is https:// "
                                "and redis is not rediss://, allowed: none here, or such a URL");
    }
    return STATUS_OK;
}

static enum status check_redis(const struct conf_reader *reader, const char *path,
                               const struct conf_redis *redis)
{
    bool has_user = redis->user[0] != '\0';
    bool has_password = redis->password[0] != '\0';
    struct conf_path place = conf_path_member(path, has_user ? "redis_user" : "redis_password");

    if (has_user && !has_password) {
        return conf_reader_fail(reader, place.text,
                                "found a user without redis_password, allowed: both, or the "
                                "password alone");
    }
    if (has_password && redis->url[0] == '\0') {
        return conf_reader_fail(reader, place.text,
                                "found one for no Redis, allowed: with redis = "
                                "\"redis://host[:port][/database]\"");
    }
    return STATUS_OK;
}

static enum status check_region(const struct conf_reader *reader, unsigned index)
{
    const struct conf *conf = reader->conf;
    const struct conf_region *region = &conf->regions[index];
    struct conf_path path = conf_path_item("regions", index);

    for (unsigned i = 0; i < index; i++) {
        if (strcmp(conf->regions[i].name, region->name) == 0) {
            struct conf_path name = conf_path_member(path.text, "name");

            return conf_reader_fail(reader, name.text,
                                    "found \"%s\", which names regions[%u] already, allowed: "
                                    "each name once",
                                    region->name, i);
        }
    }
    if (check_redis(reader, path.text, &region->redis) != STATUS_OK ||
        check_tls(reader, path.text, region) != STATUS_OK) {
        return STATUS_INVALID;
    }
    return check_failover(reader, path.text, region);
}

/* Port 0 is another port each time. */
static bool same_bind(const struct addr *a, const struct addr *b)
{
    return addr_port(a) != 0 && addr_eq(a, b);
}

static enum status check_binds(const struct conf_reader *reader)
{
    const struct conf *conf = reader->conf;

    for (unsigned i = 0; i < conf->listener_count; i++) {
        struct conf_path path = conf_path_item("listeners", i);
        struct conf_path bind = conf_path_member(path.text, "bind");

        for (unsigned j = 0; j < i; j++) {
            if (same_bind(&conf->listeners[i].addr, &conf->listeners[j].addr)) {
                return conf_reader_fail(reader, bind.text,
                                        "found \"%s\", which is listeners[%u].bind already, "
                                        "allowed: each address and port once",
                                        conf->listeners[i].bind, j);
            }
        }
        if (conf->admin.bind[0] != '\0' && same_bind(&conf->listeners[i].addr, &conf->admin.addr)) {
            return conf_reader_fail(reader, bind.text,
                                    "found \"%s\", which is admin.bind already, allowed: each "
                                    "address and port once",
                                    conf->listeners[i].bind);
        }
    }
    return STATUS_OK;
}

/* A shorter one can be guessed by whoever has one key and its prompt. */
#define KEY_SECRET_BYTES_MIN 16

static enum status check_cache(const struct conf_reader *reader)
{
    const struct conf_cache *cache = &reader->conf->cache;

    if (cache->memory_bytes > 0 && cache->max_entry_bytes > cache->memory_bytes) {
        return conf_reader_fail(reader, "cache.max_entry_bytes",
                                "found %llu, allowed: at most cache.memory_bytes, which is %llu "
                                "(bytes)",
                                (wide)cache->max_entry_bytes, (wide)cache->memory_bytes);
    }
    if (cache->key_secret[0] != '\0' && strlen(cache->key_secret) < KEY_SECRET_BYTES_MIN) {
        return conf_reader_fail(reader, "cache.key_secret",
                                "found one of %zu bytes, allowed: at least %d, from `openssl rand "
                                "-hex 32`; or \"\"",
                                strlen(cache->key_secret), KEY_SECRET_BYTES_MIN);
    }
    return STATUS_OK;
}

/* Certificate and key go together; a CA for clients means nothing without them. */
static enum status check_admin(const struct conf_reader *reader)
{
    const struct conf_admin_tls *tls = &reader->conf->admin.tls;
    bool has_certificate = tls->certificate[0] != '\0';

    if (has_certificate != (tls->key[0] != '\0')) {
        return conf_reader_fail(
            reader, "admin.tls", "found a %s without a %s, allowed: both or neither",
            has_certificate ? "certificate" : "key", has_certificate ? "key" : "certificate");
    }
    if (tls->api_client_ca[0] != '\0' && !has_certificate) {
        return conf_reader_fail(reader, "admin.tls.api_client_ca",
                                "found one without a certificate, allowed: with certificate and "
                                "key");
    }
    return STATUS_OK;
}

static bool fits_a_header(const char *text)
{
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i++) {
        bool is_blank = text[i] == ' ' || text[i] == '\t';

        if (is_blank ? i == 0 || i == len - 1 : (unsigned char)text[i] < ' ' || text[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

/* A secret that travels in a header's value. A file's second line end would make a token that
 * nobody can send, and of an authorization a field of its own. */
static enum status check_header_secret(const struct conf_reader *reader, const char *path,
                                       const char *secret)
{
    return fits_a_header(secret)
               ? STATUS_OK
               : conf_reader_fail(reader, path,
                                  "found a line end, a blank at an end, or another character that "
                                  "no header can hold, allowed: text without");
}

enum status conf_check(const struct conf_reader *reader)
{
    if (check_admin(reader) != STATUS_OK ||
        check_header_secret(reader, "admin.token", reader->conf->admin.token) != STATUS_OK ||
        check_header_secret(reader, "tracing.authorization", reader->conf->tracing.authorization) !=
            STATUS_OK ||
        check_binds(reader) != STATUS_OK || check_cache(reader) != STATUS_OK ||
        check_buffers(reader) != STATUS_OK) {
        return STATUS_INVALID;
    }
    for (unsigned i = 0; i < reader->conf->region_count; i++) {
        if (check_region(reader, i) != STATUS_OK) {
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}
