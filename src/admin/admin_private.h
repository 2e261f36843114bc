/* SPDX-License-Identifier: MIT */
/* What the files of admin/ share: the object, a request, its reply, and who answers what. */
#ifndef NEARSIDE_ADMIN_PRIVATE_H
#define NEARSIDE_ADMIN_PRIVATE_H

#include "recent_private.h"

#include <nearside/admin/admin.h>
#include <nearside/base/buf.h>
#include <nearside/base/list.h>
#include <nearside/base/str.h>
#include <nearside/loop/loop.h>

#define ADMIN_MAGIC 0x61646d6eU

/* Bytes of a percent-decoded name in a path: a DNS name, a colon and a port fit. */
#define ADMIN_NAME_MAX 300

struct server;
struct tls_ctx;
struct view_region;

struct admin {
    uint32_t magic;
    struct loop *loop;          /* borrowed: outlives this */
    struct fleet *fleet;        /* borrowed: outlives this */
    struct admin_source source; /* what it points to outlives this */
    char *token;                /* owned; empty: none */
    struct tls_ctx *tls;        /* ref held; NULL: plain text */
    bool api_needs_peer;        /* /apis/ is for those who have shown a certificate */
    struct server *server;      /* owned; NULL: not served now */
    struct list retired;        /* of struct server: finishing their last replies */
    char *page_policy;          /* owned: the page's Content-Security-Policy */
    struct deadline sampling;   /* of `recent` */
    struct recent recent;
};

enum admin_method { ADMIN_GET = 1, ADMIN_HEAD = 2, ADMIN_POST = 4, ADMIN_OTHER = 0 };

/* Views are valid during the call alone. Header values are NULL when absent. */
struct admin_request {
    enum admin_method method;
    struct str path;  /* as sent, still percent-encoded */
    struct str query; /* without the question mark */
    struct str name;  /* decoded: what stood at the route's `*` */
    const char *peer; /* address text */
    bool loopback;    /* the listener is bound to a loopback address */
    bool has_peer;    /* the client has shown a certificate, and it was good */
    const char *accept;
    const char *authorization;
    const char *admin_token;
    const char *origin;
    const char *host;
};

struct admin_reply {
    int status;
    const char *content_type; /* static text */
    const char *policy;       /* Content-Security-Policy, or NULL */
    char allow[32];           /* methods, with 405 */
    struct buf body;
};

/* Answer `request`. `reply` comes zeroed, but for an empty body. */
void admin_route(struct admin *admin, struct admin_request *request, struct admin_reply *reply);

/* {"error":{"message","code"}}; `code` is static text. */
void admin_reply_error(struct admin_reply *reply, int status, const char *code,
                       const char *message);

/* ---- operators (control.c) ---- */

void admin_post_region(struct admin *admin, const struct admin_request *request, bool drained,
                       struct admin_reply *reply);
void admin_post_endpoint(struct admin *admin, const struct admin_request *request, bool drained,
                         struct admin_reply *reply);
void admin_post_reload(struct admin *admin, const struct admin_request *request,
                       struct admin_reply *reply);
void admin_post_purge(struct admin *admin, const struct admin_request *request,
                      struct admin_reply *reply);

/* ---- Kubernetes' external metrics (kubernetes.c) ---- */

void admin_get_apis(struct admin *admin, const struct admin_request *request,
                    struct admin_reply *reply);
void admin_get_api_group(struct admin *admin, const struct admin_request *request,
                         struct admin_reply *reply);
void admin_get_api_resources(struct admin *admin, const struct admin_request *request,
                             struct admin_reply *reply);
/* `request->name` is the metric; its namespace is looked at by nobody. */
void admin_get_external_metric(struct admin *admin, const struct admin_request *request,
                               struct admin_reply *reply);
/* A Status object, which is what clients of the API want of an error. */
void admin_reply_status(struct admin_reply *reply, int status, const char *reason,
                        const char *message);

/* The value of `key` ("id=") in a query, still encoded. False: it is not there. */
bool admin_query_value(struct str query, struct str key, struct str *ret_value);
/* Percent-decode. False: too long, not percent-encoding, or a control character. */
bool admin_decode(struct str text, char out[ADMIN_NAME_MAX], size_t *ret_len);
/* The same of a value written as forms are, which the API server does: "+" is a blank. */
bool admin_decode_form(struct str text, char out[ADMIN_NAME_MAX], size_t *ret_len);

/* ---- signals (signal.c): what autoscalers read ---- */

/* The requests of a region without a first byte yet, here and at the other edges that live. */
double admin_pending(struct admin *admin, const struct view_region *region);
/* The use of a region's GPUs in percent, by the fresh pages. False: none tells it. */
bool admin_gpu_percent(struct admin *admin, const struct view_region *region, double *ret_percent);

/* ---- pages ---- */

void admin_metrics(struct admin *admin, struct buf *out);
void admin_page(struct admin *admin, struct buf *out);
/* The policy under which the page's own style and script run, and nothing else. Caller frees. */
char *admin_page_policy(void);

#endif
