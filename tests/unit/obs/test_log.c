/* SPDX-License-Identifier: MIT */
/* The log: what a line looks like, what is lost when nobody reads, reopening and reloading. */
#include <nearside/base/buf.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/obs/log.h>
#include <nearside/obs/metric.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 10000 /* for a condition that comes at once unless something is broken */

struct fixture {
    char dir[32];
    char file[64];
    char access_file[64];
    char other_file[64];
    struct errbuf err;
};

static int setup(void **state)
{
    struct fixture *fixture = mem_new(struct fixture);

    snprintf(fixture->dir, sizeof(fixture->dir), "/tmp/nearside-log-XXXXXX");
    assert_non_null(mkdtemp(fixture->dir));
    snprintf(fixture->file, sizeof(fixture->file), "%s/log", fixture->dir);
    snprintf(fixture->access_file, sizeof(fixture->access_file), "%s/access", fixture->dir);
    snprintf(fixture->other_file, sizeof(fixture->other_file), "%s/other", fixture->dir);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    log_stop();
    unlink(fixture->file);
    unlink(fixture->access_file);
    unlink(fixture->other_file);
    rmdir(fixture->dir);
    mem_free(fixture);
    return 0;
}

static struct log_conf conf_of(const struct fixture *fixture)
{
    return (struct log_conf){
        .level = LOG_LEVEL_INFO,
        .format = LOG_FORMAT_JSON,
        .file = fixture->file,
        .access_file = fixture->access_file,
    };
}

static void start(struct fixture *fixture, struct log_conf conf)
{
    assert_int_equal(log_start(&conf, &fixture->err), STATUS_OK);
}

/* The whole file as a C string in the buffer. */
static const char *read_file(const char *path, struct buf *content)
{
    FILE *file = fopen(path, "r");

    buf_clear(content);
    while (file != NULL && !feof(file)) {
        assert_true(buf_reserve(content, 65536));
        buf_produced(content, fread(buf_tail(content), 1, 65536, file));
    }
    if (file != NULL) {
        fclose(file);
    }
    buf_append_char(content, '\0');
    content->end--;
    return content->data;
}

static bool has_text(const char *path, const char *text)
{
    struct buf content;

    buf_init(&content);
    bool answer = strstr(read_file(path, &content), text) != NULL;
    buf_done(&content);
    return answer;
}

static void wait_for_text(const char *path, const char *text)
{
    uint64_t deadline = clock_mono_ns() + WAIT_MS * NS_PER_MS;

    while (!has_text(path, text)) {
        assert_true(clock_mono_ns() < deadline);
        (void)poll(NULL, 0, 2);
    }
}

/* The next line as JSON; NULL when none is left. Fails on a line that is no JSON object. */
static json_t *next_json(struct str *rest)
{
    json_error_t error;
    struct str line = str_slice(*rest, 0, str_find_char(*rest, '\n'));

    if (rest->len == 0) {
        return NULL;
    }
    json_t *json = json_loadb(line.ptr, line.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!json_is_object(json)) {
        fail_msg("no JSON: %.*s", STR_FMT(line));
    }
    *rest = str_slice(*rest, line.len + 1, rest->len);
    return json;
}

/* The file's only line. */
static json_t *only_json(const char *path)
{
    struct buf content;

    buf_init(&content);
    read_file(path, &content);
    struct str rest = buf_str(&content);
    json_t *json = next_json(&rest);
    assert_non_null(json);
    assert_int_equal(rest.len, 0);
    buf_done(&content);
    return json;
}

static const char *member(json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));

    assert_non_null(text);
    return text;
}

/* --- lines ----------------------------------------------------------------------------------- */

