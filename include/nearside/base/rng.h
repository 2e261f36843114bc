/* SPDX-License-Identifier: MIT */
/* A fast generator (xoshiro256**) for jitter, ids and ties; one per thread. Never for secrets. */
#ifndef NEARSIDE_BASE_RNG_H
#define NEARSIDE_BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t state[4];
};

void rng_init(struct rng *rng);                     /* seeded by the kernel */
void rng_init_seed(struct rng *rng, uint64_t seed); /* repeatable, for tests */
uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t limit); /* 0 .. limit - 1; limit > 0 */
double rng_unit(struct rng *rng);                    /* 0 <= x < 1 */

#endif
