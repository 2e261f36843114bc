/* SPDX-License-Identifier: MIT */
/*
 * A stored answer: one allocation, the reference count in front of the bytes that Redis sees.
 *
 *     | refs, len (ours) | "NSC2" ... head, 48 bytes | fields | body |
 *                          ^ cache_entry_bytes()
 *
 * Small ones are the allocator's; from ENTRY_PAGED_BYTES on they have pages of their own, so that
 * their memory is gone with them (base/pages.h); those too large for that the allocator maps
 * anyway.
 */
#include <nearside/cache/entry.h>

#include "entry_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>
#include <nearside/base/pages.h>
#include <nearside/http/head.h>

#include <endian.h>
#include <stdatomic.h>

#define ENTRY_PAGED_BYTES 16384

struct cache_entry {
    atomic_uint refs;
    bool is_paged; /* where its memory is from */
    size_t len;    /* of bytes */
    char bytes[];
};

/* Where the head's numbers lie. */
enum {
    AT_FLAGS = 4,
    AT_PAD = 5,
    AT_STORED = 8,
    AT_TTL = 16,
    AT_GENERATION = 24,
    AT_PROMPT = 28,
    AT_COMPLETION = 32,
    AT_SPARE = 36,
    AT_FIELDS = 40,
    AT_BODY = 44,
};

static const char magic[4] = {'N', 'S', 'C', '2'};

/* The longest that can be configured (cache.ttl_s, a year) and the tenth that jitter may add; short
 * enough that sums cannot overflow. */
#define TTL_MAX_MS (365ULL * 24 * 3600 * 1000 / 10 * 11)
/* The year 9999, RFC 9110's last. */
#define WALL_MAX_MS 253402300800000ULL

static void put_number(char *at, unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (char)(uint8_t)(value >> (8 * i));
    }
}

static inline uint64_t get_number(const char *at, unsigned bytes)
{
    uint64_t value = 0;

    memcpy(&value, at, bytes);
    return le64toh(value);
}

static size_t fields_len(const char *block)
{
    return (size_t)get_number(block + AT_FIELDS, 4);
}

static size_t body_len(const char *block)
{
    return (size_t)get_number(block + AT_BODY, 4);
}

/* ---- memory ---- */

static bool is_paged_size(size_t size)
{
    return size >= ENTRY_PAGED_BYTES && size <= PAGES_BLOCK_MAX;
}

static struct cache_entry *entry_alloc(size_t size)
{
    const bool is_paged = is_paged_size(size);
    struct cache_entry *entry = is_paged ? pages_try_alloc(size) : mem_try_alloc(size);

    if (entry != NULL) {
        entry->is_paged = is_paged;
    }
    return entry;
}

static void entry_free(struct cache_entry *entry)
{
    if (entry != NULL && entry->is_paged) {
        pages_free(entry);
    } else {
        mem_free(entry);
    }
}

/* As realloc(), of an entry whose first `used` bytes count. */
static struct cache_entry *entry_resize(struct cache_entry *entry, size_t used, size_t size)
{
    if (entry == NULL) {
        return entry_alloc(size);
    }
    if (entry->is_paged == is_paged_size(size)) {
        return entry->is_paged ? pages_try_resize(entry, size) : mem_try_realloc(entry, size);
    }
    struct cache_entry *moved = entry_alloc(size);
    if (moved != NULL) {
        const bool is_paged = moved->is_paged;
        memcpy(moved, entry, used);
        moved->is_paged = is_paged;
        entry_free(entry);
    }
    return moved;
}

size_t cache_entry_memory(const struct cache_entry *entry)
{
    return entry->is_paged ? pages_size_of(entry) : mem_size_of(entry);
}

/* ---- what others see ---- */

struct cache_entry *cache_entry_ref(struct cache_entry *entry)
{
    atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
    return entry;
}

void cache_entry_unref(struct cache_entry *entry)
{
    if (entry == NULL) {
        return;
    }
    unsigned before = atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1) {
        entry_free(entry);
    }
}

struct str cache_entry_fields(const struct cache_entry *entry)
{
    return str_make(entry->bytes + ENTRY_HEAD_BYTES, fields_len(entry->bytes));
}

struct str cache_entry_body(const struct cache_entry *entry)
{
    size_t start = ENTRY_HEAD_BYTES + fields_len(entry->bytes);

    return str_make(entry->bytes + start, entry->len - start);
}

bool cache_entry_is_stream(const struct cache_entry *entry)
{
    return ((uint8_t)entry->bytes[AT_FLAGS] & CACHE_ENTRY_STREAM) != 0;
}

