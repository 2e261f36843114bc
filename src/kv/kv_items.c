/* SPDX-License-Identifier: MIT */
/* The reply to any command as a flat list of items. */
#include "kv_private.h"

#include <nearside/base/mem.h>

#include <inttypes.h>
#include <stdio.h>

/* One item, or false when it is a list or an error itself. */
static bool take_item(struct kv_request *request, const struct kv_reply *reply)
{
    struct str *item = &request->items[request->item_count];

    switch (reply->kind) {
    case KV_REPLY_STRING:
    case KV_REPLY_STATUS:
        *item = reply->text;
        break;
    case KV_REPLY_NIL:
        *item = STR_EMPTY;
        break;
    default:
        return false;
    }
    request->item_count++;
    return true;
}

static bool take_list(struct kv_request *request, const struct kv_reply *reply)
{
    if (reply->count > KV_ITEMS_MAX) {
        return false;
    }
    request->items = mem_try_alloc(reply->count * sizeof(request->items[0]));
    if (request->items == NULL) {
        return false;
    }
    for (size_t i = 0; i < reply->count; i++) {
        if (!take_item(request, reply->items[i])) {
            return false;
        }
    }
    return true;
}

static void take_number(struct kv_request *request, int64_t number)
{
    int len = snprintf(request->number, sizeof(request->number), "%" PRId64, number);

    request->items[0] = str_make(request->number, (size_t)len);
    request->item_count = 1;
}

bool kv_items_take(struct kv_request *request, const struct kv_reply *reply)
{
    switch (reply->kind) {
    case KV_REPLY_ARRAY:
        return take_list(request, reply);
    case KV_REPLY_NIL:
        return true;
    case KV_REPLY_ERROR:
        return false;
    case KV_REPLY_INTEGER:
        request->items = mem_new_array(1, struct str);
        take_number(request, reply->integer);
        return true;
    default:
        request->items = mem_new_array(1, struct str);
        return take_item(request, reply);
    }
}
