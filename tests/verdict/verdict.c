/* SPDX-License-Identifier: MIT */
/*
 * What Nearside's parsers say of byte streams, for holding them against other parsers.
 *
 * stdin: cases, each a kind ('q' requests, 's' responses to GET), its length in four bytes (most
 * significant first), its bytes. stdout, one line a case:
 *
 *     end <tab> message <tab> message...     message: start line, body bytes, digest of fields,
 * digest of body
 *
 * end: "ok" all was used; "more" within a message; "closed" bytes follow a message after which the
 * connection ends; else the fault's word.
 */
#include <nearside/base/buf.h>
#include <nearside/http/h1.h>

#include <stdint.h>
#include <stdio.h>

#define CASE_BYTES_MAX (1u << 20)
#define DIGEST_START   2166136261u

struct message {
    struct http_head head;
    uint64_t body_bytes;
    uint32_t body_digest;
};

static const struct h1_limits limits = {
    .head_bytes = 65536, .uri_bytes = 16384, .fields = HTTP_FIELDS_MAX};

/* FNV-1a. */
static uint32_t digest(uint32_t sum, struct str bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        sum = (sum ^ (unsigned char)bytes.ptr[i]) * 16777619u;
    }
    return sum;
}

static void add_body(struct message *message, struct str bytes)
{
    message->body_bytes += bytes.len;
    message->body_digest = digest(message->body_digest, bytes);
}

static void print_message(const struct message *message, bool is_request)
{
    const struct http_head *head = &message->head;
    uint32_t fields = DIGEST_START;

    for (uint32_t i = 0; i < head->field_count; i++) {
        fields = digest(fields, head->fields[i].name);
        fields = digest(fields, STR_LIT(":"));
        fields = digest(fields, head->fields[i].value);
        fields = digest(fields, STR_LIT("\n"));
    }
    if (is_request) {
        printf("\t%.*s %.*s", STR_FMT(head->method_text), STR_FMT(head->target));
    } else {
        printf("\t%u", head->status);
    }
    printf(" %llu %08x %08x", (unsigned long long)message->body_bytes, fields,
           message->body_digest);
}

static enum h1_result take_chunked(struct str input, struct message *message, size_t *ret_used)
{
    struct h1_chunked chunked;
    enum h1_result result = H1_NEED_MORE;
    size_t total = 0;

    h1_chunked_init(&chunked);
    while (total < input.len && result == H1_NEED_MORE) {
        struct str data;
        size_t used;

        result = h1_chunked_parse(&chunked, str_slice(input, total, input.len), &used, &data);
        total += used;
        add_body(message, data);
    }
    *ret_used = total;
    return result;
}

static enum h1_result take_body(struct str input, struct message *message, size_t *ret_used)
{
    const struct http_head *head = &message->head;
    size_t used = 0;

    *ret_used = 0;
    switch (head->body) {
    case HTTP_BODY_NONE:
        return H1_COMPLETE;
    case HTTP_BODY_CHUNKED:
        return take_chunked(input, message, ret_used);
    case HTTP_BODY_LENGTH:
        used = head->content_length < input.len ? (size_t)head->content_length : input.len;
        break;
    case HTTP_BODY_CLOSE:
        used = input.len;
        break;
    }
    add_body(message, str_make(input.ptr, used));
    *ret_used = used;
    return head->body == HTTP_BODY_CLOSE || used == head->content_length ? H1_COMPLETE
                                                                         : H1_NEED_MORE;
}

/* One message off the front. */
static enum h1_result take_message(struct str input, bool is_request, struct message *message,
                                   size_t *ret_used)
{
    size_t head_bytes = 0;
    size_t body_bytes = 0;
    enum h1_result result =
        is_request ? h1_parse_request(input, &limits, &message->head, &head_bytes)
                   : h1_parse_response(input, &limits, HTTP_GET, &message->head, &head_bytes);

    message->body_bytes = 0;
    message->body_digest = DIGEST_START;
    if (result == H1_COMPLETE) {
        result = take_body(str_slice(input, head_bytes, input.len), message, &body_bytes);
    }
    *ret_used = head_bytes + body_bytes;
    return result;
}

static const char *judge(struct str input, bool is_request, struct message *messages,
                         unsigned *ret_count)
{
    const unsigned count_max = 64;
    unsigned count = 0;

    *ret_count = 0;
    while (input.len > 0) {
        size_t used;
        const enum h1_result result = take_message(input, is_request, &messages[count], &used);

        if (result != H1_COMPLETE) {
            return result == H1_NEED_MORE ? "more" : h1_result_word(result);
        }
        input = str_slice(input, used, input.len);
        *ret_count = ++count;
        if (input.len > 0 && !messages[count - 1].head.keep_alive) {
            return "closed";
        }
        if (count == count_max) {
            return "too_many_messages";
        }
    }
    return "ok";
}

/* False: no more cases. */
static bool read_case(struct buf *bytes, char *ret_kind)
{
    unsigned char head[5];
    size_t len;

    if (fread(head, 1, sizeof(head), stdin) != sizeof(head)) {
        return false;
    }
    len = (size_t)head[1] << 24 | (size_t)head[2] << 16 | (size_t)head[3] << 8 | head[4];
    buf_clear(bytes);
    if (len > CASE_BYTES_MAX || !buf_reserve(bytes, len) ||
        fread(buf_tail(bytes), 1, len, stdin) != len) {
        return false;
    }
    buf_produced(bytes, len);
    *ret_kind = (char)head[0];
    return true;
}

int main(void)
{
    static struct message messages[64];
    struct buf bytes;
    char kind;

    buf_init(&bytes);
    while (read_case(&bytes, &kind)) {
        unsigned count;
        const bool is_request = kind == 'q';

        printf("%s", judge(buf_str(&bytes), is_request, messages, &count));
        for (unsigned i = 0; i < count; i++) {
            print_message(&messages[i], is_request);
        }
        printf("\n");
    }
    buf_done(&bytes);
    return 0;
}
