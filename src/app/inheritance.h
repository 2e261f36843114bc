/* SPDX-License-Identifier: MIT */
/*
 * What a process leaves to the one that replaces it (upgrade.c), as text in a memory file that the
 * new process finds by the environment variable NEARSIDE_UPGRADE=CHANNEL,TABLE, two descriptors:
 *
 *   nearside-upgrade 1
 *   listener 7,8 0.0.0.0:8080          listening sockets of a listener, and its `bind`
 *   admin 9 127.0.0.1:9901
 *   drain region us-east               operators' drains
 *   warm us-east 10.0.0.5:8000         endpoints that need no warm-up
 *
 * Lines of a kind that is not known are passed over, so that versions may differ in both
 * directions; another number in the first line is refused.
 *
 * Thread: control.
 */
#ifndef NEARSIDE_APP_INHERITANCE_H
#define NEARSIDE_APP_INHERITANCE_H

#include <nearside/base/attr.h>
#include <nearside/base/buf.h>
#include <nearside/base/errbuf.h>
#include <nearside/base/str.h>

#include <stdbool.h>
#include <stdint.h>

#define INHERITANCE_VARIABLE    "NEARSIDE_UPGRADE"
#define INHERITANCE_SOCKETS_MAX 4096     /* of one listener: one per worker of the old process */
#define INHERITANCE_BYTES_MAX   16777216 /* of the table */

enum inherited_kind { INHERITED_LISTENER, INHERITED_ADMIN, INHERITED_DRAIN, INHERITED_WARM };

struct inherited {
    enum inherited_kind kind;
    char *text;   /* owned: bind, or the words after the kind */
    int *sockets; /* owned array; listeners and admin; -1: taken */
    uint32_t socket_count;
};

struct inheritance {
    int channel; /* to the old process; -1: there is none */
    struct inherited *items;
    uint32_t count;
};

void inheritance_init(struct inheritance *inheritance);
/* Closes the sockets that nobody took. The channel is its owner's. */
void inheritance_done(struct inheritance *inheritance);

/* Read a table. Descriptors are not looked at. */
enum status inheritance_parse(struct str text, struct inheritance *inheritance,
                              struct errbuf *err) MUST_CHECK;

/* What the environment says, if it says anything; the variable is removed. Every descriptor must be
 * a listening socket, and is made close-on-exec. Before threads are started. */
enum status inheritance_receive(struct inheritance *inheritance, struct errbuf *err) MUST_CHECK;

/* Take the sockets left for `bind`: the caller owns the array and the descriptors. False: none. */
bool inheritance_take(struct inheritance *inheritance, enum inherited_kind kind, const char *bind,
                      int **ret_sockets, uint32_t *ret_count);

/* A socket of that kind which nobody took; borrowed. -1: none. */
int inheritance_peek(const struct inheritance *inheritance, enum inherited_kind kind);

/* The writer's half. */
void inheritance_write_head(struct buf *out);
void inheritance_write_sockets(struct buf *out, enum inherited_kind kind, const int *sockets,
                               uint32_t count, const char *bind);
void inheritance_write_text(struct buf *out, enum inherited_kind kind, const char *first,
                            const char *second);

#endif
