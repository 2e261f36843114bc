/* SPDX-License-Identifier: MIT */
/*
 * A crowd: the same request on many connections at once. When does each get its first token, and
 * does each get the same body?
 *
 *   crowd PORT COUNT FILE      FILE holds the request; PORT is on 127.0.0.1
 *
 * The leader is the connection whose answer says that it is stored. Times are the kernel's, of the
 * segment's arrival (SO_TIMESTAMPNS), so that this program's own reading does not count.
 *
 * A thousand clients on the edge's own cores would take those from it while first tokens go out,
 * which clients elsewhere do not. So this program keeps still then: it waits for the first byte on
 * one connection, sleeps NAP_MS, and only then looks at the others; its segments are acknowledged
 * later. What has come by then is read at once, with the time of the last segment of it: the answer
 * should pause for longer than that behind its first token. The kernel's receiving half of each
 * segment still runs inside the edge's send(): that much of a client is measured along.
 *
 * One line of JSON comes out.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX 262144
#define WAIT_MS    30000
#define NAP_MS     100
#define NS_PER_S   1000000000LL

enum part { CROWD_OPEN, CROWD_DONE, CROWD_BROKEN };

struct member {
    int fd;
    enum part part;
    int64_t first_ns; /* wall clock; 0: nothing has come */
    size_t len;
    char *answer;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static char *read_file(const char *path, size_t *ret_len)
{
    char *bytes = malloc(ANSWER_MAX);
    FILE *file = fopen(path, "rb");

    if (file == NULL || bytes == NULL) {
        die(path);
    }
    *ret_len = fread(bytes, 1, ANSWER_MAX, file);
    fclose(file);
    return bytes;
}

static void join(struct member *member, uint16_t port)
{
    const struct sockaddr_in peer = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    const int off = 0;

    member->fd = socket(AF_INET, SOCK_STREAM, 0);
    member->answer = malloc(ANSWER_MAX);
    if (member->fd < 0 || member->answer == NULL ||
        connect(member->fd, (const struct sockaddr *)&peer, sizeof(peer)) != 0 ||
        setsockopt(member->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on)) != 0 ||
        setsockopt(member->fd, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof(off)) != 0 ||
        fcntl(member->fd, F_SETFL, O_NONBLOCK) != 0) {
        die("connect");
    }
}

static int64_t arrival_of(struct msghdr *message)
{
    struct timespec at;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_TIMESTAMPNS) {
            memcpy(&at, CMSG_DATA(part), sizeof(at));
            return at.tv_sec * NS_PER_S + at.tv_nsec;
        }
    }
    clock_gettime(CLOCK_REALTIME, &at);
    return at.tv_sec * NS_PER_S + at.tv_nsec;
}

static bool ends_with(const struct member *member, const char *text)
{
    const size_t len = strlen(text);

    return member->len >= len && memcmp(member->answer + member->len - len, text, len) == 0;
}

/* Something came. True: this member's answer is over. */
static bool take(struct member *member)
{
    char control[256];
    struct iovec piece = {.iov_base = member->answer + member->len,
                          .iov_len = ANSWER_MAX - member->len - 1};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    const ssize_t count = recvmsg(member->fd, &message, 0);

    if (count < 0 && errno == EAGAIN) {
        return false;
    }
    if (count <= 0) {
        member->part = CROWD_BROKEN;
        return true;
    }
    if (member->first_ns == 0) {
        member->first_ns = arrival_of(&message);
    }
    member->len += (size_t)count;
    member->answer[member->len] = '\0';
    if (ends_with(member, "\r\n0\r\n\r\n")) {
        member->part = CROWD_DONE;
        return true;
    }
    return false;
}

/* Wait for one of them to hear something, and let the others. */
static void nap(const struct member *one)
{
    const struct timespec rest = {.tv_nsec = NAP_MS * 1000000L};
    struct pollfd wait = {.fd = one->fd, .events = POLLIN};

    (void)poll(&wait, 1, WAIT_MS);
    nanosleep(&rest, NULL);
}

