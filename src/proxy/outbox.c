/* SPDX-License-Identifier: MIT */
/* What is held until the end of a batch of events. */
#include "outbox_private.h"

#include "client_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <string.h>

static void on_batch_end(struct loop_task *task, void *arg)
{
    (void)task;
    outbox_let_go(arg);
}

void outbox_init(struct outbox *outbox, struct loop *loop)
{
    *outbox = (struct outbox){.loop = loop};
    outbox->bytes = mem_alloc((size_t)OUTBOX_ITEMS * OUTBOX_PIECE_BYTES);
    loop_task_init(&outbox->task, on_batch_end, outbox);
}

void outbox_done(struct outbox *outbox)
{
    ASSERT(outbox->count == 0);
    loop_task_cancel(&outbox->task);
    mem_free(outbox->bytes);
    outbox->bytes = NULL;
}

void outbox_hold(struct outbox *outbox, struct client_conn *conn, const struct iovec *pieces,
                 int count)
{
    const size_t start = outbox->used;

    ASSERT(outbox->count < OUTBOX_ITEMS);
    for (int i = 0; i < count; i++) {
        ASSERT(outbox->used - start + pieces[i].iov_len <= OUTBOX_PIECE_BYTES);
        memcpy(outbox->bytes + outbox->used, pieces[i].iov_base, pieces[i].iov_len);
        outbox->used += pieces[i].iov_len;
    }
    outbox->items[outbox->count++] =
        (struct outbox_item){.conn = conn, .len = outbox->used - start};
    loop_batch_task_queue(outbox->loop, &outbox->task);
}

void outbox_send(struct outbox *outbox)
{
    const unsigned count = outbox->count;
    const char *bytes = outbox->bytes;

    outbox->count = 0; /* a long write of what a client had not taken comes back here */
    outbox->used = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct outbox_item *item = &outbox->items[i];

        client_write_held(item->conn, str_make(bytes, item->len));
        bytes += item->len;
    }
}
