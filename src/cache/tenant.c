/* SPDX-License-Identifier: MIT */
/* Whose request it is, by its header fields. */
#include <nearside/cache/tenant.h>

/* How many fields of that name there are; the first one's value. */
static unsigned find_fields(const struct http_head *head, enum http_name id, struct str name,
                            struct str *ret_value)
{
    unsigned count = 0;

    for (uint32_t i = 0; http_head_has(head, id) && i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];

        if (field->id == id && (id != HTTP_NAME_OTHER || str_eq_nocase(field->name, name))) {
            *ret_value = count == 0 ? field->value : *ret_value;
            count++;
        }
    }
    return count;
}

/* True: it told, or is told twice (*ret_is_sure false). */
static bool take_from(const struct http_head *head, enum http_name id, struct str name,
                      struct str *ret_value, bool *ret_is_sure)
{
    unsigned count = find_fields(head, id, name, ret_value);

    *ret_is_sure = count <= 1;
    return count > 1 || ret_value->len > 0;
}

bool cache_tenant_of(const struct http_head *head, struct str header,
                     struct cache_tenant *ret_tenant)
{
    const enum http_name id = http_name_find(header);
    struct cache_tenant tenant = {.header = STR_EMPTY};
    bool is_sure = true;

    if (id != HTTP_NAME_AUTHORIZATION && take_from(head, id, header, &tenant.value, &is_sure)) {
        tenant.header = header;
    } else if (!take_from(head, HTTP_NAME_AUTHORIZATION, STR_EMPTY, &tenant.value, &is_sure)) {
        (void)take_from(head, HTTP_NAME_X_API_KEY, STR_EMPTY, &tenant.value, &is_sure);
    }
    if (is_sure) {
        *ret_tenant = tenant;
    }
    return is_sure;
}
