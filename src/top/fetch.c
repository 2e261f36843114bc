/* SPDX-License-Identifier: MIT */
/* A non-blocking socket, a request over it, an answer with a length or until the end. */
#include "fetch_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/http/h1.h>

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_BYTES 65536

static const struct h1_limits limits = {
    .head_bytes = 16384, .uri_bytes = 1024, .fields = HTTP_FIELDS_MAX};

/* ---- where ---- */

static bool copy_str(char *out, size_t size, struct str text)
{
    if (text.len == 0 || text.len >= size) {
        return false;
    }
    memcpy(out, text.ptr, text.len);
    out[text.len] = '\0';
    return true;
}

/* "[::1]:80", "edge-1:80", "edge-1". */
static bool split_host(struct str text, struct str *ret_host, struct str *ret_port)
{
    size_t end = str_find_char(text, text.len > 0 && text.ptr[0] == '[' ? ']' : ':');
    struct str rest;

    if (text.len > 0 && text.ptr[0] == '[') {
        if (end == text.len) {
            return false;
        }
        *ret_host = str_slice(text, 1, end);
        rest = str_slice(text, end + 1, text.len);
    } else {
        *ret_host = str_slice(text, 0, end);
        rest = str_slice(text, end, text.len);
    }
    *ret_port = rest.len > 0 ? str_slice(rest, 1, rest.len) : STR_LIT("9901");
    return rest.len == 0 || rest.ptr[0] == ':';
}

enum status fetch_parse_url(const char *url, struct fetch_target *ret_target, struct errbuf *err)
{
    struct str text = str_of(url);
    struct fetch_target target = {.trust = NULL};
    struct str host;
    struct str port;
    uint64_t number;

    target.is_tls = str_starts(text, STR_LIT("https://"));
    if (target.is_tls) {
        text = str_slice(text, 8, text.len);
    } else if (str_starts(text, STR_LIT("http://"))) {
        text = str_slice(text, 7, text.len);
    }
    if (str_ends(text, STR_LIT("/"))) {
        text = str_slice(text, 0, text.len - 1);
    }
    if (!split_host(text, &host, &port) || !copy_str(target.host, sizeof(target.host), host) ||
        !copy_str(target.port, sizeof(target.port), port) || !str_to_u64(port, &number) ||
        number == 0 || number > UINT16_MAX || str_find_char(host, '/') != host.len ||
        str_find_char(host, ' ') != host.len) {
        err_set(err, "--admin %s: allowed is http://HOST[:PORT] or https://HOST[:PORT]", url);
        return STATUS_INVALID;
    }
    (void)snprintf(target.authority, sizeof(target.authority), "%.*s", STR_FMT(text));
    *ret_target = target;
    return STATUS_OK;
}

/* ---- life ---- */

void fetch_init(struct fetch *fetch)
{
    *fetch = (struct fetch){.fd = -1};
    buf_init(&fetch->out);
    buf_init(&fetch->in);
}

static void drop(struct fetch *fetch)
{
    channel_close(&fetch->channel);
    if (fetch->fd >= 0) {
        (void)close(fetch->fd);
        fetch->fd = -1;
    }
    if (fetch->addresses != NULL) {
        freeaddrinfo(fetch->addresses);
        fetch->addresses = NULL;
    }
}

void fetch_done(struct fetch *fetch)
{
    drop(fetch);
    buf_done(&fetch->out);
    buf_done(&fetch->in);
}

static enum fetch_result failed(struct fetch *fetch, const char *what)
{
    err_set(&fetch->err, "%s", what);
    drop(fetch);
    return FETCH_FAILED;
}

/* To the next address that can be tried: a name may stand for some where nobody listens. `error`:
 * what was wrong with the last one. */
static enum fetch_result connect_next(struct fetch *fetch, int error)
{
    while (fetch->next != NULL) {
        const struct addrinfo *info = fetch->next;

        fetch->next = info->ai_next;
        if (fetch->fd >= 0) {
            (void)close(fetch->fd);
        }
        fetch->fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fetch->fd >= 0 &&
            (connect(fetch->fd, info->ai_addr, info->ai_addrlen) == 0 || errno == EINPROGRESS)) {
            return FETCH_MORE;
        }
        error = errno;
    }
    return failed(fetch, strerror(error));
}

