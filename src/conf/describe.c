/* SPDX-License-Identifier: MIT */
/*
 * A config tree written in the file's own syntax, by the schema. Two readers: --print-config (the
 * effective values) and conf/nearside.conf (the defaults with an example listener and regions,
 * each key with its help). Both are valid files.
 */
#include <nearside/conf/describe.h>

#include "schema_private.h"
#include "tree_private.h"

#include <nearside/conf/tree.h>

#include <string.h>

#define COMMENT_COLUMN 44
#define INDENT         4
#define HELP_COLUMNS   98 /* after "# " */
#define SECRET_SHOWN   "***"

struct writer {
    struct buf *out;
    unsigned depth;
    unsigned margin; /* columns that stand before each line in the end */
    bool reference;  /* conf/nearside.conf: with help, and unused keys as comments */
};

static void begin_line(struct writer *writer)
{
    buf_printf(writer->out, "%*s", (int)(writer->depth * INDENT), "");
}

static void open_group(struct writer *writer, const char *name)
{
    begin_line(writer);
    buf_printf(writer->out, name[0] == '\0' ? "{%s\n" : "%s = {\n", name);
    writer->depth++;
}

static void close_group(struct writer *writer, const char *end)
{
    writer->depth--;
    begin_line(writer);
    buf_printf(writer->out, "}%s\n", end);
}

static const char *text_at(const struct conf_key *key, const void *target)
{
    return *(const char *const *)(const void *)((const char *)target + key->offset);
}

static void append_blocks(struct buf *out, const struct conf_blocks *blocks)
{
    buf_append_char(out, '[');
    for (uint32_t i = 0; i < blocks->count; i++) {
        buf_printf(out, "%s", i == 0 ? "" : ", ");
        conf_append_quoted(out, blocks->items[i].text);
    }
    buf_append_char(out, ']');
}

static void append_value(struct buf *out, const struct conf_key *key, const void *target)
{
    const void *field = (const char *)target + key->offset;

    switch (key->type) {
    case CONF_BOOL:
        buf_printf(out, "%s", *(const bool *)field ? "true" : "false");
        break;
    case CONF_U32:
        buf_append_u64(out, *(const uint32_t *)field);
        break;
    case CONF_U64:
        buf_append_u64(out, *(const uint64_t *)field);
        /* libconfig keeps 32 bits of an integer without it. */
        buf_printf(out, "%s", *(const uint64_t *)field > INT32_MAX ? "L" : "");
        break;
    case CONF_REAL:
        conf_append_real(out, *(const double *)field);
        break;
    case CONF_CHOICE:
        conf_append_quoted(out, key->words[*(const uint32_t *)field]);
        break;
    case CONF_SECRET:
        conf_append_quoted(out, text_at(key, target)[0] == '\0' ? "" : SECRET_SHOWN);
        break;
    case CONF_BLOCKS:
        append_blocks(out, field);
        break;
    default:
        conf_append_quoted(out, text_at(key, target));
        break;
    }
}

static void append_note(struct writer *writer, const struct conf_key *key)
{
    struct buf *out = writer->out;

    buf_printf(out, "# ");
    if (key->unit[0] != '\0') {
        buf_printf(out, "%s; ", key->unit);
    }
    if (key->required) {
        buf_printf(out, "required");
    } else {
        buf_printf(out, "default ");
        conf_key_default(key, out);
    }
    if (key->change == CONF_RESTART) {
        buf_printf(out, "; restart");
    }
}

/* Where to end a line of at most `width`: after the last word that fits. */
static size_t line_end(struct str text, size_t width)
{
    size_t end = width;

    if (text.len <= width) {
        return text.len;
    }
    while (end > 0 && text.ptr[end] != ' ') {
        end--;
    }
    return end == 0 ? width : end;
}

static void write_help(struct writer *writer, const char *help)
{
    struct str rest = str_of(writer->reference ? help : "");

    while (rest.len > 0) {
        size_t end = line_end(rest, HELP_COLUMNS - writer->margin - writer->depth * INDENT);

        begin_line(writer);
        buf_printf(writer->out, "# %.*s\n", (int)end, rest.ptr);
        rest = str_trim(str_slice(rest, end, rest.len));
    }
}

/* `name = value;` and, in its column, the unit and the default. */
static void write_plain(struct writer *writer, const struct conf_key *key, struct str value)
{
    struct buf *out = writer->out;

    write_help(writer, key->help);

    size_t begin = buf_len(out);

    begin_line(writer);
    buf_printf(out, "%s = %.*s;", key->name, STR_FMT(value));

    size_t width = buf_len(out) - begin;

    buf_printf(out, "%*s", width < COMMENT_COLUMN ? (int)(COMMENT_COLUMN - width) : 1, "");
    append_note(writer, key);
    buf_append_char(out, '\n');
}

static void write_keys(struct writer *writer, const struct conf_table *table, const void *target);

