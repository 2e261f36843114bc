/* SPDX-License-Identifier: MIT */
/*
 * One choice in events.
 *
 * Text goes out in pieces of at most FORM_PIECE_BYTES, cut behind a space where there is one and
 * never inside a character. With logprobs the pieces end where tokens end, as long as the tokens
 * spell the text; from where they do not (a character that takes two tokens, text that a server
 * left out), the rest goes out at once, with the rest of the tokens: still exact.
 */
#include "form_split_private.h"

/* What is being sent of one choice. */
struct sender {
    struct form_split *split;
    size_t index;
    const json_t *logprobs;    /* of the choice; NULL: it has no such member */
    const char *sent_lists[2]; /* of logprobs, those that pieces of text have taken along */
    unsigned sent_list_count;
    bool is_over; /* past the bound, or out of memory */
};

/* The tokens that belong to one text. */
struct tokens {
    const json_t *logprobs;
    const char *list; /* "content", "refusal"; or "tokens": the lists of a legacy one, together */
    size_t next;
    size_t count;
};

/* ---- one event of a choice ---- */

static void begin_piece(const struct sender *sender)
{
    form_event_begin(sender->split);
    buf_append_str(sender->split->out, STR_LIT("{\"index\":"));
    buf_append_u64(sender->split->out, sender->index);
    buf_append_str(sender->split->out, sender->split->api == API_CHAT ? STR_LIT(",\"delta\":{")
                                                                      : STR_LIT(",\"text\":"));
}

/* Items [from, to), or null for null. */
static void write_list(struct buf *out, const json_t *list, size_t from, size_t to)
{
    if (!json_is_array(list)) {
        form_json_write(out, list);
        return;
    }
    buf_append_char(out, '[');
    for (size_t i = from; i < to && i < json_array_size(list); i++) {
        buf_append(out, ",", i > from ? 1 : 0);
        form_json_write(out, json_array_get(list, i));
    }
    buf_append_char(out, ']');
}

/* The part of logprobs that belongs to the tokens [from, to) of one text. Lists of the other texts
 * are null here, if they hold something. */
static void write_logprobs(struct buf *out, const struct tokens *tokens, size_t from, size_t to)
{
    json_t *logprobs = (json_t *)(uintptr_t)tokens->logprobs; /* not changed */
    bool takes_all = strcmp(tokens->list, "tokens") == 0;
    char before = '{';
    const char *name;
    json_t *list;

    json_object_foreach(logprobs, name, list)
    {
        form_json_write_name(out, before, name);
        if (takes_all || strcmp(name, tokens->list) == 0 || json_array_size(list) == 0) {
            write_list(out, list, from, to);
        } else {
            buf_append_str(out, STR_LIT("null"));
        }
        before = ',';
    }
    buf_append_char(out, '}');
}

/* `tokens` NULL: none belong to this piece. */
static void end_piece(struct sender *sender, const struct tokens *tokens, size_t from, size_t to)
{
    struct buf *out = sender->split->out;

    if (sender->split->api == API_CHAT) {
        buf_append_char(out, '}');
    }
    if (sender->logprobs != NULL) {
        form_json_write_name(out, ',', "logprobs");
        if (tokens != NULL && to > from) {
            write_logprobs(out, tokens, from, to);
        } else {
            buf_append_str(out, STR_LIT("null"));
        }
    }
    buf_append_str(out, STR_LIT(",\"finish_reason\":null}"));
    sender->is_over = !form_event_end(sender->split, false);
}

/* ---- where to cut ---- */

