/* SPDX-License-Identifier: MIT */
/* Words and reply statuses of the parser's answers, from the table in h1.h. */
#include <nearside/http/h1.h>

#include <nearside/base/assert.h>

static const char *const words[H1_RESULT_COUNT] = {[H1_COMPLETE] = "complete",
                                                   [H1_NEED_MORE] = "need_more",
#define X(suffix, word, status) [H1_##suffix] = word,
                                                   H1_FAULTS(X)
#undef X
};

static const unsigned statuses[H1_RESULT_COUNT] = {[H1_COMPLETE] = 200,
                                                   [H1_NEED_MORE] =
                                                       408, /* for who gives up waiting */
#define X(suffix, word, status) [H1_##suffix] = status,
                                                   H1_FAULTS(X)
#undef X
};

const char *h1_result_word(enum h1_result result)
{
    ASSERT(result < H1_RESULT_COUNT);
    return words[result];
}

unsigned h1_result_status(enum h1_result result)
{
    ASSERT(result < H1_RESULT_COUNT);
    return statuses[result];
}
