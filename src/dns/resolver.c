/* SPDX-License-Identifier: MIT */
/*
 * Host names to addresses, by c-ares.
 *
 * Happy path:
 *   1. dns_resolve(): a literal address or a line of the hosts file is the answer already.
 *   2. Else c-ares asks the servers for A and for AAAA. Its sockets are watched by the loop, its
 *      time-outs (retry, next server) come from one deadline.
 *   3. When both families are answered, the addresses are sorted, made unique and cut to
 *      DNS_ADDRS_MAX, in that order, so that servers that rotate records give a stable set.
 *   4. A task at the end of the turn calls back; nothing is ever delivered from inside c-ares.
 *
 * Two questions of one family each, and not one of AF_UNSPEC: there c-ares 1.18 lets the answer
 * that came last speak for both, so that "no AAAA" after a failed A reads as "no such name". Here
 * having one family's addresses is an answer, and "not found" is said only when both say so.
 *
 * It can fail by: no such name or no address (DNS_NOT_FOUND), silence of all servers
 * (DNS_TIMEOUT), an error from all of them (DNS_FAILED).
 *
 * c-ares cannot withdraw one question. A cancelled query is therefore only marked, and goes when
 * c-ares has answered it (seconds at most).
 */
#include <nearside/dns/resolver.h>

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/list.h>
#include <nearside/base/mem.h>
#include <nearside/loop/loop.h>

#include <ares.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#define RESOLVER_MAGIC 0x64727376u
#define QUERY_MAGIC    0x64717279u

/* A lost packet is asked again after 2 s, longer than a recursive server takes to fetch a name
 * from far away; c-ares doubles that for the second and last try. With one server the answer
 * "no answer" thus takes 6 s, well inside the 30 s in which a failed region must be left. */
#define DNS_TRY_TIMEOUT_MS 2000
#define DNS_TRIES          2

/* The hosts file and literal addresses have no TTL. A minute, so that an edited hosts file is
 * noticed soon while reading it costs nothing. */
#define DNS_LOCAL_TTL_S 60

struct resolver {
    uint32_t magic;
    bool is_closed;
    struct loop *loop; /* borrowed: outlives this */
    ares_channel channel;
    struct deadline timer;
    struct list sockets;  /* of struct dns_socket, owned */
    struct list queries;  /* of struct dns_query, owned: c-ares has not answered all of it */
    struct list answered; /* of struct dns_query, owned: the callback is due */
    struct list batch;    /* of struct dns_query, owned: to be called back by the present task */
    struct loop_task deliver;
};

struct dns_socket {
    struct list link;
    struct resolver *resolver; /* borrowed: its owner */
    struct watch *watch;       /* owned */
};

struct dns_query {
    uint32_t magic;
    bool is_cancelled;
    bool is_refused; /* memory for its addresses */
    struct list link;
    struct resolver *resolver; /* borrowed: its owner */
    dns_done_fn done;
    void *arg;
    unsigned families_left;  /* answers of c-ares to come */
    enum dns_result failure; /* the gravest of the families' */
    int failed_family;       /* 0: none */
    struct addr *addrs;      /* owned; a DNS message is at most 64 KiB, which bounds it */
    size_t count;
    uint32_t ttl_s;
};

const char *dns_result_word(enum dns_result result)
{
    static const char *const words[DNS_RESULT_COUNT] = {
        [DNS_OK] = "ok",
        [DNS_NOT_FOUND] = "not_found",
        [DNS_TIMEOUT] = "timeout",
        [DNS_FAILED] = "failed",
    };

    ASSERT(result < DNS_RESULT_COUNT);
    return words[result];
}

/* ---- the channel: sockets and time ---- */

/* Let c-ares tell when it next wants to be called. */
static void resolver_arm(struct resolver *resolver)
{
    struct timeval wait;

    if (ares_timeout(resolver->channel, NULL, &wait) == NULL) {
        deadline_cancel(&resolver->timer);
        return;
    }
    /* Rounded up: a call that is early by a fraction would find nothing due and spin. */
    deadline_set_in_ms(&resolver->timer,
                       (uint64_t)wait.tv_sec * 1000 + (uint64_t)wait.tv_usec / 1000 + 1);
}

