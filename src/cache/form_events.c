/* SPDX-License-Identifier: MIT */
/*
 * A whole event stream, event by event (the WHATWG HTML standard, 9.2.6); form_each_chunk() parses
 * each.
 *
 * Unlike http/sse, which watches a stream as it passes, this reads a stored one that is in memory:
 * it can hand out views of it, and can be strict.
 */
#include "form_private.h"

#include <string.h>

struct event {
    size_t data_lines;
    struct str data; /* of the only data line, or of all of them, joined */
    struct str name;
    bool is_error; /* a field named `error`: how llama.cpp used to say it */
};

struct reader {
    struct str rest;
    struct buf joined; /* of the present event, when it has several data lines */
    size_t mark_len;   /* of the byte order mark: it belongs to the first event's raw bytes */
    bool done;
};

/* Cut the next line from *rest; its end may be CR LF, LF, CR, or the end of all. */
static struct str next_line(struct str *rest)
{
    size_t len = str_find_char(*rest, '\n');

    len = str_find_char(str_slice(*rest, 0, len), '\r');
    size_t end = len;
    end += end < rest->len && rest->ptr[end] == '\r';
    end += end < rest->len && rest->ptr[end] == '\n';

    struct str line = str_slice(*rest, 0, len);
    *rest = str_slice(*rest, end, rest->len);
    return line;
}

static void take_data(struct reader *reader, struct event *event, struct str value)
{
    event->data_lines++;
    if (event->data_lines == 1) {
        event->data = value;
        return;
    }
    if (event->data_lines == 2) {
        buf_clear(&reader->joined);
        buf_append_str(&reader->joined, event->data);
    }
    buf_append_char(&reader->joined, '\n');
    buf_append_str(&reader->joined, value);
    event->data = buf_str(&reader->joined);
}

static void take_line(struct reader *reader, struct event *event, struct str line)
{
    size_t colon = str_find_char(line, ':');
    struct str name = str_slice(line, 0, colon);
    struct str value = str_slice(line, colon + 1, line.len);

    if (value.len > 0 && value.ptr[0] == ' ') {
        value = str_slice(value, 1, value.len);
    }
    if (str_eq(name, STR_LIT("data"))) {
        take_data(reader, event, value);
    } else if (str_eq(name, STR_LIT("event"))) {
        event->name = value;
    } else if (str_eq(name, STR_LIT("error"))) {
        event->is_error = true;
    }
}

/* Lines up to a blank one or the end. An event that is cut off by the end is handed out as well:
 * unless it is [DONE], the stream fails for the lack of that. */
static struct event next_event(struct reader *reader, struct str *ret_raw)
{
    struct str start = reader->rest;
    struct event event = {.data_lines = 0};

    while (reader->rest.len > 0) {
        struct str line = next_line(&reader->rest);
        if (line.len == 0) {
            break;
        }
        take_line(reader, &event, line);
    }
    *ret_raw =
        str_make(start.ptr - reader->mark_len, start.len - reader->rest.len + reader->mark_len);
    reader->mark_len = 0;
    return event;
}

/* The event's data, or an empty view where it has none. */
static enum form_result read_event(struct reader *reader, const struct event *event,
                                   struct str *ret_data)
{
    *ret_data = STR_EMPTY;
    if (event->is_error || str_eq(event->name, STR_LIT("error"))) {
        return FORM_INVALID;
    }
    if (event->data_lines == 0) {
        return FORM_OK;
    }
    if (buf_is_refused(&reader->joined)) {
        return FORM_INEXACT;
    }
    if (reader->done) {
        return FORM_INVALID;
    }
    if (event->name.len > 0 && !str_eq(event->name, STR_LIT("message"))) {
        return FORM_INEXACT;
    }
    if (str_eq(str_trim(event->data), STR_LIT("[DONE]"))) {
        reader->done = true;
        return FORM_OK;
    }
    *ret_data = event->data;
    return event->data.len > 0 ? FORM_OK : FORM_INVALID;
}

static enum form_result pass_event(struct reader *reader, form_event_fn each, void *arg)
{
    struct str raw;
    struct str data;
    struct event event = next_event(reader, &raw);
    enum form_result result = read_event(reader, &event, &data);

    return result == FORM_OK ? each(arg, raw, data) : result;
}

enum form_result form_each_event(struct str events, form_event_fn each, void *arg)
{
    struct reader reader = {.rest = events};
    enum form_result result = FORM_OK;

    if (str_starts(events, STR_LIT("\xEF\xBB\xBF"))) {
        reader.mark_len = 3;
        reader.rest = str_slice(events, reader.mark_len, events.len);
    }
    buf_init_try(&reader.joined);
    while (result == FORM_OK && reader.rest.len > 0) {
        result = pass_event(&reader, each, arg);
    }
    buf_done(&reader.joined);
    return result == FORM_OK && !reader.done ? FORM_INVALID : result;
}

/* ---- parsed ---- */

struct parser {
    size_t nodes_left;
    form_data_fn is_known;
    form_chunk_fn each;
    void *arg;
};

static bool says_error(const json_t *chunk)
{
    const json_t *error = json_object_get(chunk, "error");
    const json_t *object = json_object_get(chunk, "object");

    return (error != NULL && !json_is_null(error)) ||
           (json_is_string(object) && str_eq(form_json_text(object), STR_LIT("error")));
}

/* In one line: it lies where the event does, and not in the reader's buffer. */
static bool lies_in(struct str data, struct str raw)
{
    return data.ptr >= raw.ptr && data.ptr < raw.ptr + raw.len;
}

static enum form_result on_event(void *arg, struct str raw, struct str data)
{
    struct parser *parser = arg;
    json_t *chunk = NULL;

    if (data.len == 0 || (lies_in(data, raw) && parser->is_known(parser->arg, data))) {
        return FORM_OK;
    }
    enum form_result result = form_json_parse(data, &parser->nodes_left, &chunk);
    if (result == FORM_OK) {
        result = says_error(chunk) ? FORM_INVALID : parser->each(parser->arg, chunk);
    }
    json_decref(chunk);
    return result;
}

enum form_result form_each_chunk(struct str events, form_data_fn is_known, form_chunk_fn each,
                                 void *arg)
{
    struct parser parser = {
        .nodes_left = FORM_NODES_MAX, .is_known = is_known, .each = each, .arg = arg};

    return form_each_event(events, on_event, &parser);
}
