/* SPDX-License-Identifier: MIT */
/*
 * What the scan (json_scan.c) tells of the body's own members: their names, and where the bytes of
 * their values' compact form begin and end. `at` and `end` are in the body that is fed now.
 */
#ifndef NEARSIDE_HTTP_JSON_MEMBERS_PRIVATE_H
#define NEARSIDE_HTTP_JSON_MEMBERS_PRIVATE_H

#include <nearside/http/json_scan.h>

/* The name that was passed last may be a new member's, or why not. */
enum json_scan_result json_members_check_name(const struct json_scanner *scanner);

/* A value of that name begins. */
void json_members_begin(struct json_scanner *scanner, const char *at);

/* Within it: what lies between the last space and `end` is in its compact form. */
void json_members_tell(struct json_scanner *scanner, const char *end);

/* Within it: [at, end) is space between tokens. */
void json_members_space(struct json_scanner *scanner, const char *at, const char *end);

/* It is whole. */
void json_members_end(struct json_scanner *scanner, const char *end);

#endif
