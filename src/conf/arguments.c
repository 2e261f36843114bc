/* SPDX-License-Identifier: MIT */
/* A config without a file: REGION=URL[,URL...] for each region, the rest by default. */
#include <nearside/conf/parse.h>

#include "reader_private.h"
#include "region_private.h"
#include "tree_private.h"

#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>
#include <nearside/obs/metric.h>

#include <unistd.h>

#define DEFAULT_BIND "127.0.0.1:8080"

static enum status read_urls(const struct conf_reader *reader, struct str urls,
                             struct conf_region *region)
{
    struct str rest = urls;
    struct str url;
    uint32_t count = 0;

    while (str_next_item(&rest, ',', &url)) {
        count++;
    }
    if (count < 1 || count > CONF_ENDPOINTS_MAX) {
        return conf_reader_fail(reader, "", "found %u URLs, allowed: 1 to %d", count,
                                CONF_ENDPOINTS_MAX);
    }
    region->endpoints = mem_new_array(count, struct conf_endpoint);
    rest = urls;
    while (str_next_item(&rest, ',', &url)) {
        uint32_t index = region->endpoint_count++;

        if (conf_endpoint_read(reader, "", url, &region->endpoints[index]) != STATUS_OK ||
            conf_region_check_last(reader, "", region, index) != STATUS_OK) {
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}

static enum status read_argument(const struct conf_reader *reader, struct conf_region *region)
{
    struct str text = str_of(reader->name);
    size_t equals = str_find_char(text, '=');

    region->name = conf_reader_keep(reader, str_slice(text, 0, equals));
    if (equals == text.len && access(reader->name, R_OK) == 0) {
        return conf_reader_fail(reader, "", "this is a file: run it with -c %s", reader->name);
    }
    if (equals == text.len || !conf_name_is_good(region->name)) {
        return conf_reader_fail(reader, "", "allowed: REGION=URL[,URL...], the region's name of %s",
                                conf_table_find(&conf_table_region, "name")->allowed);
    }
    return read_urls(reader, str_slice(text, equals + 1, text.len), region);
}

static enum status read_arguments(struct conf_reader *reader, uint32_t count, char *const *args)
{
    struct conf *conf = reader->conf;

    conf_make_listeners(conf, 1);
    conf->listeners[0].bind = DEFAULT_BIND;
    if (conf_bind_read(reader, "", DEFAULT_BIND, &conf->listeners[0].addr) != STATUS_OK ||
        conf_bind_read(reader, "", conf->admin.bind, &conf->admin.addr) != STATUS_OK ||
        conf_health_finish(reader, "", &conf->health) != STATUS_OK) {
        return STATUS_INVALID;
    }
    conf_make_regions(conf, count);
    for (uint32_t i = 0; i < count; i++) {
        reader->name = args[i];
        if (read_argument(reader, &conf->regions[i]) != STATUS_OK) {
            return STATUS_INVALID;
        }
    }
    reader->name = "command line";
    conf_settle_edge(conf);
    return conf_check(reader);
}

enum status conf_from_args(int count, char *const *args, struct conf **ret_conf, struct errbuf *err)
{
    if (count < 1 || count > METRIC_REGIONS_MAX) {
        err_set(err, "command line: found %d regions, allowed: 1 to %d, each REGION=URL[,URL...]",
                count, METRIC_REGIONS_MAX);
        return STATUS_INVALID;
    }
    struct conf_reader reader = {.conf = conf_new(), .name = "command line", .err = err};

    if (read_arguments(&reader, (uint32_t)count, args) != STATUS_OK) {
        conf_unref(reader.conf);
        return STATUS_INVALID;
    }
    *ret_conf = reader.conf;
    return STATUS_OK;
}