static void on_timer(struct deadline *deadline, void *arg)
{
    struct resolver *resolver = OBJ_CAST(arg, resolver, RESOLVER_MAGIC);

    (void)deadline;
    ares_process_fd(resolver->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    resolver_arm(resolver);
}

static void on_socket(struct watch *watch, unsigned events, void *arg)
{
    struct dns_socket *sock = arg;
    struct resolver *resolver = OBJ_CAST(sock->resolver, resolver, RESOLVER_MAGIC);
    int fd = watch_fd(watch);
    bool is_readable = (events & (WATCH_READ | WATCH_CLOSED)) != 0;
    bool is_writable = (events & WATCH_WRITE) != 0;

    ares_process_fd(resolver->channel, is_readable ? fd : ARES_SOCKET_BAD,
                    is_writable ? fd : ARES_SOCKET_BAD);
    resolver_arm(resolver);
}

static struct dns_socket *find_socket(struct resolver *resolver, int fd)
{
    struct list *link;

    LIST_FOREACH (link, &resolver->sockets) {
        struct dns_socket *sock = LIST_ITEM(link, struct dns_socket, link);

        if (watch_fd(sock->watch) == fd) {
            return sock;
        }
    }
    return NULL;
}

/* Free at the end of the turn: it may be the socket whose callback is running. */
static void forget_socket(struct dns_socket *sock)
{
    list_remove(&sock->link);
    watch_free(sock->watch);
    loop_defer_free(sock->resolver->loop, sock);
}

/* c-ares opened a socket, wants other events of it, or (neither) is about to close it. */
static void on_socket_state(void *arg, ares_socket_t fd, int wants_read, int wants_write)
{
    struct resolver *resolver = OBJ_CAST(arg, resolver, RESOLVER_MAGIC);
    struct dns_socket *sock = find_socket(resolver, fd);
    unsigned events =
        (wants_read ? (unsigned)WATCH_READ : 0u) | (wants_write ? (unsigned)WATCH_WRITE : 0u);

    if (sock != NULL) {
        forget_socket(sock);
    }
    if (events == 0) {
        return;
    }
    sock = mem_new(struct dns_socket);
    sock->resolver = resolver;
    sock->watch = watch_level(resolver->loop, fd, events, on_socket, sock);
    list_push_back(&resolver->sockets, &sock->link);
}

/* ---- answers ---- */

static int compare_addrs(const void *left, const void *right)
{
    const struct addr *a = left;
    const struct addr *b = right;

    if (a->sa.any.sa_family != b->sa.any.sa_family) {
        return a->sa.any.sa_family < b->sa.any.sa_family ? -1 : 1;
    }
    if (a->sa.any.sa_family == AF_INET) {
        return memcmp(&a->sa.v4.sin_addr, &b->sa.v4.sin_addr, sizeof(a->sa.v4.sin_addr));
    }
    return memcmp(&a->sa.v6.sin6_addr, &b->sa.v6.sin6_addr, sizeof(a->sa.v6.sin6_addr));
}

/* Sorted, unique, bounded. */
static void query_tidy(struct dns_query *query)
{
    size_t kept = 0;

    if (query->count > 1) {
        qsort(query->addrs, query->count, sizeof(query->addrs[0]), compare_addrs);
    }
    for (size_t i = 0; i < query->count; i++) {
        if (kept == 0 || compare_addrs(&query->addrs[kept - 1], &query->addrs[i]) != 0) {
            query->addrs[kept++] = query->addrs[i];
        }
    }
    query->count = kept < DNS_ADDRS_MAX ? kept : DNS_ADDRS_MAX;
}

static void query_free(struct dns_query *query)
{
    list_remove(&query->link);
    query->magic = 0;
    mem_free(query->addrs);
    mem_free(query);
}

/* Half of the addresses would be taken for all of them: without memory the query has failed. */
static void query_add(struct dns_query *query, const struct addr *addr, uint32_t ttl_s)
{
    size_t size = (query->count + 1) * sizeof(query->addrs[0]);
    struct addr *addrs = query->is_refused ? NULL : mem_try_realloc(query->addrs, size);

    if (addrs == NULL) {
        query->is_refused = true;
        query->failure = DNS_FAILED;
        query->count = 0;
        return;
    }
    query->addrs = addrs;
    query->addrs[query->count++] = *addr;
    query->ttl_s = ttl_s < query->ttl_s ? ttl_s : query->ttl_s;
}

/* All that can be known is known: call back at the end of the turn. */
static void query_answered(struct dns_query *query)
{
    struct resolver *resolver = query->resolver;

    list_remove(&query->link);
    if (query->is_cancelled) {
        query_free(query);
        return;
    }
    query_tidy(query);
    list_push_back(&resolver->answered, &query->link);
    loop_task_queue(resolver->loop, &resolver->deliver);
}

static void on_deliver(struct loop_task *task, void *arg)
{
    struct resolver *resolver = OBJ_CAST(arg, resolver, RESOLVER_MAGIC);

    (void)task;
    /* A callback may cancel others, ask anew (answered in the next turn: a batch is finite) or
     * free the resolver. */
    list_append(&resolver->batch, &resolver->answered);
    while (!list_is_empty(&resolver->batch)) {
        struct dns_query *query = LIST_ITEM(list_first(&resolver->batch), struct dns_query, link);
        enum dns_result result = query->count > 0 ? DNS_OK : query->failure;

        list_remove(&query->link);
        query->done(result, query->addrs, query->count, query->count > 0 ? query->ttl_s : 0,
                    query->arg);
        query_free(query);
    }
}

static enum dns_result result_of(int ares_status)
{
    switch (ares_status) {
    case ARES_SUCCESS:
        return DNS_OK;
    case ARES_ENOTFOUND:
    case ARES_ENODATA:
        return DNS_NOT_FOUND;
    case ARES_ETIMEOUT:
        return DNS_TIMEOUT;
    default:
        return DNS_FAILED;
    }
}

static void take_nodes(struct dns_query *query, const struct ares_addrinfo *info)
{
    for (const struct ares_addrinfo_node *node = info->nodes; node != NULL; node = node->ai_next) {
        struct addr addr;

        if (addr_from_sockaddr(node->ai_addr, node->ai_addrlen, &addr)) {
            addr_set_port(&addr, 0);
            query_add(query, &addr, node->ai_ttl > 0 ? (uint32_t)node->ai_ttl : 0);
        }
    }
    /* An alias that changes soon makes the addresses behind it change as soon. */
    for (const struct ares_addrinfo_cname *alias = info->cnames; alias != NULL;
         alias = alias->next) {
        uint32_t ttl_s = alias->ttl > 0 ? (uint32_t)alias->ttl : 0;

        query->ttl_s = ttl_s < query->ttl_s ? ttl_s : query->ttl_s;
    }
}

static void family_answered(struct dns_query *query, int family, int ares_status,
                            struct ares_addrinfo *info)
{
    enum dns_result result = result_of(ares_status);

    if (result == DNS_TIMEOUT || result == DNS_FAILED) {
        query->failed_family = family;
    }
    if (info != NULL) {
        take_nodes(query, info);
        ares_freeaddrinfo(info);
    }
    if (result == DNS_OK) {
        result = DNS_NOT_FOUND; /* counts only when no address came */
    }
    /* "Not found" must have been said for both families; else we do not know. */
    if (query->failure == DNS_OK || query->failure == DNS_NOT_FOUND) {
        query->failure = result;
    }
    ASSERT(query->families_left > 0);
    query->families_left--;
    if (query->families_left == 0) {
        query_answered(query);
    }
}

static void on_ipv4(void *arg, int ares_status, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    family_answered(OBJ_CAST(arg, dns_query, QUERY_MAGIC), AF_INET, ares_status, info);
}

static void on_ipv6(void *arg, int ares_status, int timeouts, struct ares_addrinfo *info)
{
    (void)timeouts;
    family_answered(OBJ_CAST(arg, dns_query, QUERY_MAGIC), AF_INET6, ares_status, info);
}

int dns_failed_family(const struct dns_query *query)
{
    ASSERT(query->magic == QUERY_MAGIC);
    return query->failed_family;
}

/* ---- starting ---- */

static bool resolve_literal(struct dns_query *query, const char *host)
{
    struct addr addr;

    if (!addr_parse_ip(str_of(host), 0, &addr)) {
        return false;
    }
    query_add(query, &addr, DNS_LOCAL_TTL_S);
    return true;
}

static void take_hosts_line(struct dns_query *query, const struct hostent *entry)
{
    for (char **bytes = entry->h_addr_list; *bytes != NULL; bytes++) {
        struct addr addr = {.len = 0};

        addr.sa.any.sa_family = (sa_family_t)entry->h_addrtype;
        if (entry->h_addrtype == AF_INET) {
            memcpy(&addr.sa.v4.sin_addr, *bytes, sizeof(addr.sa.v4.sin_addr));
            addr.len = sizeof(addr.sa.v4);
        } else {
            memcpy(&addr.sa.v6.sin6_addr, *bytes, sizeof(addr.sa.v6.sin6_addr));
            addr.len = sizeof(addr.sa.v6);
        }
        query_add(query, &addr, DNS_LOCAL_TTL_S);
    }
}

static bool resolve_hosts_file(struct dns_query *query, const char *host)
{
    static const int families[] = {AF_INET, AF_INET6};

    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct hostent *entry = NULL;

        if (ares_gethostbyname_file(query->resolver->channel, host, families[i], &entry) ==
            ARES_SUCCESS) {
            take_hosts_line(query, entry);
            ares_free_hostent(entry);
        }
    }
    return query->count > 0;
}

