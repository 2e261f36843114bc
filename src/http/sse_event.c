/* SPDX-License-Identifier: MIT */
/*
 * What an event is, by its name and the first bytes of its JSON.
 *
 * No JSON is parsed: one walk steps from string to string, counts brackets, and looks at the
 * value behind each member name it knows. Good enough to tell a token from a heartbeat in every
 * dialect we met, and cheap, since it runs once per token. Text inside strings is stepped over,
 * so an answer that talks about {"error": ...} is not one.
 */
#include "scan_private.h"
#include "sse_private.h"

#include <nearside/http/sse.h>

/* What an `event:` field or a top-level "type" says. */
enum event_kind {
    KIND_UNKNOWN, /* nothing: the members decide */
    KIND_CONTENT,
    KIND_OTHER,
    KIND_DONE,
    KIND_COMPLETED, /* done, and the answer is whole or its end has a reason */
    KIND_FAILED,
    KIND_ENDED_FAILED, /* done as well */
};

struct kind_row {
    struct str name;
    enum event_kind kind;
};

#define ROW(text, kind_value)                                                                      \
    {                                                                                              \
        {text, sizeof(text) - 1}, kind_value                                                       \
    }

static const struct kind_row kind_rows[] = {
    ROW("content_block_delta", KIND_CONTENT), /* Anthropic */
    ROW("message_start", KIND_OTHER),
    ROW("content_block_start", KIND_OTHER),
    ROW("content_block_stop", KIND_OTHER),
    ROW("message_delta", KIND_OTHER),
    ROW("ping", KIND_OTHER),
    ROW("message_stop", KIND_DONE),
    ROW("error", KIND_FAILED),
    ROW("response.completed", KIND_COMPLETED), /* OpenAI's responses */
    ROW("response.incomplete", KIND_COMPLETED),
    ROW("response.failed", KIND_ENDED_FAILED),
};

static enum event_kind kind_of(struct str name)
{
    for (size_t i = 0; i < ARRAY_LEN(kind_rows); i++) {
        if (str_eq(name, kind_rows[i].name)) {
            return kind_rows[i].kind;
        }
    }
    if (str_starts(name, STR_LIT("response."))) {
        return str_ends(name, STR_LIT(".delta")) ? KIND_CONTENT : KIND_OTHER;
    }
    return KIND_UNKNOWN;
}

/* The walk over the members. */
struct walk {
    const char *end;
    const char *words; /* inside the first string with a piece of the answer; NULL: none yet */
    unsigned depth;
    enum event_kind kind;
    bool content;  /* a member with a piece of the answer */
    bool finished; /* a reason to end */
    bool failed;   /* a top-level error */
    bool decided;  /* what stands in the rest of a cut event cannot matter */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && is_space(*at)) {
        at++;
    }
    return at;
}

const char *sse_skip_string(const char *at, const char *end)
{
    for (;;) {
        at = scan_quote(at, end);
        if (at == end) {
            return end;
        }
        if (*at == '"') {
            return at + 1;
        }
        if (end - at < 2) {
            return end;
        }
        at += 2;
    }
}

/* Is the value at `at` a string, array or object with something in it? One that is cut off right
 * there has. */
static bool is_filled(const char *at, const char *end)
{
    const char *const inside = at + 1;

    if (at == end) {
        return true;
    }
    switch (*at) {
    case '"':
        return inside == end || *inside != '"';
    case '[':
        at = skip_space(inside, end);
        return at == end || *at != ']';
    case '{':
        at = skip_space(inside, end);
        return at == end || *at != '}';
    default:
        return false;
    }
}

static struct str string_at(const char *at, const char *end)
{
    const char *stop;

    if (at == end || *at != '"') {
        return STR_EMPTY;
    }
    stop = scan_quote(at + 1, end);
    return str_make(at + 1, (size_t)(stop - at - 1));
}

enum member {
    MEMBER_OTHER,
    /* wherever they stand */
    MEMBER_CONTENT, /* a piece of the answer */
    MEMBER_REASON,  /* why it ends */
    /* at the top */
    MEMBER_CHOICES,
    MEMBER_DELTA,
    MEMBER_ERROR,
    MEMBER_OBJECT,
    MEMBER_TYPE,
};