static const struct {
    const char *value;
    const char *expected;
} nasty_cases[] = {
    {"plain", "plain"},
    {"", ""},
    {"two words", "two words"},
    {"a\"b", "a\"b"},
    {"\" forged=1 x=\"", "\" forged=1 x=\""},
    {"x forged=1", "x forged=1"},
    {"\",\"forged\":\"1", "\",\"forged\":\"1"},
    {"back\\slash\\", "back\\slash\\"},
    {"\\\"", "\\\""},
    {"line\nbreak\r\n\t", "line\nbreak\r\n\t"},
    {"\x01\x1b[31mred\x7f", "\x01\x1b[31mred\x7f"},
    {"%s%n%d", "%s%n%d"},
    {"caf\xc3\xa9 \xf0\x9f\x98\x80", "caf\xc3\xa9 \xf0\x9f\x98\x80"},
    {"bad \xff\xfe", "bad \xef\xbf\xbd\xef\xbf\xbd"},
    {"cut \xe2\x82", "cut \xef\xbf\xbd\xef\xbf\xbd"},
    {"overlong \xc0\xaf", "overlong \xef\xbf\xbd\xef\xbf\xbd"},
    {"surrogate \xed\xa0\x80", "surrogate \xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"},
    {"nan", "nan"},
    {"007", "007"},
    {"1.", "1."},
    {"-", "-"},
    {"1e", "1e"},
    {"0x10", "0x10"},
    {"null", "null"},
    {"True", "True"},
};

/* Any bytes stay one string member, wherever the value stands and with or without quotes. */
static void test_log_json_keeps_nasty_values_in_their_member(void **state)
{
    struct fixture *fixture = *state;
    struct buf content;

    start(fixture, conf_of(fixture));
    for (size_t i = 0; i < ARRAY_LEN(nasty_cases); i++) {
        const char *value = nasty_cases[i].value;
        log_info("nasty", "bare=%s quoted=\"%s\" tail=%d last=%s", value, value, 7, value);
    }
    log_stop();

    buf_init(&content);
    read_file(fixture->file, &content);
    struct str rest = buf_str(&content);
    for (size_t i = 0; i < ARRAY_LEN(nasty_cases); i++) {
        json_t *json = next_json(&rest);
        assert_string_equal(member(json, "bare"), nasty_cases[i].expected);
        assert_string_equal(member(json, "quoted"), nasty_cases[i].expected);
        assert_string_equal(member(json, "last"), nasty_cases[i].expected);
        assert_int_equal(json_integer_value(json_object_get(json, "tail")), 7);
        assert_int_equal(json_object_size(json), 7);
        json_decref(json);
    }
    assert_int_equal(rest.len, 0);
    buf_done(&content);
}

static void test_log_json_leaves_numbers_and_booleans_bare_unless_quoted(void **state)
{
    struct fixture *fixture = *state;
    struct log_conf conf = conf_of(fixture);

    conf.edge_id = "fra-\"1\"";
    start(fixture, conf);
    log_warn("numbers", "a=%d b=%.2f c=%s d=%s e=%s f=\"%d\" g=-0.5e+3", -1, 0.25, "true", "false",
             "0", 12);
    log_stop();

    json_t *json = only_json(fixture->file);
    assert_string_equal(member(json, "level"), "warn");
    assert_string_equal(member(json, "edge"), "fra-\"1\"");
    assert_string_equal(member(json, "event"), "numbers");
    assert_int_equal(strlen(member(json, "time")), CLOCK_ISO_LEN - 1);
    assert_int_equal(json_integer_value(json_object_get(json, "a")), -1);
    assert_true(json_real_value(json_object_get(json, "b")) == 0.25);
    assert_true(json_is_true(json_object_get(json, "c")));
    assert_true(json_is_false(json_object_get(json, "d")));
    assert_true(json_is_integer(json_object_get(json, "e")));
    assert_string_equal(member(json, "f"), "12");
    assert_true(json_real_value(json_object_get(json, "g")) == -500);
    json_decref(json);
}

static void test_log_text_quotes_what_is_not_one_plain_word(void **state)
{
    struct fixture *fixture = *state;
    struct log_conf conf = conf_of(fixture);
    struct buf content;

    conf.format = LOG_FORMAT_TEXT;
    conf.edge_id = "fra-1";
    start(fixture, conf);
    log_info("endpoint_down", "region=%s fails=%u msg=\"%s\" q=%s empty=%s", "eu-west", 3U,
             "two\nwords", "a=b", "");
    log_info("ready", "%s", "");
    log_info("told", "in words: %d", 5);
    log_stop();

    buf_init(&content);
    const char *text = read_file(fixture->file, &content);
    assert_non_null(strstr(text, "Z info endpoint_down region=eu-west fails=3 msg=\"two\\nwords\" "
                                 "q=\"a=b\" empty=\"\"\n"));
    assert_non_null(strstr(text, "Z info ready\n"));
    assert_non_null(strstr(text, "Z info told msg=\"in words: 5\"\n"));
    buf_done(&content);
}

