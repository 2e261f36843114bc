/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a config file: no crash, no leak, and what is accepted describes itself as a file
 * that, with secrets written where it shows none, is accepted too and describes itself in the same
 * words.
 */
#include <conf/parse_private.h>
#include <conf/schema_private.h>
#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/conf/describe.h>
#include <nearside/conf/tree.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER "/nonexistent" /* relative includes and files are not found */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 loses the string it was scanning at a syntax error. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig.so";
}

/* `text` with `now` for each `was`. */
static void replace(struct buf *text, struct str was, struct str now)
{
    struct str rest = buf_str(text);
    struct buf out;

    buf_init(&out);
    while (rest.len > 0) {
        size_t at = str_find(rest, was);

        buf_append_str(&out, str_slice(rest, 0, at));
        if (at < rest.len) {
            buf_append_str(&out, now);
            at += was.len;
        }
        rest = str_slice(rest, at, rest.len);
    }
    buf_done(text);
    *text = out;
}

/* Secrets in the place of the stars, which are refused. */
static void write_secrets(const struct conf_table *table, struct buf *text)
{
    for (size_t i = 0; i < table->key_count; i++) {
        const struct conf_key *key = &table->keys[i];
        char shown[128];
        char written[128];

        if (key->table != NULL) {
            write_secrets(key->table, text);
        }
        if (key->type != CONF_SECRET) {
            continue;
        }
        snprintf(shown, sizeof(shown), " %s = \"***\";", key->name);
        snprintf(written, sizeof(written), " %s = \"0123456789abcdef\";", key->name);
        replace(text, str_of(shown), str_of(written));
    }
}

static void check_description(const struct conf *conf)
{
    struct conf *again = NULL;
    struct errbuf err;
    struct buf first;
    struct buf written;
    struct buf second;

    buf_init(&first);
    buf_init(&written);
    buf_init(&second);
    conf_describe(conf, &first);
    buf_append_str(&written, buf_str(&first));
    write_secrets(&conf_table_root, &written);
    if (conf_read_text(buf_str(&written), "described", FOLDER, &again, &err) != STATUS_OK) {
        fprintf(stderr, "%s\n%.*s", err.text, STR_FMT(buf_str(&written)));
        abort();
    }
    conf_describe(again, &second);
    ASSERT(str_eq(buf_str(&first), buf_str(&second)));
    conf_unref(again);
    buf_done(&first);
    buf_done(&written);
    buf_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct conf *conf = NULL;
    struct errbuf err = {.text = ""};
    enum status status =
        conf_read_text(str_make((const char *)bytes, len), "fuzz", FOLDER, &conf, &err);

    if (status == STATUS_OK) {
        check_description(conf);
        conf_unref(conf);
    } else {
        ASSERT(conf == NULL && strncmp(err.text, "fuzz:", 5) == 0);
    }
    return 0;
}
