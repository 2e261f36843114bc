/* SPDX-License-Identifier: MIT */
/*
 * Text of a set-up error, wrapped on its way up: "listener 0.0.0.0:443: tls: key.pem: permission
 * denied". For set-up only; foreseen outcomes of the request path are enums.
 */
#ifndef NEARSIDE_BASE_ERRBUF_H
#define NEARSIDE_BASE_ERRBUF_H

#include <nearside/base/attr.h>

enum status {
    STATUS_OK,
    STATUS_INVALID, /* the input is wrong; errbuf says what */
    STATUS_FAILED,  /* the system refused; errbuf says what */
};

struct errbuf {
    char text[1024];
};

/* Set the text; a too long one is cut. */
void err_set(struct errbuf *err, const char *format, ...) PRINTF_LIKE(2, 3);
/* Put "prefix: " in front of the present text. */
void err_wrap(struct errbuf *err, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
