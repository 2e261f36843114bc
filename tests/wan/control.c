/* SPDX-License-Identifier: MIT */
/*
 * The line protocol on stdin; each line is answered with one line on stdout: "ok", "error WHY", or
 * for `stats` a JSON object.
 *
 *   set TARGET delay_ms|jitter_ms|loss_pct|rate_mbit|queue N    of one direction; 0 switches off
 *   cut TARGET | heal TARGET    packets vanish, no one is told; connections stall and go on later
 *   cut-in NODE | cut-out NODE  one way: nothing reaches NODE, or nothing leaves it
 *   stats
 *   quit                        as the end of stdin does
 *
 * TARGET: `NODE` (all its links, both ways), `A:B` (both ways), `A>B` (one way), `*`.
 */
#include "wan.h"

#include <nearside/base/attr.h>
#include <nearside/base/clock.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANY        (-1)
#define WORDS_MAX  4
#define BYTES_MBIT 125000.0
#define VALUE_MAX  1e6

struct target {
    int from; /* node index or ANY */
    int to;
    bool is_both_ways;
};

static void answer_error(const char *why)
{
    (void)printf("error %s\n", why);
}

static bool find_node(const struct wan *wan, const char *name, int *ret_index)
{
    for (unsigned i = 0; i < wan->node_count; i++) {
        if (strcmp(wan->nodes[i].name, name) == 0) {
            *ret_index = (int)i;
            return true;
        }
    }
    return false;
}

static bool parse_target(const struct wan *wan, char *text, struct target *ret_target)
{
    char *mark = strpbrk(text, ":>");
    int from = ANY;
    int to = ANY;

    if (strcmp(text, "*") == 0) {
        *ret_target = (struct target){.from = ANY, .to = ANY};
        return true;
    }
    if (mark == NULL) {
        *ret_target = (struct target){.to = ANY, .is_both_ways = true};
        return find_node(wan, text, &ret_target->from);
    }
    bool is_both_ways = *mark == ':';
    *mark = '\0';
    if (!find_node(wan, text, &from) || !find_node(wan, mark + 1, &to)) {
        return false;
    }
    *ret_target = (struct target){.from = from, .to = to, .is_both_ways = is_both_ways};
    return true;
}

static bool fits(const struct target *target, unsigned from, unsigned to)
{
    return (target->from == ANY || target->from == (int)from) &&
           (target->to == ANY || target->to == (int)to);
}

static bool matches(const struct target *target, const struct link *link)
{
    return fits(target, link->from, link->to) ||
           (target->is_both_ways && fits(target, link->to, link->from));
}

static bool set_key(struct link_rules *rules, const char *key, double value)
{
    if (strcmp(key, "delay_ms") == 0) {
        rules->delay_ns = (uint64_t)(value * (double)NS_PER_MS);
    } else if (strcmp(key, "jitter_ms") == 0) {
        rules->jitter_ns = (uint64_t)(value * (double)NS_PER_MS);
    } else if (strcmp(key, "loss_pct") == 0) {
        rules->loss = value / 100.0;
    } else if (strcmp(key, "rate_mbit") == 0) {
        rules->rate = value * BYTES_MBIT;
    } else if (strcmp(key, "queue") == 0) {
        rules->queue_max = (size_t)value;
    } else if (strcmp(key, "cut") == 0) {
        rules->is_cut = value > 0;
    } else {
        return false;
    }
    return true;
}

static void apply(struct wan *wan, const struct target *target, const char *key, double value)
{
    for (unsigned from = 0; from < wan->node_count; from++) {
        for (unsigned to = 0; to < wan->node_count; to++) {
            struct link *link = &wan->links[from][to];
            if (from == to || !matches(target, link)) {
                continue;
            }
            if (!set_key(&link->rules, key, value)) {
                answer_error("no such key");
                return;
            }
        }
    }
    (void)puts("ok");
}

