/* SPDX-License-Identifier: MIT */
/* What Redis's error replies mean, and what to do about them. Pure. */
#include "kv_reply_private.h"

#include <nearside/base/assert.h>
#include <nearside/kv/kv.h>

static const struct {
    const char *prefix;
    enum kv_error error;
} rows[] = {
    {"OOM ", KV_ERROR_OOM},
    {"READONLY ", KV_ERROR_READONLY},
    {"LOADING ", KV_ERROR_LOADING},
    {"BUSY ", KV_ERROR_BUSY},
    {"MISCONF ", KV_ERROR_MISCONF},
    {"NOREPLICAS ", KV_ERROR_MISCONF},
    {"MASTERDOWN ", KV_ERROR_MASTERDOWN},
    {"CLUSTERDOWN ", KV_ERROR_CLUSTERDOWN},
    {"TRYAGAIN ", KV_ERROR_CLUSTERDOWN},
    {"MOVED ", KV_ERROR_MOVED},
    {"ASK ", KV_ERROR_MOVED},
    {"CROSSSLOT ", KV_ERROR_MOVED},
    {"NOAUTH ", KV_ERROR_NOAUTH},
    {"WRONGPASS ", KV_ERROR_WRONGPASS},
    {"ERR invalid password", KV_ERROR_WRONGPASS},                  /* before Redis 6 */
    {"ERR Client sent AUTH, but no password", KV_ERROR_WRONGPASS}, /* the same */
    {"ERR AUTH <password> called without any", KV_ERROR_WRONGPASS},
    {"NOPERM ", KV_ERROR_NOPERM},
    {"DENIED ", KV_ERROR_PROTECTED},
    {"ERR max number of clients", KV_ERROR_MAXCLIENTS},
    {"ERR unknown command", KV_ERROR_UNKNOWN_COMMAND},
    {"ERR SELECT is not allowed in cluster mode", KV_ERROR_MOVED},
    {"WRONGTYPE ", KV_ERROR_WRONGTYPE},
};

enum kv_error kv_error_of(struct str text)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (str_starts(text, str_of(rows[i].prefix))) {
            return rows[i].error;
        }
    }
    return KV_ERROR_OTHER;
}

bool kv_error_is_unready(struct str text)
{
    switch (kv_error_of(text)) {
    case KV_ERROR_LOADING:
    case KV_ERROR_BUSY:
    case KV_ERROR_MASTERDOWN:
    case KV_ERROR_CLUSTERDOWN:
        return true;
    default:
        return false;
    }
}

const char *kv_error_advice(enum kv_error error)
{
    static const char *const advice[KV_ERROR_COUNT] = {
        [KV_ERROR_OOM] = "look-ups go on; raise maxmemory or set maxmemory-policy to allkeys-lru",
        [KV_ERROR_READONLY] = "look-ups go on; this is a replica: give the primary's address",
        [KV_ERROR_LOADING] = "wait: it is asked again when it has read its data",
        [KV_ERROR_BUSY] = "a script runs too long there; SCRIPT KILL ends it",
        [KV_ERROR_MISCONF] = "look-ups go on; it cannot save or has too few replicas: see its log",
        [KV_ERROR_MASTERDOWN] = "a replica without its primary: give the primary's address",
        [KV_ERROR_CLUSTERDOWN] = "a Redis Cluster that is not whole; Nearside does not follow "
                                 "clusters: give a single primary or a proxy in front",
        [KV_ERROR_MOVED] = "a node of a Redis Cluster, which Nearside does not follow: give a "
                           "single primary or a proxy in front",
        [KV_ERROR_NOAUTH] = "set redis_password",
        [KV_ERROR_WRONGPASS] = "check redis_user and redis_password",
        [KV_ERROR_NOPERM] = "give the user the rights in docs/redis.md",
        [KV_ERROR_PROTECTED] = "set a password or protected-mode no there",
        [KV_ERROR_MAXCLIENTS] = "raise maxclients there",
        [KV_ERROR_UNKNOWN_COMMAND] = "a Sentinel, or no Redis: give the primary's address",
        [KV_ERROR_WRONGTYPE] = "somebody else writes under our keys: give a database of its own",
    };

    ASSERT(error < KV_ERROR_COUNT);
    return advice[error] == NULL ? "see docs/redis.md" : advice[error];
}