static void watch(struct member *members, size_t count, int epoll)
{
    for (size_t i = 0; i < count; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &members[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, members[i].fd, &event) != 0) {
            die("epoll_ctl");
        }
    }
}

static void run(int epoll, size_t count)
{
    struct epoll_event events[256];
    size_t left = count;

    while (left > 0) {
        const int ready = epoll_wait(epoll, events, 256, WAIT_MS);
        if (ready <= 0) {
            return; /* who is still open then is counted as broken */
        }
        for (int i = 0; i < ready; i++) {
            struct member *member = events[i].data.ptr;
            if (take(member)) {
                epoll_ctl(epoll, EPOLL_CTL_DEL, member->fd, NULL);
                left--;
            }
        }
    }
}

/* ---- what came out ---- */

/* The chunks' content, put together at the answer's front; the head is looked at before. */
static void dechunk(struct member *member)
{
    char *from = strstr(member->answer, "\r\n\r\n");
    size_t len = 0;

    while (member->part == CROWD_DONE && from != NULL) {
        from += len == 0 ? 4 : 2; /* behind the head, or the last chunk's line end */
        const size_t size = strtoul(from, &from, 16);
        if (size == 0) {
            break;
        }
        from += 2;
        memmove(member->answer + len, from, size);
        len += size;
        from += size;
    }
    member->len = len;
}

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a;
    const int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static void report(struct member *members, size_t count)
{
    int64_t *lag = calloc(count, sizeof(*lag));
    size_t done = 0;
    size_t leaders = 0;
    size_t collapsed = 0;
    size_t same = 0;
    int64_t leader_ns = 0;

    for (size_t i = 0; i < count; i++) {
        const bool leads = strstr(members[i].answer, "fwd=miss; stored") != NULL;
        leader_ns = leads ? members[i].first_ns : leader_ns;
        leaders += leads;
        collapsed += strstr(members[i].answer, "fwd=miss; collapsed") != NULL;
        done += members[i].part == CROWD_DONE;
        dechunk(&members[i]);
    }
    for (size_t i = 0; i < count; i++) {
        same += members[i].len == members[0].len &&
                memcmp(members[i].answer, members[0].answer, members[0].len) == 0;
        lag[i] = (members[i].first_ns - leader_ns) / 1000;
    }
    qsort(lag, count, sizeof(*lag), compare);
    printf("{\"answers\":%zu,\"leaders\":%zu,\"collapsed\":%zu,\"same\":%zu,\"bytes\":%zu,"
           "\"first_us\":%lld,\"lag_p50_us\":%lld,\"lag_p99_us\":%lld,\"lag_max_us\":%lld}\n",
           done, leaders, collapsed, same, members[0].len, (long long)lag[0],
           (long long)lag[count / 2], (long long)lag[count * 99 / 100], (long long)lag[count - 1]);
    free(lag);
}

int main(int argc, char **argv)
{
    const size_t count = argc == 4 ? strtoul(argv[2], NULL, 10) : 0;
    struct member *members = calloc(count + 1, sizeof(*members));
    const int epoll = epoll_create1(0);
    struct rlimit files;
    size_t len;

    if (count == 0 || members == NULL) {
        fprintf(stderr, "usage: crowd PORT COUNT FILE\n");
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    char *request = read_file(argv[3], &len);
    for (size_t i = 0; i < count; i++) {
        join(&members[i], (uint16_t)strtoul(argv[1], NULL, 10));
    }
    for (size_t i = 0; i < count; i++) {
        if (send(members[i].fd, request, len, 0) != (ssize_t)len) {
            die("send");
        }
    }
    nap(&members[0]);
    watch(members, count, epoll);
    run(epoll, count);
    report(members, count);
    for (size_t i = 0; i < count; i++) {
        free(members[i].answer);
    }
    free(members);
    free(request);
    return 0;
}
