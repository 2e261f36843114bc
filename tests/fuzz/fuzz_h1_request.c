/* SPDX-License-Identifier: MIT */
/* Any bytes as a request head: what is accepted must survive being written and read again. */
#include <nearside/base/assert.h>
#include <nearside/http/h1.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h1_limits limits = {.head_bytes = 2048, .uri_bytes = 512, .fields = 30};

static void write_again(const struct http_head *head, struct buf *out)
{
    h1_write_request_line(out, head->method_text, head->target);
    for (uint32_t i = 0; i < head->field_count; i++) {
        h1_write_field(out, head->fields[i].name, head->fields[i].value);
    }
    h1_write_end(out);
}

static void check_same(const struct http_head *a, const struct http_head *b)
{
    ASSERT(a->method == b->method && str_eq(a->target, b->target));
    ASSERT(str_eq_nocase(a->authority, b->authority));
    ASSERT(a->body == b->body && a->content_length == b->content_length);
    ASSERT(a->field_count == b->field_count);
    for (uint32_t i = 0; i < a->field_count; i++) {
        ASSERT(a->fields[i].id == b->fields[i].id && a->fields[i].drop == b->fields[i].drop);
        ASSERT(str_eq(a->fields[i].value, b->fields[i].value));
    }
}

/* As a connection does, `piece` bytes at a time. A fault may not be seen yet at the end, but what
 * was refused whole must not be taken in pieces, nor the reverse. */
static void check_pieces(struct str input, size_t piece, enum h1_result whole)
{
    static struct http_head head;
    struct h1_wait wait = {.looked = 0};
    enum h1_result result = H1_NEED_MORE;
    size_t len = 0;

    while (len < input.len && result == H1_NEED_MORE) {
        struct str so_far;
        size_t used;

        len = len + piece < input.len ? len + piece : input.len;
        so_far = str_slice(input, 0, len);
        if (h1_wait_is_over(&wait, so_far, &limits)) {
            result = h1_parse_request(so_far, &limits, &head, &used);
        }
    }
    ASSERT((result == H1_COMPLETE) == (whole == H1_COMPLETE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_head head;
    static struct http_head again;
    const struct str input = str_make((const char *)data, size);
    const enum h1_result whole = h1_parse_request(input, &limits, &head, &(size_t){0});
    struct buf out;
    size_t used = 0;
    size_t used_again = 0;

    check_pieces(input, size % 7 + 1, whole);
    if (h1_parse_request(input, &limits, &head, &used) != H1_COMPLETE) {
        return 0;
    }
    ASSERT(used <= size && used <= limits.head_bytes);
    ASSERT(h1_parse_request(str_make(input.ptr, used - 1), &limits, &again, &used_again) ==
           H1_NEED_MORE);
    ASSERT(head.body != HTTP_BODY_CLOSE);
    /* HTTP/1.0 heads are written as 1.1, which asks for a Host. */
    if (head.version_minor == 0) {
        return 0;
    }
    buf_init(&out);
    write_again(&head, &out);
    if (buf_len(&out) <= limits.head_bytes) {
        ASSERT(h1_parse_request(buf_str(&out), &limits, &again, &used_again) == H1_COMPLETE);
        check_same(&head, &again);
    }
    buf_done(&out);
    return 0;
}
