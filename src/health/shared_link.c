/* SPDX-License-Identifier: MIT */
/*
 * Shared state in one region's Redis: one exchange at a time, each second and after a change.
 *
 * An exchange is one script, so that it is one answer within one deadline, and nothing comes in
 * between reading an epoch and writing a newer one:
 *   1. Write this edge's report, stamped with Redis's own time: ages need no clock of two machines.
 *   2. Write the drains that the last reading showed missing or older there (newer ones stay).
 *   3. Read the live reports and all drains. Dead entries go after an hour.
 * What cannot be written (memory full, a read-only replica, no permission for it) is not written;
 * reading goes on.
 *
 * It can fail by: deadline, Redis gone, breaker open, permission denied, a reply that is not ours.
 * All are the same: what is known stays and ages, and the next second tries again. What Redis lost
 * is in the next reading's difference, and is written again.
 *
 *   NEW ──> WELL <──> UNWRITABLE      one log line for each change, none for each failure
 *    └───────┴──> LOST <──┘
 */
#include "shared_private.h"

#include "health_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/clock.h>
#include <nearside/base/mem.h>
#include <nearside/kv/kv.h>
#include <nearside/obs/log.h>

#include <stdio.h>

#define LINK_MAGIC  0x5348524cu
#define LATE_MAX    2 /* exchanges too late in a row, before that is called a loss */
#define HEAD_ITEMS  3
#define PEER_ITEMS  3
#define FIXED_WORDS 6
#define DRAIN_WORDS 2

_Static_assert(FIXED_WORDS + SHARED_DRAINS_AT_ONCE * DRAIN_WORDS <= KV_COMMAND_WORDS_MAX,
               "an exchange is one command");
_Static_assert(HEAD_ITEMS + PEERS_MAX * PEER_ITEMS + SHARED_DRAINS_MAX * 2 <= KV_ITEMS_MAX,
               "a reading is one reply");

/* KEYS: edges, drains. ARGV: own id, own report ("": none), then field and value of drains to be
 * written. Limits as in the headers: 3000 ms PEER_FRESH_MS, 256 PEERS_MAX, 1024 SHARED_DRAINS_MAX.
 * Over 4096 reports are nobody's but a fault's: all go, and those that live come back within a
 * second. Gives: why something was not written or "", what stood under the own id, number of peers;
 * three items per peer (id, age, report); two per drain (field, value). */
static const char script[] =
    "local t = redis.call('TIME') "
    "local now = t[1] * 1000 + math.floor(t[2] / 1000) "
    "local failed = '' "
    "local function write(...) "
    "  local r = redis.pcall(...) "
    "  if type(r) == 'table' and r.err then failed = r.err end "
    "end "
    "local function above(a, b) "
    "  for i = 1, math.min(#a, #b) do "
    "    local x, y = a:byte(i), b:byte(i) "
    "    if x ~= y then return x > y end "
    "  end "
    "  return #a > #b "
    "end "
    "local function parse(v) return string.match(v or '', '^(%d+) ([01]) (%d+) (.+)$') end "
    "if redis.call('HLEN', KEYS[1]) > 4096 then write('UNLINK', KEYS[1]) end "
    "local mine = redis.call('HGET', KEYS[1], ARGV[1]) or '' "
    "if ARGV[2] ~= '' then "
    "  write('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now) .. ARGV[2]) "
    "end "
    "for i = 3, #ARGV, 2 do "
    "  local e0, _, _, b0 = parse(redis.call('HGET', KEYS[2], ARGV[i])) "
    "  local e1, _, _, b1 = parse(ARGV[i + 1]) "
    "  e0 = tonumber(e0) e1 = tonumber(e1) "
    "  if not e0 and redis.call('HLEN', KEYS[2]) >= 1024 then failed = 'too many drains' "
    "  elseif not e0 or e1 > e0 or (e1 == e0 and above(b1, b0)) then "
    "    write('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) "
    "  end "
    "end "
    "local out = {failed, mine, '0'} "
    "local all = redis.call('HGETALL', KEYS[1]) "
    "local count = 0 "
    "for i = 1, #all, 2 do "
    "  local stamp, report = string.match(all[i + 1], '^(%d+) (.*)$') "
    "  local age = stamp and now - tonumber(stamp) "
    "  if not age or age > 3600000 or age < -3600000 then write('HDEL', KEYS[1], all[i]) "
    "  elseif age <= 3000 and count < 256 and all[i] ~= ARGV[1] then "
    "    count = count + 1 "
    "    out[#out + 1] = all[i] "
    "    out[#out + 1] = string.format('%.0f', math.max(age, 0)) "
    "    out[#out + 1] = report "
    "  end "
    "end "
    "if redis.call('HLEN', KEYS[2]) <= 1024 then "
    "  all = redis.call('HGETALL', KEYS[2]) "
    "  for i = 1, #all, 2 do "
    "    local _, drained, wall = parse(all[i + 1]) "
    "    if drained == '0' and now - tonumber(wall) > 604800000 then "
    "      write('HDEL', KEYS[2], all[i]) "
    "    else "
    "      out[#out + 1] = all[i] "
    "      out[#out + 1] = all[i + 1] "
    "    end "
    "  end "
    "else failed = 'too many drains' end "
    "out[1] = failed "
    "out[3] = string.format('%d', count) "
    "return out";

