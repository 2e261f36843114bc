/* SPDX-License-Identifier: MIT */
/* What can be done with the schema's rows: find, suggest, default, describe. */
#include "schema_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/str.h>

#include <stdio.h>
#include <stdlib.h>

#define SUGGEST_DISTANCE_MAX 3
#define SUGGEST_NAME_MAX     40 /* longer than any key */

const struct conf_key *conf_table_find(const struct conf_table *table, const char *name)
{
    for (size_t i = 0; i < table->key_count; i++) {
        if (strcmp(table->keys[i].name, name) == 0) {
            return &table->keys[i];
        }
    }
    return NULL;
}

static size_t min_of_three(size_t a, size_t b, size_t c)
{
    size_t least = a < b ? a : b;

    return least < c ? least : c;
}

/* Levenshtein's distance, ASCII case ignored. Both are shorter than SUGGEST_NAME_MAX. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[SUGGEST_NAME_MAX + 1];
    size_t width = strlen(b);

    for (size_t j = 0; j <= width; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t change = str_lower_char(a[i - 1]) == str_lower_char(b[j - 1]) ? 0 : 1;
            size_t best = min_of_three(row[j] + 1, row[j - 1] + 1, diagonal + change);

            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[width];
}

/* `connect_timeout` for `connect_ms`, `header` for `client_header_ms`: the mistyped name's first
 * word is one of the known name's. */
static bool shares_word(const char *mistyped, const char *known)
{
    struct str typed = str_of(mistyped);
    struct str first = str_slice(typed, 0, str_find_char(typed, '_'));
    struct str rest = str_of(known);
    struct str word;

    while (first.len >= 3 && str_next_item(&rest, '_', &word)) {
        if (str_eq_nocase(first, word)) {
            return true;
        }
    }
    return false;
}

const struct conf_key *conf_table_suggest(const struct conf_table *table, const char *name)
{
    const struct conf_key *nearest = NULL;
    size_t nearest_distance = SUGGEST_DISTANCE_MAX + 1;

    if (strlen(name) >= SUGGEST_NAME_MAX) {
        return NULL;
    }
    for (size_t i = 0; i < table->key_count; i++) {
        const char *known = table->keys[i].name;
        size_t distance = edit_distance(name, known);

        /* More than half of the letters wrong is another word. */
        if (distance < nearest_distance && distance * 2 <= strlen(known)) {
            nearest = &table->keys[i];
            nearest_distance = distance;
        }
    }
    for (size_t i = 0; nearest == NULL && i < table->key_count; i++) {
        if (shares_word(name, table->keys[i].name)) {
            nearest = &table->keys[i];
        }
    }
    return nearest;
}

void conf_table_defaults(const struct conf_table *table, void *target)
{
    for (size_t i = 0; i < table->key_count; i++) {
        const struct conf_key *key = &table->keys[i];
        char *field = (char *)target + key->offset;

        switch (key->type) {
        case CONF_BOOL:
            *(bool *)field = key->number != 0;
            break;
        case CONF_U32:
        case CONF_CHOICE:
            *(uint32_t *)(void *)field = (uint32_t)key->number;
            break;
        case CONF_U64:
            *(uint64_t *)(void *)field = key->number;
            break;
        case CONF_REAL:
            *(double *)(void *)field = key->real;
            break;
        case CONF_TEXT:
        case CONF_WORD:
        case CONF_SECRET:
        case CONF_FILE:
        case CONF_SINK:
            *(const char **)(void *)field = key->text;
            break;
        case CONF_GROUP:
        case CONF_OVERRIDE:
            conf_table_defaults(key->table, field);
            break;
        case CONF_BLOCKS: /* none: the struct is zeroed */
        case CONF_TEXTS:
        case CONF_GROUPS:
        case CONF_GROUP_SET:
            break;
        }
    }
}

static void append_words(const struct conf_key *key, struct buf *out)
{
    for (size_t i = 0; key->words[i] != NULL; i++) {
        bool last = key->words[i + 1] == NULL;

        buf_printf(out, "%s\"%s\"", i == 0 ? "" : (last ? " or " : ", "), key->words[i]);
    }
}

