/* SPDX-License-Identifier: MIT */
/* Chained hash table; the slots double when there are as many items as slots. */
#include <nearside/base/table.h>

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#define TABLE_SLOTS_FIRST 16

void table_init(struct table *table)
{
    *table = (struct table){0};
}

void table_done(struct table *table)
{
    mem_free(table->slots);
    table_init(table);
}

static struct table_item **slot_of(const struct table *table, uint64_t hash)
{
    return &table->slots[hash & (table->slot_count - 1)];
}

static void push(struct table *table, struct table_item *item)
{
    struct table_item **slot = slot_of(table, item->hash);

    item->next = *slot;
    *slot = item;
}

static void grow(struct table *table)
{
    struct table_item **old = table->slots;
    size_t old_count = table->slot_count;

    table->slot_count = old_count == 0 ? TABLE_SLOTS_FIRST : old_count * 2;
    table->slots = mem_new_array(table->slot_count, struct table_item *);
    for (size_t i = 0; i < old_count; i++) {
        struct table_item *item = old[i];
        while (item != NULL) {
            struct table_item *next = item->next;
            push(table, item);
            item = next;
        }
    }
    mem_free(old);
}

void table_insert(struct table *table, struct table_item *item, uint64_t hash)
{
    if (table->count == table->slot_count) {
        grow(table);
    }
    item->hash = hash;
    push(table, item);
    table->count++;
}

void table_remove(struct table *table, struct table_item *item)
{
    ASSERT(table->slot_count > 0);
    struct table_item **link = slot_of(table, item->hash);

    while (*link != NULL && *link != item) {
        link = &(*link)->next;
    }
    ASSERT(*link == item);
    *link = item->next;
    item->next = NULL;
    table->count--;
}

static struct table_item *skip_to(struct table_item *item, uint64_t hash)
{
    while (item != NULL && item->hash != hash) {
        item = item->next;
    }
    return item;
}

struct table_item *table_first(const struct table *table, uint64_t hash)
{
    return table->slot_count == 0 ? NULL : skip_to(*slot_of(table, hash), hash);
}

struct table_item *table_next(const struct table_item *item)
{
    return skip_to(item->next, item->hash);
}
