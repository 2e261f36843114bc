/* SPDX-License-Identifier: MIT */
/*
 * Lines and fields of an event stream, in any split of the input.
 *
 *   ──> START ─ BOM ─> LINE <──────────────────────── CR, LF or both ──────────┐
 *                       │ "data"   D1 D2 D3 D4 ─ ":" ─> DATA_SPACE ─> DATA ────┤
 *                       │ "event"  E1 .. E5    ─ ":" ─> EVENT_SPACE ─> EVENT ──┤
 *                       └ another field or a comment ─> SKIP ──────────────────┘
 *
 * LINE_CR is LINE with a CR just before: an LF there belongs to it. An empty line ends the event;
 * sse_event.c says what it was. Nearly all bytes are passed in DATA by one search for a line end.
 *
 * The model: a content event stays in `peek` when it is over. Data that begins and ends with the
 * same bytes, and has nothing but the inside of one string between them, means the same; it is not
 * copied, and the model stands for it should more lines follow.
 */
#include "scan_private.h"
#include "sse_private.h"

#include <nearside/http/sse.h>

enum sse_state {
    SSE_START,
    SSE_BOM_1,
    SSE_BOM_2,
    SSE_LINE,
    SSE_LINE_CR,
    SSE_D1,
    SSE_D2,
    SSE_D3,
    SSE_D4,
    SSE_E1,
    SSE_E2,
    SSE_E3,
    SSE_E4,
    SSE_E5,
    SSE_DATA_SPACE,
    SSE_EVENT_SPACE,
    SSE_DATA, /* from here on: inside a value */
    SSE_EVENT,
    SSE_SKIP,
};

/* In a field's name (or the BOM), `expected` leads to `next`; every other byte to SKIP. */
struct name_row {
    unsigned char expected;
    unsigned char next;
};

static const struct name_row name_rows[] = {
    [SSE_BOM_1] = {0xbb, SSE_BOM_2},   [SSE_BOM_2] = {0xbf, SSE_LINE},
    [SSE_D1] = {'a', SSE_D2},          [SSE_D2] = {'t', SSE_D3},
    [SSE_D3] = {'a', SSE_D4},          [SSE_D4] = {':', SSE_DATA_SPACE},
    [SSE_E1] = {'v', SSE_E2},          [SSE_E2] = {'e', SSE_E3},
    [SSE_E3] = {'n', SSE_E4},          [SSE_E4] = {'t', SSE_E5},
    [SSE_E5] = {':', SSE_EVENT_SPACE},
};

/* The only place that changes the state. */
static void move(struct sse *sse, enum sse_state next)
{
    sse->state = (unsigned char)next;
    sse->in_data = next == SSE_DATA || next == SSE_DATA_SPACE;
}

void sse_init(struct sse *sse)
{
    /* Not `*sse = (struct sse){...}`: the peek need not be cleared. */
    sse->event_open = false;
    sse->peek_cut = false;
    sse->like_model = false;
    sse->event_has_data = false;
    sse->at_boundary = true;
    sse->done = false;
    sse->finished = false;
    sse->failed = false;
    sse->events = 0;
    sse->content_events = 0;
    sse->model_len = 0;
    sse->peek_len = 0;
    sse->name_len = 0;
    move(sse, SSE_START);
}

static void keep_data(struct sse *sse, const char *bytes, size_t len)
{
    const size_t room = SSE_PEEK_MAX - (size_t)sse->peek_len;
    const size_t kept = len < room ? len : room;

    if (kept > 0) {
        sse->model_len = 0;
    }
    memcpy(sse->peek + sse->peek_len, bytes, kept);
    sse->peek_len = (uint16_t)(sse->peek_len + kept);
    sse->peek_cut = sse->peek_cut || kept < len;
}

static void keep_name(struct sse *sse, const char *bytes, size_t len)
{
    const size_t room = SSE_NAME_MAX - (size_t)sse->name_len;
    const size_t kept = len < room ? len : room;

    memcpy(sse->name + sse->name_len, bytes, kept);
    sse->name_len = (uint16_t)(sse->name_len + kept);
}

