/* SPDX-License-Identifier: MIT */
/*
 * What may be looked up, answered and stored: decisions over values, no clock, no I/O.
 *
 * One habit of real servers shapes the response side: `Cache-Control: no-cache` on an event stream
 * is a convention (the SSE examples of every framework carry it, to keep proxies from buffering)
 * and says nothing about the answer. So on event streams it, and max-age=0 that comes with it, do
 * not forbid storing; no-store and private do, everywhere.
 */
#include <nearside/cache/rule.h>

#define MS_PER_S 1000ULL

#define TTL_JITTER_SHARE 10 /* of a time to live */

/* ---- Cache-Control of either side ---- */

struct directives {
    bool no_cache;
    bool no_store;
    bool is_private;
    bool only_if_cached;
    bool has_max_age;
    bool has_s_maxage;
    bool must_revalidate; /* or proxy-revalidate */
    uint64_t max_age_s;
    uint64_t s_maxage_s;
};

/* Seconds as a token or, against the letter of RFC 9111 but seen, in quotes. */
static bool parse_seconds(struct str text, uint64_t *ret_seconds)
{
    if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"') {
        text = str_slice(text, 1, text.len - 1);
    }
    return str_to_u64(text, ret_seconds);
}

static void take_smaller(struct str text, bool *has, uint64_t *smallest)
{
    uint64_t seconds;

    if (parse_seconds(text, &seconds) && (!*has || seconds < *smallest)) {
        *has = true;
        *smallest = seconds;
    }
}

/* A directive with an argument counts like the bare one: no-cache="x-field" forbids less, but
 * taking it whole errs on the safe side. */
static void take_directive(struct directives *found, struct str item)
{
    size_t equals = str_find_char(item, '=');
    struct str name = str_trim(str_slice(item, 0, equals));
    struct str value = str_trim(str_slice(item, equals + 1, item.len));

    if (str_eq_nocase(name, STR_LIT("no-cache"))) {
        found->no_cache = true;
    } else if (str_eq_nocase(name, STR_LIT("no-store"))) {
        found->no_store = true;
    } else if (str_eq_nocase(name, STR_LIT("private"))) {
        found->is_private = true;
    } else if (str_eq_nocase(name, STR_LIT("must-revalidate")) ||
               str_eq_nocase(name, STR_LIT("proxy-revalidate"))) {
        found->must_revalidate = true;
    } else if (str_eq_nocase(name, STR_LIT("only-if-cached"))) {
        found->only_if_cached = true;
    } else if (str_eq_nocase(name, STR_LIT("max-age"))) {
        take_smaller(value, &found->has_max_age, &found->max_age_s);
    } else if (str_eq_nocase(name, STR_LIT("s-maxage"))) {
        take_smaller(value, &found->has_s_maxage, &found->s_maxage_s);
    }
}

static struct directives read_directives(const struct http_head *head)
{
    struct directives found = {.no_cache = false};

    for (const struct http_field *field = http_head_find(head, HTTP_NAME_CACHE_CONTROL);
         field != NULL; field = http_head_next(head, field)) {
        struct str rest = field->value;
        struct str item;
        while (str_next_item(&rest, ',', &item)) {
            take_directive(&found, item);
        }
    }
    return found;
}

void cache_control_parse(const struct http_head *head, struct cache_control *ret_control)
{
    struct directives found = read_directives(head);

    *ret_control = (struct cache_control){
        .no_cache = found.no_cache,
        .no_store = found.no_store,
        .only_if_cached = found.only_if_cached,
        .has_max_age = found.has_max_age,
        .max_age_s = found.max_age_s,
    };
}

/* ---- requests ---- */

enum api api_of(enum http_method method, struct str path)
{
    static const struct {
        const char *path;
        enum api api;
    } rows[] = {
        {"/v1/chat/completions", API_CHAT}, {"/v1/completions", API_COMPLETIONS},
        {"/v1/embeddings", API_EMBEDDINGS}, {"/v1/responses", API_RESPONSES},
        {"/v1/messages", API_MESSAGES},
    };

    if (method != HTTP_POST) {
        return API_NONE;
    }
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (str_eq(path, str_of(rows[i].path))) {
            return rows[i].api;
        }
    }
    return API_NONE;
}

static bool has_value(const struct json_scan *scan, struct str name, struct str idle)
{
    for (uint32_t i = 0; i < scan->member_count; i++) {
        const struct json_member *member = &scan->members[i];
        if (str_eq(member->name, name)) {
            return !str_eq(member->value, STR_LIT("null")) && !str_eq(member->value, idle);
        }
    }
    return false;
}

/* An answer kept by the server, appended to a conversation whose state is no part of the key, or
 * begun in the background (the 200 then only says "queued"). */
bool cache_request_acts(enum api api, const struct json_scan *scan)
{
    if (scan->store) {
        return true;
    }
    return api == API_RESPONSES && (has_value(scan, STR_LIT("conversation"), STR_EMPTY) ||
                                    has_value(scan, STR_LIT("background"), STR_LIT("false")));
}

static bool is_allowed_by_policy(const struct conf_cache *conf, enum api api,
                                 const struct json_scan *scan)
{
    if (!conf->enabled || conf->when == CONF_CACHE_NEVER) {
        return false;
    }
    return conf->when == CONF_CACHE_ALWAYS || api == API_EMBEDDINGS || scan->temperature_is_zero ||
           scan->has_seed;
}

