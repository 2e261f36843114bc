/* SPDX-License-Identifier: MIT */
/* A parsed head taken out of the read buffer, so that it outlives the next read. */
#include <nearside/http/head.h>

/* The same bytes in the copy; views of static text ("/" for an absolute form without a path) stay.
 */
static struct str rebase(struct str view, struct str from, const char *to)
{
    const size_t at = (uintptr_t)view.ptr - (uintptr_t)from.ptr; /* too large when it is before */

    return at < from.len ? str_make(to + at, view.len) : view;
}

struct http_head *http_head_copy(const struct http_head *head, struct str raw, struct arena *arena)
{
    size_t size = offsetof(struct http_head, fields) + head->field_count * sizeof(head->fields[0]);

    if (!arena_reserve(arena, size + raw.len + 1 + 2 * ARENA_ALIGN)) {
        return NULL;
    }
    struct http_head *copy = arena_alloc(arena, size);
    struct str bytes = arena_str(arena, raw);

    memcpy(copy, head, size);
    copy->method_text = rebase(head->method_text, raw, bytes.ptr);
    copy->target = rebase(head->target, raw, bytes.ptr);
    copy->authority = rebase(head->authority, raw, bytes.ptr);
    copy->reason = rebase(head->reason, raw, bytes.ptr);
    for (uint32_t i = 0; i < head->field_count; i++) {
        copy->fields[i].name = rebase(head->fields[i].name, raw, bytes.ptr);
        copy->fields[i].value = rebase(head->fields[i].value, raw, bytes.ptr);
    }
    return copy;
}