static void test_log_cuts_a_line_that_is_too_long_and_says_so(void **state)
{
    struct fixture *fixture = *state;
    char *value = mem_alloc(20001);

    memset(value, '"', 20000);
    value[20000] = '\0';
    start(fixture, conf_of(fixture));
    log_error("long", "first=%d value=%s last=%d", 1, value, 2);
    log_stop();
    mem_free(value);

    json_t *json = only_json(fixture->file);
    assert_in_range(strlen(member(json, "value")), 8000, 8192);
    assert_true(json_is_true(json_object_get(json, "cut")));
    json_decref(json);
}

static void test_log_leaves_out_levels_that_are_off(void **state)
{
    struct fixture *fixture = *state;
    struct log_conf conf = conf_of(fixture);

    conf.level = LOG_LEVEL_WARN;
    start(fixture, conf);
    assert_true(log_is_on(LOG_LEVEL_WARN));
    assert_false(log_is_on(LOG_LEVEL_INFO));
    log_info("quiet", "a=%d", 1);
    log_warn("loud", "a=%d", 1);
    log_stop();

    json_t *json = only_json(fixture->file);
    assert_string_equal(member(json, "event"), "loud");
    json_decref(json);
}

static void test_log_before_the_start_goes_to_stderr_as_text(void **state)
{
    struct fixture *fixture = *state;
    int kept = dup(STDERR_FILENO);
    int fd = open(fixture->file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(kept >= 0 && fd >= 0);
    dup2(fd, STDERR_FILENO);
    log_error("early", "a=%d", 1);
    log_access_write("nowhere\n", 8);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(fd);
    assert_true(has_text(fixture->file, " error early a=1\n"));
    assert_false(log_access_is_on());
}

/* --- lateness, loss -------------------------------------------------------------------------- */

static void test_log_writes_without_being_stopped(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, conf_of(fixture));
    for (int i = 0; i < 3; i++) { /* the writer sleeps differently after a first line */
        log_access_write("access\n", 7);
        wait_for_text(fixture->access_file, "access\n");
        log_info("event", "a=%d", i);
        wait_for_text(fixture->file, "\"event\":\"event\"");
        assert_int_equal(truncate(fixture->access_file, 0), 0);
        assert_int_equal(truncate(fixture->file, 0), 0);
    }
}

static void *log_many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 2000; i++) {
        log_info("event", "number=%d", i);
        log_access_write("{\"access\":\"0123456789012345678901234567890123456789\"}\n", 54);
    }
    return NULL;
}

static size_t count_json_lines(const char *path)
{
    struct buf content;
    size_t count = 0;

    buf_init(&content);
    read_file(path, &content);
    struct str rest = buf_str(&content);
    for (json_t *json = next_json(&rest); json != NULL; json = next_json(&rest)) {
        count++;
        json_decref(json);
    }
    buf_done(&content);
    return count;
}

static void test_log_lines_of_many_threads_stay_whole(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[4];

    start(fixture, conf_of(fixture));
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(log_dropped(), 0);
    log_stop();
    assert_int_equal(count_json_lines(fixture->file), 8000);
    assert_int_equal(count_json_lines(fixture->access_file), 8000);
}

/* A named pipe at `path` whose reader does not read. */
static int open_pipe(const char *path)
{
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static void log_until_dropped(uint64_t *ret_count)
{
    char filler[1001];

    memset(filler, 'x', sizeof(filler) - 1);
    filler[sizeof(filler) - 1] = '\0';
    for (*ret_count = 0; log_dropped() < 50; (*ret_count)++) {
        log_info("filler", "number=%d text=%s", (int)*ret_count, filler);
    }
}

/* Read what there is; true when something came. */
static bool read_more(int fd, struct buf *content)
{
    assert_true(buf_reserve(content, 65536));
    ssize_t got = read(fd, buf_tail(content), 65536);
    if (got > 0) {
        buf_produced(content, (size_t)got);
    } else {
        (void)poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 10);
    }
    return got > 0;
}

