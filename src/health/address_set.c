/* SPDX-License-Identifier: MIT */
/* Merging answers about a name into the set of its addresses. */
#include "address_set_private.h"

#define MISSING_MAX 2

static bool is_among(const struct addr *addrs, size_t count, const struct addr *addr)
{
    for (size_t i = 0; i < count; i++) {
        if (addr_eq(&addrs[i], addr)) {
            return true;
        }
    }
    return false;
}

bool address_set_has(const struct address_set *set, const struct addr *addr)
{
    return is_among(set->addrs, set->count, addr);
}

bool address_set_merge(struct address_set *set, const struct addr *addrs, size_t count,
                       int unknown_family)
{
    size_t kept = 0;
    bool changed = false;

    for (size_t i = 0; i < set->count; i++) {
        bool is_unknown = set->addrs[i].sa.any.sa_family == unknown_family;
        unsigned missing = is_among(addrs, count, &set->addrs[i]) ? 0
                           : is_unknown                           ? set->missing[i]
                                                                  : set->missing[i] + 1;

        if (missing >= MISSING_MAX) {
            changed = true;
            continue;
        }
        set->addrs[kept] = set->addrs[i];
        set->missing[kept] = missing;
        kept++;
    }
    set->count = kept;
    for (size_t i = 0; i < count && set->count < ADDRESS_SET_MAX; i++) {
        if (!address_set_has(set, &addrs[i])) {
            set->addrs[set->count] = addrs[i];
            set->missing[set->count] = 0;
            set->count++;
            changed = true;
        }
    }
    return changed;
}
