/* SPDX-License-Identifier: MIT */
/* listeners = ( { bind = ...; tls = ...; } ): where clients connect, and with which certificates.
 */
#include "reader_private.h"
#include "tree_private.h"
#include "url_private.h"

#include <nearside/base/mem.h>
#include <nearside/conf/tree.h>

#include <string.h>

enum status conf_bind_read(const struct conf_reader *reader, const char *path, const char *text,
                           struct addr *ret_addr)
{
    const char *why;

    if (!conf_bind_parse(str_of(text), ret_addr, &why)) {
        return conf_reader_fail(reader, path,
                                "found \"%.80s\" (%s), allowed: an address and a port like "
                                "\"0.0.0.0:8080\", \"[::]:8443\" or \":8080\"",
                                text, why);
    }
    return STATUS_OK;
}

/* A later group of one listener may repeat what holds for all of them, not change it. */
static enum status check_same(const struct conf_reader *reader, const char *path,
                              const struct conf_listener_tls *first,
                              const struct conf_listener_tls *here)
{
    const char *name = NULL;

    if (strcmp(first->client_ca, here->client_ca) != 0) {
        name = "client_ca";
    } else if (first->min_version != here->min_version) {
        name = "min_version";
    }
    if (name == NULL) {
        return STATUS_OK;
    }
    struct conf_path place = conf_path_member(path, name);

    return conf_reader_fail(reader, place.text,
                            "found another value than in the listener's first certificate group, "
                            "allowed: the same, or none here");
}

static enum status check_pair(const struct conf_reader *reader, const char *path,
                              const struct conf_certificate *pair)
{
    const char *missing = NULL;

    if (pair->certificate[0] == '\0') {
        missing = "certificate";
    } else if (pair->key[0] == '\0') {
        missing = "key";
    }
    if (missing == NULL) {
        return STATUS_OK;
    }
    struct conf_path place = conf_path_member(path, missing);

    return conf_reader_fail(reader, place.text,
                            "found none, allowed: the path of a readable file; a listener's tls "
                            "needs both certificate and key");
}

static enum status read_certificate(struct conf_reader *reader, const config_setting_t *group,
                                    const char *path, struct conf_listener_tls *tls, unsigned index)
{
    struct conf_certificate *pair = &tls->certificates[index];
    struct conf_listener_tls here = *tls;
    struct conf_listener_tls *target = index == 0 ? tls : &here;

    conf_table_defaults(&conf_table_certificate, pair);
    if (conf_section_check_names(reader, group, path, &conf_table_certificate,
                                 &conf_table_listener_tls) != STATUS_OK ||
        conf_section_read_keys(reader, group, path, &conf_table_certificate, pair) != STATUS_OK ||
        conf_section_read_keys(reader, group, path, &conf_table_listener_tls, target) !=
            STATUS_OK ||
        check_pair(reader, path, pair) != STATUS_OK) {
        return STATUS_INVALID;
    }
    return index == 0 ? STATUS_OK : check_same(reader, path, tls, &here);
}

static enum status refuse_tls(const struct conf_reader *reader, const char *path,
                              const config_setting_t *found)
{
    return conf_reader_refuse(reader, path, found, conf_table_find(&conf_table_listener, "tls"));
}

static enum status read_tls(struct conf_reader *reader, config_setting_t *setting, const char *path,
                            struct conf_listener *listener)
{
    struct conf_listener_tls *tls = &listener->tls;
    int count = config_setting_is_list(setting) ? config_setting_length(setting) : 1;

    if (count == 0 || (!config_setting_is_list(setting) && !config_setting_is_group(setting))) {
        return refuse_tls(reader, path, setting);
    }
    if (count > CONF_CERTS_MAX) {
        return conf_reader_fail(reader, path, "found %d certificates, allowed: at most %d", count,
                                CONF_CERTS_MAX);
    }
    listener->has_tls = true;
    tls->certificate_count = (uint32_t)count;
    tls->certificates = mem_new_array((size_t)count, struct conf_certificate);
    if (config_setting_is_group(setting)) {
        return read_certificate(reader, setting, path, tls, 0);
    }
    for (unsigned i = 0; i < (unsigned)count; i++) {
        config_setting_t *group = config_setting_get_elem(setting, i);
        struct conf_path place = conf_path_item(path, i);

        if (!config_setting_is_group(group)) {
            return refuse_tls(reader, place.text, group);
        }
        if (read_certificate(reader, group, place.text, tls, i) != STATUS_OK) {
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}

static enum status read_listener(struct conf_reader *reader, config_setting_t *group,
                                 const char *path, struct conf_listener *listener)
{
    struct conf_path bind = conf_path_member(path, "bind");
    struct conf_path tls = conf_path_member(path, "tls");

    if (conf_section_read(reader, group, path, &conf_table_listener, listener) != STATUS_OK ||
        conf_bind_read(reader, bind.text, listener->bind, &listener->addr) != STATUS_OK) {
        return STATUS_INVALID;
    }
    config_setting_t *setting = conf_reader_find(reader, tls.text);

    return setting == NULL ? STATUS_OK : read_tls(reader, setting, tls.text, listener);
}

enum status conf_listeners_read(struct conf_reader *reader)
{
    const struct conf_key *key = conf_table_find(&conf_table_root, "listeners");
    config_setting_t *list = conf_reader_find(reader, "listeners");

    if (list != NULL && !config_setting_is_list(list)) {
        return conf_reader_refuse(reader, "listeners", list, key);
    }
    int count = list == NULL ? 0 : config_setting_length(list);

    if (count < 1 || count > CONF_LISTENERS_MAX) {
        return conf_reader_fail(reader, "listeners",
                                "found %d, allowed: 1 to %d, ( { bind = \"0.0.0.0:8080\"; } )",
                                count, CONF_LISTENERS_MAX);
    }
    conf_make_listeners(reader->conf, (uint32_t)count);
    for (unsigned i = 0; i < (unsigned)count; i++) {
        config_setting_t *group = config_setting_get_elem(list, i);
        struct conf_path path = conf_path_item("listeners", i);

        if (!config_setting_is_group(group)) {
            return conf_reader_fail(reader, path.text,
                                    "found no group, allowed: { bind = \"0.0.0.0:8080\"; }");
        }
        if (read_listener(reader, group, path.text, &reader->conf->listeners[i]) != STATUS_OK) {
            return STATUS_INVALID;
        }
    }
    return STATUS_OK;
}
