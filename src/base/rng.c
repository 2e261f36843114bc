/* SPDX-License-Identifier: MIT */
/* xoshiro256** (Blackman and Vigna, 2018), seeded through splitmix64 or by the kernel. */
#include <nearside/base/rng.h>

#include <nearside/base/assert.h>

#include <errno.h>
#include <sys/random.h>

void rng_init(struct rng *rng)
{
    uint64_t seed = 0;
    ssize_t got;

    /* Eight bytes are never cut short; only a signal before the kernel's pool is ready can. */
    do {
        got = getrandom(&seed, sizeof(seed), 0);
    } while (got < 0 && errno == EINTR);
    ASSERT(got == (ssize_t)sizeof(seed));
    rng_init_seed(rng, seed);
}

static uint64_t splitmix(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15ULL;
    uint64_t x = *state;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

void rng_init_seed(struct rng *rng, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        rng->state[i] = splitmix(&seed);
    }
}

static uint64_t rotate_left(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t rng_next(struct rng *rng)
{
    uint64_t *s = rng->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t limit)
{
    ASSERT(limit > 0);
    /* Draws under 2^64 mod limit would make small results more likely; draw again. */
    uint64_t unfair = (0 - limit) % limit;
    uint64_t drawn = rng_next(rng);

    while (drawn < unfair) {
        drawn = rng_next(rng);
    }
    return drawn % limit;
}

double rng_unit(struct rng *rng)
{
    return (double)(rng_next(rng) >> 11) * 0x1.0p-53; /* a double holds 53 bits exactly */
}
