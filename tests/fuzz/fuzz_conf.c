/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a config file: no crash, no leak, and what is accepted describes itself as a file
 * that is accepted too and describes itself in the same words.
 */
#include <conf/parse_private.h>
#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/conf/describe.h>
#include <nearside/conf/tree.h>

#include <stdint.h>
#include <string.h>

#define FOLDER "/nonexistent" /* relative includes and files are not found */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);
const char *__lsan_default_suppressions(void);

/* libconfig 1.5 loses the string it was scanning at a syntax error. */
const char *__lsan_default_suppressions(void)
{
    return "leak:libconfig.so";
}

static void check_description(const struct conf *conf)
{
    struct conf *again = NULL;
    struct errbuf err;
    struct buf first;
    struct buf second;

    buf_init(&first);
    buf_init(&second);
    conf_describe(conf, &first);
    ASSERT(conf_read_text(buf_str(&first), "described", FOLDER, &again, &err) == STATUS_OK);
    conf_describe(again, &second);
    ASSERT(str_eq(buf_str(&first), buf_str(&second)));
    conf_unref(again);
    buf_done(&first);
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
