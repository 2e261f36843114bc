/* SPDX-License-Identifier: MIT */
/* Error texts. Both functions format beside the buffer first, since arguments may point into it. */
#include <nearside/base/errbuf.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void err_set(struct errbuf *err, const char *format, ...)
{
    struct errbuf made;
    va_list args;

    va_start(args, format);
    vsnprintf(made.text, sizeof(made.text), format, args);
    va_end(args);
    memcpy(err->text, made.text, strlen(made.text) + 1);
}

/* As much of `text` as fits. */
static void append(struct errbuf *err, const char *text)
{
    size_t used = strlen(err->text);
    size_t len = strnlen(text, sizeof(err->text) - 1 - used);

    memcpy(err->text + used, text, len);
    err->text[used + len] = '\0';
}

void err_wrap(struct errbuf *err, const char *format, ...)
{
    struct errbuf made;
    va_list args;

    va_start(args, format);
    vsnprintf(made.text, sizeof(made.text), format, args);
    va_end(args);

    append(&made, ": ");
    append(&made, err->text);
    memcpy(err->text, made.text, strlen(made.text) + 1);
}
