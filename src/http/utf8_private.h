/* SPDX-License-Identifier: MIT */
/*
 * Text that is not all ASCII, within a JSON string: is it UTF-8 (RFC 3629 4: no overlong forms, no
 * surrogates, nothing over U+10FFFF)?
 *
 * utf8_skip() passes 16 bytes at a time with SSE2 where it can, whatever mix of scripts they are,
 * and character by character where it must. The wide way only ever passes what is good and ends
 * between characters, so the narrow one alone says what is bad.
 */
#ifndef NEARSIDE_HTTP_UTF8_PRIVATE_H
#define NEARSIDE_HTTP_UTF8_PRIVATE_H

#include "scan_private.h"

#define UTF8_BYTES_MAX 4

static inline bool utf8_is_tail(const char *at)
{
    return ((unsigned char)*at & 0xc0) == 0x80;
}

/* The length of the non-ASCII character at `at` < `end`; 0 when it is none, or cut. */
static inline size_t utf8_len(const char *at, const char *end)
{
    const unsigned lead = (unsigned char)*at;
    const size_t left = (size_t)(end - at);
    const unsigned second = left > 1 ? (unsigned char)at[1] : 0;

    if (lead >= 0xc2 && lead <= 0xdf) {
        return left >= 2 && utf8_is_tail(at + 1) ? 2 : 0;
    }
    if (lead >= 0xe0 && lead <= 0xef) {
        const bool good = left >= 3 && utf8_is_tail(at + 1) && utf8_is_tail(at + 2) &&
                          (lead != 0xe0 || second >= 0xa0) && (lead != 0xed || second <= 0x9f);
        return good ? 3 : 0;
    }
    if (lead >= 0xf0 && lead <= 0xf4) {
        const bool good = left >= 4 && utf8_is_tail(at + 1) && utf8_is_tail(at + 2) &&
                          utf8_is_tail(at + 3) && (lead != 0xf0 || second >= 0x90) &&
                          (lead != 0xf4 || second <= 0x8f);
        return good ? 4 : 0;
    }
    return 0;
}

/* Behind the run of non-ASCII characters at `at`, or at the first that is none, or cut. */
static inline const char *utf8_skip_by_character(const char *at, const char *end)
{
    while (at < end && (unsigned char)*at >= 0x80) {
        const size_t len = utf8_len(at, end);
        if (len == 0) {
            break;
        }
        at += len;
    }
    return at;
}

#if defined(__SSE2__)

/* Which of sixteen bytes are what; bit i is byte i. */
static inline unsigned utf8_mask_above(__m128i block, char low) /* signed */
{
    return (unsigned)_mm_movemask_epi8(_mm_cmpgt_epi8(block, _mm_set1_epi8(low)));
}

static inline unsigned utf8_mask_of(__m128i block, char byte)
{
    return (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_set1_epi8(byte)));
}

/* Leads whose second byte has bounds of its own, beyond being a tail: are these kept? A lead in the
 * last byte is not of interest: the caller ends in front of a character that is cut. */
static inline bool utf8_seconds_are_good(__m128i block)
{
    const unsigned below_a0 = ~utf8_mask_above(block, (char)0x9f); /* or ASCII: no tail anyway */
    const unsigned below_90 = ~utf8_mask_above(block, (char)0x8f);
    const unsigned low = utf8_mask_of(block, (char)0xe0) << 1 & below_a0;
    const unsigned surrogate = utf8_mask_of(block, (char)0xed) << 1 & ~below_a0;
    const unsigned small = utf8_mask_of(block, (char)0xf0) << 1 & below_90;
    const unsigned large = utf8_mask_of(block, (char)0xf4) << 1 & ~below_90;

    return ((low | surrogate | small | large) & 0xffff) == 0;
}

/* How many of the sixteen bytes at `at`, where a character begins, are whole good characters; those
 * behind a quote, a backslash or a control are not counted. 0 when there is something bad. */