enum link_state { LINK_NEW, LINK_WELL, LINK_UNWRITABLE, LINK_LOST };

struct shared_link {
    uint32_t magic;
    struct list link;
    struct health *health; /* borrowed */
    char *region;          /* owned */
    struct kv *kv;         /* borrowed: outlives this */
    struct kv_request *request;
    struct deadline next;
    uint64_t started_ns;
    enum link_state state;
    unsigned late; /* in a row */
    bool settled;
    bool hurry; /* something changed while an exchange was under way */
    bool wrote; /* drains, with the exchange under way */
};

static void on_exchanged(enum kv_result result, const struct str *items, size_t count, void *arg);

/* The only place that changes link->state. */
static void link_move(struct shared_link *link, enum link_state next, const char *why)
{
    if (link->state == next) {
        return;
    }
    link->state = next;
    if (next == LINK_WELL) {
        log_info("shared_state_up", "region=%s", link->region);
    } else if (next == LINK_UNWRITABLE) {
        log_warn("shared_state_unwritable", "region=%s reason=\"%s\"", link->region, why);
    } else {
        log_warn("shared_state_down", "region=%s reason=\"%s\"", link->region, why);
    }
}

/* ---- an exchange ---- */

/* Words for the drains that Redis lacked in the reading of the present pass; returns how many. */
static size_t missing_words(struct shared_link *link, struct str *words, struct buf *values)
{
    struct shared_drains *drains = &link->health->shared->drains;
    size_t offsets[SHARED_DRAINS_AT_ONCE + 1];
    struct list *item;
    size_t count = 0;

    LIST_FOREACH (item, &drains->all) {
        struct shared_drain *drain = LIST_ITEM(item, struct shared_drain, link);

        if (drain->pass == drains->pass || count == SHARED_DRAINS_AT_ONCE) {
            continue;
        }
        words[2 * count] = str_of(drain->field);
        offsets[count++] = buf_len(values);
        shared_drain_value(drain, values);
    }
    offsets[count] = buf_len(values);
    for (size_t i = 0; i < count; i++) { /* the buffer has stopped moving */
        words[2 * i + 1] = str_slice(buf_str(values), offsets[i], offsets[i + 1]);
    }
    return 2 * count;
}

static void exchange(struct shared_link *link, bool with_drains)
{
    struct health *health = link->health;
    struct str words[KV_COMMAND_WORDS_MAX] = {
        STR_LIT("EVAL"),       str_make(script, sizeof(script) - 1),
        STR_LIT("2"),          STR_LIT("ns1:edges"),
        STR_LIT("ns1:drains"),
    };
    size_t count = FIXED_WORDS - 1;
    struct buf values;

    buf_init(&values);
    words[count++] = str_of(health->conf->edge.id);
    words[count++] = shared_report_now(health->shared);
    link->wrote = false;
    if (with_drains) {
        size_t more = missing_words(link, words + count, &values);

        link->wrote = more > 0;
        count += more;
    }
    link->hurry = false;
    link->started_ns = loop_now_ns(health->loop);
    link->request = kv_command(link->kv, words, count, SHARED_TIMEOUT_MS, on_exchanged, link);
    buf_done(&values);
}

static void on_next(struct deadline *deadline, void *arg)
{
    struct shared_link *link = OBJ_CAST(arg, shared_link, LINK_MAGIC);

    (void)deadline;
    if (link->request == NULL) {
        exchange(link, false);
    }
}

static void schedule(struct shared_link *link)
{
    uint64_t wait_ms = health_jitter_ms(link->health, SHARED_INTERVAL_MS);

    /* A change while Redis fails waits its turn: failures may come at once. */
    if (link->hurry && link->state != LINK_LOST) {
        deadline_set_in_ms(&link->next, 0);
    } else {
        deadline_set_ns(&link->next, link->started_ns + wait_ms * NS_PER_MS);
    }
}

/* ---- its answer ---- */

