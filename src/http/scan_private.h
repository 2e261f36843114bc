/* SPDX-License-Identifier: MIT */
/*
 * The inner loops of the codecs: run over bytes that need no thought, 16 at a time with SSE2, 8
 * at a time in a plain word elsewhere. Each returns where the first byte that does need thought
 * is, or `end`; none reads outside of [at, end).
 *
 * The two forms have the same answers; tests/unit/http/test_scan.c holds them against a byte loop.
 */
#ifndef NEARSIDE_HTTP_SCAN_PRIVATE_H
#define NEARSIDE_HTTP_SCAN_PRIVATE_H

#include "char_class_private.h"

#include <nearside/base/attr.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define SCAN_ONES  0x0101010101010101ULL
#define SCAN_HIGHS 0x8080808080808080ULL

static inline uint64_t scan_load(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    return word;
}

/* Non-zero when a byte of `word` is below `limit` (at most 128). */
static inline uint64_t scan_word_below(uint64_t word, uint64_t limit)
{
    return (word - SCAN_ONES * limit) & ~word & SCAN_HIGHS;
}

static inline uint64_t scan_word_has(uint64_t word, char c)
{
    return scan_word_below(word ^ (SCAN_ONES * (unsigned char)c), 1);
}

/* ---- is this byte one to stop at? ---- */

static inline bool scan_stops_value(char c)
{
    return !char_is(c, CHAR_VALUE);
}

static inline bool scan_stops_target(char c)
{
    return !char_is(c, CHAR_TARGET);
}

static inline bool scan_stops_line(char c)
{
    return c == '\r' || c == '\n';
}

static inline bool scan_stops_text(char c)
{
    return c == '"' || c == '\\' || (unsigned char)c < 0x20 || (unsigned char)c >= 0x80;
}

static inline bool scan_stops_quote(char c)
{
    return c == '"' || c == '\\';
}

/* Letters, digits and "-": what nearly all tokens are made of. */
static inline bool scan_stops_plain(char c)
{
    const char small = (char)(c | 0x20);

    return !((small >= 'a' && small <= 'z') || (c >= '0' && c <= '9') || c == '-');
}

/* ---- does one of these eight bytes? May say yes too often, never no too often ---- */

static inline bool scan_word_stops_value(uint64_t word)
{
    return (scan_word_below(word, 0x20) | scan_word_has(word, 0x7f)) != 0;
}

static inline bool scan_word_stops_target(uint64_t word)
{
    return ((word & SCAN_HIGHS) | scan_word_below(word, 0x21) | scan_word_has(word, '#') |
            scan_word_has(word, 0x7f)) != 0;
}

static inline bool scan_word_stops_line(uint64_t word)
{
    return (scan_word_has(word, '\r') | scan_word_has(word, '\n')) != 0;
}

static inline bool scan_word_stops_text(uint64_t word)
{
    return ((word & SCAN_HIGHS) | scan_word_below(word, 0x20) | scan_word_has(word, '"') |
            scan_word_has(word, '\\')) != 0;
}

static inline bool scan_word_stops_quote(uint64_t word)
{
    return (scan_word_has(word, '"') | scan_word_has(word, '\\')) != 0;
}

/* Not worth the arithmetic: the byte loop decides. */
static inline bool scan_word_stops_plain(uint64_t word)
{
    (void)word;
    return true;
}

/* ---- which of these sixteen bytes do? ---- */

#if defined(__SSE2__)
static inline __m128i scan_load_block(const char *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

static inline unsigned scan_block_stops_value(__m128i block)
{
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
    const __m128i tab = _mm_cmpeq_epi8(block, _mm_set1_epi8('\t'));
    const __m128i del = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x7f));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(_mm_andnot_si128(tab, low), del));
}

static inline unsigned scan_block_stops_target(__m128i block)
{
    /* As signed bytes, 0x80..0xff are below zero, so one comparison finds them, controls and SP. */
    const __m128i outside = _mm_cmplt_epi8(block, _mm_set1_epi8(0x21));
    const __m128i hash = _mm_cmpeq_epi8(block, _mm_set1_epi8('#'));
    const __m128i del = _mm_cmpeq_epi8(block, _mm_set1_epi8(0x7f));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(outside, _mm_or_si128(hash, del)));
}

static inline unsigned scan_block_stops_line(__m128i block)
{
    const __m128i cr = _mm_cmpeq_epi8(block, _mm_set1_epi8('\r'));
    const __m128i lf = _mm_cmpeq_epi8(block, _mm_set1_epi8('\n'));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(cr, lf));
}

static inline unsigned scan_block_stops_quote(__m128i block)
{
    const __m128i quote = _mm_cmpeq_epi8(block, _mm_set1_epi8('"'));
    const __m128i backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));

    return (unsigned)_mm_movemask_epi8(_mm_or_si128(quote, backslash));
}

static inline unsigned scan_block_stops_text(__m128i block)
{
    /* As signed bytes, 0x80..0xff are below zero, so one comparison finds them and controls. */
    const __m128i outside = _mm_cmplt_epi8(block, _mm_set1_epi8(0x20));

    return (unsigned)_mm_movemask_epi8(outside) | scan_block_stops_quote(block);
}

/* Which bytes lie in [first, first + count)? SSE2 compares signed bytes only, hence the shift. */
static inline __m128i scan_block_in(__m128i block, char first, int count)
{
    const __m128i shifted = _mm_sub_epi8(block, _mm_set1_epi8((char)(first + 128)));

    return _mm_cmplt_epi8(shifted, _mm_set1_epi8((char)(count - 128)));
}

