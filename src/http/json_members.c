/* SPDX-License-Identifier: MIT */
/*
 * The body's own members, as the scan passes them: no name twice, what routing and the cache need
 * noted, the runs of long ones told while they come.
 */
#include "json_members_private.h"

#include "char_class_private.h"

enum json_scan_result json_members_check_name(const struct json_scanner *scanner)
{
    const struct json_scan *scan = scanner->scan;
    const struct str name = str_make(scanner->base + scanner->name_at, scanner->name_len);

    if (name.len > JSON_SCAN_NAME_MAX || scanner->has_escape) {
        return JSON_SCAN_NAME;
    }
    for (uint32_t i = 0; i < scan->member_count; i++) {
        if (str_eq(scan->members[i].name, name)) {
            return JSON_SCAN_DUPLICATE;
        }
    }
    return scan->member_count < JSON_SCAN_MEMBERS_MAX ? JSON_SCAN_OK : JSON_SCAN_MEMBERS;
}

static struct json_member *open_member(const struct json_scanner *scanner)
{
    return &scanner->scan->members[scanner->scan->member_count];
}

void json_members_begin(struct json_scanner *scanner, const char *at)
{
    *open_member(scanner) = (struct json_member){
        .name = str_make(scanner->base + scanner->name_at, scanner->name_len),
        .value = str_make(at, 0),
    };
    scanner->run = (size_t)(at - scanner->base);
    scanner->in_member = true;
}

void json_members_tell(struct json_scanner *scanner, const char *end)
{
    struct json_member *member = open_member(scanner);
    const struct str run =
        str_make(scanner->base + scanner->run, (size_t)(end - scanner->base) - scanner->run);

    scanner->run += run.len;
    member->value.len = (size_t)(end - member->value.ptr);
    member->compact_len += run.len;
    if (run.len > 0 && scanner->on_run != NULL && member->compact_len >= scanner->long_bytes) {
        scanner->on_run(scanner->arg, scanner->scan->member_count, member, run);
    }
}

void json_members_space(struct json_scanner *scanner, const char *at, const char *end)
{
    json_members_tell(scanner, at);
    open_member(scanner)->spaced = true;
    scanner->run = (size_t)(end - scanner->base);
}

/* ---- what a whole one says ---- */

/* Of a value known to be good. */
static bool is_number(struct str value)
{
    return value.ptr[0] == '-' || char_is(value.ptr[0], CHAR_DIGIT);
}

/* Zero by its digits: 1e-999 is not, whatever a double would make of it. */
static bool is_zero(struct str number)
{
    for (size_t i = 0; i < number.len; i++) {
        const char c = number.ptr[i];

        if (c == 'e' || c == 'E') {
            break;
        }
        if (c >= '1' && c <= '9') {
            return false;
        }
    }
    return true;
}

static void note(struct json_scan *scan, const struct json_member *member, bool has_escape)
{
    const struct str name = member->name;
    const struct str value = member->value;

    if (str_eq(name, STR_LIT("model"))) {
        if (value.ptr[0] == '"' && !has_escape) {
            scan->model = str_make(value.ptr + 1, value.len - 2);
        }
    } else if (str_eq(name, STR_LIT("stream"))) {
        scan->stream = str_eq(value, STR_LIT("true"))    ? JSON_SCAN_TRUE
                       : str_eq(value, STR_LIT("false")) ? JSON_SCAN_FALSE
                                                         : JSON_SCAN_ABSENT;
    } else if (str_eq(name, STR_LIT("temperature"))) {
        scan->temperature_is_zero = is_number(value) && is_zero(value);
    } else if (str_eq(name, STR_LIT("seed"))) {
        scan->has_seed = is_number(value);
    } else if (str_eq(name, STR_LIT("store"))) {
        scan->store = str_eq(value, STR_LIT("true"));
    }
}

void json_members_end(struct json_scanner *scanner, const char *end)
{
    json_members_tell(scanner, end);
    note(scanner->scan, open_member(scanner), scanner->has_escape);
    scanner->in_member = false;
    scanner->scan->member_count++;
}
