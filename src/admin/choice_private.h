/* SPDX-License-Identifier: MIT */
/*
 * Why new requests go where they go: the rules of fleet/home.h read backwards, for people. Pure.
 *
 * The words are those of /explain where they mean the same; that one tells about a request that
 * was, this one about the next.
 */
#ifndef NEARSIDE_ADMIN_CHOICE_PRIVATE_H
#define NEARSIDE_ADMIN_CHOICE_PRIVATE_H

#include <nearside/base/attr.h>
#include <nearside/fleet/view.h>

#include <stdint.h>

#define CHOICE_WHY_LEN 200

enum choice_verdict {
    CHOICE_CHOSEN,
    CHOICE_DRAINED,
    CHOICE_UNKNOWN, /* not probed yet */
    CHOICE_DOWN,
    CHOICE_PUT_ASIDE,   /* its breaker is open: real requests failed */
    CHOICE_NO_ENDPOINT, /* all that are up are drained */
    CHOICE_FAR,         /* over the budget, and a near one serves */
    CHOICE_FARTHER,
    CHOICE_NOT_HOME, /* closer, but not by enough, or not for long enough */
    CHOICE_VERDICT_COUNT
};

const char *choice_verdict_word(enum choice_verdict verdict);

enum choice_verdict choice_of(const struct fleet_view *view, uint32_t region) MUST_CHECK;
/* The verdict as a sentence without a capital and a stop; region names may cut it. */
void choice_why(const struct fleet_view *view, uint32_t region, char out[CHOICE_WHY_LEN]);

/* The region that would be home if the present one failed now; HOME_NONE: none could serve. */
int choice_next(const struct fleet_view *view) MUST_CHECK;

#endif
