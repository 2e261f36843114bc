/* SPDX-License-Identifier: MIT */
/*
 * A packet carrier: joins network namespaces over distances and faults that can be set while it
 * runs. Kernels without netem have no other way to make a network slow, lossy or silent.
 *
 *   build/wan --node edge=NETNS=198.18.0.1 --node us-east=NETNS=198.18.1.1
 *
 * Each node gets a TUN device `wan0` in its namespace and owns its address's /24 (what else of it
 * is local there is up to `ip route add local`). A packet is read from one device, waits on the
 * link between the two nodes, and is written to the other. Nothing is ever answered on anybody's
 * behalf: what is cut or lost is simply gone. When it ends, so do the devices.
 *
 * It prints `ready`, then takes commands on stdin (control.c). One thread: a heap of links keyed by
 * their first packet's time, and epoll for everything else.
 */
#include "wan.h"

#include "device.h"

#include <nearside/base/clock.h>
#include <nearside/base/mem.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define NETMASK         0xfffe0000U /* 198.18.0.0/15 */
#define SITE_MASK       0xffffff00U
#define READS_PER_TURN  64
#define EVENTS_PER_TURN (NODES_MAX + 1)
#define LINE_MAX_BYTES  512
#define IPV4_HEADER     20
#define IPV4_TO         16 /* where the destination stands in the header */

struct input {
    char text[LINE_MAX_BYTES];
    size_t len;
};

static struct packet *packet_take(struct wan *wan)
{
    struct packet *packet = wan->spare;

    if (packet == NULL) {
        return mem_new(struct packet);
    }
    wan->spare = packet->next;
    wan->spare_count--;
    return packet;
}

static void packet_give(struct wan *wan, struct packet *packet)
{
    if (wan->spare_count >= SPARE_MAX) {
        mem_free(packet);
        return;
    }
    packet->next = wan->spare;
    wan->spare = packet;
    wan->spare_count++;
}

/* The node whose /24 the packet is for; NULL when it is nobody's, or not IPv4. */
static const struct node *destination_of(const struct wan *wan, const struct packet *packet)
{
    uint32_t to = 0;

    if (packet->len < IPV4_HEADER || packet->bytes[0] >> 4 != 4) {
        return NULL;
    }
    memcpy(&to, packet->bytes + IPV4_TO, sizeof(to));
    to = ntohl(to);
    for (unsigned i = 0; i < wan->node_count; i++) {
        if (((wan->nodes[i].address ^ to) & SITE_MASK) == 0) {
            return &wan->nodes[i];
        }
    }
    return NULL;
}

static void accept_packet(struct wan *wan, unsigned from, struct packet *packet, uint64_t now_ns)
{
    const struct node *to = destination_of(wan, packet);

    if (to == NULL || to == &wan->nodes[from]) {
        wan->unrouted++;
        packet_give(wan, packet);
        return;
    }
    struct link *link = &wan->links[from][to - wan->nodes];
    if (!link_enter(link, packet, &wan->rng, now_ns)) {
        packet_give(wan, packet);
    } else if (!heap_item_is_queued(&link->due)) {
        heap_insert(&wan->due, &link->due, packet->due_ns);
    }
}

static void read_device(struct wan *wan, unsigned from)
{
    uint64_t now_ns = clock_mono_ns();

    for (int i = 0; i < READS_PER_TURN; i++) {
        struct packet *packet = packet_take(wan);
        ssize_t got = read(wan->nodes[from].fd, packet->bytes, sizeof(packet->bytes));
        if (got <= 0) {
            packet_give(wan, packet);
            return;
        }
        packet->len = (size_t)got;
        accept_packet(wan, from, packet, now_ns);
    }
}

static void deliver(struct wan *wan, struct link *link, struct packet *packet)
{
    struct link_counters *counters = &link->counters;

    if (link->rules.is_cut) {
        counters->cut++;
    } else if (write(wan->nodes[link->to].fd, packet->bytes, packet->len) < 0) {
        counters->undelivered++;
    } else {
        counters->packets++;
        counters->bytes += packet->len;
    }
    packet_give(wan, packet);
}

/* Everything that is due goes out; returns when the next packet is, 0 when there is none. */
static uint64_t deliver_due(struct wan *wan)
{
    uint64_t now_ns = clock_mono_ns();

    while (heap_peek(&wan->due) != NULL && heap_peek(&wan->due)->key <= now_ns) {
        struct heap_item *item = heap_peek(&wan->due);
        struct link *link = (struct link *)(void *)((char *)item - offsetof(struct link, due));
        struct packet *packet = link_leave(link, now_ns);
        if (packet != NULL) {
            deliver(wan, link, packet);
        }
        if (link->first == NULL) {
            heap_remove(&wan->due, item);
        } else {
            heap_change(&wan->due, item, link->first->due_ns);
        }
    }
    return heap_peek(&wan->due) == NULL ? 0 : heap_peek(&wan->due)->key;
}

