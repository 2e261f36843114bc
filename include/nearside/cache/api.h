/* SPDX-License-Identifier: MIT */
/* The inference APIs that are understood, by path. */
#ifndef NEARSIDE_CACHE_API_H
#define NEARSIDE_CACHE_API_H

#include <nearside/base/str.h>
#include <nearside/http/head.h>

enum api {
    API_NONE,
    API_CHAT,        /* /v1/chat/completions */
    API_COMPLETIONS, /* /v1/completions */
    API_EMBEDDINGS,  /* /v1/embeddings */
    API_RESPONSES,   /* /v1/responses */
    API_MESSAGES,    /* /v1/messages (Anthropic) */
};

/* `path` is without its query. API_NONE for every method but POST. */
enum api api_of(enum http_method method, struct str path);

#endif
