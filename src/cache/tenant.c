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

/* The credentials. Both kinds at once are two tellers: which one the endpoint goes by is not for us
 * to know. */
static bool take_credentials(const struct http_head *head, struct str *ret_value)
{
    struct str bearer = STR_EMPTY;
    struct str key = STR_EMPTY;
    bool is_sure;
    bool is_key_sure;

    const bool has_bearer = take_from(head, HTTP_NAME_AUTHORIZATION, STR_EMPTY, &bearer, &is_sure);
    const bool has_key = take_from(head, HTTP_NAME_X_API_KEY, STR_EMPTY, &key, &is_key_sure);
    *ret_value = has_bearer ? bearer : key;
    return is_sure && is_key_sure && !(has_bearer && has_key);
}

bool cache_tenant_of(const struct http_head *head, struct str header,
                     struct cache_tenant *ret_tenant)
{
    const enum http_name id = http_name_find(header);
    struct cache_tenant tenant = {.header = STR_EMPTY};
    bool is_sure = true;

    if (id != HTTP_NAME_AUTHORIZATION && take_from(head, id, header, &tenant.value, &is_sure)) {
        tenant.header = header;
    } else {
        is_sure = take_credentials(head, &tenant.value);
    }
    if (is_sure) {
        *ret_tenant = tenant;
    }
    return is_sure;
}
