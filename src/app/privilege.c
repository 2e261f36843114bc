/* SPDX-License-Identifier: MIT */
/* User, group, capabilities, core dumps. */
#include "privilege.h"

#include <nearside/base/str.h>
#include <nearside/conf/tree.h>

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static bool as_number(const char *text, uint64_t *ret_number)
{
    return str_to_u64(str_of(text), ret_number) && *ret_number < UINT32_MAX;
}

static enum status resolve_user(const char *name, struct privilege *privilege, struct errbuf *err)
{
    uint64_t number = 0;
    bool is_number = as_number(name, &number);
    const struct passwd *user = is_number ? getpwuid((uid_t)number) : getpwnam(name);

    if (user == NULL && !is_number) {
        err_set(err, "edge.user: found \"%s\", allowed: a user of this machine, or a number", name);
        return STATUS_INVALID;
    }
    privilege->uid = user != NULL ? user->pw_uid : (uid_t)number;
    privilege->gid = user != NULL ? user->pw_gid : (gid_t)number;
    if (privilege->uid == 0) {
        err_set(err, "edge.user: found \"%s\", allowed: a user other than root", name);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status resolve_group(const char *name, struct privilege *privilege, struct errbuf *err)
{
    uint64_t number = 0;
    const struct group *group = getgrnam(name);

    if (group == NULL && !as_number(name, &number)) {
        err_set(err, "edge.group: found \"%s\", allowed: a group of this machine, or a number",
                name);
        return STATUS_INVALID;
    }
    privilege->gid = group != NULL ? group->gr_gid : (gid_t)number;
    return STATUS_OK;
}

enum status privilege_resolve(const struct conf *conf, struct privilege *ret_privilege,
                              struct errbuf *err)
{
    struct privilege privilege = {.drops = conf->edge.user[0] != '\0'};
    enum status status = STATUS_OK;

    if (privilege.drops) {
        status = resolve_user(conf->edge.user, &privilege, err);
    } else if (conf->edge.group[0] != '\0') {
        err_set(err, "edge.group: found \"%s\" without edge.user, allowed: both, or the user alone",
                conf->edge.group);
        status = STATUS_INVALID;
    }
    if (status == STATUS_OK && conf->edge.group[0] != '\0') {
        status = resolve_group(conf->edge.group, &privilege, err);
    }
    if (status == STATUS_OK) {
        *ret_privilege = privilege;
    }
    return status;
}

void privilege_lock(void)
{
    /* Inherited by every thread made from here on. Fails only on kernels before 3.5. */
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* ---- dropping ---- */

static enum status refuse(const char *step, struct errbuf *err)
{
    err_set(err, "edge.user: %s: %s", step, strerror(errno));
    return STATUS_FAILED;
}

static bool holds_capability(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

    if (syscall(SYS_capget, &head, data) != 0) {
        return true; /* cannot be told: do not claim that there is none */
    }
    for (size_t i = 0; i < _LINUX_CAPABILITY_U32S_3; i++) {
        if (data[i].effective != 0 || data[i].permitted != 0) {
            return true;
        }
    }
    return false;
}

/* Ambient ones survive a change of user between two that are not root; drop all by name. */
static void drop_capabilities(void)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};

    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    (void)syscall(SYS_capset, &head, none); /* holds_capability() says whether it worked */
}

/* Believe the kernel's state and not the return values: what was meant to be irreversible is
 * tried. */
static enum status check_dropped(const struct privilege *privilege, struct errbuf *err)
{
    uid_t uids[3] = {0};
    gid_t gids[3] = {0};

    if (getresuid(&uids[0], &uids[1], &uids[2]) != 0 ||
        getresgid(&gids[0], &gids[1], &gids[2]) != 0) {
        return refuse("reading the ids back", err);
    }
    for (int i = 0; i < 3; i++) {
        if (uids[i] != privilege->uid || gids[i] != privilege->gid) {
            err_set(err, "edge.user: the kernel kept another user or group than was asked for");
            return STATUS_FAILED;
        }
    }
    if (setuid(0) == 0 || (privilege->gid != 0 && setgid(0) == 0)) {
        err_set(err, "edge.user: root could be taken back");
        return STATUS_FAILED;
    }
    if (holds_capability()) {
        err_set(err, "edge.user: capabilities are left");
        return STATUS_FAILED;
    }
    return STATUS_OK;
}

static enum status become(const struct privilege *privilege, struct errbuf *err)
{
    gid_t gid = privilege->gid;

    if (geteuid() == 0 && setgroups(1, &gid) != 0) {
        return refuse("setgroups", err);
    }
    if (setresgid(gid, gid, gid) != 0) {
        return refuse("setresgid (started by another user than root?)", err);
    }
    if (setresuid(privilege->uid, privilege->uid, privilege->uid) != 0) {
        return refuse("setresuid (started by another user than root?)", err);
    }
    drop_capabilities();
    return check_dropped(privilege, err);
}

/* Secrets and other people's prompts are in this memory: no core file, no debugger of the same
 * user, no reading of /proc/PID/environ. A change of user resets this, so it comes last. */
static void set_dumpable(bool core_dumps)
{
    struct rlimit none = {.rlim_cur = 0, .rlim_max = 0};

    (void)prctl(PR_SET_DUMPABLE, core_dumps ? 1 : 0, 0, 0, 0);
    if (!core_dumps) {
        (void)setrlimit(RLIMIT_CORE, &none);
    }
}

enum status privilege_drop(const struct privilege *privilege, bool core_dumps, struct errbuf *err)
{
    enum status status = privilege->drops ? become(privilege, err) : STATUS_OK;

    set_dumpable(core_dumps);
    return status;
}