bool cache_entry_has_usage(const struct cache_entry *entry)
{
    return ((uint8_t)entry->bytes[AT_FLAGS] & CACHE_ENTRY_USAGE) != 0;
}

uint64_t cache_entry_stored_wall_ms(const struct cache_entry *entry)
{
    return get_number(entry->bytes + AT_STORED, 8);
}

uint64_t cache_entry_ttl_ms(const struct cache_entry *entry)
{
    return get_number(entry->bytes + AT_TTL, 8);
}

void cache_entry_facts(const struct cache_entry *entry, struct cache_entry_facts *ret_facts)
{
    *ret_facts = (struct cache_entry_facts){
        .flags = (uint8_t)entry->bytes[AT_FLAGS],
        .stored_wall_ms = cache_entry_stored_wall_ms(entry),
        .ttl_ms = cache_entry_ttl_ms(entry),
        .generation_ms = (uint32_t)get_number(entry->bytes + AT_GENERATION, 4),
        .prompt_tokens = (uint32_t)get_number(entry->bytes + AT_PROMPT, 4),
        .completion_tokens = (uint32_t)get_number(entry->bytes + AT_COMPLETION, 4),
    };
}

uint64_t cache_entry_grace_ms(const struct cache_entry *entry, uint64_t grace_ms)
{
    return ((uint8_t)entry->bytes[AT_FLAGS] & CACHE_ENTRY_STRICT) != 0 ? 0 : grace_ms;
}

struct str cache_entry_bytes(const struct cache_entry *entry)
{
    return str_make(entry->bytes, entry->len);
}

/* ---- building ---- */

void entry_build_init(struct entry_build *build)
{
    *build = (struct entry_build){.len = ENTRY_HEAD_BYTES};
}

void entry_build_done(struct entry_build *build)
{
    entry_free(build->entry);
    entry_build_init(build);
}

bool entry_build_reserve(struct entry_build *build, size_t size)
{
    if (size <= build->size) {
        return true;
    }
    if (size > SIZE_MAX - sizeof(struct cache_entry)) {
        return false;
    }
    struct cache_entry *entry =
        entry_resize(build->entry, sizeof(*entry) + build->len, sizeof(*entry) + size);
    if (entry == NULL) {
        return false;
    }
    build->entry = entry;
    build->size = size;
    return true;
}

size_t entry_build_memory(const struct entry_build *build)
{
    return build->entry == NULL ? 0 : cache_entry_memory(build->entry);
}

void entry_build_append(struct entry_build *build, struct str bytes)
{
    if (bytes.len == 0) {
        return;
    }
    ASSERT(build->entry != NULL && bytes.len <= build->size - build->len);
    memcpy(build->entry->bytes + build->len, bytes.ptr, bytes.len);
    build->len += bytes.len;
}

void entry_build_end_fields(struct entry_build *build)
{
    ASSERT(build->fields_end == 0);
    build->fields_end = build->len;
}

size_t entry_build_body_len(const struct entry_build *build)
{
    return build->fields_end == 0 ? 0 : build->len - build->fields_end;
}

struct str entry_build_body(const struct entry_build *build)
{
    ASSERT(build->entry != NULL && build->fields_end != 0);
    return str_make(build->entry->bytes + build->fields_end, build->len - build->fields_end);
}

struct str entry_build_fields(const struct entry_build *build)
{
    ASSERT(build->entry != NULL && build->fields_end != 0);
    return str_make(build->entry->bytes + ENTRY_HEAD_BYTES, build->fields_end - ENTRY_HEAD_BYTES);
}

/* Give back the room that doubling left over. A refusal leaves the larger block, which is as good.
 */
static struct cache_entry *shrink(struct cache_entry *entry, size_t len)
{
    struct cache_entry *smaller = entry_resize(entry, sizeof(*entry) + len, sizeof(*entry) + len);

    return smaller == NULL ? entry : smaller;
}

