/* SPDX-License-Identifier: MIT */
/*
 * Two request bodies: the same key exactly when the model, a tree printed again, says the same.
 *
 * Input: a byte that says where the first body is cut on its way, the body, 0x1e, another body.
 * The first is held against the second, against itself in another spelling, and against itself with
 * a byte changed. "~" is blown up in all of them, so that long members are met in short inputs.
 */
#include "key_model.h"

#define BLOWN_UP 1100 /* more than CACHE_KEY_LONG_BYTES */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void blow_up(struct str text, struct buf *out)
{
    for (size_t i = 0; i < text.len; i++) {
        const size_t count = text.ptr[i] == '~' ? BLOWN_UP : 1;
        for (size_t j = 0; j < count; j++) {
            buf_append_char(out, text.ptr[i]);
        }
    }
}

static void check_respelled(struct model_keyer *keyer, struct str body, enum api api, size_t cut)
{
    struct cache_key key;
    struct rng rng;
    struct buf other;

    if (!model_key(keyer, body, api, cut, &key)) {
        return;
    }
    rng_init_seed(&rng, cut);
    buf_init(&other);
    model_respell(body, &rng, &other);
    const bool is_equal = model_check(keyer, body, buf_str(&other), api, cut);
    ASSERT(is_equal);
    buf_done(&other);
}

static void check_changed(struct model_keyer *keyer, struct str body, enum api api, size_t cut)
{
    const size_t place = body.len == 0 ? 0 : cut * 7 % body.len;
    struct buf other;

    if (body.len == 0) {
        return;
    }
    buf_init(&other);
    buf_append_str(&other, str_slice(body, 0, place));
    buf_append_char(&other, (char)(body.ptr[place] ^ (1 << cut % 7)));
    buf_append_str(&other, str_slice(body, place + 1, body.len));
    (void)model_check(keyer, body, buf_str(&other), api, cut);
    buf_done(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum api apis[] = {API_CHAT, API_MESSAGES};
    static struct model_keyer keyer;
    struct str text = str_make((const char *)data, size);
    const size_t cut = size == 0 ? 0 : data[0];
    const size_t parted = str_find_char(text, '\x1e');
    struct buf one;
    struct buf two;

    if (keyer.digest == NULL) {
        model_keyer_init(&keyer);
    }
    buf_init(&one);
    buf_init(&two);
    blow_up(str_slice(text, 1, parted), &one);
    blow_up(str_slice(text, parted + 1, size), &two);
    for (size_t i = 0; i < ARRAY_LEN(apis); i++) {
        check_respelled(&keyer, buf_str(&one), apis[i], cut);
        check_changed(&keyer, buf_str(&one), apis[i], cut);
        (void)model_check(&keyer, buf_str(&one), buf_str(&two), apis[i], cut);
    }
    buf_done(&one);
    buf_done(&two);
    return 0;
}