static void resolve_by_servers(struct dns_query *query, const char *host)
{
    struct resolver *resolver = query->resolver;
    struct ares_addrinfo_hints hints = {
        .ai_flags = ARES_AI_NOSORT, /* sorting for connecting is not our purpose */
        .ai_socktype = SOCK_STREAM, /* one node per address */
    };

    query->families_left = 2;
    hints.ai_family = AF_INET;
    ares_getaddrinfo(resolver->channel, host, NULL, &hints, on_ipv4, query);
    hints.ai_family = AF_INET6;
    ares_getaddrinfo(resolver->channel, host, NULL, &hints, on_ipv6, query);
    resolver_arm(resolver);
}

struct dns_query *dns_resolve(struct resolver *resolver, const char *host, dns_done_fn done,
                              void *arg)
{
    struct dns_query *query = mem_new(struct dns_query);

    ASSERT(loop_is_home(resolver->loop));
    query->magic = QUERY_MAGIC;
    query->resolver = resolver;
    query->done = done;
    query->arg = arg;
    query->ttl_s = UINT32_MAX;
    list_push_back(&resolver->queries, &query->link);

    if (resolve_literal(query, host) || resolve_hosts_file(query, host)) {
        query_answered(query);
    } else {
        resolve_by_servers(query, host);
    }
    return query;
}

