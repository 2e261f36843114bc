/* SPDX-License-Identifier: MIT */
/*
 * Intrusive doubly linked list with a head. An item that is in no list points to itself, so that
 * "is it queued?" can be asked and removing twice is harmless.
 */
#ifndef NEARSIDE_BASE_LIST_H
#define NEARSIDE_BASE_LIST_H

#include <nearside/base/attr.h>

#include <stdbool.h>

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *item)
{
    item->next = item;
    item->prev = item;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_is_linked(const struct list *item)
{
    return item->next != item;
}

static inline void list_insert_before(struct list *position, struct list *item)
{
    item->prev = position->prev;
    item->next = position;
    position->prev->next = item;
    position->prev = item;
}

static inline void list_push_back(struct list *head, struct list *item)
{
    list_insert_before(head, item);
}

static inline void list_push_front(struct list *head, struct list *item)
{
    list_insert_before(head->next, item);
}

static inline void list_remove(struct list *item)
{
    item->prev->next = item->next;
    item->next->prev = item->prev;
    list_init(item);
}

static inline struct list *list_first(struct list *head)
{
    return list_is_empty(head) ? NULL : head->next;
}

static inline struct list *list_last(struct list *head)
{
    return list_is_empty(head) ? NULL : head->prev;
}

/* Move all items of `from` to the end of `to`. */
static inline void list_append(struct list *to, struct list *from)
{
    if (list_is_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    from->prev->next = to;
    to->prev->next = from->next;
    to->prev = from->prev;
    list_init(from);
}

#define LIST_ITEM(ptr, type, member) CONTAINER_OF(ptr, type, member)

/* `item` is a `struct list *`. The _SAFE form lets the body remove the current item. */
#define LIST_FOREACH(item, head) for (item = (head)->next; item != (head); item = item->next)
#define LIST_FOREACH_SAFE(item, after, head)                                                       \
    for (item = (head)->next, after = item->next; item != (head); item = after, after = item->next)

#endif
