/* SPDX-License-Identifier: MIT */
/*
 * What the process may do, given up once its ports are bound.
 *
 *   privilege_resolve   user and group to numbers; can fail
 *   privilege_lock      at the very start: nothing executed from here gains a right
 *   ... bind ports, read certificates ...
 *   privilege_drop      become user and group, and check that there is no way back; can fail
 *
 * Thread: the main one, before any other is made.
 */
#ifndef NEARSIDE_APP_PRIVILEGE_H
#define NEARSIDE_APP_PRIVILEGE_H

#include <nearside/base/attr.h>
#include <nearside/base/errbuf.h>

#include <stdbool.h>
#include <sys/types.h>

struct conf;

struct privilege {
    bool drops; /* edge.user is set */
    uid_t uid;
    gid_t gid;
};

enum status privilege_resolve(const struct conf *conf, struct privilege *ret_privilege,
                              struct errbuf *err) MUST_CHECK;
void privilege_lock(void);
enum status privilege_drop(const struct privilege *privilege, bool core_dumps,
                           struct errbuf *err) MUST_CHECK;

#endif
