/* SPDX-License-Identifier: MIT */
/* docs/configuration.md: how a config file is written, and one table of keys per group. */
#include <nearside/conf/describe.h>

#include "schema_private.h"

#include <string.h>

static const char intro[] =
    "# Configuration\n"
    "\n"
    "Generated from the schema (`src/conf/schema.c`) by `make docs`; do not edit.\n"
    "\n"
    "Nearside reads one file in [libconfig](https://hyperrealm.github.io/libconfig/)'s syntax:\n"
    "`nearside -c FILE`. Every key is optional except one listener and one region with one\n"
    "endpoint; [minimal.conf](../conf/minimal.conf) is such a file,\n"
    "[nearside.conf](../conf/nearside.conf) shows every key with its default.\n"
    "\n"
    "    nearside -t -c FILE               check the file, say \"ok\" or what is wrong\n"
    "    nearside --print-config -c FILE   what is in effect, defaults included\n"
    "\n"
    "- **Errors** name the place, what was found and what is allowed:\n"
    "  `nearside.conf:12: health.fall: found 0, allowed: an integer from 1 to 100 (probes)`.\n"
    "  Unknown and repeated keys are errors.\n"
    "- **Numbers.** An integer over 2147483647 ends in `L`: `buffer_total_bytes = 4294967296L;`.\n"
    "  Where a number with a fraction is allowed, an integer is too.\n"
    "- **Secrets** (`admin.token`, `tracing.authorization`, `cache.key_secret`, `redis_user`,\n"
    "  `redis_password`) are written out, or as `\"env:NAME\"` (an environment variable, set and\n"
    "  not empty) or `\"file:PATH\"` (a file's text without one line end at its end). They are "
    "never\n"
    "  logged or shown.\n"
    "- **Paths** that do not begin with `/` start at the config file's folder, those of secrets,\n"
    "  logs and `@include` too.\n"
    "- **`@include \"FILE\"`** on a line of its own puts another file's text there; within each\n"
    "  other at most 10 deep.\n"
    "- **Reload.** `SIGHUP` or `POST /reload` reads the file again; a file with an error changes\n"
    "  nothing. Keys marked *restart* take effect at the next start.\n";

static const char *type_word(const struct conf_key *key)
{
    switch (key->type) {
    case CONF_BOOL:
        return "boolean";
    case CONF_U32:
    case CONF_U64:
        return "integer";
    case CONF_REAL:
        return "number";
    case CONF_SECRET:
        return "secret";
    case CONF_FILE:
    case CONF_SINK:
        return "path";
    case CONF_TEXT:
    case CONF_WORD:
    case CONF_CHOICE:
        return "string";
    case CONF_BLOCKS:
    case CONF_TEXTS:
        return "array of strings";
    case CONF_GROUP:
    case CONF_OVERRIDE:
        return "group";
    case CONF_GROUPS:
        return "list of groups";
    case CONF_GROUP_SET:
        return "group or list of groups";
    }
    return "";
}

/* A | would end the cell. */
static void append_cell(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '|') {
            buf_append_char(out, '\\');
        }
        buf_append_char(out, text.ptr[i]);
    }
}

static void append_default(struct buf *out, const struct conf_key *key)
{
    bool is_group = !conf_key_is_plain(key) && key->type != CONF_TEXTS;

    if (key->required) {
        buf_printf(out, "required");
    } else if (is_group) {
        buf_printf(out, "none");
    } else {
        buf_append_char(out, '`');
        conf_key_default(key, out);
        buf_append_char(out, '`');
    }
}

static void append_allowed(struct buf *out, const struct conf_key *key)
{
    struct buf text;

    buf_init(&text);
    conf_key_range(key, &text);
    append_cell(out, buf_str(&text));
    buf_done(&text);
}

static void append_key(struct buf *out, const struct conf_key *key)
{
    buf_printf(out, "| `%s` | %s | ", key->name, type_word(key));
    append_default(out, key);
    buf_printf(out, " | ");
    append_allowed(out, key);
    buf_printf(out, " | %s | %s | ", key->unit, key->change == CONF_RESTART ? "restart" : "live");
    append_cell(out, str_of(key->help));
    buf_printf(out, "%s |\n", key->edge_only ? " For the whole edge, not per region." : "");
}

static void append_heading(struct buf *out, const struct conf_table *table)
{
    buf_printf(out, "\n## `%s`\n\n%s\n\n", table->name, table->help);
    buf_printf(out, "| key | type | default | allowed | unit | change | meaning |\n"
                    "|---|---|---|---|---|---|---|\n");
}

void conf_describe_docs(struct buf *out)
{
    buf_printf(out, "%s", intro);
    conf_tables_describe(out, append_heading, append_key);
}
