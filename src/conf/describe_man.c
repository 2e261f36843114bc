/* SPDX-License-Identifier: MIT */
/* nearside.conf(5): the schema as a manual page, in man(7) macros. */
#include <nearside/conf/describe.h>

#include "schema_private.h"

static const char intro[] =
    ".\\\" Generated from the schema (src/conf/schema.c) by make docs; do not edit.\n"
    ".TH NEARSIDE.CONF 5 2026-11-23 \"Nearside " NEARSIDE_VERSION "\" \"File Formats\"\n"
    ".SH NAME\n"
    "nearside.conf \\- configuration of nearside\n"
    ".SH DESCRIPTION\n"
    "The file that\n"
    ".BR nearside (8)\n"
    "reads, in libconfig's syntax.\n"
    "Every key is optional except one listener and one region with one endpoint:\n"
    ".PP\n"
    ".in +4n\n"
    ".EX\n"
    "listeners = ( { bind = \"127.0.0.1:8080\"; } );\n"
    "regions = (\n"
    "    { name = \"us-east\"; endpoints = [ \"http://10.0.0.5:8000\" ]; },\n"
    "    { name = \"eu-west\"; endpoints = [ \"http://10.1.0.5:8000\" ]; }\n"
    ");\n"
    ".EE\n"
    ".in\n"
    ".PP\n"
    "Unknown and repeated keys are errors, which name the line and what is allowed.\n"
    "An integer over 2147483647 ends in\n"
    ".BR L .\n"
    "A secret is written out, or as\n"
    ".RI \\(dqenv: NAME \\(dq\n"
    "or\n"
    ".RI \\(dqfile: PATH \\(dq.\n"
    "Paths that do not begin with / start at the file's folder.\n"
    ".RI @include\\~\\(dq FILE \\(dq\n"
    "on a line of its own puts another file's text there.\n"
    "Changes take effect with\n"
    ".BR SIGHUP ,\n"
    "but for keys marked\n"
    ".IR restart .\n";

static const char outro[] = ".SH SEE ALSO\n"
                            ".BR nearside (8)\n";

/* A backslash, a minus (which is not a hyphen here), quotes, and what would be a request at the
 * start of a line. */
static void append_roff(struct buf *out, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        bool starts = at == text || at[-1] == '\n';

        if (starts && (*at == '.' || *at == '\'')) {
            buf_append_str(out, STR_LIT("\\&"));
        }
        switch (*at) {
        case '\\':
            buf_append_str(out, STR_LIT("\\e"));
            break;
        case '-':
            buf_append_str(out, STR_LIT("\\-"));
            break;
        case '"':
            buf_append_str(out, STR_LIT("\\(dq"));
            break;
        case '\'':
            buf_append_str(out, STR_LIT("\\(aq"));
            break;
        case '^':
            buf_append_str(out, STR_LIT("\\(ha"));
            break;
        case '~':
            buf_append_str(out, STR_LIT("\\(ti"));
            break;
        default:
            buf_append_char(out, *at);
            break;
        }
    }
}

/* "(default 5 s; 1 to 600; restart)" */
static void append_facts(struct buf *out, const struct conf_key *key)
{
    struct buf facts;
    struct buf allowed;

    buf_init(&facts);
    buf_init(&allowed);
    if (key->required) {
        buf_printf(&facts, "required");
    } else if (conf_key_is_plain(key) || key->type == CONF_TEXTS) {
        buf_printf(&facts, "default ");
        conf_key_default(key, &facts);
        buf_printf(&facts, "%s%s", key->unit[0] == '\0' ? "" : " ", key->unit);
    }
    conf_key_range(key, &allowed);
    if (buf_len(&allowed) > 0) {
        buf_printf(&facts, "%s%.*s", buf_len(&facts) > 0 ? "; " : "", STR_FMT(buf_str(&allowed)));
    }
    buf_printf(&facts, "%s%s", key->edge_only ? "; for the whole edge, not per region" : "",
               key->change == CONF_RESTART ? "; restart" : "");
    if (buf_len(&facts) > 0) {
        buf_append_char(&facts, '\0');
        buf_append_char(out, '(');
        append_roff(out, buf_str(&facts).ptr);
        buf_append_str(out, STR_LIT(")\n"));
    }
    buf_done(&facts);
    buf_done(&allowed);
}

static void append_heading(struct buf *out, const struct conf_table *table)
{
    buf_printf(out, ".SS %s\n", table->name);
    append_roff(out, table->help);
    buf_append_char(out, '\n');
}

static void append_key(struct buf *out, const struct conf_key *key)
{
    buf_printf(out, ".TP\n.B %s\n", key->name);
    append_roff(out, key->help);
    buf_append_str(out, STR_LIT("\n"));
    append_facts(out, key);
}

void conf_describe_man(struct buf *out)
{
    buf_printf(out, "%s.SH KEYS\n", intro);
    conf_tables_describe(out, append_heading, append_key);
    buf_printf(out, "%s", outro);
}
