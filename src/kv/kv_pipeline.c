/* SPDX-License-Identifier: MIT */
/*
 * Commands in order. Each keeps its bytes in a block of its own (as hiredis's formatter made it),
 * so that many go out in one writev() without another copy, and one that is given up before it
 * was written leaves no trace.
 */
#include "kv_pipeline_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <hiredis/hiredis.h>

#define COMMAND_MAGIC 0x6b76636du

struct kv_command {
    uint32_t magic;
    struct list link;
    char *wire; /* owned, hiredis's; NULL once written */
    size_t wire_len;
    size_t wire_done;
    struct kv_listener listener;
};

void kv_pipeline_init(struct kv_pipeline *pipeline)
{
    list_init(&pipeline->held);
    list_init(&pipeline->unsent);
    list_init(&pipeline->sent);
    pipeline->unsent_bytes = 0;
    pipeline->tombstones = 0;
}

void kv_pipeline_done(struct kv_pipeline *pipeline)
{
    struct kv_listener ignored;

    while (kv_pipeline_take_oldest(pipeline, &ignored)) {
    }
}

static struct kv_command *first_command(struct list *head)
{
    return LIST_ITEM(list_first(head), struct kv_command, link);
}

static void free_wire(struct kv_pipeline *pipeline, struct kv_command *command)
{
    if (command->wire != NULL) {
        pipeline->unsent_bytes -= command->wire_len;
        redisFreeCommand(command->wire);
        command->wire = NULL;
    }
}

static void free_command(struct kv_pipeline *pipeline, struct kv_command *command)
{
    list_remove(&command->link);
    free_wire(pipeline, command);
    if (command->listener.fn == NULL) {
        pipeline->tombstones--;
    }
    command->magic = 0;
    mem_free(command);
}

/* -1: memory is refused. */
static int format_words(const struct str *words, size_t count, char **ret_wire)
{
    const char *texts[KV_WORDS_MAX];
    size_t lens[KV_WORDS_MAX];

    ASSERT(count <= KV_WORDS_MAX);
    for (size_t i = 0; i < count; i++) {
        texts[i] = words[i].ptr == NULL ? "" : words[i].ptr;
        lens[i] = words[i].len;
    }
    return redisFormatCommandArgv(ret_wire, (int)count, texts, lens);
}

struct kv_command *kv_pipeline_add(struct kv_pipeline *pipeline, const struct str *words,
                                   size_t count, struct kv_listener listener, bool is_held)
{
    struct kv_command *command;
    char *wire = NULL;
    int wire_len = format_words(words, count, &wire);

    ASSERT(listener.fn != NULL);
    if (wire_len < 0) {
        return NULL;
    }
    command = mem_new(struct kv_command);
    command->magic = COMMAND_MAGIC;
    command->wire = wire;
    command->wire_len = (size_t)wire_len;
    command->listener = listener;
    list_push_back(is_held ? &pipeline->held : &pipeline->unsent, &command->link);
    pipeline->unsent_bytes += command->wire_len;
    return command;
}

void kv_pipeline_release(struct kv_pipeline *pipeline)
{
    list_append(&pipeline->unsent, &pipeline->held);
}

bool kv_pipeline_abandon(struct kv_pipeline *pipeline, struct kv_command *command)
{
    ASSERT(command->magic == COMMAND_MAGIC && command->listener.fn != NULL);
    if (command->wire != NULL && command->wire_done == 0) {
        free_command(pipeline, command);
        return false;
    }
    command->listener.fn = NULL;
    pipeline->tombstones++;
    return true;
}

int kv_pipeline_gather(struct kv_pipeline *pipeline, struct iovec pieces[KV_PIECES_MAX])
{
    struct list *link;
    int count = 0;

    LIST_FOREACH (link, &pipeline->unsent) {
        struct kv_command *command = LIST_ITEM(link, struct kv_command, link);

        if (count == KV_PIECES_MAX) {
            break;
        }
        pieces[count].iov_base = command->wire + command->wire_done;
        pieces[count].iov_len = command->wire_len - command->wire_done;
        count++;
    }
    return count;
}

void kv_pipeline_written(struct kv_pipeline *pipeline, size_t len)
{
    while (len > 0) {
        struct kv_command *command = first_command(&pipeline->unsent);
        size_t left = command->wire_len - command->wire_done;

        if (len < left) {
            command->wire_done += len;
            return;
        }
        len -= left;
        free_wire(pipeline, command);
        list_remove(&command->link);
        list_push_back(&pipeline->sent, &command->link);
    }
}

static bool take_first(struct kv_pipeline *pipeline, struct list *head,
                       struct kv_listener *ret_listener)
{
    if (list_is_empty(head)) {
        return false;
    }
    *ret_listener = first_command(head)->listener;
    free_command(pipeline, first_command(head));
    return true;
}

bool kv_pipeline_take_answered(struct kv_pipeline *pipeline, struct kv_listener *ret_listener)
{
    return take_first(pipeline, &pipeline->sent, ret_listener);
}

bool kv_pipeline_take_oldest(struct kv_pipeline *pipeline, struct kv_listener *ret_listener)
{
    return take_first(pipeline, &pipeline->sent, ret_listener) ||
           take_first(pipeline, &pipeline->unsent, ret_listener) ||
           take_first(pipeline, &pipeline->held, ret_listener);
}
