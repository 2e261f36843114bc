/* SPDX-License-Identifier: MIT */
/* SipHash and SHA-256 against the vectors their authors published; the generator's promises. */
#include <nearside/base/digest.h>
#include <nearside/base/hash.h>
#include <nearside/base/rng.h>
#include <nearside/base/str.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Appendix A of the SipHash paper, and the reference implementation's vectors: key 00..0f, input
 * 00, 01, 02... of the given length. */
static const struct {
    size_t len;
    uint64_t hash;
} sip_cases[] = {
    {0, 0x726fdb47dd0e0e31ULL}, {1, 0x74f839c593dc67fdULL},  {7, 0xab0200f58b01d137ULL},
    {8, 0x93f5f5799a932462ULL}, {15, 0xa129ca6149be45e5ULL},
};

static void test_hash_bytes_is_siphash_2_4(void **state)
{
    (void)state;
    const struct hash_key key = {0x0706050403020100ULL, 0x0f0e0d0c0b0a0908ULL};
    uint8_t input[16];

    for (size_t i = 0; i < sizeof(input); i++) {
        input[i] = (uint8_t)i;
    }
    for (size_t i = 0; i < ARRAY_LEN(sip_cases); i++) {
        assert_int_equal(hash_bytes(&key, input, sip_cases[i].len), sip_cases[i].hash);
    }
}

static void test_digest_is_sha256_and_can_be_used_again(void **state)
{
    (void)state;
    struct digest *digest = digest_new();
    uint8_t sum[DIGEST_BYTES];
    char hex[2 * DIGEST_BYTES + 1];

    for (int turn = 0; turn < 2; turn++) {
        digest_start(digest);
        digest_add(digest, "a", 1);
        digest_add(digest, "bc", 2);
        digest_finish(digest, sum);
        str_hex(sum, sizeof(sum), hex);
        assert_string_equal(hex,
                            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
    digest_start(digest);
    digest_finish(digest, sum);
    str_hex(sum, sizeof(sum), hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    digest_free(digest);
    digest_free(NULL);
}

/* So many bytes that what is gathered is full within a piece, and within a number. */
static void test_a_digest_does_not_depend_on_how_bytes_are_handed_over(void **state)
{
    (void)state;
    static const size_t pieces[] = {1, 3, 7, 8, 64, 255, 256, 511, 512, 513, 2048};
    struct digest *digest = digest_new();
    uint8_t bytes[2048];
    uint8_t whole[DIGEST_BYTES];
    uint8_t sum[DIGEST_BYTES];

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (uint8_t)(i % 251);
    }
    digest_start(digest);
    digest_add(digest, bytes, sizeof(bytes));
    digest_finish(digest, whole);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        digest_start(digest);
        for (size_t at = 0; at < sizeof(bytes); at += pieces[i]) {
            const size_t left = sizeof(bytes) - at;
            digest_add(digest, bytes + at, left < pieces[i] ? left : pieces[i]);
        }
        digest_finish(digest, sum);
        assert_memory_equal(sum, whole, DIGEST_BYTES);
    }
    for (size_t first = 1; first < 8; first++) {
        digest_start(digest);
        digest_add(digest, bytes, first);
        for (size_t at = first; at < first + 2040; at += 8) {
            uint64_t number = 0;
            for (unsigned i = 0; i < 8; i++) {
                number |= (uint64_t)bytes[at + i] << (8 * i);
            }
            digest_add_u64(digest, number);
        }
        digest_add(digest, bytes + first + 2040, 8 - first);
        digest_finish(digest, sum);
        assert_memory_equal(sum, whole, DIGEST_BYTES);
    }
    digest_free(digest);
}

/* RFC 4231, cases 1, 2, 6 and 7: a short key, a shorter one, one longer than a block. */
static const struct {
    const char *key;
    size_t key_len; /* 0: the string's; else that often its first byte */
    const char *message;
    const char *sum;
} hmac_cases[] = {
    {"\x0b", 20, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"},
    {"Jefe", 0, "what do ya want for nothing?",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {"\xaa", 131, "Test Using Larger Than Block-Size Key - Hash Key First",
     "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"},
    {"\xaa", 131,
     "This is a test using a larger than block-size key and a larger than block-size data. The key "
     "needs to be hashed before being used by the HMAC algorithm.",
     "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2"},
};

static void test_hmac_is_that_of_the_rfc(void **state)
{
    (void)state;
    struct digest *digest = digest_new();
    uint8_t sum[DIGEST_BYTES];
    char hex[2 * DIGEST_BYTES + 1];
    char repeated[131];

    for (size_t i = 0; i < ARRAY_LEN(hmac_cases); i++) {
        struct str key = str_of(hmac_cases[i].key);
        if (hmac_cases[i].key_len > 0) {
            memset(repeated, hmac_cases[i].key[0], hmac_cases[i].key_len);
            key = str_make(repeated, hmac_cases[i].key_len);
        }
        digest_hmac(digest, key, str_of(hmac_cases[i].message), sum);
        str_hex(sum, sizeof(sum), hex);
        assert_string_equal(hex, hmac_cases[i].sum);
    }
    digest_free(digest);
}

static void test_rng_repeats_for_a_seed_and_stays_below_its_limit(void **state)
{
    (void)state;
    struct rng a;
    struct rng b;
    unsigned seen[10] = {0};

    rng_init_seed(&a, 42);
    rng_init_seed(&b, 42);
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(rng_next(&a), rng_next(&b));
        uint64_t drawn = rng_below(&a, 10);
        assert_int_equal(drawn, rng_below(&b, 10));
        assert_true(drawn < 10);
        seen[drawn]++;
        double unit = rng_unit(&a);
        assert_true(unit == rng_unit(&b) && unit >= 0 && unit < 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(seen); i++) {
        assert_in_range(seen[i], 850, 1150); /* 1000 expected, standard deviation 30 */
    }
    assert_int_equal(rng_below(&a, 1), 0);
}

static void test_rng_seeds_by_the_kernel_differ(void **state)
{
    (void)state;
    struct rng a;
    struct rng b;

    rng_init(&a);
    rng_init(&b);
    assert_memory_not_equal(&a, &b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_bytes_is_siphash_2_4),
        cmocka_unit_test(test_digest_is_sha256_and_can_be_used_again),
        cmocka_unit_test(test_a_digest_does_not_depend_on_how_bytes_are_handed_over),
        cmocka_unit_test(test_hmac_is_that_of_the_rfc),
        cmocka_unit_test(test_rng_repeats_for_a_seed_and_stays_below_its_limit),
        cmocka_unit_test(test_rng_seeds_by_the_kernel_differ),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