/* By length first: most names are done with then. */
static enum member find_member(struct str name)
{
#define IS(text) (memcmp(name.ptr, text, sizeof(text) - 1) == 0)
    switch (name.len) {
    case 4:
        return IS("text") ? MEMBER_CONTENT : IS("type") ? MEMBER_TYPE : MEMBER_OTHER;
    case 5:
        return IS("delta")   ? MEMBER_DELTA
               : IS("error") ? MEMBER_ERROR
               : IS("audio") ? MEMBER_CONTENT
                             : MEMBER_OTHER;
    case 6:
        return IS("object") ? MEMBER_OBJECT : MEMBER_OTHER;
    case 7:
        return IS("content") || IS("refusal") ? MEMBER_CONTENT
               : IS("choices")                ? MEMBER_CHOICES
                                              : MEMBER_OTHER;
    case 8:
        return IS("thinking") ? MEMBER_CONTENT : MEMBER_OTHER;
    case 9:
        return IS("reasoning") ? MEMBER_CONTENT : MEMBER_OTHER;
    case 10:
        return IS("tool_calls") ? MEMBER_CONTENT : MEMBER_OTHER;
    case 11:
        return IS("stop_reason") ? MEMBER_REASON : MEMBER_OTHER;
    case 13:
        return IS("finish_reason")   ? MEMBER_REASON
               : IS("function_call") ? MEMBER_CONTENT
                                     : MEMBER_OTHER;
    case 17:
        return IS("reasoning_content") ? MEMBER_CONTENT : MEMBER_OTHER;
    default:
        return MEMBER_OTHER;
    }
#undef IS
}

static void note_top_member(struct walk *walk, enum member member, const char *value)
{
    const bool filled = is_filled(value, walk->end);
    const struct str text = string_at(value, walk->end);

    if (member == MEMBER_ERROR && filled) {
        walk->failed = true;
    } else if (member == MEMBER_OBJECT && str_eq(text, STR_LIT("error"))) {
        walk->failed = true;
    } else if (member == MEMBER_TYPE && walk->kind == KIND_UNKNOWN) {
        walk->kind = kind_of(text);
    } else if (member == MEMBER_CHOICES && !filled) {
        walk->decided = true; /* usage only */
    } else if (member == MEMBER_DELTA && text.len > 0) {
        walk->content = true;
    }
}

static void note_member(struct walk *walk, enum member member, const char *value)
{
    if (member == MEMBER_CONTENT) {
        if (walk->words == NULL && string_at(value, walk->end).len > 0) {
            walk->words = value + 1;
        }
        walk->content = walk->content || is_filled(value, walk->end);
        walk->decided = true;
    } else if (member == MEMBER_REASON) {
        walk->finished = walk->finished || string_at(value, walk->end).len > 0;
        walk->decided = true;
    } else if (walk->depth == 1) {
        note_top_member(walk, member, value);
    }
}

/* A string, and its value's beginning when it is a member's name. */
static const char *walk_string(struct walk *walk, const char *at)
{
    const char *const name = at + 1;
    const char *const after = sse_skip_string(name, walk->end);
    const char *const colon = skip_space(after, walk->end);
    const char *value;
    enum member member;

    if (colon == walk->end || *colon != ':') {
        return after;
    }
    value = skip_space(colon + 1, walk->end);
    member = find_member(str_make(name, (size_t)(after - name - 1)));
    if (member != MEMBER_OTHER) {
        note_member(walk, member, value);
    }
    return value;
}

static void walk_members(struct walk *walk, const char *at)
{
    while (at < walk->end) {
        switch (*at) {
        case '{':
        case '[':
            walk->depth++;
            at++;
            break;
        case '}':
        case ']':
            walk->depth -= walk->depth > 0 ? 1 : 0;
            at++;
            break;
        case '"':
            at = walk_string(walk, at);
            break;
        default:
            at++;
            break;
        }
    }
}

static struct sse_verdict verdict_of(const struct walk *walk, const char *data, bool cut)
{
    const bool by_members = walk->content || (cut && !walk->decided);

    switch (walk->kind) {
    case KIND_CONTENT:
        return (struct sse_verdict){.content = true};
    case KIND_OTHER:
        return (struct sse_verdict){.finished = walk->finished};
    case KIND_DONE:
        return (struct sse_verdict){.done = true};
    case KIND_COMPLETED:
        return (struct sse_verdict){.done = true, .finished = true};
    case KIND_FAILED:
        return (struct sse_verdict){.failed = true};
    case KIND_ENDED_FAILED:
        return (struct sse_verdict){.done = true, .failed = true};
    case KIND_UNKNOWN:
        break;
    }
    return (struct sse_verdict){
        .content = by_members && !walk->failed,
        .finished = walk->finished,
        .failed = walk->failed,
        .words = walk->words == NULL ? 0 : (size_t)(walk->words - data),
    };
}

struct sse_verdict sse_examine(struct str event_name, struct str data, bool cut)
{
    const struct str text = str_trim(data);
    struct walk walk = {.end = text.ptr + text.len, .kind = KIND_UNKNOWN};

    if (event_name.len > 0) {
        walk.kind = kind_of(event_name);
    }
    if (str_eq(text, STR_LIT("[DONE]"))) {
        return (struct sse_verdict){.done = true};
    }
    /* The other kinds are known by their name alone. */
    if (walk.kind == KIND_UNKNOWN || walk.kind == KIND_OTHER) {
        walk_members(&walk, text.ptr);
    }
    return verdict_of(&walk, data.ptr, cut);
}

bool sse_data_is_content(struct str event_name, struct str data)
{
    return sse_examine(event_name, data, false).content;
}