static void take_own(struct shared *shared, struct str text)
{
    size_t stamp = str_find_char(text, ' ');
    uint64_t epoch;
    uint64_t sequence;

    text = str_slice(text, stamp + 1, text.len);
    if (shared_report_head(&text, &epoch, &sequence)) {
        shared_id_is_taken(shared, epoch);
    }
}

/* Does some drain miss in the reading that was just taken? */
static bool lacks_drains(const struct shared_drains *drains)
{
    struct list *item;

    LIST_FOREACH (item, &drains->all) {
        if (LIST_ITEM(item, struct shared_drain, link)->pass != drains->pass) {
            return true;
        }
    }
    return false;
}

/* False: not what the script gives. */
static bool take_reading(struct shared_link *link, const struct str *items, size_t count)
{
    struct shared *shared = link->health->shared;
    uint64_t peers;
    size_t at = HEAD_ITEMS;

    if (count < HEAD_ITEMS || !str_to_u64(items[2], &peers) || peers > PEERS_MAX ||
        count < HEAD_ITEMS + peers * PEER_ITEMS) {
        return false;
    }
    take_own(shared, items[1]);
    for (; peers > 0; peers--, at += PEER_ITEMS) {
        uint64_t age_ms;

        if (str_to_u64(items[at + 1], &age_ms)) {
            shared_take_report(shared, items[at], age_ms, items[at + 2]);
        }
    }
    shared->drains.pass++;
    for (; at + 1 < count; at += 2) {
        shared_drains_take(&shared->drains, items[at], items[at + 1]);
    }
    return true;
}

static void note_failure(struct shared_link *link, enum kv_result result, const char *why)
{
    metric_inc(link->health->metrics, METRIC_SHARED_EXCHANGES, METRIC_FAILURE);
    link->late = result == KV_TIMEOUT ? link->late + 1 : LATE_MAX;
    if (link->late >= LATE_MAX) {
        link_move(link, LINK_LOST, why);
    }
}

static void note_success(struct shared_link *link, struct str failed)
{
    char why[200];

    metric_inc(link->health->metrics, METRIC_SHARED_EXCHANGES, METRIC_SUCCESS);
    link->late = 0;
    link_move(link, failed.len == 0 ? LINK_WELL : LINK_UNWRITABLE,
              log_quote(failed, why, sizeof(why)));
}

static void on_exchanged(enum kv_result result, const struct str *items, size_t count, void *arg)
{
    struct shared_link *link = OBJ_CAST(arg, shared_link, LINK_MAGIC);
    struct shared *shared = link->health->shared;
    char why[200];

    link->request = NULL;
    if (result == KV_OK && take_reading(link, items, count)) {
        note_success(link, items[0]);
        if (!link->wrote && lacks_drains(&shared->drains)) {
            exchange(link, true); /* at once, but once: what is refused waits for the next second */
        } else {
            schedule(link);
        }
        shared_end_reading(shared);
    } else {
        const char *error = result == KV_OK ? "not the script's answer" : kv_last_error(link->kv);

        note_failure(link, result,
                     error[0] == '\0' ? kv_result_word(result)
                                      : log_quote(str_of(error), why, sizeof(why)));
        schedule(link);
    }
    if (!link->settled) {
        link->settled = true;
        shared_on_settled(shared);
    }
}

/* ---- life ---- */

struct shared_link *shared_link_new(struct health *health, const char *region_name, struct kv *kv)
{
    struct shared_link *link = mem_new(struct shared_link);

    link->magic = LINK_MAGIC;
    link->health = health;
    link->region = mem_strdup(region_name);
    link->kv = kv;
    deadline_init(&link->next, health->loop, on_next, link);
    deadline_set_in_ms(&link->next, 0);
    list_push_back(&health->shared->links, &link->link);
    return link;
}

void shared_link_free(struct shared_link *link)
{
    list_remove(&link->link);
    if (link->request != NULL) {
        kv_cancel(link->request);
    }
    deadline_done(&link->next);
    mem_free(link->region);
    link->magic = 0;
    loop_defer_free(link->health->loop, link);
}

void shared_links_hurry(struct list *links)
{
    struct list *item;

    LIST_FOREACH (item, links) {
        struct shared_link *link = LIST_ITEM(item, struct shared_link, link);

        link->hurry = true;
        if (link->request == NULL && link->state != LINK_LOST) {
            deadline_set_in_ms(&link->next, 0);
        }
    }
}

uint32_t shared_links_settled(const struct list *links)
{
    struct list *item;
    uint32_t count = 0;

    LIST_FOREACH (item, links) {
        count += LIST_ITEM(item, struct shared_link, link)->settled;
    }
    return count;
}
