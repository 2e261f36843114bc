/* SPDX-License-Identifier: MIT */
/*
 * What the codecs cost, by themselves: nanoseconds per head, chunk and event, megabytes a second
 * of JSON. Not a test; for `cc -O2` and a quiet machine.
 *
 *   make bench-micro
 */
#include <nearside/base/buf.h>
#include <nearside/base/clock.h>
#include <nearside/base/digest.h>
#include <nearside/http/h1.h>
#include <nearside/http/json_scan.h>
#include <nearside/http/sse.h>

#include <stdio.h>

static const char request_head[] =
    "POST /v1/chat/completions HTTP/1.1\r\n"
    "Host: api.nearside.example:8080\r\n"
    "Accept-Encoding: gzip, deflate\r\n"
    "Connection: keep-alive\r\n"
    "Accept: application/json\r\n"
    "Content-Type: application/json\r\n"
    "User-Agent: OpenAI/Python 1.51.0\r\n"
    "X-Stainless-Lang: python\r\n"
    "X-Stainless-Package-Version: 1.51.0\r\n"
    "X-Stainless-OS: Linux\r\n"
    "X-Stainless-Arch: x64\r\n"
    "Authorization: Bearer sk-proj-0123456789abcdefghijklmnopqrstuvwxyz\r\n"
    "Content-Length: 118\r\n\r\n";

static const char response_head[] = "HTTP/1.1 200 OK\r\n"
                                    "date: Sun, 22 Nov 2026 10:20:30 GMT\r\n"
                                    "server: uvicorn\r\n"
                                    "cache-control: no-cache\r\n"
                                    "x-accel-buffering: no\r\n"
                                    "content-type: text/event-stream; charset=utf-8\r\n"
                                    "transfer-encoding: chunked\r\n\r\n";

static const char event[] =
    "data: {\"id\":\"chatcmpl-9f8e7d6c5b4a39281706\",\"object\":\"chat.completion.chunk\","
    "\"created\":1795342830,\"model\":\"meta-llama/Llama-3.1-8B-Instruct\",\"choices\":[{"
    "\"index\":0,\"delta\":{\"content\":\" token\"},\"logprobs\":null,\"finish_reason\":null}]}"
    "\n\n";

static const struct h1_limits limits = {.head_bytes = 65536, .uri_bytes = 16384, .fields = 100};

static const struct str request = {request_head, sizeof(request_head) - 1};
static const struct str response = {response_head, sizeof(response_head) - 1};
static const struct str one_event = {event, sizeof(event) - 1};

static volatile uint64_t keep;

/* The best of five rounds: the others met somebody else's work. */
#define MEASURE(ret_ns, count, statement)                                                          \
    do {                                                                                           \
        (ret_ns) = 1e18;                                                                           \
        for (int round = 0; round < 5; round++) {                                                  \
            const uint64_t start = clock_mono_ns();                                                \
            for (int i = 0; i < (count); i++) {                                                    \
                statement;                                                                         \
            }                                                                                      \
            const double took = (double)(clock_mono_ns() - start) / (count);                       \
            (ret_ns) = took < (ret_ns) ? took : (ret_ns);                                          \
        }                                                                                          \
    } while (0)

static void parse_request_once(void)
{
    static struct http_head head;
    size_t used = 0;

    keep += (uint64_t)h1_parse_request(request, &limits, &head, &used) + used;
}

static void parse_response_once(void)
{
    static struct http_head head;
    size_t used = 0;

    keep += (uint64_t)h1_parse_response(response, &limits, HTTP_POST, &head, &used) + used;
}

static void write_head_once(struct buf *out, const struct http_head *head)
{
    buf_clear(out);
    h1_write_request_line(out, head->method_text, head->target);
    for (uint32_t i = 0; i < head->field_count; i++) {
        h1_write_field(out, head->fields[i].name, head->fields[i].value);
    }
    h1_write_end(out);
}

static void parse_chunk_once(struct h1_chunked *chunked, struct str bytes)
{
    struct str data;
    size_t used = 0;

    keep += (uint64_t)h1_chunked_parse(chunked, bytes, &used, &data) + data.len;
}

