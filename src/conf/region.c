/* SPDX-License-Identifier: MIT */
/* regions = ( { name = ...; endpoints = [ ... ]; ... } ): where requests can go. */
#include "reader_private.h"
#include "region_private.h"
#include "tree_private.h"
#include "url_private.h"

#include <nearside/base/buf.h>
#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/obs/metric.h>

#include <string.h>

#define FOUND_URL_MAX 80 /* of a bad one, in a message */

/* Host names have no case; ours are kept in lower case, so that they compare. */
static const char *keep_lower(const struct conf_reader *reader, struct str text)
{
    char *lower = mem_strndup(text.ptr, text.len);

    for (char *at = lower; *at != '\0'; at++) {
        *at = str_lower_char(*at);
    }
    const char *kept = conf_reader_keep(reader, str_of(lower));

    mem_free(lower);
    return kept;
}

static const char *keep_authority(const struct conf_reader *reader,
                                  const struct conf_endpoint *endpoint)
{
    const bool is_v6 = str_find_char(str_of(endpoint->host), ':') < strlen(endpoint->host);
    struct buf text;
    const char *kept;

    buf_init(&text);
    buf_printf(&text, is_v6 ? "[%s]" : "%s", endpoint->host);
    if (endpoint->port != (endpoint->tls ? 443 : 80)) {
        buf_printf(&text, ":%u", (unsigned)endpoint->port);
    }
    kept = conf_reader_keep(reader, buf_str(&text));
    buf_done(&text);
    return kept;
}

enum status conf_endpoint_read(const struct conf_reader *reader, const char *path, struct str text,
                               struct conf_endpoint *endpoint)
{
    struct conf_url url;
    const char *why;

    if (!conf_url_parse_http(text, &url, &why)) {
        struct str shown = conf_url_public(text);
        return conf_reader_fail(reader, path,
                                "found \"%s%.*s\" (%s), allowed: http://host[:port] or "
                                "https://host[:port]",
                                shown.len < text.len ? "***" : "",
                                STR_FMT(str_slice(shown, 0, FOUND_URL_MAX)), why);
    }
    *endpoint = (struct conf_endpoint){
        .url = conf_reader_keep(reader, text),
        .host = keep_lower(reader, url.host),
        .port = url.port,
        .tls = url.tls,
        .is_address = url.is_address,
        .addr = url.addr,
    };
    endpoint->authority = keep_authority(reader, endpoint);
    return STATUS_OK;
}