/* Go through the whole lines: how many fillers came, how many lines are noted as lost. */
static void take_lines(struct buf *content, uint64_t *fillers, uint64_t *noted)
{
    size_t end = buf_len(content);

    while (end > 0 && buf_str(content).ptr[end - 1] != '\n') {
        end--;
    }
    struct str rest = str_slice(buf_str(content), 0, end);
    for (json_t *json = next_json(&rest); json != NULL; json = next_json(&rest)) {
        *fillers += strcmp(member(json, "event"), "filler") == 0;
        *noted += (uint64_t)json_integer_value(json_object_get(json, "count"));
        json_decref(json);
    }
    buf_consume(content, end);
}

static void test_log_counts_and_reports_what_a_reader_that_sleeps_makes_it_lose(void **state)
{
    struct fixture *fixture = *state;
    int fd = open_pipe(fixture->file);
    struct buf content;
    uint64_t logged = 0;
    uint64_t arrived = 0;
    uint64_t noted = 0;
    int64_t hits_before = metric_sum(METRIC_LIMIT_HITS, LIMIT_LOG_BUFFER, 0, 0);

    buf_init(&content);
    start(fixture, conf_of(fixture));
    log_until_dropped(&logged); /* would hang here if a full pipe blocked its callers */
    uint64_t deadline = clock_mono_ns() + WAIT_MS * NS_PER_MS;
    while (arrived + noted < logged) {
        assert_true(clock_mono_ns() < deadline);
        if (read_more(fd, &content)) {
            take_lines(&content, &arrived, &noted);
        }
    }
    assert_int_equal(noted, 50);
    assert_int_equal(arrived, logged - 50);
    log_stop();
    assert_int_equal(metric_sum(METRIC_LIMIT_HITS, LIMIT_LOG_BUFFER, 0, 0) - hits_before, 50);
    close(fd);
    buf_done(&content);
}

static void test_log_goes_on_while_the_access_reader_sleeps(void **state)
{
    struct fixture *fixture = *state;
    int fd = open_pipe(fixture->access_file);
    char line[1000];

    memset(line, 'x', sizeof(line));
    line[sizeof(line) - 1] = '\n';
    start(fixture, conf_of(fixture));
    while (log_dropped() == 0) {
        log_access_write(line, sizeof(line));
    }
    log_info("alive", "a=%d", 1);
    wait_for_text(fixture->file, "\"event\":\"alive\"");

    uint64_t began = clock_mono_ns();
    log_stop();
    assert_true(clock_mono_ns() - began < 4 * NS_PER_S);
    close(fd);
}

static void test_log_counts_lines_that_the_disk_refuses(void **state)
{
    struct fixture *fixture = *state;
    struct log_conf conf = conf_of(fixture);
    uint64_t deadline = clock_mono_ns() + WAIT_MS * NS_PER_MS;

    conf.access_file = "/dev/full";
    start(fixture, conf);
    log_access_write("one\ntwo\n", 8);
    while (log_dropped() != 2) {
        assert_true(clock_mono_ns() < deadline);
        (void)poll(NULL, 0, 2);
    }
    wait_for_text(fixture->file, "\"stream\":\"access\",\"count\":2}");
}

#define FILE_MAX 4096
#define LONG_LEN 3000

