/* SPDX-License-Identifier: MIT */
/*
 * Any bytes from a name server, through c-ares and the resolver: the callback comes once, with
 * addresses that are sorted, unique, without ports, and not too many.
 *
 * The input is an answer to both questions (A, AAAA) behind its id: flags, counts, and so on. With
 * the first byte odd the question is put in where it belongs. Time is run forward until c-ares
 * gives up.
 */
#include <nearside/base/assert.h>
#include <nearside/base/buf.h>
#include <nearside/dns/resolver.h>
#include <nearside/loop/loop.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEADER_BYTES 12
#define TURNS        4
#define ROUNDS       32 /* questions, tries, the search list */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct {
    struct loop *loop;
    int fd; /* the name server's */
    unsigned done;
} fuzz;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(here);
    char servers[64];

    (void)argc;
    (void)argv;
    fuzz.fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ASSERT(bind(fuzz.fd, (const struct sockaddr *)&here, len) == 0);
    ASSERT(getsockname(fuzz.fd, (struct sockaddr *)&here, &len) == 0);
    (void)snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(here.sin_port));
    ASSERT(setenv("NEARSIDE_DNS_SERVERS", servers, 1) == 0);
    fuzz.loop = loop_new("fuzz");
    return 0;
}

/* ---- turns of the loop ---- */

struct turns {
    struct loop_task task;
    unsigned left;
};

static void on_turn(struct loop_task *task, void *arg)
{
    struct turns *turns = arg;

    if (--turns->left == 0) {
        loop_stop(fuzz.loop);
    } else {
        loop_task_queue(fuzz.loop, task);
    }
}

static void run(void)
{
    struct turns turns = {.left = TURNS};

    loop_task_init(&turns.task, on_turn, &turns);
    loop_task_queue(fuzz.loop, &turns.task);
    loop_run(fuzz.loop);
}

/* ---- the name server ---- */

/* Length of the question behind the header: a name, a type, a class. */
static size_t question_len(struct str query)
{
    const size_t end = str_find_char(str_slice(query, HEADER_BYTES, query.len), '\0');

    return end + 5;
}

static void answer(struct str query, struct str input, bool with_question, struct buf *out)
{
    buf_clear(out);
    buf_append(out, query.ptr, 2); /* the id: any other is dropped unread */
    if (with_question && input.len >= HEADER_BYTES - 2) {
        buf_append(out, input.ptr, HEADER_BYTES - 2);
        buf_append_str(out, str_slice(query, HEADER_BYTES, HEADER_BYTES + question_len(query)));
        input = str_slice(input, HEADER_BYTES - 2, input.len);
    }
    buf_append_str(out, input);
}

static const struct str no_such_name = {"\x81\x83\0\1\0\0\0\0\0\0", 10};

/* Answer every question there is. */
static void serve(struct str input, bool with_question)
{
    char bytes[512];
    struct sockaddr_in from;
    socklen_t len = sizeof(from);
    struct buf out;
    ssize_t got;

    buf_init(&out);
    while ((got = recvfrom(fuzz.fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&from, &len)) >
           HEADER_BYTES) {
        answer(str_make(bytes, (size_t)got), input, with_question, &out);
        (void)sendto(fuzz.fd, out.data + out.start, buf_len(&out), 0,
                     (const struct sockaddr *)&from, len);
        /* c-ares drops what is no answer to its question, and reads on. */
        answer(str_make(bytes, (size_t)got), no_such_name, true, &out);
        (void)sendto(fuzz.fd, out.data + out.start, buf_len(&out), 0,
                     (const struct sockaddr *)&from, len);
    }
    buf_done(&out);
}

/* ---- what must hold ---- */

static void check_order(const struct addr *a, const struct addr *b)
{
    const sa_family_t family = a->sa.any.sa_family;
    int order = 0;

    ASSERT(family <= b->sa.any.sa_family);
    if (family == b->sa.any.sa_family) {
        order = family == AF_INET
                    ? memcmp(&a->sa.v4.sin_addr, &b->sa.v4.sin_addr, sizeof(a->sa.v4.sin_addr))
                    : memcmp(&a->sa.v6.sin6_addr, &b->sa.v6.sin6_addr, sizeof(a->sa.v6.sin6_addr));
        ASSERT(order < 0);
    }
}

static void on_done(enum dns_result result, const struct addr *addrs, size_t count, uint32_t ttl_s,
                    void *arg)
{
    (void)arg;
    fuzz.done++;
    ASSERT(count <= DNS_ADDRS_MAX);
    ASSERT((result == DNS_OK) == (count > 0));
    ASSERT(count > 0 || ttl_s == 0);
    ASSERT(ttl_s <= INT32_MAX);
    for (size_t i = 0; i < count; i++) {
        ASSERT(addr_port(&addrs[i]) == 0);
        if (i > 0) {
            check_order(&addrs[i - 1], &addrs[i]);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct resolver *resolver;
    struct errbuf err;
    struct str input;

    if (size < 2) {
        return 0;
    }
    input = str_make((const char *)data + 1, size - 1);
    fuzz.done = 0;
    ASSERT(resolver_new(fuzz.loop, &resolver, &err) == STATUS_OK);
    (void)dns_resolve(resolver, "pods.test", on_done, NULL);
    for (unsigned round = 0; round < ROUNDS && fuzz.done == 0; round++) {
        serve(input, (data[0] & 1) != 0);
        run();
    }
    ASSERT(fuzz.done == 1);
    resolver_free(resolver);
    run();
    return 0;
}
