/* SPDX-License-Identifier: MIT */
/* Blocks of addresses (CIDR): parsing, and whether an address lies in one. */
#include <nearside/base/addr.h>

#define V6_BYTES      16
#define V4_IN_V6_BITS 96 /* of ::ffff:0:0/96 */

/* The address as IPv6, IPv4 in its mapped form, so that there is one kind to compare. */
static void to_v6(const struct addr *addr, unsigned char ret_bytes[V6_BYTES])
{
    if (addr->sa.any.sa_family == AF_INET6) {
        memcpy(ret_bytes, &addr->sa.v6.sin6_addr, V6_BYTES);
        return;
    }
    memset(ret_bytes, 0, 10);
    memset(ret_bytes + 10, 0xff, 2);
    memcpy(ret_bytes + 12, &addr->sa.v4.sin_addr, 4);
}

static bool bits_are_zero_from(const unsigned char bytes[V6_BYTES], unsigned from)
{
    for (unsigned bit = from; bit < 8 * V6_BYTES; bit++) {
        if ((bytes[bit / 8] & (0x80u >> bit % 8)) != 0) {
            return false;
        }
    }
    return true;
}

static unsigned v6_bits(const struct addr_block *block)
{
    return block->bits + (block->addr.sa.any.sa_family == AF_INET ? V4_IN_V6_BITS : 0);
}

bool addr_block_parse(struct str text, struct addr_block *ret_block)
{
    const size_t slash = str_find_char(text, '/');
    struct addr_block block;
    unsigned char bytes[V6_BYTES];
    uint64_t bits;

    if (!addr_parse_ip(str_slice(text, 0, slash), 0, &block.addr)) {
        return false;
    }
    bits = block.addr.sa.any.sa_family == AF_INET ? 32 : 128;
    if (slash < text.len) {
        const struct str prefix = str_slice(text, slash + 1, text.len);
        const uint64_t most = bits;

        if (prefix.len > 3 || !str_to_u64(prefix, &bits) || bits > most) {
            return false;
        }
    }
    block.bits = (unsigned)bits;
    to_v6(&block.addr, bytes);
    if (!bits_are_zero_from(bytes, v6_bits(&block))) {
        return false;
    }
    *ret_block = block;
    return true;
}

bool addr_block_has(const struct addr_block *block, const struct addr *addr)
{
    const unsigned bits = v6_bits(block);
    unsigned char ours[V6_BYTES];
    unsigned char theirs[V6_BYTES];

    if (addr->len == 0) {
        return false;
    }
    to_v6(&block->addr, ours);
    to_v6(addr, theirs);
    if (memcmp(ours, theirs, bits / 8) != 0) {
        return false;
    }
    return bits % 8 == 0 || ((ours[bits / 8] ^ theirs[bits / 8]) >> (8 - bits % 8)) == 0;
}
