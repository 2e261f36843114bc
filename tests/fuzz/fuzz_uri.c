/* SPDX-License-Identifier: MIT */
/* Any bytes as a request target, an authority, and the URLs and addresses of a config. */
#include <conf/url_private.h>
#include <http/h1_private.h>

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>
#include <nearside/cache/api.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool has(struct str text, char c)
{
    return str_find_char(text, c) < text.len;
}

static void check_authority(struct str text)
{
    if (h1_is_authority(text)) {
        ASSERT(text.len > 0 && !has(text, '@') && !has(text, '/') && !has(text, ',') &&
               !has(text, '%') && !has(text, '\0'));
    }
}

static void check_target(struct str text, enum http_method method)
{
    struct http_head head = {.method = method, .target = text};

    if (text.len == 0 || has(text, ' ') || h1_resolve_target(&head) != H1_COMPLETE) {
        return;
    }
    ASSERT(head.target.len > 0);
    ASSERT(head.method == HTTP_CONNECT || head.target.ptr[0] == '/' || head.target.ptr[0] == '*');
    ASSERT(head.authority.len == 0 || h1_is_authority(head.authority));
    (void)api_of(method, http_target_path(head.target));
}

static void check_url(struct str text)
{
    struct conf_url url;
    const char *why = NULL;

    if (conf_url_parse_http(text, &url, &why)) {
        ASSERT(url.host.len > 0 && url.port > 0 && !url.has_user_info);
    } else {
        ASSERT(why != NULL);
    }
    why = NULL;
    if (conf_url_parse_redis(text, &url, &why)) {
        ASSERT(url.host.len > 0 && url.port > 0 && url.database <= CONF_URL_DATABASE_MAX);
    } else {
        ASSERT(why != NULL);
    }
}

static void check_decoded(struct str text)
{
    char *copy;
    size_t len;

    if (has(text, '\0')) {
        return; /* no string of a config does */
    }
    copy = mem_strndup(text.ptr, text.len);
    if (conf_url_decode(text, copy, &len)) {
        ASSERT(len <= text.len && str_find_char(str_make(copy, len), '\0') == len);
    }
    mem_free(copy);
}

/* What is an address must be the same one after it was written out. */
static void check_addr(struct str text)
{
    struct addr addr;
    struct addr again;
    struct addr_block block;
    char out[ADDR_TEXT_LEN];
    const char *why;

    if (addr_parse(text, &addr)) {
        const size_t len = addr_format(&addr, out);

        ASSERT(addr_parse(str_make(out, len), &again) && addr_eq(&addr, &again));
    }
    if (addr_block_parse(text, &block)) {
        ASSERT(addr_block_has(&block, &block.addr));
    }
    (void)!conf_bind_parse(text, &addr, &why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text;

    if (size == 0) {
        return 0;
    }
    text = str_make((const char *)data + 1, size - 1);
    check_authority(text);
    check_target(text, (enum http_method)(data[0] % (HTTP_METHOD_OTHER + 1)));
    check_url(text);
    check_decoded(text);
    check_addr(text);
    return 0;
}
