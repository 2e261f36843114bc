/* SPDX-License-Identifier: MIT */
/* SipHash-2-4 (Aumasson and Bernstein, 2012): two rounds per word, four at the end. */
#include <nearside/base/hash.h>

#include <endian.h>
#include <string.h>

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotate_left(s->v1, 13) ^ s->v0;
    s->v0 = rotate_left(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotate_left(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotate_left(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotate_left(s->v1, 17) ^ s->v2;
    s->v2 = rotate_left(s->v2, 32);
}

static void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    sip_round(s);
    s->v0 ^= word;
}

/* Up to 8 bytes, little-endian whatever the machine. */
static uint64_t load_word(const uint8_t *bytes, size_t len)
{
    uint64_t word = 0;

    memcpy(&word, bytes, len);
    return le64toh(word);
}

uint64_t hash_bytes(const struct hash_key *key, const void *bytes, size_t len)
{
    const uint8_t *from = bytes;
    size_t whole = len & ~(size_t)7;
    struct sip s = {
        .v0 = key->k0 ^ 0x736f6d6570736575ULL,
        .v1 = key->k1 ^ 0x646f72616e646f6dULL,
        .v2 = key->k0 ^ 0x6c7967656e657261ULL,
        .v3 = key->k1 ^ 0x7465646279746573ULL,
    };

    for (size_t at = 0; at < whole; at += 8) {
        sip_word(&s, load_word(from + at, 8));
    }
    uint64_t last = (uint64_t)len << 56;
    if (len > whole) {
        last |= load_word(from + whole, len - whole);
    }
    sip_word(&s, last);

    s.v2 ^= 0xff;
    for (int i = 0; i < 4; i++) {
        sip_round(&s);
    }
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
