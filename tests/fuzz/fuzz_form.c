/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a stored answer of either form. What a turn gives must be whole in its own form,
 * and turning there and back again must end: a plain answer made from a stream stays the same.
 * The first byte chooses the API and whether usage is wished.
 */
#include <nearside/base/assert.h>
#include <nearside/cache/form.h>

#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static json_t *parse(const struct buf *text)
{
    json_t *value =
        json_loadb(buf_str(text).ptr, buf_len(text), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

    ASSERT(value != NULL);
    return value;
}

static void check_same(const struct buf *one, const struct buf *other)
{
    json_t *one_value = parse(one);
    json_t *other_value = parse(other);

    ASSERT(json_equal(one_value, other_value));
    json_decref(one_value);
    json_decref(other_value);
}

/* `plain` was made by us: as a stream and back it is the same. Two reasonings may stop it. */
static void check_plain(enum api api, const struct buf *plain, const struct form_wish *wish)
{
    struct buf events;
    struct buf back;

    buf_init(&events);
    buf_init(&back);
    enum form_result result = form_plain_to_stream(api, buf_str(plain), wish, &events);
    ASSERT(result != FORM_INVALID);
    if (result == FORM_OK && wish->include_usage) {
        result = form_stream_to_plain(api, buf_str(&events), wish, &back);
        ASSERT(result == FORM_OK);
        check_same(plain, &back);
    }
    buf_done(&events);
    buf_done(&back);
}

/* Events with a name are all parsed; others may be recognised by their bytes. The same comes out.
 */
static void check_long_way(enum api api, struct str events, const struct form_wish *wish)
{
    struct buf named;
    struct buf one;
    struct buf other;

    if (str_find(events, STR_LIT("event")) < events.len) {
        return;
    }
    buf_init(&named);
    buf_init(&one);
    buf_init(&other);
    for (struct str rest = events; rest.len > 0;) {
        size_t at = str_find(rest, STR_LIT("\ndata: {"));
        buf_append_str(&named, str_slice(rest, 0, at + 1));
        if (at < rest.len) {
            buf_append_str(&named, STR_LIT("event: message\n"));
        }
        rest = str_slice(rest, at + 1, rest.len);
    }
    enum form_result result = form_stream_to_plain(api, events, wish, &one);
    enum form_result named_result = form_stream_to_plain(api, buf_str(&named), wish, &other);
    ASSERT(result == named_result && str_eq(buf_str(&one), buf_str(&other)));
    buf_done(&named);
    buf_done(&one);
    buf_done(&other);
}

static void check_stream(enum api api, struct str events, const struct form_wish *wish)
{
    struct buf plain;
    struct buf filtered;
    struct buf again;

    buf_init(&plain);
    buf_init(&filtered);
    buf_init(&again);
    check_long_way(api, events, wish);
    if (form_stream_to_plain(api, events, wish, &plain) == FORM_OK) {
        check_plain(api, &plain, wish);
    } else {
        ASSERT(buf_len(&plain) == 0);
    }
    if (form_stream_filter_usage(api, events, wish, &filtered) == FORM_OK) {
        enum form_result result = form_stream_filter_usage(api, buf_str(&filtered), wish, &again);
        ASSERT(result == FORM_OK && str_eq(buf_str(&filtered), buf_str(&again)));
        buf_clear(&again);
        ASSERT(form_stream_to_plain(api, buf_str(&filtered), wish, &again) != FORM_OK);
    }
    buf_done(&plain);
    buf_done(&filtered);
    buf_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf events;

    if (size < 1) {
        return 0;
    }
    enum api api = (data[0] & 1) != 0 ? API_CHAT : API_COMPLETIONS;
    struct form_wish wish = {.include_usage = (data[0] & 2) != 0, .bytes_max = 1 << 20};
    struct str input = str_make((const char *)data + 1, size - 1);

    buf_init(&events);
    check_stream(api, input, &wish);
    if (form_plain_to_stream(api, input, &wish, &events) == FORM_OK) {
        struct buf plain;
        buf_init(&plain);
        enum form_result result = form_stream_to_plain(api, buf_str(&events), &wish, &plain);
        ASSERT(result != FORM_INVALID);
        ASSERT(result != FORM_OK || wish.include_usage);
        buf_done(&plain);
        check_stream(api, buf_str(&events), &wish);
    } else {
        ASSERT(buf_len(&events) == 0);
    }
    buf_done(&events);
    return 0;
}