static void write_key(struct writer *writer, const struct conf_key *key, const void *target)
{
    struct buf value;

    if (key->type == CONF_GROUP) {
        write_help(writer, key->table->help);
        open_group(writer, key->name);
        write_keys(writer, key->table, (const char *)target + key->offset);
        close_group(writer, ";");
        return;
    }
    buf_init(&value);
    append_value(&value, key, target);
    write_plain(writer, key, buf_str(&value));
    buf_done(&value);
}

static void write_keys(struct writer *writer, const struct conf_table *table, const void *target)
{
    for (size_t i = 0; i < table->key_count; i++) {
        write_key(writer, &table->keys[i], target);
    }
}

/* Shown as a comment: "# " before each line of `text`, at the present depth. */
static void write_commented(struct writer *writer, struct str text)
{
    struct str rest = text;

    while (rest.len > 0) {
        size_t end = str_find_char(rest, '\n');

        begin_line(writer);
        buf_printf(writer->out, "# %.*s\n", (int)end, rest.ptr);
        rest = str_slice(rest, end + 1, rest.len);
    }
}

static void write_certificate(struct writer *writer, const struct conf_listener_tls *tls,
                              uint32_t index)
{
    write_keys(writer, &conf_table_certificate, &tls->certificates[index]);
    if (index == 0) {
        write_keys(writer, &conf_table_listener_tls, tls);
    }
}

static void write_listener_tls(struct writer *writer, const struct conf_listener_tls *tls)
{
    if (tls->certificate_count == 1) {
        open_group(writer, "tls");
        write_certificate(writer, tls, 0);
        close_group(writer, ";");
        return;
    }
    begin_line(writer);
    buf_printf(writer->out, "tls = (\n");
    writer->depth++;
    for (uint32_t i = 0; i < tls->certificate_count; i++) {
        open_group(writer, "");
        write_certificate(writer, tls, i);
        close_group(writer, i + 1 < tls->certificate_count ? "," : "");
    }
    writer->depth--;
    begin_line(writer);
    buf_printf(writer->out, ");\n");
}

/* What tls could look like, in a listener that has none. */
static void write_listener_tls_sample(struct writer *writer)
{
    struct conf_certificate certificate = {
        .certificate = conf_table_find(&conf_table_certificate, "certificate")->sample,
        .key = conf_table_find(&conf_table_certificate, "key")->sample,
    };
    struct conf_listener_tls tls = {.certificates = &certificate, .certificate_count = 1};
    struct buf text;
    struct writer inner = {
        .out = &text,
        .margin = writer->depth * INDENT + 2,
        .reference = true,
    };

    conf_table_defaults(&conf_table_listener_tls, &tls);
    buf_init(&text);
    write_listener_tls(&inner, &tls);
    write_help(writer, conf_table_find(&conf_table_listener, "tls")->help);
    write_commented(writer, buf_str(&text));
    buf_done(&text);
}

static void write_listener(struct writer *writer, const struct conf_listener *listener)
{
    write_key(writer, conf_table_find(&conf_table_listener, "bind"), listener);
    if (listener->has_tls) {
        write_listener_tls(writer, &listener->tls);
    } else if (writer->reference) {
        write_listener_tls_sample(writer);
    }
}

static bool same_value(const struct conf_key *key, const void *a, const void *b);

static bool same_group(const struct conf_table *table, const void *a, const void *b)
{
    for (size_t i = 0; i < table->key_count; i++) {
        if (!same_value(&table->keys[i], a, b)) {
            return false;
        }
    }
    return true;
}

static bool same_value(const struct conf_key *key, const void *a, const void *b)
{
    struct buf left;
    struct buf right;

    if (key->type == CONF_GROUP) {
        return same_group(key->table, (const char *)a + key->offset, (const char *)b + key->offset);
    }
    buf_init(&left);
    buf_init(&right);
    append_value(&left, key, a);
    append_value(&right, key, b);

    bool same = str_eq(buf_str(&left), buf_str(&right));

    buf_done(&left);
    buf_done(&right);
    return same;
}

/* The keys in which a region differs from the top level; no group when there is none. */
static void write_override(struct writer *writer, const struct conf_key *key, const void *own,
                           const void *top)
{
    bool opened = false;

    for (size_t i = 0; i < key->table->key_count; i++) {
        const struct conf_key *inner = &key->table->keys[i];

        if (same_value(inner, own, top)) {
            continue;
        }
        if (!opened) {
            open_group(writer, key->name);
            opened = true;
        }
        write_key(writer, inner, own);
    }
    if (opened) {
        close_group(writer, ";");
    } else if (writer->reference) {
        write_help(writer, key->help);
        begin_line(writer);
        buf_printf(writer->out, "# %s = { %s };\n", key->name, key->sample);
    }
}

static void write_texts(struct writer *writer, const struct conf_key *key, const char *const *texts,
                        uint32_t count)
{
    struct buf value;

    buf_init(&value);
    buf_append_char(&value, '[');
    for (uint32_t i = 0; i < count; i++) {
        buf_printf(&value, "%s", i == 0 ? "" : ", ");
        conf_append_quoted(&value, texts[i]);
    }
    buf_append_char(&value, ']');
    write_plain(writer, key, buf_str(&value));
    buf_done(&value);
}