void dns_cancel(struct dns_query *query)
{
    ASSERT(query->magic == QUERY_MAGIC && !query->is_cancelled);
    query->is_cancelled = true;
    if (query->families_left == 0) {
        query_free(query);
    }
}

/* ---- life ---- */

static enum status use_servers_of_environment(ares_channel channel, struct errbuf *err)
{
    const char *servers = getenv("NEARSIDE_DNS_SERVERS");

    if (servers == NULL || *servers == '\0') {
        return STATUS_OK;
    }
    if (ares_set_servers_ports_csv(channel, servers) != ARES_SUCCESS) {
        err_set(err, "NEARSIDE_DNS_SERVERS: \"%s\": a list like 127.0.0.1:53,[::1]:53 is wanted",
                servers);
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

static enum status open_channel(struct resolver *resolver, struct errbuf *err)
{
    char lookups[] = "b"; /* servers only: the hosts file is asked by us, for its TTL */
    struct ares_options options = {
        .timeout = DNS_TRY_TIMEOUT_MS,
        .tries = DNS_TRIES,
        .lookups = lookups,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = resolver,
    };
    int ares_status = ares_init_options(&resolver->channel, &options,
                                        ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_LOOKUPS |
                                            ARES_OPT_SOCK_STATE_CB);

    if (ares_status != ARES_SUCCESS) {
        resolver->channel = NULL;
        err_set(err, "dns: %s", ares_strerror(ares_status));
        return STATUS_FAILED;
    }
    return use_servers_of_environment(resolver->channel, err);
}

enum status resolver_new(struct loop *loop, struct resolver **ret_resolver, struct errbuf *err)
{
    struct resolver *resolver;
    enum status status;

    if (ares_library_init(ARES_LIB_INIT_ALL) != ARES_SUCCESS) {
        err_set(err, "dns: c-ares cannot be initialised");
        return STATUS_FAILED;
    }
    resolver = mem_new(struct resolver);
    resolver->magic = RESOLVER_MAGIC;
    resolver->loop = loop;
    list_init(&resolver->sockets);
    list_init(&resolver->queries);
    list_init(&resolver->answered);
    list_init(&resolver->batch);
    loop_task_init(&resolver->deliver, on_deliver, resolver);
    deadline_init(&resolver->timer, loop, on_timer, resolver);

    status = open_channel(resolver, err);
    if (status != STATUS_OK) {
        resolver_free(resolver);
        return status;
    }
    *ret_resolver = resolver;
    return STATUS_OK;
}

static void free_queries(struct list *head)
{
    while (!list_is_empty(head)) {
        query_free(LIST_ITEM(list_first(head), struct dns_query, link));
    }
}

static void cancel_queries(struct resolver *resolver)
{
    struct list *link;

    LIST_FOREACH (link, &resolver->queries) {
        LIST_ITEM(link, struct dns_query, link)->is_cancelled = true;
    }
    free_queries(&resolver->answered);
    free_queries(&resolver->batch);
}

void resolver_free(struct resolver *resolver)
{
    if (resolver == NULL) {
        return;
    }
    ASSERT(loop_is_home(resolver->loop) && !resolver->is_closed);
    resolver->is_closed = true;
    cancel_queries(resolver);
    if (resolver->channel != NULL) {
        ares_destroy(resolver->channel); /* answers every query and closes every socket */
    }
    ASSERT(list_is_empty(&resolver->queries) && list_is_empty(&resolver->sockets));
    loop_task_cancel(&resolver->deliver);
    deadline_done(&resolver->timer);
    ares_library_cleanup();
    /* on_deliver() may be what called us, and looks at its batch again. */
    loop_defer_free(resolver->loop, resolver);
}