void conf_key_allowed(const struct conf_key *key, struct buf *out)
{
    if (key->allowed != NULL) {
        buf_append_str(out, str_of(key->allowed));
        return;
    }
    switch (key->type) {
    case CONF_BOOL:
        buf_printf(out, "true or false");
        break;
    case CONF_U32:
    case CONF_U64:
        buf_printf(out, "an integer from %llu to %llu", (unsigned long long)key->low,
                   (unsigned long long)key->high);
        break;
    case CONF_REAL:
        buf_printf(out, "a number from ");
        conf_append_real(out, key->real_low);
        buf_printf(out, " to ");
        conf_append_real(out, key->real_high);
        break;
    case CONF_WORD:
    case CONF_CHOICE:
        append_words(key, out);
        break;
    case CONF_SECRET:
        buf_printf(out, "a string: the value, \"env:NAME\" or \"file:PATH\"");
        break;
    case CONF_FILE:
        buf_printf(out, "the path of a readable file");
        break;
    case CONF_TEXT:
    case CONF_SINK:
        buf_printf(out, "a string");
        break;
    case CONF_GROUP:
    case CONF_OVERRIDE:
        buf_printf(out, "a group, { ... }");
        break;
    case CONF_GROUPS:
        buf_printf(out, "a list of groups, ( { ... }, { ... } )");
        break;
    case CONF_GROUP_SET:
        buf_printf(out, "a group, { ... }, or a list of groups");
        break;
    case CONF_BLOCKS:
        buf_printf(out,
                   "an array of up to %d addresses and blocks, [ \"10.0.0.0/8\", \"fd00::1\" ], "
                   "with no bits behind the prefix",
                   CONF_BLOCKS_MAX);
        break;
    case CONF_TEXTS:
        buf_printf(out, "an array of strings, [ \"...\" ]");
        break;
    }
}

void conf_key_default(const struct conf_key *key, struct buf *out)
{
    switch (key->type) {
    case CONF_BOOL:
        buf_printf(out, "%s", key->number != 0 ? "true" : "false");
        break;
    case CONF_U32:
    case CONF_U64:
        buf_append_u64(out, key->number);
        break;
    case CONF_REAL:
        conf_append_real(out, key->real);
        break;
    case CONF_CHOICE:
        conf_append_quoted(out, key->words[key->number]);
        break;
    case CONF_TEXT:
    case CONF_WORD:
    case CONF_SECRET:
    case CONF_FILE:
    case CONF_SINK:
        conf_append_quoted(out, key->text);
        break;
    case CONF_BLOCKS:
    case CONF_TEXTS:
        buf_printf(out, "[]");
        break;
    case CONF_GROUP:
    case CONF_OVERRIDE:
    case CONF_GROUPS:
    case CONF_GROUP_SET:
        ASSERT_UNREACHABLE("a group has no default of its own");
    }
}

bool conf_key_is_plain(const struct conf_key *key)
{
    return key->type < CONF_GROUP;
}

void conf_append_real(struct buf *out, double value)
{
    char text[32];

    /* 15 digits always survive, 17 always suffice; %g drops trailing zeros. */
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    buf_printf(out, "%s", text);
}

void conf_append_quoted(struct buf *out, const char *text)
{
    buf_append_char(out, '"');
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;

        if (byte == '"' || byte == '\\') {
            buf_printf(out, "\\%c", byte);
        } else if (byte < ' ' || byte == 0x7f) {
            buf_printf(out, "\\x%02x", byte);
        } else {
            buf_append_char(out, *at);
        }
    }
    buf_append_char(out, '"');
}

void conf_key_range(const struct conf_key *key, struct buf *out)
{
    switch (key->type) {
    case CONF_U32:
    case CONF_U64:
        buf_printf(out, "%llu to %llu", (unsigned long long)key->low,
                   (unsigned long long)key->high);
        break;
    case CONF_REAL:
        conf_append_real(out, key->real_low);
        buf_printf(out, " to ");
        conf_append_real(out, key->real_high);
        break;
    case CONF_WORD:
    case CONF_CHOICE:
    case CONF_BLOCKS:
        conf_key_allowed(key, out);
        break;
    default:
        buf_printf(out, "%s", key->allowed == NULL ? "" : key->allowed);
        break;
    }
}

/* ---- for a reference ---- */

struct describer {
    struct buf *out;
    void (*heading)(struct buf *out, const struct conf_table *table);
    void (*row)(struct buf *out, const struct conf_key *key);
};

static void describe_keys(const struct describer *describer, const struct conf_table *table)
{
    for (size_t i = 0; i < table->key_count; i++) {
        describer->row(describer->out, &table->keys[i]);
    }
}

static void describe_table(const struct describer *describer, const struct conf_table *table)
{
    describer->heading(describer->out, table);
    if (table == &conf_table_listener_tls) {
        describe_keys(describer, &conf_table_certificate); /* one group in the file */
    }
    describe_keys(describer, table);
    for (size_t i = 0; i < table->key_count; i++) {
        enum conf_type type = table->keys[i].type;

        if (type == CONF_GROUP || type == CONF_GROUP_SET) {
            describe_table(describer, table->keys[i].table);
        }
    }
}

void conf_tables_describe(struct buf *out,
                          void (*heading)(struct buf *out, const struct conf_table *table),
                          void (*row)(struct buf *out, const struct conf_key *key))
{
    const struct describer describer = {.out = out, .heading = heading, .row = row};

    for (size_t i = 0; i < conf_table_root.key_count; i++) {
        describe_table(&describer, conf_table_root.keys[i].table);
    }
}
