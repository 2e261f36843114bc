/* SPDX-License-Identifier: MIT */
/* Any bytes as lines of Prometheus text: views stay inside the line, and a name is a name. */
#include <nearside/base/assert.h>
#include <nearside/obs/metric_parse.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct str part, struct str line)
{
    ASSERT(part.len == 0 || (part.ptr >= line.ptr && part.ptr + part.len <= line.ptr + line.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_make((const char *)data, size);

    while (rest.len > 0) {
        size_t end = str_find_char(rest, '\n');
        struct str line = str_slice(rest, 0, end);
        struct metric_sample sample;

        if (metric_parse_line(line, &sample) == METRIC_LINE_SAMPLE) {
            ASSERT(sample.name.len > 0);
            check_inside(sample.name, line);
            check_inside(sample.labels, line);
            (void)metric_sample_has(&sample, STR_LIT("request_type"), STR_LIT("waiting"));
        }
        rest = str_slice(rest, end + 1, rest.len);
    }
    return 0;
}