static inline unsigned scan_block_stops_plain(__m128i block)
{
    const __m128i small = _mm_or_si128(block, _mm_set1_epi8(0x20));
    const __m128i dash = _mm_cmpeq_epi8(block, _mm_set1_epi8('-'));
    const __m128i plain = _mm_or_si128(
        dash, _mm_or_si128(scan_block_in(small, 'a', 26), scan_block_in(block, '0', 10)));

    return (unsigned)_mm_movemask_epi8(plain) ^ 0xffff;
}

/* What is left after the last whole block is looked at together with bytes before it. */
#define SCAN_BLOCKS(kind, at, end)                                                                 \
    if ((end) - (at) >= 16) {                                                                      \
        const char *const last = (end)-16;                                                         \
        unsigned stops;                                                                            \
        do {                                                                                       \
            stops = scan_block_stops_##kind(scan_load_block(at));                                  \
            if (stops != 0) {                                                                      \
                return (at) + __builtin_ctz(stops);                                                \
            }                                                                                      \
            (at) += 16;                                                                            \
        } while ((at) <= last);                                                                    \
        stops = scan_block_stops_##kind(scan_load_block(last)) >> ((at)-last);                     \
        return stops == 0 ? (end) : (at) + __builtin_ctz(stops);                                   \
    }
#else
#define SCAN_BLOCKS(kind, at, end)
#endif

/* scan_<kind>() and, for machines without SSE2 and for the test, scan_<kind>_by_word(). */
#define SCAN_DEFINE(kind)                                                                          \
    static inline const char *scan_##kind##_by_word(const char *at, const char *end)               \
    {                                                                                              \
        while (end - at >= 8 && !scan_word_stops_##kind(scan_load(at))) {                          \
            at += 8;                                                                               \
        }                                                                                          \
        while (at < end && !scan_stops_##kind(*at)) {                                              \
            at++;                                                                                  \
            if (end - at >= 8 && !scan_word_stops_##kind(scan_load(at))) {                         \
                at += 8;                                                                           \
            }                                                                                      \
        }                                                                                          \
        return at;                                                                                 \
    }                                                                                              \
    static inline const char *scan_##kind(const char *at, const char *end)                         \
    {                                                                                              \
        SCAN_BLOCKS(kind, at, end)                                                                 \
        return scan_##kind##_by_word(at, end);                                                     \
    }

SCAN_DEFINE(plain)  /* tokens: to the first byte that needs the table */
SCAN_DEFINE(value)  /* field values: to the first byte that no value may hold */
SCAN_DEFINE(target) /* request targets: to the first byte that none may hold */
SCAN_DEFINE(line)   /* to CR or LF */
SCAN_DEFINE(text)   /* JSON strings: to a quote, a backslash, a control or a non-ASCII byte */
SCAN_DEFINE(quote)  /* JSON strings known to be good: to a quote or a backslash */

#undef SCAN_DEFINE
#undef SCAN_BLOCKS

/* ---- copying what fits a line ---- */

/* Copy bytes of a field's line; source and target do not overlap. False when one of them is of
 * those that no value may hold. */
static inline bool scan_copy_by_byte(char *to, const char *from, size_t len)
{
    bool fits = true;

    for (size_t i = 0; i < len; i++) {
        to[i] = from[i];
        fits = fits && !scan_stops_value(from[i]);
    }
    return fits;
}

#if defined(__SSE2__)
static inline unsigned scan_copy_block(char *to, const char *from)
{
    const __m128i block = _mm_loadu_si128((const __m128i *)(const void *)from);

    _mm_storeu_si128((__m128i *)(void *)to, block);
    return scan_block_stops_value(block);
}

/* 8 to 16 bytes, as two halves that may overlap. */
static inline unsigned scan_copy_halves(char *to, const char *from, size_t len)
{
    const __m128i first = _mm_loadl_epi64((const __m128i *)(const void *)from);
    const __m128i last = _mm_loadl_epi64((const __m128i *)(const void *)(from + len - 8));

    _mm_storel_epi64((__m128i *)(void *)to, first);
    _mm_storel_epi64((__m128i *)(void *)(to + len - 8), last);
    return scan_block_stops_value(_mm_unpacklo_epi64(first, last));
}

/* 4 to 8 bytes in the same way. The upper half of the block is none of theirs. */
static inline unsigned scan_copy_quarters(char *to, const char *from, size_t len)
{
    int first;
    int last;

    memcpy(&first, from, 4);
    memcpy(&last, from + len - 4, 4);
    memcpy(to, &first, 4);
    memcpy(to + len - 4, &last, 4);
    return 0xff & scan_block_stops_value(
                      _mm_unpacklo_epi32(_mm_cvtsi32_si128(first), _mm_cvtsi32_si128(last)));
}

static inline bool scan_copy(char *to, const char *from, size_t len)
{
    unsigned stops = 0;

    if (len < 4) {
        return scan_copy_by_byte(to, from, len);
    }
    if (len < 8) {
        return scan_copy_quarters(to, from, len) == 0;
    }
    if (len <= 16) {
        return scan_copy_halves(to, from, len) == 0;
    }
    for (size_t at = 0; at + 16 < len; at += 16) {
        stops |= scan_copy_block(to + at, from + at);
    }
    return (stops | scan_copy_block(to + len - 16, from + len - 16)) == 0;
}
#else
static inline bool scan_copy(char *to, const char *from, size_t len)
{
    return scan_copy_by_byte(to, from, len);
}
#endif

#endif
