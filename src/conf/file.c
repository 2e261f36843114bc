/* SPDX-License-Identifier: MIT */
/* Bounded reading of a whole file. */
#include "file_private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES 4096

static enum status read_all(int fd, size_t bytes_max, struct buf *out, struct errbuf *err)
{
    char bytes[READ_BYTES];
    size_t total = 0;

    for (;;) {
        ssize_t count = read(fd, bytes, sizeof(bytes));

        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            err_set(err, "%s", strerror(errno));
            return STATUS_FAILED;
        }
        if (count == 0) {
            return STATUS_OK;
        }
        total += (size_t)count;
        if (total > bytes_max) {
            err_set(err, "larger than %zu bytes", bytes_max);
            return STATUS_INVALID;
        }
        buf_append(out, bytes, (size_t)count);
    }
}

enum status conf_file_read(const char *path, size_t bytes_max, struct buf *out, struct errbuf *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0) {
        err_set(err, "%s", strerror(errno));
        return STATUS_FAILED;
    }
    enum status status = read_all(fd, bytes_max, out, err);

    (void)close(fd); /* nothing was written */
    return status;
}
