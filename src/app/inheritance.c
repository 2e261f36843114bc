/* SPDX-License-Identifier: MIT */
/* The table of what an old process leaves to a new one: written, read, and checked. */
#include "inheritance.h"

#include <nearside/base/mem.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD "nearside-upgrade 1"

static const char *const words[] = {
    [INHERITED_LISTENER] = "listener",
    [INHERITED_ADMIN] = "admin",
    [INHERITED_DRAIN] = "drain",
    [INHERITED_WARM] = "warm",
};

static bool has_sockets(enum inherited_kind kind)
{
    return kind == INHERITED_LISTENER || kind == INHERITED_ADMIN;
}

void inheritance_init(struct inheritance *inheritance)
{
    *inheritance = (struct inheritance){.channel = -1};
}

void inheritance_done(struct inheritance *inheritance)
{
    for (uint32_t i = 0; i < inheritance->count; i++) {
        struct inherited *item = &inheritance->items[i];
        for (uint32_t s = 0; s < item->socket_count; s++) {
            if (item->sockets[s] >= 0) {
                (void)close(item->sockets[s]);
            }
        }
        mem_free(item->sockets);
        mem_free(item->text);
    }
    mem_free(inheritance->items);
    inheritance->items = NULL;
    inheritance->count = 0;
}

/* ---- reading ---- */

static bool parse_descriptor(struct str text, int *ret_fd)
{
    uint64_t value;

    if (!str_to_u64(text, &value) || value > INT32_MAX) {
        return false;
    }
    *ret_fd = (int)value;
    return true;
}

/* "7,8,9" */
static bool parse_sockets(struct str list, struct inherited *item)
{
    struct str word;

    item->sockets = mem_new_array(INHERITANCE_SOCKETS_MAX, int);
    while (str_next_item(&list, ',', &word)) {
        if (item->socket_count == INHERITANCE_SOCKETS_MAX ||
            !parse_descriptor(word, &item->sockets[item->socket_count])) {
            item->socket_count = 0; /* not known to be ours: not closed */
            return false;
        }
        item->socket_count++;
    }
    return item->socket_count > 0;
}

static struct inherited *add(struct inheritance *inheritance, enum inherited_kind kind)
{
    uint32_t count = inheritance->count++;

    inheritance->items = mem_realloc(inheritance->items, (count + 1) * sizeof(*inheritance->items));
    inheritance->items[count] = (struct inherited){.kind = kind};
    return &inheritance->items[count];
}

static bool parse_line(struct str line, struct inheritance *inheritance)
{
    size_t space = str_find_char(line, ' ');
    struct str word = str_slice(line, 0, space);
    struct str rest = str_slice(line, space + 1, line.len);

    for (unsigned kind = 0; kind < ARRAY_LEN(words); kind++) {
        struct inherited *item;
        bool good = true;
        if (!str_eq(word, str_of(words[kind]))) {
            continue;
        }
        item = add(inheritance, (enum inherited_kind)kind);
        if (has_sockets(item->kind)) {
            space = str_find_char(rest, ' ');
            good = parse_sockets(str_slice(rest, 0, space), item);
            rest = str_slice(rest, space + 1, rest.len);
        }
        item->text = mem_strndup(rest.ptr, rest.len);
        return good && rest.len > 0;
    }
    return true;
}

enum status inheritance_parse(struct str text, struct inheritance *inheritance, struct errbuf *err)
{
    bool first = true;

    while (text.len > 0) {
        size_t end = str_find_char(text, '\n');
        struct str line = str_slice(text, 0, end);
        if (first ? !str_eq(line, STR_LIT(HEAD)) : !parse_line(line, inheritance)) {
            err_set(err, "upgrade: \"%.*s\" is not a line this version understands",
                    line.len < 100 ? (int)line.len : 100, line.ptr);
            return STATUS_INVALID;
        }
        first = false;
        text = str_slice(text, end + 1, text.len);
    }
    if (first) {
        err_set(err, "upgrade: the table is empty");
        return STATUS_INVALID;
    }
    return STATUS_OK;
}

/* ---- receiving ---- */

static enum status read_table(int fd, struct buf *table, struct errbuf *err)
{
    struct stat stat;
    ssize_t got = -1;