static struct cache_plan bypass(const char *why)
{
    return (struct cache_plan){.lookup = false, .store = false, .bypass = why};
}

struct cache_plan cache_plan_request(const struct conf_cache *conf, enum http_method method,
                                     enum api api, const struct cache_control *control,
                                     bool scan_ok, const struct json_scan *scan)
{
    if (method != HTTP_POST) {
        return bypass("method");
    }
    if (api == API_NONE) {
        return bypass("path");
    }
    if (!scan_ok) {
        return bypass("body");
    }
    if (!is_allowed_by_policy(conf, api, scan)) {
        return bypass("policy");
    }
    if (control->no_store || cache_request_acts(api, scan)) {
        return bypass("request");
    }

    /* max-age=0 asks for a new answer, as no-cache does; only-if-cached never fetches one. */
    bool wants_new = control->no_cache || (control->has_max_age && control->max_age_s == 0);
    return (struct cache_plan){
        .lookup = !wants_new,
        .store = !control->only_if_cached,
        .bypass = wants_new ? "request" : NULL,
    };
}

/* ---- responses ---- */

static struct str media_type(const struct http_head *response)
{
    struct str value = http_head_value(response, HTTP_NAME_CONTENT_TYPE);

    return str_trim(str_slice(value, 0, str_find_char(value, ';')));
}

bool cache_response_is_stream(const struct http_head *response)
{
    return str_eq_nocase(media_type(response), STR_LIT("text/event-stream"));
}

/* The APIs we know answer in JSON or as event streams. Anything else with status 200 is somebody
 * else's page (a load balancer's, a login's) and must not be replayed for an hour. */
static bool has_answer_type(const struct http_head *response)
{
    return cache_response_is_stream(response) ||
           str_eq_nocase(media_type(response), STR_LIT("application/json"));
}

/* Accept-Encoding: an encoded body is not kept anyway. Origin: part of the key. */
static bool varies_within_key(const struct http_head *response)
{
    for (const struct http_field *field = http_head_find(response, HTTP_NAME_VARY); field != NULL;
         field = http_head_next(response, field)) {
        struct str rest = field->value;
        struct str name;
        while (str_next_item(&rest, ',', &name)) {
            if (!str_eq_nocase(name, STR_LIT("accept-encoding")) &&
                !str_eq_nocase(name, STR_LIT("origin"))) {
                return false;
            }
        }
    }
    return true;
}

static bool is_encoded(const struct http_head *response)
{
    struct str value = http_head_value(response, HTTP_NAME_CONTENT_ENCODING);

    return value.len > 0 && !str_eq_nocase(value, STR_LIT("identity"));
}

/* A body that ends with the connection looks the same whole and cut. */
static bool has_sure_end(const struct http_head *response)
{
    return response->body == HTTP_BODY_CHUNKED ||
           (response->body == HTTP_BODY_LENGTH && response->content_length > 0);
}

bool cache_may_store_head(const struct http_head *response)
{
    if (response->status != 200 || !has_sure_end(response) || !has_answer_type(response) ||
        is_encoded(response) || !varies_within_key(response) ||
        http_head_find(response, HTTP_NAME_SET_COOKIE) != NULL) {
        return false;
    }

    struct directives found = read_directives(response);
    return !found.no_store && !found.is_private &&
           (!found.no_cache || cache_response_is_stream(response));
}

uint64_t cache_response_ttl_ms(const struct http_head *response, uint64_t ttl_ms)
{
    struct directives found = read_directives(response);
    bool has_limit = found.has_s_maxage || found.has_max_age;
    uint64_t limit_s = found.has_s_maxage ? found.s_maxage_s : found.max_age_s;

    if (!has_limit || (limit_s == 0 && cache_response_is_stream(response))) {
        return ttl_ms;
    }
    return limit_s <= ttl_ms / MS_PER_S ? limit_s * MS_PER_S : ttl_ms;
}

bool cache_response_is_strict(const struct http_head *response)
{
    struct directives found = read_directives(response);

    return found.must_revalidate || found.has_s_maxage;
}

/* splitmix64's last step: every bit of the input moves about half of the output's. */
static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ULL;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebULL;
    return value ^ (value >> 31);
}

uint64_t cache_jitter_ttl_ms(uint64_t ttl_ms, const uint8_t key[8], uint64_t stored_wall_ms)
{
    uint64_t swing_ms = ttl_ms / TTL_JITTER_SHARE;
    uint64_t number = 0;

    for (unsigned i = 0; i < 8; i++) {
        number |= (uint64_t)key[i] << (8 * i);
    }
    return ttl_ms - swing_ms + mix(number ^ mix(stored_wall_ms)) % (2 * swing_ms + 1);
}

bool cache_is_fresh(const struct cache_control *control, uint64_t stored_wall_ms, uint64_t ttl_ms,
                    uint64_t now_wall_ms)
{
    if (stored_wall_ms > now_wall_ms) {
        /* A clock that differs a little from ours: the entry is as new as can be. */
        return stored_wall_ms - now_wall_ms <= CACHE_CLOCK_SKEW_MAX_MS &&
               !(control->has_max_age && control->max_age_s == 0);
    }

    uint64_t age_ms = now_wall_ms - stored_wall_ms;
    if (age_ms >= ttl_ms) {
        return false;
    }
    return !control->has_max_age || age_ms / MS_PER_S < control->max_age_s;
}
