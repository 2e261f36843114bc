/* SPDX-License-Identifier: MIT */
/*
 * Memory refused at every step of turning an answer: it is a miss, or the same answer as ever, and
 * nothing is lost or left behind. The answers are those of tests/corpus/answers.
 */
#include <nearside/base/mem.h>
#include <nearside/cache/form.h>

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FOLDER   "tests/corpus/answers" /* tests run from the top of the tree */
#define FILE_MAX ((size_t)64 * 1024)

typedef enum form_result (*turn_fn)(enum api api, struct str body, const struct form_wish *wish,
                                    struct buf *out);

struct turn {
    turn_fn fn;
    struct form_wish wish;
};

static const struct turn turns[] = {
    {form_stream_to_plain, {.bytes_max = 1 << 20}},
    {form_plain_to_stream, {.bytes_max = 1 << 20}},
    {form_plain_to_stream, {.bytes_max = 1 << 20, .include_usage = true}},
    {form_stream_filter_usage, {.bytes_max = 1 << 20}},
};

/* Lines of data that are put together, and names that are lists in the tree. */
static const char in_several_lines[] =
    "data: {\"object\":\"chat.completion.chunk\",\"created\":1,\n"
    "data: \"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\n"
    "data: \"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\n"
    "data: \"usage\":{\"total_tokens\":2}}\n\n"
    "data: [DONE]\n\n";

static enum form_result turned(const struct turn *turn, enum api api, struct str body,
                               struct buf *out)
{
    buf_init_try(out);
    return turn->fn(api, body, &turn->wish, out);
}

/* Was the refusal asked for still to come? Takes it back. */
static bool is_pending(unsigned count)
{
    bool pending = false;

    for (unsigned i = 0; i < count && !pending; i++) {
        void *block = mem_try_alloc(1);
        pending = block == NULL;
        mem_free(block);
    }
    mem_try_fail_after(0);
    return pending;
}

/* The `nth` request for memory is refused. False: there were not so many. */
static bool refuse_one(const struct turn *turn, enum api api, struct str body, struct str expected,
                       unsigned nth, unsigned *misses)
{
    struct buf out;

    mem_try_fail_after(nth);
    enum form_result result = turned(turn, api, body, &out);
    bool was_refused = !is_pending(nth);
    if (result == FORM_OK) {
        assert_true(str_eq(buf_str(&out), expected));
    } else {
        assert_true(was_refused);
        assert_int_equal(buf_len(&out), 0);
        (*misses)++;
    }
    buf_done(&out);
    return was_refused;
}

static unsigned refuse_each(const struct turn *turn, enum api api, struct str body)
{
    unsigned misses = 0;
    struct buf expected;

    if (turned(turn, api, body, &expected) == FORM_OK) {
        unsigned nth = 1;
        while (refuse_one(turn, api, body, buf_str(&expected), nth, &misses)) {
            nth++;
        }
        assert_true(misses > 0 && misses < nth);
    }
    buf_done(&expected);
    return misses;
}

static unsigned refuse_all(struct str body)
{
    unsigned misses = 0;

    for (size_t i = 0; i < ARRAY_LEN(turns); i++) {
        misses += refuse_each(&turns[i], API_CHAT, body);
        misses += refuse_each(&turns[i], API_COMPLETIONS, body);
    }
    return misses;
}

static struct str read_answer(const char *name, char content[FILE_MAX])
{
    char path[512];

    (void)snprintf(path, sizeof(path), FOLDER "/%s", name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t len = fread(content, 1, FILE_MAX, file);
    (void)fclose(file);
    assert_true(len < FILE_MAX);
    return str_make(content, len);
}

static void test_refused_memory_is_a_miss_wherever_it_comes(void **state)
{
    static char content[FILE_MAX];
    unsigned misses = 0;
    unsigned answers = 0;
    DIR *folder = opendir(FOLDER);

    (void)state;
    assert_non_null(folder);
    for (struct dirent *item = readdir(folder); item != NULL; item = readdir(folder)) {
        if (item->d_name[0] != '.' && strcmp(item->d_name, "index.json") != 0) {
            misses += refuse_all(read_answer(item->d_name, content));
            answers++;
        }
    }
    (void)closedir(folder);
    assert_true(answers > 40);
    assert_true(misses > 1000);
}

static void test_refused_memory_for_data_in_several_lines_is_a_miss(void **state)
{
    (void)state;
    assert_true(refuse_all(str_of(in_several_lines)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_memory_is_a_miss_wherever_it_comes),
        cmocka_unit_test(test_refused_memory_for_data_in_several_lines_is_a_miss),
    };

    form_setup(); /* the trees' memory counts as well */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