    if (fstat(fd, &stat) == 0 && stat.st_size > 0 && stat.st_size <= INHERITANCE_BYTES_MAX &&
        buf_reserve(table, (size_t)stat.st_size)) {
        got = pread(fd, buf_tail(table), (size_t)stat.st_size, 0);
    }
    if (got <= 0) {
        err_set(err, "upgrade: descriptor %d cannot be read: errno %d", fd, errno);
        return STATUS_FAILED;
    }
    buf_produced(table, (size_t)got);
    return STATUS_OK;
}

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening != 0;
}

/* An item whose descriptors are not what they should be must not have them closed either. */
static enum status check_sockets(struct inheritance *inheritance, struct errbuf *err)
{
    for (uint32_t i = 0; i < inheritance->count; i++) {
        struct inherited *item = &inheritance->items[i];
        for (uint32_t s = 0; s < item->socket_count; s++) {
            if (!is_listening(item->sockets[s]) ||
                fcntl(item->sockets[s], F_SETFD, FD_CLOEXEC) != 0) {
                err_set(err, "upgrade: descriptor %d of %s is not a listening socket",
                        item->sockets[s], item->text);
                return STATUS_FAILED;
            }
        }
    }
    return STATUS_OK;
}

/* "CHANNEL,TABLE" */
static bool parse_variable(const char *value, int *ret_channel, int *ret_table)
{
    struct str text = str_of(value);
    size_t comma = str_find_char(text, ',');

    return parse_descriptor(str_slice(text, 0, comma), ret_channel) &&
           parse_descriptor(str_slice(text, comma + 1, text.len), ret_table) &&
           fcntl(*ret_channel, F_SETFD, FD_CLOEXEC) == 0;
}

enum status inheritance_receive(struct inheritance *inheritance, struct errbuf *err)
{
    const char *value = getenv(INHERITANCE_VARIABLE);
    struct buf table;
    enum status status;
    int fd;

    if (value == NULL) {
        return STATUS_OK;
    }
    if (!parse_variable(value, &inheritance->channel, &fd)) {
        err_set(err, INHERITANCE_VARIABLE "=%s: not set by a process that is being upgraded",
                value);
        return STATUS_INVALID;
    }
    (void)unsetenv(INHERITANCE_VARIABLE);
    buf_init(&table);
    status = read_table(fd, &table, err);
    (void)close(fd);
    if (status == STATUS_OK) {
        status = inheritance_parse(buf_str(&table), inheritance, err);
    }
    if (status == STATUS_OK) {
        status = check_sockets(inheritance, err);
    }
    buf_done(&table);
    return status;
}

bool inheritance_take(struct inheritance *inheritance, enum inherited_kind kind, const char *bind,
                      int **ret_sockets, uint32_t *ret_count)
{
    for (uint32_t i = 0; i < inheritance->count; i++) {
        struct inherited *item = &inheritance->items[i];
        if (item->kind == kind && item->socket_count > 0 &&
            str_eq(str_of(item->text), str_of(bind))) {
            *ret_sockets = item->sockets;
            *ret_count = item->socket_count;
            item->sockets = NULL;
            item->socket_count = 0;
            return true;
        }
    }
    return false;
}

int inheritance_peek(const struct inheritance *inheritance, enum inherited_kind kind)
{
    for (uint32_t i = 0; i < inheritance->count; i++) {
        if (inheritance->items[i].kind == kind && inheritance->items[i].socket_count > 0) {
            return inheritance->items[i].sockets[0];
        }
    }
    return -1;
}

/* ---- writing ---- */

void inheritance_write_head(struct buf *out)
{
    buf_append_str(out, STR_LIT(HEAD "\n"));
}

void inheritance_write_sockets(struct buf *out, enum inherited_kind kind, const int *sockets,
                               uint32_t count, const char *bind)
{
    buf_printf(out, "%s ", words[kind]);
    for (uint32_t i = 0; i < count; i++) {
        buf_printf(out, "%s%d", i == 0 ? "" : ",", sockets[i]);
    }
    buf_printf(out, " %s\n", bind);
}

void inheritance_write_text(struct buf *out, enum inherited_kind kind, const char *first,
                            const char *second)
{
    buf_printf(out, "%s %s %s\n", words[kind], first, second);
}