static void answer_stats(const struct wan *wan)
{
    const char *comma = "";

    (void)printf("{\"unrouted\":%llu,\"links\":[", (unsigned long long)wan->unrouted);
    for (unsigned from = 0; from < wan->node_count; from++) {
        for (unsigned to = 0; to < wan->node_count; to++) {
            const struct link *link = &wan->links[from][to];
            const struct link_counters *counters = &link->counters;
            if (from == to) {
                continue;
            }
            (void)printf("%s{\"from\":\"%s\",\"to\":\"%s\",\"packets\":%llu,\"bytes\":%llu,"
                         "\"lost\":%llu,\"cut\":%llu,\"overflowed\":%llu,\"undelivered\":%llu,"
                         "\"queued\":%zu,\"is_cut\":%s}",
                         comma, wan->nodes[from].name, wan->nodes[to].name,
                         (unsigned long long)counters->packets, (unsigned long long)counters->bytes,
                         (unsigned long long)counters->lost, (unsigned long long)counters->cut,
                         (unsigned long long)counters->overflowed,
                         (unsigned long long)counters->undelivered, link->queued,
                         link->rules.is_cut ? "true" : "false");
            comma = ",";
        }
    }
    (void)puts("]}");
}

static bool parse_number(const char *text, double *ret_value)
{
    char *end = NULL;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value >= 0 && value <= VALUE_MAX)) {
        return false;
    }
    *ret_value = value;
    return true;
}

static void do_set(struct wan *wan, char **words)
{
    struct target target;
    double value = 0;

    if (!parse_target(wan, words[1], &target)) {
        answer_error("no such node");
    } else if (!parse_number(words[3], &value)) {
        answer_error("not a number from 0 to 1e6");
    } else {
        apply(wan, &target, words[2], value);
    }
}

static void do_cut(struct wan *wan, char **words)
{
    bool is_heal = strcmp(words[0], "heal") == 0;
    struct target target;

    if (parse_target(wan, words[1], &target)) {
        apply(wan, &target, "cut", is_heal ? 0 : 1);
    } else {
        answer_error("no such node");
    }
}

static void do_cut_one_way(struct wan *wan, char **words)
{
    bool is_in = strcmp(words[0], "cut-in") == 0;
    int node = ANY;

    if (!find_node(wan, words[1], &node)) {
        answer_error("no such node");
        return;
    }
    struct target target = {.from = is_in ? ANY : node, .to = is_in ? node : ANY};
    apply(wan, &target, "cut", 1);
}

static void do_stats(struct wan *wan, char **words)
{
    (void)words;
    answer_stats(wan);
}

static void do_quit(struct wan *wan, char **words)
{
    (void)words;
    wan->is_stopping = true;
    (void)puts("ok");
}

void control_line(struct wan *wan, char *line)
{
    static const struct {
        const char *word;
        unsigned word_count;
        void (*run)(struct wan *wan, char **words);
    } commands[] = {
        {"set", 4, do_set},
        {"cut", 2, do_cut},
        {"heal", 2, do_cut},
        {"cut-in", 2, do_cut_one_way},
        {"cut-out", 2, do_cut_one_way},
        {"stats", 1, do_stats},
        {"quit", 1, do_quit},
    };
    char *words[WORDS_MAX] = {NULL};
    char *rest = NULL;
    unsigned count = 0;

    for (char *word = strtok_r(line, " \t\r", &rest); word != NULL && count < WORDS_MAX;
         word = strtok_r(NULL, " \t\r", &rest)) {
        words[count++] = word;
    }
    for (size_t i = 0; count > 0 && i < ARRAY_LEN(commands); i++) {
        if (strcmp(commands[i].word, words[0]) == 0 && commands[i].word_count == count) {
            commands[i].run(wan, words);
            (void)fflush(stdout);
            return;
        }
    }
    answer_error("no such command; see tests/wan/control.c");
    (void)fflush(stdout);
}
