/* SPDX-License-Identifier: MIT */
/* See fault.h. */
#include "fault.h"

static const struct {
    const char *word;
    bool wants_number;
    uint64_t number; /* when none is given */
} faults[FAULT_KINDS] = {
    [FAULT_NONE] = {"none", false, 0},
    [FAULT_REFUSE] = {"refuse", false, 0},
    [FAULT_HANG] = {"hang", false, 0},
    [FAULT_HANG_REQUESTS] = {"hang-requests", false, 0},
    [FAULT_CUT] = {"cut", true, 1},
    [FAULT_RESET] = {"reset", true, 1},
    [FAULT_CUT_CLEAN] = {"cut-clean", true, 1},
    [FAULT_STALL] = {"stall", true, 1},
    [FAULT_ERROR] = {"error", true, 500},
    [FAULT_FULL] = {"full", false, 0},
    [FAULT_FULL_503] = {"full503", false, 0},
    [FAULT_MALFORMED] = {"malformed", false, 0},
    [FAULT_HEADERS_THEN_SILENCE] = {"headers-then-silence", false, 0},
    [FAULT_CLOSE_BEFORE_RESPONSE] = {"close-before-response", false, 0},
    [FAULT_HTML] = {"html", false, 0},
    [FAULT_SSE_ERROR] = {"sse-error", true, 1},
    [FAULT_SSE_GARBAGE] = {"sse-garbage", true, 1},
    [FAULT_MUTE] = {"mute", false, 0},
    [FAULT_SLOW_HEALTH] = {"slow-health", true, 2000},
};

bool fault_parse(struct str text, struct fault *ret_fault)
{
    size_t colon = str_find_char(text, ':');
    struct str word = str_slice(text, 0, colon);

    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        if (!str_eq(word, str_of(faults[kind].word))) {
            continue;
        }
        uint64_t number = faults[kind].number;
        if (colon < text.len && (!faults[kind].wants_number ||
                                 !str_to_u64(str_slice(text, colon + 1, text.len), &number))) {
            return false;
        }
        *ret_fault = (struct fault){.kind = (enum fault_kind)kind, .number = number};
        return true;
    }
    return false;
}

const char *fault_word(enum fault_kind kind)
{
    return faults[kind].word;
}