static bool is_inside_character(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

/* Behind the last space of a piece, else behind its last whole character. */
static size_t cut_text(struct str rest)
{
    size_t len = FORM_PIECE_BYTES;

    if (rest.len <= FORM_PIECE_BYTES) {
        return rest.len;
    }
    while (len > 0 && rest.ptr[len - 1] != ' ' && rest.ptr[len - 1] != '\n') {
        len--;
    }
    if (len > 0) {
        return len;
    }
    len = FORM_PIECE_BYTES;
    while (is_inside_character(rest.ptr[len])) {
        len--; /* by three at most: the text is valid */
    }
    return len;
}

/* The text of token `i`; empty where it is not a string. */
static struct str token_text(const struct tokens *tokens, size_t i)
{
    const json_t *token = json_array_get(json_object_get(tokens->logprobs, tokens->list), i);

    if (json_is_object(token)) {
        token = json_object_get(token, "token");
    }
    return json_is_string(token) ? form_json_text(token) : STR_EMPTY;
}

/* As many tokens as fill a piece, and their text; all of the rest where the two part. */
static size_t cut_tokens(struct tokens *tokens, struct str rest)
{
    size_t len = 0;

    while (len < FORM_PIECE_BYTES && len < rest.len && tokens->next < tokens->count) {
        struct str token = token_text(tokens, tokens->next);
        if (token.len == 0 || !str_starts(str_slice(rest, len, rest.len), token)) {
            break;
        }
        len += token.len;
        tokens->next++;
    }
    if (len >= FORM_PIECE_BYTES && len < rest.len) {
        return len;
    }
    tokens->next = tokens->count;
    return rest.len;
}

/* ---- texts ---- */

/* The tokens of a text, if its choice has any. */
static bool find_tokens(const struct sender *sender, enum form_text text, struct tokens *ret_tokens)
{
    const char *list = form_text_name(text);

    if (sender->split->api == API_COMPLETIONS &&
        json_object_get(sender->logprobs, "tokens") != NULL) {
        list = "tokens";
    }
    size_t count = json_array_size(json_object_get(sender->logprobs, list));
    *ret_tokens = (struct tokens){.logprobs = sender->logprobs, .list = list, .count = count};
    return count > 0;
}

static void write_piece(struct sender *sender, const char *const names[2], struct str piece)
{
    struct buf *out = sender->split->out;

    if (sender->split->api == API_COMPLETIONS) {
        form_json_write_text(out, piece);
        return;
    }
    for (unsigned i = 0; i < 2 && names[i] != NULL; i++) {
        form_json_write_text(out, str_of(names[i]));
        buf_append_char(out, ':');
        form_json_write_text(out, piece);
        buf_append(out, ",", i == 0 && names[1] != NULL ? 1 : 0);
    }
}

/* `names`: one member, or two that hold the same. */
static void send_text(struct sender *sender, enum form_text text, const char *const names[2],
                      struct str rest)
{
    struct tokens tokens;
    bool has_tokens = find_tokens(sender, text, &tokens);

    if (has_tokens && rest.len > 0) {
        sender->sent_lists[sender->sent_list_count++] = tokens.list;
    }
    while (rest.len > 0 && !sender->is_over) {
        size_t from = tokens.next;
        size_t len = has_tokens ? cut_tokens(&tokens, rest) : cut_text(rest);

        begin_piece(sender);
        write_piece(sender, names, str_slice(rest, 0, len));
        end_piece(sender, has_tokens ? &tokens : NULL, from, tokens.next);
        rest = str_slice(rest, len, rest.len);
    }
}

static void send_member(struct sender *sender, const json_t *message, enum form_text text)
{
    const char *names[2] = {form_text_name(text)};
    const json_t *value = json_object_get(message, names[0]);

    if (json_is_string(value)) {
        send_text(sender, text, names, form_json_text(value));
    }
}

static void send_reasoning(struct sender *sender, const json_t *message)
{
    const char *names[2] = {form_text_name(FORM_TEXT_REASONING_CONTENT),
                            form_text_name(FORM_TEXT_REASONING)};
    const json_t *one = json_object_get(message, names[0]);
    const json_t *other = json_object_get(message, names[1]);

    if (json_string_length(one) > 0 && json_string_length(other) > 0) {
        send_text(sender, FORM_TEXT_REASONING, names, form_json_text(one));
    } else {
        send_member(sender, message, FORM_TEXT_REASONING_CONTENT);
        send_member(sender, message, FORM_TEXT_REASONING);
    }
}

/* ---- calls ---- */

/* `"function":{"name":...,"arguments":""}`, then the arguments in pieces. `call` NULL: the legacy
 * `function_call`, which has no index. */
static void begin_call(struct sender *sender, const json_t *call, size_t call_index)
{
    struct buf *out = sender->split->out;

    begin_piece(sender);
    if (call == NULL) {
        buf_append_str(out, STR_LIT("\"function_call\":{"));
        return;
    }
    buf_append_str(out, STR_LIT("\"tool_calls\":[{\"index\":"));
    buf_append_u64(out, call_index);
}

static void write_call_id(struct buf *out, const json_t *call)
{
    form_json_write_name(out, ',', "id");
    form_json_write(out, json_object_get(call, "id"));
    form_json_write_name(out, ',', "type");
    form_json_write(out, json_object_get(call, "type"));
}

static void send_call(struct sender *sender, const json_t *call, size_t call_index,
                      const json_t *function)
{
    struct buf *out = sender->split->out;
    struct str end = call == NULL ? STR_LIT("}") : STR_LIT("}}]");
    struct str rest = form_json_text(json_object_get(function, "arguments"));

    begin_call(sender, call, call_index);
    if (call != NULL) {
        write_call_id(out, call);
        buf_append_str(out, STR_LIT(",\"function\":{"));
    }
    buf_append_str(out, STR_LIT("\"name\":"));
    form_json_write(out, json_object_get(function, "name"));
    buf_append_str(out, STR_LIT(",\"arguments\":\"\""));
    buf_append_str(out, end);
    end_piece(sender, NULL, 0, 0);
    while (rest.len > 0 && !sender->is_over) {
        size_t len = cut_text(rest);

        begin_call(sender, call, call_index);
        if (call != NULL) {
            buf_append_str(out, STR_LIT(",\"function\":{"));
        }
        buf_append_str(out, STR_LIT("\"arguments\":"));
        form_json_write_text(out, str_slice(rest, 0, len));
        buf_append_str(out, end);
        end_piece(sender, NULL, 0, 0);
        rest = str_slice(rest, len, rest.len);
    }
}

static void send_calls(struct sender *sender, const json_t *message)
{
    const json_t *calls = json_object_get(message, "tool_calls");
    const json_t *function_call = json_object_get(message, "function_call");

    for (size_t i = 0; i < json_array_size(calls) && !sender->is_over; i++) {
        const json_t *call = json_array_get(calls, i);
        send_call(sender, call, i, json_object_get(call, "function"));
    }
    if (json_is_object(function_call)) {
        send_call(sender, NULL, 0, function_call);
    }
}

/* ---- beginning and end ---- */

/* In the role event: the role; `content`, empty or null; what is null or empty and would leave no
 * other trace. Empty lists leave none: clients look into a list that is there. */
static bool is_told_at_first(const char *name, const json_t *value)
{
    if (strcmp(name, "role") == 0 || strcmp(name, "content") == 0 || json_is_null(value)) {
        return true;
    }
    return json_is_string(value) && json_string_length(value) == 0;
}

static void send_role(struct sender *sender, json_t *message)
{
    struct buf *out = sender->split->out;
    const char *before = "";
    const char *name;
    json_t *value;

    begin_piece(sender);
    json_object_foreach(message, name, value)
    {
        if (!is_told_at_first(name, value)) {
            continue;
        }
        buf_append_str(out, str_of(before));
        form_json_write_text(out, str_of(name));
        buf_append_char(out, ':');
        if (strcmp(name, "content") == 0 && json_is_string(value)) {
            buf_append_str(out, STR_LIT("\"\""));
        } else {
            form_json_write(out, value);
        }
        before = ",";
    }
    end_piece(sender, NULL, 0, 0);
}

static bool is_sent(const struct sender *sender, const char *list)
{
    for (unsigned i = 0; i < sender->sent_list_count; i++) {
        if (strcmp(sender->sent_lists[i], list) == 0 ||
            strcmp(sender->sent_lists[i], "tokens") == 0) {
            return true;
        }
    }
    return false;
}

/* What belongs to no text: tokens of tool calls, or lists that are all empty. */
static bool has_unsent_logprobs(const struct sender *sender)
{
    json_t *logprobs = (json_t *)(uintptr_t)sender->logprobs; /* not changed */
    const char *name;
    json_t *list;

    if (sender->sent_list_count == 0) {
        return json_is_object(logprobs);
    }
    json_object_foreach(logprobs, name, list)
    {
        if (json_array_size(list) > 0 && !is_sent(sender, name)) {
            return true;
        }
    }
    return false;
}

static void write_last_logprobs(const struct sender *sender)
{
    json_t *logprobs = (json_t *)(uintptr_t)sender->logprobs; /* not changed */
    struct buf *out = sender->split->out;
    char before = '{';
    const char *name;
    json_t *list;

    if (logprobs == NULL) {
        return;
    }
    form_json_write_name(out, ',', "logprobs");
    if (!has_unsent_logprobs(sender) || json_object_size(logprobs) == 0) {
        form_json_write(out, json_object_size(logprobs) == 0 ? logprobs : json_null());
        return;
    }
    json_object_foreach(logprobs, name, list)
    {
        form_json_write_name(out, before, name);
        form_json_write(out, is_sent(sender, name) ? json_null() : list);
        before = ',';
    }
    buf_append_char(out, '}');
}

/* Members that have a place of their own in events. */
static bool is_placed(const struct sender *sender, const char *name)
{
    const char *body = sender->split->api == API_CHAT ? "message" : "text";

    return strcmp(name, "index") == 0 || strcmp(name, body) == 0 || strcmp(name, "logprobs") == 0 ||
           strcmp(name, "finish_reason") == 0;
}

static void send_finish(struct sender *sender, json_t *choice, bool is_last)
{
    struct buf *out = sender->split->out;
    const char *name;
    json_t *value;

    begin_piece(sender);
    buf_append_str(out, sender->split->api == API_CHAT ? STR_LIT("}") : STR_LIT("\"\""));
    write_last_logprobs(sender);
    form_json_write_name(out, ',', "finish_reason");
    form_json_write(out, json_object_get(choice, "finish_reason"));
    json_object_foreach(choice, name, value)
    {
        if (!is_placed(sender, name)) {
            form_json_write_name(out, ',', name);
            form_json_write(out, value);
        }
    }
    buf_append_char(out, '}');
    sender->is_over = !form_event_end(sender->split, is_last);
}

static struct sender sender_of(struct form_split *split, size_t index, const json_t *choice)
{
    return (struct sender){
        .split = split, .index = index, .logprobs = json_object_get(choice, "logprobs")};
}

enum form_result form_choice_begin(struct form_split *split, size_t index, json_t *choice)
{
    struct sender sender = sender_of(split, index, choice);
    enum form_result result = form_choice_check(split, index, choice);

    if (result == FORM_OK && split->api == API_CHAT) {
        send_role(&sender, json_object_get(choice, "message"));
    }
    return sender.is_over ? FORM_INEXACT : result;
}

enum form_result form_choice_split(struct form_split *split, size_t index, json_t *choice,
                                   bool is_last)
{
    struct sender sender = sender_of(split, index, choice);
    const json_t *message = json_object_get(choice, "message");
    const char *names[2] = {NULL};

    if (split->api == API_COMPLETIONS) {
        send_text(&sender, FORM_TEXT_CONTENT, names,
                  form_json_text(json_object_get(choice, "text")));
    } else {
        send_reasoning(&sender, message);
        send_member(&sender, message, FORM_TEXT_CONTENT);
        send_member(&sender, message, FORM_TEXT_REFUSAL);
        send_calls(&sender, message);
    }
    if (!sender.is_over) {
        send_finish(&sender, choice, is_last);
    }
    return sender.is_over ? FORM_INEXACT : FORM_OK;
}