struct cache_entry *entry_build_take(struct entry_build *build,
                                     const struct cache_entry_facts *facts)
{
    ASSERT(build->entry != NULL && build->fields_end != 0);
    struct cache_entry *entry = shrink(build->entry, build->len);

    memset(entry->bytes, 0, ENTRY_HEAD_BYTES);
    memcpy(entry->bytes, magic, sizeof(magic));
    entry->bytes[AT_FLAGS] = (char)facts->flags;
    put_number(entry->bytes + AT_STORED, 8, facts->stored_wall_ms);
    put_number(entry->bytes + AT_TTL, 8, facts->ttl_ms);
    put_number(entry->bytes + AT_GENERATION, 4, facts->generation_ms);
    put_number(entry->bytes + AT_PROMPT, 4, facts->prompt_tokens);
    put_number(entry->bytes + AT_COMPLETION, 4, facts->completion_tokens);
    put_number(entry->bytes + AT_FIELDS, 4, build->fields_end - ENTRY_HEAD_BYTES);
    put_number(entry->bytes + AT_BODY, 4, build->len - build->fields_end);
    entry->len = build->len;
    atomic_init(&entry->refs, 1);

    build->entry = NULL;
    entry_build_init(build);
    return entry;
}

/* ---- reading what Redis holds ---- */

static bool is_token_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

static bool is_field_name(struct str name)
{
    for (size_t i = 0; i < name.len; i++) {
        if (!is_token_char(name.ptr[i])) {
            return false;
        }
    }
    return name.len > 0;
}

static bool is_field_value(struct str value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f) {
            return false;
        }
    }
    return true;
}

/* A field that would frame the message or speak for this hop or this client must not come out of
 * a store that others can write. */
static bool is_field_welcome(struct str name)
{
    enum http_name id = http_name_find(name);

    return !http_name_is_hop(id) && id != HTTP_NAME_CONTENT_LENGTH && id != HTTP_NAME_SET_COOKIE &&
           id != HTTP_NAME_CONTENT_ENCODING;
}

/* One "name: value" without its CRLF. */
static bool is_field_line(struct str line)
{
    size_t colon = str_find(line, STR_LIT(": "));
    struct str name = str_slice(line, 0, colon);

    return colon < line.len && is_field_name(name) && is_field_welcome(name) &&
           is_field_value(str_slice(line, colon + 2, line.len));
}

static bool are_fields(struct str fields)
{
    for (unsigned count = 0; fields.len > 0; count++) {
        size_t end = str_find(fields, STR_LIT("\r\n"));
        if (count == HTTP_FIELDS_MAX || end == fields.len ||
            !is_field_line(str_slice(fields, 0, end))) {
            return false;
        }
        fields = str_slice(fields, end + 2, fields.len);
    }
    return true;
}

static bool are_flags(uint8_t flags)
{
    uint8_t form = (uint8_t)(flags & ~CACHE_ENTRY_STRICT);

    return form == 0 || form == CACHE_ENTRY_STREAM ||
           form == (CACHE_ENTRY_STREAM | CACHE_ENTRY_USAGE);
}

static bool is_head(const char *head)
{
    uint64_t ttl_ms = get_number(head + AT_TTL, 8);

    return memcmp(head, magic, sizeof(magic)) == 0 && are_flags((uint8_t)head[AT_FLAGS]) &&
           get_number(head + AT_PAD, 3) == 0 && get_number(head + AT_SPARE, 4) == 0 && ttl_ms > 0 &&
           ttl_ms <= TTL_MAX_MS && get_number(head + AT_STORED, 8) < WALL_MAX_MS;
}

static bool is_block(struct str bytes)
{
    if (bytes.len < ENTRY_HEAD_BYTES || !is_head(bytes.ptr)) {
        return false;
    }

    size_t rest = bytes.len - ENTRY_HEAD_BYTES;
    size_t fields = fields_len(bytes.ptr);
    return fields <= rest && body_len(bytes.ptr) == rest - fields && rest > fields &&
           are_fields(str_make(bytes.ptr + ENTRY_HEAD_BYTES, fields));
}

bool entry_has_magic(struct str bytes)
{
    return str_starts(bytes, str_make(magic, sizeof(magic)));
}

struct cache_entry *entry_new(size_t len, char **ret_block)
{
    struct cache_entry *entry = NULL;

    if (len <= SIZE_MAX - sizeof(*entry)) {
        entry = entry_alloc(sizeof(*entry) + len);
    }
    if (entry == NULL) {
        return NULL;
    }
    atomic_init(&entry->refs, 1);
    entry->len = len;
    *ret_block = entry->bytes;
    return entry;
}

bool entry_is_sound(const struct cache_entry *entry)
{
    return is_block(str_make(entry->bytes, entry->len));
}

struct cache_entry *cache_entry_from_bytes(struct str bytes)
{
    char *block;

    if (!is_block(bytes)) {
        return NULL;
    }
    struct cache_entry *entry = entry_new(bytes.len, &block);
    if (entry != NULL) {
        memcpy(block, bytes.ptr, bytes.len);
    }
    return entry;
}