/* Two lines where there is room for one and a half; then there is room again. */
static void fill_the_disk(struct fixture *fixture)
{
    uint64_t deadline = clock_mono_ns() + WAIT_MS * NS_PER_MS;
    char lines[2 * LONG_LEN];
    struct rlimit before;
    struct rlimit small;

    memset(lines, 'x', sizeof(lines));
    lines[LONG_LEN - 1] = '\n';
    lines[2 * LONG_LEN - 1] = '\n';
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = FILE_MAX, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    start(fixture, conf_of(fixture));
    log_access_write(lines, sizeof(lines));
    while (log_dropped() == 0) {
        assert_true(clock_mono_ns() < deadline);
        (void)poll(NULL, 0, 2);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void assert_access_ends_with_a_cut_and_a_whole_line(struct fixture *fixture)
{
    struct buf content;

    buf_init(&content);
    assert_string_equal(read_file(fixture->access_file, &content) + FILE_MAX, "\nwhole\n");
    assert_true(has_text(fixture->file, "\"stream\":\"access\",\"count\":1}"));
    buf_done(&content);
}

static void test_log_begins_a_line_behind_one_that_a_full_disk_cut(void **state)
{
    struct fixture *fixture = *state;

    fill_the_disk(fixture);
    log_access_write("whole\n", 6);
    log_stop();
    assert_access_ends_with_a_cut_and_a_whole_line(fixture);
}

static void test_log_begins_a_line_in_a_cut_file_that_was_opened_again(void **state)
{
    struct fixture *fixture = *state;

    fill_the_disk(fixture);
    log_reopen();
    log_access_write("whole\n", 6);
    log_stop();
    assert_access_ends_with_a_cut_and_a_whole_line(fixture);
}

static void test_log_begins_a_new_file_with_a_line_whatever_became_of_the_old_one(void **state)
{
    struct fixture *fixture = *state;
    struct buf content;

    buf_init(&content);
    fill_the_disk(fixture);
    assert_int_equal(rename(fixture->access_file, fixture->other_file), 0);
    log_reopen();
    log_access_write("whole\n", 6);
    log_stop();
    assert_string_equal(read_file(fixture->access_file, &content), "whole\n");
    buf_done(&content);
}

/* --- reopening, reloading -------------------------------------------------------------------- */

static void test_log_reopen_follows_the_name(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, conf_of(fixture));
    log_info("before", "a=%d", 1);
    wait_for_text(fixture->file, "before");
    assert_int_equal(rename(fixture->file, fixture->other_file), 0);
    log_reopen();
    log_info("after", "a=%d", 1);
    log_stop();
    assert_true(has_text(fixture->other_file, "before"));
    assert_false(has_text(fixture->other_file, "after"));
    assert_true(has_text(fixture->file, "after"));
}

static void test_log_reopen_that_fails_keeps_the_old_file_and_says_so(void **state)
{
    struct fixture *fixture = *state;

    start(fixture, conf_of(fixture));
    log_info("before", "a=%d", 1);
    wait_for_text(fixture->file, "before");
    assert_int_equal(rename(fixture->file, fixture->other_file), 0);
    assert_int_equal(mkdir(fixture->file, 0700), 0);
    log_reopen();
    log_info("after", "a=%d", 1);
    log_stop();
    assert_int_equal(rmdir(fixture->file), 0);
    assert_true(has_text(fixture->other_file, "log_reopen_failed"));
    assert_true(has_text(fixture->other_file, "after"));
}

static void test_log_prepare_that_fails_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct log_conf conf = conf_of(fixture);
    struct log_change *change = NULL;

    start(fixture, conf);
    conf.level = LOG_LEVEL_DEBUG;
    conf.access_file = "/nonexistent/access";
    assert_int_equal(log_prepare(&conf, &change, &fixture->err), STATUS_FAILED);
    assert_string_equal(fixture->err.text, "log: /nonexistent/access: No such file or directory");
    assert_null(change);
    assert_false(log_is_on(LOG_LEVEL_DEBUG));

    conf.access_file = "";
    assert_int_equal(log_prepare(&conf, &change, &fixture->err), STATUS_OK);
    log_abandon(change);
    log_abandon(NULL);
    assert_false(log_is_on(LOG_LEVEL_DEBUG));
    assert_true(log_access_is_on());
}

static void test_log_commit_changes_level_format_edge_and_files(void **state)
{
    struct fixture *fixture = *state;
    struct log_conf conf = conf_of(fixture);
    struct log_change *change = NULL;

    start(fixture, conf);
    log_info("before", "a=%d", 1);
    conf.level = LOG_LEVEL_DEBUG;
    conf.file = fixture->other_file;
    conf.access_file = "";
    conf.edge_id = "ams-1";
    assert_int_equal(log_prepare(&conf, &change, &fixture->err), STATUS_OK);
    log_commit(change);
    log_debug("after", "a=%d", 1);
    assert_false(log_access_is_on());
    log_stop();

    json_t *json = only_json(fixture->file);
    assert_string_equal(member(json, "event"), "before");
    json_decref(json);
    json = only_json(fixture->other_file);
    assert_string_equal(member(json, "event"), "after");
    assert_string_equal(member(json, "edge"), "ams-1");
    json_decref(json);
}