static bool same_endpoint(const struct conf_endpoint *a, const struct conf_endpoint *b)
{
    if (a->is_address && b->is_address) {
        return addr_eq(&a->addr, &b->addr);
    }
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

enum status conf_region_check_last(const struct conf_reader *reader, const char *path,
                                   const struct conf_region *region, uint32_t index)
{
    for (uint32_t i = 0; i < index; i++) {
        if (same_endpoint(&region->endpoints[i], &region->endpoints[index])) {
            return conf_reader_fail(reader, path,
                                    "found \"%s\", which is endpoints[%u] already, allowed: each "
                                    "host and port once in a region",
                                    region->endpoints[index].url, i);
        }
    }
    return STATUS_OK;
}

/* Refuse what is neither an array nor a list, or too long. */
static enum status open_texts(const struct conf_reader *reader, config_setting_t *setting,
                              const char *path, const char *name, int count_max)
{
    const struct conf_key *key = conf_table_find(&conf_table_region, name);

    if (!config_setting_is_array(setting) && !config_setting_is_list(setting)) {
        return conf_reader_refuse(reader, path, setting, key);
    }
    if (config_setting_length(setting) > count_max) {
        return conf_reader_fail(reader, path, "found %d, allowed: at most %d",
                                config_setting_length(setting), count_max);
    }
    return STATUS_OK;
}

static enum status refuse_no_endpoint(const struct conf_reader *reader, const char *path)
{
    return conf_reader_fail(reader, path,
                            "found none, allowed: an array of 1 to %d URLs, [ "
                            "\"http://10.0.0.5:8000\" ]",
                            CONF_ENDPOINTS_MAX);
}

static enum status read_endpoint_at(const struct conf_reader *reader, const char *path,
                                    const config_setting_t *item, struct conf_region *region)
{
    const char *text = config_setting_get_string(item);
    uint32_t index = region->endpoint_count;

    if (text == NULL) {
        return conf_reader_refuse(reader, path, item,
                                  conf_table_find(&conf_table_region, "endpoints"));
    }
    if (conf_endpoint_read(reader, path, str_of(text), &region->endpoints[index]) != STATUS_OK) {
        return STATUS_INVALID;
    }
    region->endpoint_count++;
    return conf_region_check_last(reader, path, region, index);
}

static enum status read_endpoints(const struct conf_reader *reader, const char *region_path,
                                  struct conf_region *region)
{
    struct conf_path path = conf_path_member(region_path, "endpoints");
    config_setting_t *setting = conf_reader_find(reader, path.text);

    if (setting == NULL) {
        return refuse_no_endpoint(reader, path.text);
    }
    if (open_texts(reader, setting, path.text, "endpoints", CONF_ENDPOINTS_MAX) != STATUS_OK) {
        return STATUS_INVALID;
    }
    uint32_t count = (uint32_t)config_setting_length(setting);

    if (count == 0) {
        return refuse_no_endpoint(reader, path.text);
    }
    region->endpoints = mem_new_array(count, struct conf_endpoint);
    for (uint32_t i = 0; i < count; i++) {
        struct conf_path place = conf_path_item(path.text, i);

        if (read_endpoint_at(reader, place.text, config_setting_get_elem(setting, i), region) !=
            STATUS_OK) {
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}

static enum status read_exporters(const struct conf_reader *reader, const char *region_path,
                                  struct conf_region *region)
{
    struct conf_path path = conf_path_member(region_path, "exporters");
    config_setting_t *setting = conf_reader_find(reader, path.text);

    if (setting == NULL) {
        return STATUS_OK;
    }
    if (open_texts(reader, setting, path.text, "exporters", CONF_ENDPOINTS_MAX) != STATUS_OK) {
        return STATUS_INVALID;
    }
    uint32_t count = (uint32_t)config_setting_length(setting);

    region->exporters = mem_new_array(count, struct conf_endpoint);
    for (uint32_t i = 0; i < count; i++) {
        const config_setting_t *item = config_setting_get_elem(setting, i);
        const char *text = config_setting_get_string(item);
        struct conf_path place = conf_path_item(path.text, i);

        if (text == NULL) {
            return conf_reader_refuse(reader, place.text, item,
                                      conf_table_find(&conf_table_region, "exporters"));
        }
        if (conf_endpoint_read(reader, place.text, str_of(text), &region->exporters[i]) !=
            STATUS_OK) {
            return STATUS_INVALID;
        }
        region->exporter_count++;
    }
    return STATUS_OK;
}

static bool has_model(const struct conf_region *region, const char *name)
{
    for (uint32_t i = 0; i < region->model_count; i++) {
        if (strcmp(region->models[i], name) == 0) {
            return true;
        }
    }
    return false;
}

static enum status read_models(const struct conf_reader *reader, const char *region_path,
                               struct conf_region *region)
{
    struct conf_path path = conf_path_member(region_path, "models");
    config_setting_t *setting = conf_reader_find(reader, path.text);

    if (setting == NULL) {
        return STATUS_OK;
    }
    if (open_texts(reader, setting, path.text, "models", CONF_MODELS_MAX) != STATUS_OK) {
        return STATUS_INVALID;
    }
    uint32_t count = (uint32_t)config_setting_length(setting);

    region->models = mem_new_array(count, const char *);
    for (uint32_t i = 0; i < count; i++) {
        const config_setting_t *item = config_setting_get_elem(setting, i);
        const char *name = config_setting_get_string(item);
        struct conf_path place = conf_path_item(path.text, i);

        if (name == NULL || name[0] == '\0' || strlen(name) > CONF_MODEL_LEN_MAX ||
            has_model(region, name)) {
            return conf_reader_refuse(reader, place.text, item,
                                      conf_table_find(&conf_table_region, "models"));
        }
        region->models[region->model_count++] = conf_reader_keep(reader, str_of(name));
    }
    return STATUS_OK;
}

static enum status refuse_redis(const struct conf_reader *reader, const char *path,
                                const char *text, const char *why)
{
    struct str shown = conf_url_public(str_of(text));

    return conf_reader_fail(reader, path,
                            "found \"%s%.*s\" (%s), allowed: "
                            "redis://[user:password@]host[:port][/database], rediss:// likewise",
                            shown.len < strlen(text) ? "***" : "",
                            STR_FMT(str_slice(shown, 0, FOUND_URL_MAX)), why);
}

static const char *keep_decoded(const struct conf_reader *reader, struct str text)
{
    char *plain = mem_strndup(text.ptr, text.len);
    size_t len;
    const char *kept = NULL;

    if (conf_url_decode(text, plain, &len)) {
        kept = conf_reader_keep(reader, str_make(plain, len));
    }
    mem_free(plain);
    return kept;
}

static enum status take_user_info(const struct conf_reader *reader, const char *path,
                                  const struct conf_url *url, struct conf_redis *redis)
{
    if (!url->has_user_info) {
        return STATUS_OK;
    }
    if (redis->user[0] != '\0' || redis->password[0] != '\0') {
        return conf_reader_fail(reader, path,
                                "found a password in the URL and redis_user or redis_password as "
                                "well, allowed: one of the two");
    }
    const char *user = keep_decoded(reader, url->user);
    const char *password = keep_decoded(reader, url->password);

    if (user == NULL || password == NULL) {
        return conf_reader_fail(reader, path,
                                "found a %% in the user or the password that does not begin %%XX, "
                                "allowed: a %% is written %%25");
    }
    redis->user = user;
    redis->password = password;
    return STATUS_OK;
}

static enum status read_redis(const struct conf_reader *reader, const char *region_path,
                              struct conf_redis *redis)
{
    struct conf_path path = conf_path_member(region_path, "redis");
    struct str text = str_of(redis->url);
    struct conf_url url;
    const char *why;

    if (text.len == 0) {
        return STATUS_OK;
    }
    if (!conf_url_parse_redis(text, &url, &why)) {
        return refuse_redis(reader, path.text, text.ptr, why);
    }
    if (take_user_info(reader, path.text, &url, redis) != STATUS_OK) {
        return STATUS_INVALID;
    }
    char *shown =
        mem_printf("%s://%.*s", url.tls ? "rediss" : "redis", STR_FMT(url.after_user_info));

    redis->url = conf_reader_keep(reader, str_of(shown));
    mem_free(shown);
    redis->host = keep_lower(reader, url.host);
    redis->port = url.port;
    redis->database = url.database;
    redis->tls = url.tls;
    redis->is_address = url.is_address;
    redis->addr = url.addr;
    return STATUS_OK;
}

static enum status read_region(struct conf_reader *reader, const config_setting_t *group,
                               const char *path, struct conf_region *region)
{
    struct conf_path name = conf_path_member(path, "name");
    struct conf_path health = conf_path_member(path, "health");

    if (conf_section_read(reader, group, path, &conf_table_region, region) != STATUS_OK) {
        return STATUS_INVALID;
    }
    if (region->name[0] == '\0') {
        return conf_reader_fail(reader, name.text, "found none, allowed: %s",
                                conf_table_find(&conf_table_region, "name")->allowed);
    }
    if (read_endpoints(reader, path, region) != STATUS_OK ||
        read_exporters(reader, path, region) != STATUS_OK ||
        read_models(reader, path, region) != STATUS_OK ||
        read_redis(reader, path, &region->redis) != STATUS_OK) {
        return STATUS_INVALID;
    }
    return conf_health_finish(reader, health.text, &region->health);
}

enum status conf_regions_read(struct conf_reader *reader)
{
    const struct conf_key *key = conf_table_find(&conf_table_root, "regions");
    config_setting_t *list = conf_reader_find(reader, "regions");

    if (list != NULL && !config_setting_is_list(list)) {
        return conf_reader_refuse(reader, "regions", list, key);
    }
    int count = list == NULL ? 0 : config_setting_length(list);

    if (count < 1 || count > METRIC_REGIONS_MAX) {
        return conf_reader_fail(reader, "regions",
                                "found %d, allowed: 1 to %d, ( { name = \"a\"; endpoints = [ "
                                "\"http://10.0.0.5:8000\" ]; } )",
                                count, METRIC_REGIONS_MAX);
    }
    conf_make_regions(reader->conf, (uint32_t)count);
    for (unsigned i = 0; i < (unsigned)count; i++) {
        config_setting_t *group = config_setting_get_elem(list, i);
        struct conf_path path = conf_path_item("regions", i);

        if (!config_setting_is_group(group)) {
            return conf_reader_fail(reader, path.text,
                                    "found no group, allowed: { name = \"a\"; "
                                    "endpoints = [ \"http://...\" ]; }");
        }
        if (read_region(reader, group, path.text, &reader->conf->regions[i]) != STATUS_OK) {
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}