static inline unsigned utf8_count_block(__m128i block, unsigned stops)
{
    const unsigned here = stops == 0 ? 0xffff : (1u << __builtin_ctz(stops)) - 1;
    const unsigned high = (unsigned)_mm_movemask_epi8(block) & here;
    const unsigned leads = high & utf8_mask_above(block, (char)0xbf); /* c0..ff */
    const unsigned leads3 = high & utf8_mask_above(block, (char)0xdf);
    const unsigned leads4 = high & utf8_mask_above(block, (char)0xef);
    const unsigned bad = high & (utf8_mask_of(block, (char)0xc0) | utf8_mask_of(block, (char)0xc1) |
                                 utf8_mask_above(block, (char)0xf4));
    const unsigned due = leads << 1 | leads3 << 2 | leads4 << 3;
    const unsigned tails = high & ~leads;
    unsigned count = (unsigned)__builtin_popcount(here);
    unsigned cut;

    if ((((tails ^ due) & here) | bad) != 0 || !utf8_seconds_are_good(block)) {
        return 0;
    }
    /* What reaches beyond `count` begins at the last lead before it. */
    cut = due & ~here;
    if (cut != 0) {
        count = 31u - (unsigned)__builtin_clz(leads);
    }
    return count;
}

/* Non-zero: the sixteen bytes at `at` hold something to stop at, or bad, or a character of four
 * bytes. The three bytes before are looked at, too: tails must be where they and these say. */
static inline unsigned utf8_needs_thought(const char *at)
{
    const __m128i block = scan_load_block(at);
    const __m128i back1 = scan_load_block(at - 1);
    const __m128i back2 = scan_load_block(at - 2);
    /* Not zero where a tail is due. Four-byte leads never get here. */
    const __m128i due = _mm_or_si128(_mm_subs_epu8(back1, _mm_set1_epi8((char)0xbf)),
                                     _mm_subs_epu8(back2, _mm_set1_epi8((char)0xdf)));
    const __m128i not_due = _mm_cmpeq_epi8(due, _mm_setzero_si128());
    const __m128i tail = _mm_cmplt_epi8(block, _mm_set1_epi8((char)0xc0));
    const __m128i from_a0 = _mm_cmpgt_epi8(block, _mm_set1_epi8((char)0x9f));
    const __m128i overlong =
        _mm_andnot_si128(from_a0, _mm_cmpeq_epi8(back1, _mm_set1_epi8((char)0xe0)));
    const __m128i surrogate =
        _mm_and_si128(from_a0, _mm_cmpeq_epi8(back1, _mm_set1_epi8((char)0xed)));
    const __m128i short2 =
        _mm_cmpeq_epi8(_mm_and_si128(block, _mm_set1_epi8((char)0xfe)), _mm_set1_epi8((char)0xc0));
    const __m128i wide = _mm_cmpeq_epi8(_mm_max_epu8(block, _mm_set1_epi8((char)0xf0)), block);
    const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
    const __m128i quote = _mm_or_si128(_mm_cmpeq_epi8(block, _mm_set1_epi8('"')),
                                       _mm_cmpeq_epi8(block, _mm_set1_epi8('\\')));
    const __m128i bad = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(tail, not_due), overlong),
                                     _mm_or_si128(surrogate, short2));

    return (unsigned)_mm_movemask_epi8(
        _mm_or_si128(bad, _mm_or_si128(wide, _mm_or_si128(low, quote))));
}

/* From between two characters, with two or more bytes before it, over blocks that need no thought;
 * to between two characters again. */
static inline const char *utf8_skip_blocks(const char *at, const char *end)
{
    while (end - at >= 16 && utf8_needs_thought(at) == 0) {
        at += 16;
    }
    if ((unsigned char)at[-1] >= 0xc0) {
        return at - 1;
    }
    return (unsigned char)at[-2] >= 0xe0 ? at - 2 : at;
}

#endif

/* Behind good text (ASCII, too, up to a quote, a backslash or a control), or at the first character
 * that is bad or cut. `at` is at one that is not ASCII. */
static inline const char *utf8_skip(const char *at, const char *end)
{
#if defined(__SSE2__)
    while (end - at >= 16) {
        const __m128i block = scan_load_block(at);
        const __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(block, _mm_set1_epi8(0x1f)), block);
        const unsigned stops = (unsigned)_mm_movemask_epi8(low) | scan_block_stops_quote(block);
        const unsigned count = utf8_count_block(block, stops);

        at += count;
        if (count < 2 || stops != 0) {
            break;
        }
        at = utf8_skip_blocks(at, end);
    }
#endif
    return utf8_skip_by_character(at, end);
}

#endif
