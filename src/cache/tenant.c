/* SPDX-License-Identifier: MIT */
/* Whose request it is, by its header fields. */
#include <nearside/cache/tenant.h>

/* How many fields of that name there are; the first one's value. */
static unsigned find_fields(const struct http_head *head, struct str name, struct str *ret_value)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < head->field_count; i++) {
        if (str_eq_nocase(head->fields[i].name, name)) {
            *ret_value = count == 0 ? head->fields[i].value : *ret_value;
            count++;
        }
    }
    return count;
}

/* True: it told, or is told twice (*ret_is_sure false). */
static bool take_from(const struct http_head *head, struct str name, struct str *ret_value,
                      bool *ret_is_sure)
{
    unsigned count = find_fields(head, name, ret_value);

    *ret_is_sure = count <= 1;
    return count > 1 || ret_value->len > 0;
}

bool cache_tenant_of(const struct http_head *head, struct str header,
                     struct cache_tenant *ret_tenant)
{
    struct str authorization = STR_LIT("authorization");
    struct cache_tenant tenant = {.header = STR_EMPTY};
    bool is_sure = true;

    if (!str_eq_nocase(header, authorization) && take_from(head, header, &tenant.value, &is_sure)) {
        tenant.header = header;
    } else if (!take_from(head, authorization, &tenant.value, &is_sure)) {
        (void)take_from(head, STR_LIT("x-api-key"), &tenant.value, &is_sure);
    }
    if (is_sure) {
        *ret_tenant = tenant;
    }
    return is_sure;
}
