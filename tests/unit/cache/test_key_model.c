/* SPDX-License-Identifier: MIT */
/* Cache keys of generated bodies, against a slow model: a tree, printed again. */
#include "key_model.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LONG    "0123456789abcdef"
#define LONGER  LONG LONG LONG LONG LONG LONG LONG LONG
#define LONGEST LONGER LONGER LONGER LONGER LONGER LONGER LONGER LONGER LONGER

static void put_value(struct rng *rng, struct buf *out, unsigned depth);

static void put_children(struct rng *rng, struct buf *out, unsigned depth, bool is_object)
{
    const uint64_t count = rng_below(rng, 3);

    buf_append_char(out, is_object ? '{' : '[');
    for (uint64_t i = 0; i < count; i++) {
        buf_append(out, ",", i > 0 ? 1 : 0);
        if (is_object) {
            buf_append_str(out, rng_below(rng, 2) == 0 ? STR_LIT("\"include_usage\":")
                                                       : STR_LIT("\"a\" : "));
        }
        put_value(rng, out, depth + 1);
    }
    buf_append_char(out, is_object ? '}' : ']');
}

/* Of few values, so that two bodies are the same often. */
static void put_value(struct rng *rng, struct buf *out, unsigned depth)
{
    static const char *const values[] = {"true",
                                         "false",
                                         "null",
                                         "0",
                                         "0.0",
                                         "1",
                                         "\"\"",
                                         "\"a\"",
                                         "\"\\\"\"",
                                         "\"\\u0061\"",
                                         "\" \"",
                                         "\"" LONGEST "\"",
                                         "\"" LONGEST " \""};
    const uint64_t kind = rng_below(rng, depth > 2 ? 6 : 8);

    if (kind >= 6) {
        put_children(rng, out, depth, kind == 6);
    } else {
        buf_append_str(out, str_of(values[rng_below(rng, ARRAY_LEN(values))]));
    }
}

static void put_body(struct rng *rng, struct buf *out)
{
    static const char *const names[] = {"stream", "stream_options", "user", "a", "ab", "b"};
    uint64_t given = rng_below(rng, 1u << ARRAY_LEN(names)) & rng_next(rng);
    const char *before = "{";

    for (size_t i = 0; i < ARRAY_LEN(names); i++, given >>= 1) {
        if ((given & 1) != 0) {
            buf_printf(out, "%s\"%s\":", before, names[i]);
            put_value(rng, out, 0);
            before = ",";
        }
    }
    buf_append_str(out, str_of(*before == '{' ? "{}" : "}"));
}

static void test_keys_are_equal_exactly_when_the_models_texts_are(void **state)
{
    static const enum api apis[] = {API_CHAT, API_MESSAGES};
    struct model_keyer keyer;
    struct rng rng;
    struct buf bodies[2];
    unsigned equal = 0;

    (void)state;
    rng_init_seed(&rng, 4);
    model_keyer_init(&keyer);
    for (unsigned turn = 0; turn < 40000; turn++) {
        for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
            buf_init(&bodies[i]);
            put_body(&rng, &bodies[i]);
        }
        equal += model_check(&keyer, buf_str(&bodies[0]), buf_str(&bodies[1]), apis[turn % 2],
                             rng_below(&rng, 64));
        for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
            buf_done(&bodies[i]);
        }
    }
    model_keyer_done(&keyer);
    assert_in_range(equal, 100, 30000); /* both answers were given often */
}

static void test_another_spelling_has_the_same_key(void **state)
{
    struct model_keyer keyer;
    struct rng rng;

    (void)state;
    rng_init_seed(&rng, 5);
    model_keyer_init(&keyer);
    for (unsigned turn = 0; turn < 5000; turn++) {
        struct buf body;
        struct buf other;
        buf_init(&body);
        buf_init(&other);
        put_body(&rng, &body);
        /* A name twice within has no key; at the top none is. */
        model_respell(buf_str(&body), &rng, &other);
        assert_true(model_check(&keyer, buf_str(&body), buf_str(&other), API_CHAT, turn % 64));
        buf_done(&body);
        buf_done(&other);
    }
    model_keyer_done(&keyer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_are_equal_exactly_when_the_models_texts_are),
        cmocka_unit_test(test_another_spelling_has_the_same_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
