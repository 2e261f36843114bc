/* SPDX-License-Identifier: MIT */
/* What the allocators of this folder share. */
#ifndef NEARSIDE_BASE_MEM_PRIVATE_H
#define NEARSIDE_BASE_MEM_PRIVATE_H

#include <nearside/base/attr.h>

#include <stdbool.h>

/* Counts a call that may be refused; true: a test wants this one refused. */
bool mem_try_is_to_fail(void) MUST_CHECK;

#endif