static void read_commands(struct wan *wan, struct input *input)
{
    ssize_t got = read(STDIN_FILENO, input->text + input->len, sizeof(input->text) - input->len);

    if (got <= 0) {
        wan->is_stopping = wan->is_stopping || got == 0 || (errno != EAGAIN && errno != EINTR);
        return;
    }
    input->len += (size_t)got;
    char *end = memchr(input->text, '\n', input->len);
    while (end != NULL) {
        size_t used = (size_t)(end + 1 - input->text);
        *end = '\0';
        control_line(wan, input->text);
        input->len -= used;
        memmove(input->text, input->text + used, input->len);
        end = memchr(input->text, '\n', input->len);
    }
    if (input->len == sizeof(input->text)) {
        wan->is_stopping = true; /* a line without an end: whoever writes is no friend */
    }
}

static int wait_events(int epoll_fd, struct epoll_event *events, uint64_t due_ns)
{
    struct timespec limit = {0};

    if (due_ns == 0) {
        return epoll_pwait2(epoll_fd, events, EVENTS_PER_TURN, NULL, NULL);
    }
    uint64_t now_ns = clock_mono_ns();
    uint64_t wait_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    limit.tv_sec = (time_t)(wait_ns / NS_PER_S);
    limit.tv_nsec = (long)(wait_ns % NS_PER_S);
    return epoll_pwait2(epoll_fd, events, EVENTS_PER_TURN, &limit, NULL);
}

static int carry(struct wan *wan, int epoll_fd)
{
    struct epoll_event events[EVENTS_PER_TURN];
    struct input input = {.len = 0};

    while (!wan->is_stopping) {
        uint64_t due_ns = deliver_due(wan);
        int count = wait_events(epoll_fd, events, due_ns);
        if (count < 0 && errno != EINTR) {
            return 2;
        }
        for (int i = 0; i < count; i++) {
            if (events[i].data.u32 == NODES_MAX) {
                read_commands(wan, &input);
            } else {
                read_device(wan, events[i].data.u32);
            }
        }
    }
    return 0;
}

static bool watch(int epoll_fd, int fd, uint32_t tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = tag};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

/* "NAME=NETNS=ADDRESS" */
static bool parse_node(struct node *node, const char *text)
{
    char address[16];
    struct in_addr in;

    if (sscanf(text, "%31[^=]=%63[^=]=%15s", node->name, node->netns, address) != 3 ||
        inet_pton(AF_INET, address, &in) != 1) {
        return false;
    }
    node->address = ntohl(in.s_addr);
    return true;
}

static bool read_options(struct wan *wan, int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--node") != 0 || wan->node_count == NODES_MAX ||
            !parse_node(&wan->nodes[wan->node_count], argv[i + 1])) {
            return false;
        }
        wan->node_count++;
    }
    return argc % 2 == 1 && wan->node_count >= 2;
}

static bool open_nodes(struct wan *wan, int epoll_fd)
{
    for (unsigned i = 0; i < wan->node_count; i++) {
        struct node *node = &wan->nodes[i];
        node->fd = device_open(node->netns, node->address, NETMASK);
        if (node->fd < 0 || !watch(epoll_fd, node->fd, i)) {
            (void)fprintf(stderr, "wan: device of %s: %s\n", node->name, strerror(errno));
            return false;
        }
        for (unsigned to = 0; to < wan->node_count; to++) {
            link_init(&wan->links[i][to], i, to);
        }
    }
    return watch(epoll_fd, STDIN_FILENO, NODES_MAX);
}

static void wan_done(struct wan *wan)
{
    for (unsigned from = 0; from < wan->node_count; from++) {
        for (unsigned to = 0; to < wan->node_count; to++) {
            for (struct packet *packet = link_leave(&wan->links[from][to], UINT64_MAX);
                 packet != NULL; packet = link_leave(&wan->links[from][to], UINT64_MAX)) {
                mem_free(packet);
            }
        }
        if (wan->nodes[from].fd >= 0) {
            (void)close(wan->nodes[from].fd);
        }
    }
    while (wan->spare != NULL) {
        mem_free(packet_take(wan));
    }
    heap_done(&wan->due);
    mem_free(wan);
}

int main(int argc, char **argv)
{
    struct wan *wan = mem_new(struct wan);
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    int code = 1;

    heap_init(&wan->due);
    rng_init(&wan->rng);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        wan->nodes[i].fd = -1;
    }
    if (!read_options(wan, argc, argv)) {
        (void)fprintf(stderr, "usage: wan --node NAME=NETNS=ADDRESS --node ...\n");
    } else if (open_nodes(wan, epoll_fd)) {
        (void)puts("ready");
        (void)fflush(stdout);
        code = carry(wan, epoll_fd);
    } else {
        code = 2;
    }
    (void)close(epoll_fd);
    wan_done(wan);
    return code;
}