enum fetch_result fetch_start(struct fetch *fetch, const struct fetch_target *target,
                              const char *path)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int code;

    drop(fetch);
    buf_clear(&fetch->in);
    buf_clear(&fetch->out);
    fetch->target = target;
    fetch->is_connected = false;
    code = getaddrinfo(target->host, target->port, &hints, &fetch->addresses);
    if (code != 0) {
        fetch->addresses = NULL;
        return failed(fetch, gai_strerror(code));
    }
    fetch->next = fetch->addresses;
    buf_printf(&fetch->out, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path,
               target->authority);
    fetch->due_ns = clock_mono_ns() + (uint64_t)FETCH_TIMEOUT_MS * NS_PER_MS;
    return connect_next(fetch, 0);
}

short fetch_events(const struct fetch *fetch)
{
    return fetch->is_connected ? fetch->channel.events : POLLOUT;
}

/* ---- steps ---- */

static enum fetch_result step_connect(struct fetch *fetch)
{
    int error = 0;
    socklen_t len = sizeof(error);

    if (getsockopt(fetch->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
        return connect_next(fetch, error == 0 ? errno : error);
    }
    if (channel_open(&fetch->channel, fetch->fd,
                     fetch->target->is_tls ? fetch->target->trust : NULL,
                     fetch->target->host) != STATUS_OK) {
        return failed(fetch, fetch->channel.err.text);
    }
    fetch->channel.events = POLLOUT;
    fetch->is_connected = true;
    return FETCH_MORE;
}

static enum fetch_result step_send(struct fetch *fetch)
{
    struct str bytes = buf_str(&fetch->out);
    size_t len;

    switch (channel_send(&fetch->channel, bytes.ptr, bytes.len, &len)) {
    case CHANNEL_OK:
        buf_consume(&fetch->out, len);
        fetch->channel.events = buf_len(&fetch->out) > 0 ? POLLOUT : POLLIN;
        return FETCH_MORE;
    case CHANNEL_AGAIN:
        return FETCH_MORE;
    case CHANNEL_EOF:
        return failed(fetch, "it closed the connection");
    case CHANNEL_ERROR:
        break;
    }
    return failed(fetch, fetch->channel.err.text);
}

/* Is the answer whole? `ended`: no more will come. */
static enum fetch_result look_at_answer(struct fetch *fetch, bool ended)
{
    struct http_head head;
    size_t head_len = 0;
    enum h1_result result =
        h1_parse_response(buf_str(&fetch->in), &limits, HTTP_GET, &head, &head_len);
    struct str rest;

    if (result == H1_NEED_MORE && !ended) {
        return FETCH_MORE;
    }
    if (result != H1_COMPLETE || head.body == HTTP_BODY_CHUNKED) {
        return failed(fetch, "what answers there is no Nearside");
    }
    rest = str_slice(buf_str(&fetch->in), head_len, buf_len(&fetch->in));
    if (head.body == HTTP_BODY_LENGTH && rest.len >= head.content_length) {
        rest = str_slice(rest, 0, (size_t)head.content_length);
    } else if (!ended) {
        return FETCH_MORE;
    } else if (head.body == HTTP_BODY_LENGTH) {
        return failed(fetch, "the answer broke off");
    }
    if (head.status != 200) {
        return failed(fetch, "what answers there is no Nearside, or an old one");
    }
    fetch->body = rest;
    drop(fetch);
    return FETCH_DONE;
}

static enum fetch_result step_receive(struct fetch *fetch)
{
    size_t len = 0;

    if (buf_len(&fetch->in) > FETCH_BODY_MAX || !buf_reserve(&fetch->in, READ_BYTES)) {
        return failed(fetch, "the answer is too long");
    }
    /* READ_BYTES is more than a TLS record: none stays inside where poll() would not see it. */
    switch (channel_receive(&fetch->channel, buf_tail(&fetch->in), READ_BYTES, &len)) {
    case CHANNEL_OK:
        buf_produced(&fetch->in, len);
        fetch->channel.events = POLLIN;
        return look_at_answer(fetch, false);
    case CHANNEL_AGAIN:
        return FETCH_MORE;
    case CHANNEL_EOF:
        return look_at_answer(fetch, true);
    case CHANNEL_ERROR:
        break;
    }
    return failed(fetch, fetch->channel.err.text);
}

enum fetch_result fetch_step(struct fetch *fetch, short events)
{
    ASSERT(fetch->fd >= 0);
    if (clock_mono_ns() >= fetch->due_ns) {
        return failed(fetch, "it is silent");
    }
    if (events == 0) {
        return FETCH_MORE;
    }
    if (!fetch->is_connected) {
        return step_connect(fetch);
    }
    return buf_len(&fetch->out) > 0 ? step_send(fetch) : step_receive(fetch);
}