/* Is this line all data of an event, and the model's but for its words? */
static bool is_like_model(const struct sse *sse, const char *at, const char *stop)
{
    const size_t len = (size_t)(stop - at);
    const char *const tail = stop - sse->model_tail;

    return sse->model_len > 0 && sse->peek_len == 0 && !sse->like_model &&
           len > (size_t)sse->model_head + sse->model_tail &&
           memcmp(at, sse->peek, sse->model_head) == 0 &&
           memcmp(tail, sse->peek + sse->model_len - sse->model_tail, sse->model_tail) == 0 &&
           sse_skip_string(at + sse->model_head, stop) == tail + 1;
}

/* More will follow: the model stands for the data so far. */
static void use_model(struct sse *sse)
{
    if (sse->like_model) {
        sse->like_model = false;
        sse->peek_len = sse->model_len;
    }
}

static void learn_model(struct sse *sse, const struct sse_verdict *verdict)
{
    const char *const end = sse->peek + sse->peek_len;
    const char *after;

    if (!verdict->content || verdict->finished || verdict->words == 0 || sse->peek_cut ||
        sse->name_len > 0 || scan_line(sse->peek, end) != end) {
        return;
    }
    after = sse_skip_string(sse->peek + verdict->words, end);
    if (after[-1] == '"') {
        sse->model_len = sse->peek_len;
        sse->model_head = (uint16_t)verdict->words;
        sse->model_tail = (uint16_t)(end - after + 1);
    }
}

/* Several data lines make one text, joined by LF. */
static void begin_data(struct sse *sse)
{
    use_model(sse);
    if (sse->event_has_data) {
        keep_data(sse, "\n", 1);
    }
    sse->event_has_data = true;
}

static void judge_event(struct sse *sse)
{
    struct sse_verdict verdict;

    sse->events++;
    if (sse->like_model && sse->name_len == 0) {
        sse->content_events++;
        return;
    }
    use_model(sse);
    verdict = sse_examine(str_make(sse->name, sse->name_len), str_make(sse->peek, sse->peek_len),
                          sse->peek_cut);
    sse->content_events += verdict.content ? 1 : 0;
    sse->finished = sse->finished || verdict.finished;
    sse->failed = sse->failed || verdict.failed;
    sse->done = sse->done || verdict.done;
    learn_model(sse, &verdict);
}

static void end_event(struct sse *sse)
{
    if (sse->event_has_data) {
        judge_event(sse);
    }
    sse->event_open = false;
    sse->like_model = false;
    sse->event_has_data = false;
    sse->peek_cut = false;
    sse->peek_len = 0;
    sse->name_len = 0;
}

static void end_line(struct sse *sse, char line_end)
{
    move(sse, line_end == '\r' ? SSE_LINE_CR : SSE_LINE);
}

/* Inside a value: up to the line's end at once. */
static const char *feed_value(struct sse *sse, const char *at, const char *end)
{
    const char *const stop = scan_line(at, end);

    if (sse->state == SSE_DATA && stop != end && is_like_model(sse, at, stop)) {
        sse->like_model = true;
    } else if (sse->state == SSE_DATA) {
        keep_data(sse, at, (size_t)(stop - at));
    } else if (sse->state == SSE_EVENT) {
        keep_name(sse, at, (size_t)(stop - at));
    }
    if (stop == end) {
        return end;
    }
    end_line(sse, *stop);
    return stop + 1;
}

/* At the start of a line. */
static const char *feed_line_start(struct sse *sse, const char *at, const char *end)
{
    if (*at == '\n' && sse->state == SSE_LINE_CR) {
        move(sse, SSE_LINE);
        return at + 1;
    }
    if (scan_stops_line(*at)) {
        end_event(sse);
        end_line(sse, *at);
        return at + 1;
    }
    if (*at == ':') {
        move(sse, SSE_SKIP);
        return at + 1;
    }
    sse->event_open = true;
    if (end - at >= 5 && memcmp(at, "data:", 5) == 0) {
        begin_data(sse);
        move(sse, SSE_DATA_SPACE);
        return at + 5;
    }
    move(sse, *at == 'd' ? SSE_D1 : *at == 'e' ? SSE_E1 : SSE_SKIP);
    return at + 1;
}

