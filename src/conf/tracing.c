/* SPDX-License-Identifier: MIT */
/* tracing.otlp_url: where the collector is. */
#include "reader_private.h"
#include "url_private.h"

#include <nearside/conf/tree.h>

#define DEFAULT_PATH "/v1/traces"
#define PATH         "tracing.otlp_url"
#define ALLOWED      "allowed: http://host[:port][/path] (for https, a collector on this machine)"

static bool path_is_good(struct str path)
{
    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] <= ' ' || path.ptr[i] > '~' || path.ptr[i] == '#') {
            return false;
        }
    }
    return true;
}

enum status conf_tracing_read(struct conf_reader *reader)
{
    struct conf_tracing *tracing = &reader->conf->tracing;
    struct str text = str_of(tracing->otlp_url);
    size_t scheme = str_find(text, STR_LIT("://"));
    size_t slash;
    struct conf_url url;
    struct str path;
    const char *why = "https is not spoken here";

    if (text.len == 0) {
        return STATUS_OK;
    }
    scheme = scheme == text.len ? 0 : scheme + 3;
    slash = scheme + str_find_char(str_slice(text, scheme, text.len), '/');
    path = str_slice(text, slash, text.len);
    if (!conf_url_parse_http(str_slice(text, 0, slash), &url, &why) || url.tls ||
        !path_is_good(path)) {
        struct str shown = conf_url_public(text);
        return conf_reader_fail(reader, PATH, "found \"%s%.*s\" (%s), " ALLOWED,
                                shown.len < text.len ? "***" : "", STR_FMT(shown),
                                path_is_good(path) ? why : "the path has a space or worse");
    }
    tracing->host = conf_reader_keep(reader, url.host);
    tracing->authority = conf_reader_keep(reader, str_slice(text, scheme, slash));
    tracing->path = path.len <= 1 ? DEFAULT_PATH : conf_reader_keep(reader, path);
    tracing->port = url.port;
    tracing->is_address = url.is_address;
    tracing->addr = url.addr;
    return STATUS_OK;
}