static void write_endpoints(struct writer *writer, const struct conf_key *key,
                            const struct conf_endpoint *endpoints, uint32_t count)
{
    const char *urls[CONF_ENDPOINTS_MAX];

    for (uint32_t i = 0; i < count; i++) {
        urls[i] = endpoints[i].url;
    }
    write_texts(writer, key, urls, count);
}

/* The top-level struct that a region's group overrides: it bears the same name in the root. */
static const void *overridden(const struct conf *conf, const char *name)
{
    return (const char *)conf + conf_table_find(&conf_table_root, name)->offset;
}

static void write_region(struct writer *writer, const struct conf *conf,
                         const struct conf_region *region)
{
    const struct conf_table *table = &conf_table_region;

    for (size_t i = 0; i < table->key_count; i++) {
        const struct conf_key *key = &table->keys[i];
        const void *field = (const char *)region + key->offset;

        if (strcmp(key->name, "endpoints") == 0) {
            write_endpoints(writer, key, region->endpoints, region->endpoint_count);
        } else if (strcmp(key->name, "exporters") == 0) {
            write_endpoints(writer, key, region->exporters, region->exporter_count);
        } else if (strcmp(key->name, "models") == 0) {
            write_texts(writer, key, region->models, region->model_count);
        } else if (key->type == CONF_OVERRIDE) {
            write_override(writer, key, field, overridden(conf, key->name));
        } else {
            write_key(writer, key, region);
        }
    }
}

static void write_listeners(struct writer *writer, const struct conf *conf)
{
    for (uint32_t i = 0; i < conf->listener_count; i++) {
        open_group(writer, "");
        write_listener(writer, &conf->listeners[i]);
        close_group(writer, i + 1 < conf->listener_count ? "," : "");
    }
}

static void write_regions(struct writer *writer, const struct conf *conf)
{
    for (uint32_t i = 0; i < conf->region_count; i++) {
        /* The help once is enough. */
        struct writer inner = {
            .out = writer->out,
            .depth = writer->depth,
            .reference = writer->reference && i == 0,
        };

        open_group(&inner, "");
        write_region(&inner, conf, &conf->regions[i]);
        close_group(&inner, i + 1 < conf->region_count ? "," : "");
    }
}

static void write_root(struct writer *writer, const struct conf *conf)
{
    for (size_t i = 0; i < conf_table_root.key_count; i++) {
        const struct conf_key *key = &conf_table_root.keys[i];

        buf_printf(writer->out, "%s", i == 0 ? "" : "\n");
        write_help(writer, key->table->help);
        if (key->type == CONF_GROUP) {
            open_group(writer, key->name);
            write_keys(writer, key->table, (const char *)conf + key->offset);
            close_group(writer, ";");
            continue;
        }
        buf_printf(writer->out, "%s = (\n", key->name);
        writer->depth++;
        if (key->table == &conf_table_listener) {
            write_listeners(writer, conf);
        } else {
            write_regions(writer, conf);
        }
        writer->depth--;
        buf_printf(writer->out, ");\n");
    }
}

/* The example of conf/nearside.conf. Documentation addresses' neighbours: RFC 1918, as a real
 * deployment would have them. Nothing of this machine enters: the file is the same everywhere. */
static void describe_example(struct buf *out)
{
    struct conf *conf = conf_new();
    struct conf_endpoint near[] = {{.url = "http://10.0.0.5:8000"},
                                   {.url = "http://10.0.0.6:8000"}};
    struct conf_endpoint far[] = {{.url = "https://llm.eu-west.example.net"}};
    struct writer writer = {.out = out, .reference = true};

    conf_make_listeners(conf, 1);
    conf->listeners[0].bind = "0.0.0.0:8080";
    conf_make_regions(conf, 2);
    conf->regions[0].name = "us-east";
    conf->regions[0].endpoints = near;
    conf->regions[0].endpoint_count = ARRAY_LEN(near);
    conf->regions[0].redis.url = "redis://10.0.0.9:6379/0";
    conf->regions[1].name = "eu-west";
    conf->regions[1].endpoints = far;
    conf->regions[1].endpoint_count = ARRAY_LEN(far);

    buf_printf(out, "# Every key of Nearside's config with its default. Generated: make docs.\n"
                    "# The smallest useful file is conf/minimal.conf; all keys are explained in\n"
                    "# docs/configuration.md. Check a file with: nearside -t -c FILE\n\n");
    write_root(&writer, conf);

    conf->regions[0].endpoints = NULL; /* not the tree's to free */
    conf->regions[1].endpoints = NULL;
    conf_unref(conf);
}

void conf_describe(const struct conf *conf, struct buf *out)
{
    struct writer writer = {.out = out};

    if (conf == NULL) {
        describe_example(out);
        return;
    }
    buf_printf(out, "# The effective config, read from ");
    if (conf->path[0] == '\0') {
        buf_printf(out, "the command line");
    } else {
        conf_append_quoted(out, conf->path); /* a file's name may hold a line end */
    }
    buf_printf(out, ". Secrets are shown as %s.\n\n", SECRET_SHOWN);
    write_root(&writer, conf);
}