/* A pipe that took half a line is left; the new file begins with the next whole one. */
static void test_log_commit_away_from_a_stuck_pipe_keeps_lines_whole(void **state)
{
    struct fixture *fixture = *state;
    struct log_conf conf = conf_of(fixture);
    struct log_change *change = NULL;
    int fd = open_pipe(fixture->file);
    uint64_t logged = 0;

    start(fixture, conf);
    log_until_dropped(&logged);
    conf.file = fixture->other_file;
    assert_int_equal(log_prepare(&conf, &change, &fixture->err), STATUS_OK);
    log_commit(change);
    wait_for_text(fixture->other_file, "log_lines_dropped");
    log_stop();
    assert_true(count_json_lines(fixture->other_file) > 100);
    close(fd);
}

/* --- small ----------------------------------------------------------------------------------- */

static void test_log_quote_cuts_between_characters(void **state)
{
    (void)state;
    char out[8];

    assert_string_equal(log_quote(STR_LIT("short"), out, sizeof(out)), "short");
    assert_string_equal(log_quote(STR_LIT("1234567"), out, sizeof(out)), "1234567");
    assert_string_equal(log_quote(STR_LIT("12345678"), out, sizeof(out)), "1234567");
    assert_string_equal(log_quote(STR_LIT("12345\xe2\x82\xac!"), out, sizeof(out)), "12345");
    assert_string_equal(log_quote(STR_LIT("a\0b"), out, sizeof(out)), "a?b");
    assert_string_equal(log_quote(str_make(NULL, 0), out, sizeof(out)), "");
    assert_string_equal(log_quote(STR_LIT("x"), out, 1), "");
}

static void test_log_rate_lets_one_through_each_second_and_counts_the_rest(void **state)
{
    (void)state;
    struct log_rate rate = {0};
    uint64_t suppressed = 99;
    uint64_t now = 5 * NS_PER_S;

    assert_true(log_rate_allow(&rate, now, &suppressed));
    assert_int_equal(suppressed, 0);
    assert_false(log_rate_allow(&rate, now, &suppressed));
    assert_false(log_rate_allow(&rate, now + NS_PER_S - 1, &suppressed));
    assert_true(log_rate_allow(&rate, now + NS_PER_S, &suppressed));
    assert_int_equal(suppressed, 2);
}

#define LOG_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(test_log_before_the_start_goes_to_stderr_as_text),
        LOG_TEST(test_log_json_keeps_nasty_values_in_their_member),
        LOG_TEST(test_log_json_leaves_numbers_and_booleans_bare_unless_quoted),
        LOG_TEST(test_log_text_quotes_what_is_not_one_plain_word),
        LOG_TEST(test_log_cuts_a_line_that_is_too_long_and_says_so),
        LOG_TEST(test_log_leaves_out_levels_that_are_off),
        LOG_TEST(test_log_writes_without_being_stopped),
        LOG_TEST(test_log_lines_of_many_threads_stay_whole),
        LOG_TEST(test_log_counts_and_reports_what_a_reader_that_sleeps_makes_it_lose),
        LOG_TEST(test_log_goes_on_while_the_access_reader_sleeps),
        LOG_TEST(test_log_counts_lines_that_the_disk_refuses),
        LOG_TEST(test_log_begins_a_line_behind_one_that_a_full_disk_cut),
        LOG_TEST(test_log_begins_a_line_in_a_cut_file_that_was_opened_again),
        LOG_TEST(test_log_begins_a_new_file_with_a_line_whatever_became_of_the_old_one),
        LOG_TEST(test_log_reopen_follows_the_name),
        LOG_TEST(test_log_reopen_that_fails_keeps_the_old_file_and_says_so),
        LOG_TEST(test_log_prepare_that_fails_changes_nothing),
        LOG_TEST(test_log_commit_changes_level_format_edge_and_files),
        LOG_TEST(test_log_commit_away_from_a_stuck_pipe_keeps_lines_whole),
        cmocka_unit_test(test_log_quote_cuts_between_characters),
        cmocka_unit_test(test_log_rate_lets_one_through_each_second_and_counts_the_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
