/* SPDX-License-Identifier: MIT */
/* A parsed head taken out of the read buffer, so that it outlives the next read. */
#include <nearside/http/head.h>

/* The same bytes in the copy; views of static text ("/" for an absolute form without a path) stay.
 */
static struct str rebase(struct str view, struct str from, const char *to)
{
    if (view.ptr < from.ptr || view.ptr >= from.ptr + from.len) {
        return view;
    }
    return str_make(to + (view.ptr - from.ptr), view.len);
}

struct http_head *http_head_copy(const struct http_head *head, struct str raw, struct arena *arena)
{
    const size_t size =
        offsetof(struct http_head, fields) + head->field_count * sizeof(head->fields[0]);

    if (!arena_reserve(arena, size + raw.len)) {
        return NULL;
    }
    struct http_head *copy = arena_alloc(arena, size + raw.len);
    char *const bytes = (char *)copy + size;

    memcpy(bytes, raw.ptr, raw.len);
    memcpy(copy, head, offsetof(struct http_head, fields));
    copy->method_text = rebase(head->method_text, raw, bytes);
    copy->target = rebase(head->target, raw, bytes);
    copy->authority = rebase(head->authority, raw, bytes);
    copy->reason = rebase(head->reason, raw, bytes);
    for (uint32_t i = 0; i < head->field_count; i++) {
        struct http_field *field = &copy->fields[i];

        *field = head->fields[i];
        field->name.ptr = bytes + (field->name.ptr - raw.ptr);
        field->value.ptr = bytes + (field->value.ptr - raw.ptr);
    }
    return copy;
}
