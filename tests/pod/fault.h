/* SPDX-License-Identifier: MIT */
/* The ways a pod can be told to misbehave, in one vocabulary for options and the control door. */
#ifndef POD_FAULT_H
#define POD_FAULT_H

#include <nearside/base/str.h>

enum fault_kind {
    FAULT_NONE,
    FAULT_REFUSE,                /* no listening socket, idle connections closed */
    FAULT_HANG,                  /* reads and never answers, health included */
    FAULT_HANG_REQUESTS,         /* the same, but health is fine: a hung engine */
    FAULT_CUT,                   /* closes after N content events */
    FAULT_RESET,                 /* resets after N content events */
    FAULT_CUT_CLEAN,             /* proper last chunk after N content events, but no [DONE] */
    FAULT_STALL,                 /* silent after N content events */
    FAULT_ERROR,                 /* answers status N */
    FAULT_FULL,                  /* 429 and Retry-After */
    FAULT_FULL_503,              /* 503 and Retry-After */
    FAULT_MALFORMED,             /* bytes that are not HTTP */
    FAULT_HEADERS_THEN_SILENCE,  /* a good head, then nothing */
    FAULT_CLOSE_BEFORE_RESPONSE, /* reads the request and closes */
    FAULT_HTML,                  /* 200 with a page for people, as a lost gateway sends */
    FAULT_SSE_ERROR,             /* an error inside the stream after N content events */
    FAULT_SSE_GARBAGE,           /* what is no event after N content events, then the end */
    FAULT_MUTE,                  /* accepts and never reads, so no handshake ends either */
    FAULT_SLOW_HEALTH,           /* health takes N ms longer */
    FAULT_KINDS
};

struct fault {
    enum fault_kind kind;
    uint64_t number; /* of events, status, ms; by kind */
    bool on_health;  /* /health and /metrics show it too */
};

/* "cut:3", "error:503", "none". False when there is no such fault. */
bool fault_parse(struct str text, struct fault *ret_fault);
const char *fault_word(enum fault_kind kind);

#endif