static void measure_heads(void)
{
    static struct http_head head;
    struct buf out;
    size_t used = 0;
    double ns;

    MEASURE(ns, 200000, parse_request_once());
    printf("request head, 12 fields, %zu bytes   %7.0f ns\n", sizeof(request_head) - 1, ns);
    MEASURE(ns, 200000, parse_response_once());
    printf("response head, 6 fields, %zu bytes   %7.0f ns\n", sizeof(response_head) - 1, ns);

    buf_init(&out);
    if (h1_parse_request(request, &limits, &head, &used) == H1_COMPLETE) {
        MEASURE(ns, 200000, write_head_once(&out, &head));
        printf("the request head written             %7.0f ns\n", ns);
    }
    buf_done(&out);
}

static void measure_stream(void)
{
    struct h1_chunked chunked;
    static struct sse sse;
    char chunk[1024];
    const size_t len =
        (size_t)snprintf(chunk, sizeof(chunk), "%zx\r\n%s\r\n", sizeof(event) - 1, event);
    double ns;

    h1_chunked_init(&chunked);
    MEASURE(ns, 1000000, parse_chunk_once(&chunked, str_make(chunk, len)));
    printf("chunk of one event, %zu bytes         %7.1f ns\n", len, ns);
    sse_init(&sse);
    MEASURE(ns, 1000000, sse_feed(&sse, one_event));
    printf("event read and recognised            %7.1f ns  (content %d %%)\n", ns,
           (int)(sse.content_events * 100 / sse.events));
}

static void on_piece(void *arg, const void *bytes, size_t len)
{
    digest_add(arg, bytes, len);
}

static void scan_once(struct str body, struct json_scan *scan)
{
    keep += (uint64_t)json_scan(body, scan);
}

static void digest_once(const struct json_scan *scan, struct digest *digest)
{
    uint8_t sum[DIGEST_BYTES];

    digest_start(digest);
    json_scan_canonical(scan, NULL, on_piece, digest);
    digest_finish(digest, sum);
    keep += sum[0];
}

static void measure_json(const char *name, const char *piece, size_t bytes, bool spaced)
{
    static struct json_scan scan;
    struct digest *digest = digest_new();
    struct buf body;
    double ns;
    const int count = bytes > 100000 ? 100 : 100000;

    buf_init(&body);
    buf_printf(&body, "{\"model\":\"m\",%s\"messages\":[%s{\"role\":\"user\",\"content\":\"",
               spaced ? " " : "", spaced ? " " : "");
    while (buf_len(&body) < bytes) {
        buf_append_str(&body, str_of(piece));
    }
    buf_append_str(&body, STR_LIT("\"}],\"stream\":true,\"temperature\":0}"));

    MEASURE(ns, count, scan_once(buf_str(&body), &scan));
    printf("JSON scan, %-22s    %7.0f ns %7.0f MB/s", name, ns, (double)buf_len(&body) * 1000 / ns);
    MEASURE(ns, count, digest_once(&scan, digest));
    printf("   canonical digest %7.0f MB/s\n", (double)buf_len(&body) * 1000 / ns);
    buf_done(&body);
    digest_free(digest);
}

int main(void)
{
    measure_heads();
    measure_stream();
    measure_json("200 bytes", "Tell me a story. ", 150, false);
    measure_json("4 KiB", "Tell me a story. ", 4096, false);
    measure_json("1 MiB ASCII", "Tell me a story of two cities and one long river. ", 1 << 20,
                 false);
    measure_json("1 MiB, spaced", "Tell me a story of two cities and one long river. ", 1 << 20,
                 true);
    measure_json("1 MiB, line ends", "Tell me a story of two cities and one long river.\\n",
                 1 << 20, false);
    measure_json("1 MiB Latin",
                 "Erz\xc3\xa4hl mir die Geschichte vom gro\xc3\x9f"
                 "en Flu\xc3\x9f. ",
                 1 << 20, false);
    measure_json("1 MiB Japanese",
                 "\xe9\x95\xb7\xe3\x81\x84\xe5\xb7\x9d\xe3\x81\xae\xe8\xa9\xb1\xe3\x82\x92",
                 1 << 20, false);
    return 0;
}
