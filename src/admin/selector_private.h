/* SPDX-License-Identifier: MIT */
/*
 * Kubernetes' label selectors: "region=us-east", "region in (us-east, eu-west), !tier". Pure, one
 * pass, nothing kept.
 */
#ifndef NEARSIDE_ADMIN_SELECTOR_PRIVATE_H
#define NEARSIDE_ADMIN_SELECTOR_PRIVATE_H

#include <nearside/base/str.h>

enum selector_answer {
    SELECTOR_MATCHES,
    SELECTOR_DIFFERS,
    SELECTOR_BAD /* not a selector; the same for every label */
};

/* Does something with the one label `key` = `value` fit? An empty selector fits everything. */
enum selector_answer selector_match(struct str text, struct str key, struct str value);

#endif