/* A whole field name was read: its value begins. */
static void begin_value(struct sse *sse)
{
    if (sse->state == SSE_D4) {
        begin_data(sse);
    } else if (sse->state == SSE_E5) {
        sse->name_len = 0; /* the last one counts */
    }
}

/* Inside a field's name: one byte. A line that ends there is a field without a value. */
static const char *feed_name(struct sse *sse, const char *at)
{
    const struct name_row *row = &name_rows[sse->state];

    if (scan_stops_line(*at)) {
        begin_value(sse);
        end_line(sse, *at);
    } else if ((unsigned char)*at == row->expected) {
        if (*at == ':') {
            begin_value(sse);
        }
        move(sse, (enum sse_state)row->next);
    } else {
        move(sse, SSE_SKIP);
    }
    return at + 1;
}

/* One space after the colon is no part of the value. */
static const char *feed_space(struct sse *sse, const char *at)
{
    move(sse, sse->state == SSE_DATA_SPACE ? SSE_DATA : SSE_EVENT);
    return *at == ' ' ? at + 1 : at;
}

static const char *feed_some(struct sse *sse, const char *at, const char *end)
{
    switch ((enum sse_state)sse->state) {
    case SSE_START:
        if ((unsigned char)*at == 0xef) {
            move(sse, SSE_BOM_1);
            return at + 1;
        }
        return feed_line_start(sse, at, end);
    case SSE_LINE:
    case SSE_LINE_CR:
        return feed_line_start(sse, at, end);
    case SSE_DATA_SPACE:
    case SSE_EVENT_SPACE:
        return feed_space(sse, at);
    case SSE_DATA:
    case SSE_EVENT:
    case SSE_SKIP:
        return feed_value(sse, at, end);
    default:
        return feed_name(sse, at);
    }
}

/* Does [at, end) hold the end of a line? [start, at) holds none, and may be looked at once more: a
 * block of 16 costs less than a few bytes, one by one. */
static bool has_line_end(const char *start, const char *at, const char *end)
{
    if (end - at < 16 && end - start >= 16) {
        at = end - 16;
    }
    return scan_line(at, end) != end;
}

/* At the start of an event that is all there, is one line, and is the model's but for its words:
 * nearly every one. Step over it without looking at its lines and members. */
static const char *skip_like_model(struct sse *sse, const char *at, const char *end)
{
    const size_t head = 6 + (size_t)sse->model_head;
    const char *after;
    const char *stop;

    if ((size_t)(end - at) < head + sse->model_tail + 2 || memcmp(at, "data: ", 6) != 0 ||
        memcmp(at + 6, sse->peek, sse->model_head) != 0) {
        return at;
    }
    after = sse_skip_string(at + head, end); /* the tail begins with the quote before it */
    if ((size_t)(end - after) < (size_t)sse->model_tail + 1 || after[-1] != '"' ||
        after - at == (ptrdiff_t)head + 1 || has_line_end(at, at + head, after) ||
        memcmp(after - 1, sse->peek + sse->model_len - sse->model_tail, sse->model_tail) != 0) {
        return at;
    }
    stop = after - 1 + sse->model_tail;
    if (stop[0] != '\n' || stop[1] != '\n') {
        return at;
    }
    sse->events++;
    sse->content_events++;
    return stop + 2;
}

void sse_feed(struct sse *sse, struct str bytes)
{
    const char *at = bytes.ptr;
    const char *const end = bytes.len == 0 ? at : at + bytes.len;

    while (at < end) {
        const char *const from = at;

        if (sse->model_len > 0 && sse->state == SSE_LINE && !sse->event_open) {
            at = skip_like_model(sse, from, end);
        }
        if (at == from) {
            at = feed_some(sse, at, end);
        }
    }
    sse->at_boundary = !sse->event_open && (sse->state == SSE_START || sse->state == SSE_LINE ||
                                            sse->state == SSE_LINE_CR);
}
