/* SPDX-License-Identifier: MIT */
/*
 * Packing and opening values by zstd.
 *
 * Who can write to a Redis can put anything there. So a value is opened only if it is exactly one
 * frame of today's format (libzstd also reads those of its youth, by code few still test), which
 * tells its content's length, the same as our own head does, within the bound. The block is
 * unpacked to where the entry will live, which has that length and no more; it is then checked like
 * any other.
 */
#include "pack_private.h"

#include "entry_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>

#include <zstd.h>

struct pack {
    ZSTD_CCtx *packer; /* owned; NULL until first used, like the other */
    ZSTD_DCtx *opener;
    struct str block; /* borrowed: being packed */
    size_t block_done;
    char *value; /* owned; NULL when nothing is under way */
    size_t value_size;
    size_t value_len;
};

static const char magic[4] = {'N', 'S', 'Z', '2'};

/* ZSTD_MAGICNUMBER as it lies in memory. */
static const char frame_magic[4] = {'\x28', '\xb5', '\x2f', '\xfd'};

struct pack *pack_new(void)
{
    return mem_new(struct pack);
}

void pack_free(struct pack *pack)
{
    if (pack == NULL) {
        return;
    }
    pack_end(pack);
    ZSTD_freeCCtx(pack->packer);
    ZSTD_freeDCtx(pack->opener);
    mem_free(pack);
}

/* ---- packing ---- */

static bool packer_reset(struct pack *pack, size_t len)
{
    if (pack->packer == NULL) {
        pack->packer = ZSTD_createCCtx();
    }
    return pack->packer != NULL &&
           !ZSTD_isError(ZSTD_CCtx_reset(pack->packer, ZSTD_reset_session_only)) &&
           !ZSTD_isError(
               ZSTD_CCtx_setParameter(pack->packer, ZSTD_c_compressionLevel, PACK_LEVEL)) &&
           !ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(pack->packer, len));
}

static void write_head(struct pack *pack)
{
    memcpy(pack->value, magic, sizeof(magic));
    for (unsigned i = 0; i < 4; i++) {
        pack->value[sizeof(magic) + i] = (char)(uint8_t)(pack->block.len >> (8 * i));
    }
    pack->value_len = PACK_HEAD_BYTES;
}

bool pack_begin(struct pack *pack, struct str block)
{
    ASSERT(pack->value == NULL && block.len <= UINT32_MAX);
    size_t size = block.len - block.len / PACK_GAIN_SHARE;

    if (size <= PACK_HEAD_BYTES || !packer_reset(pack, block.len)) {
        return false;
    }
    pack->value = mem_try_alloc(size);
    if (pack->value == NULL) {
        return false;
    }
    pack->value_size = size;
    pack->block = block;
    pack->block_done = 0;
    write_head(pack);
    return true;
}

enum pack_step pack_step(struct pack *pack, size_t bytes, struct str *ret_value)
{
    size_t rest = pack->block.len - pack->block_done;
    bool is_last = bytes >= rest;
    ZSTD_inBuffer in = {.src = pack->block.ptr + pack->block_done, .size = is_last ? rest : bytes};
    ZSTD_outBuffer out = {.dst = pack->value, .size = pack->value_size, .pos = pack->value_len};
    size_t unwritten = 1;

    ASSERT(pack->value != NULL);
    while (is_last ? unwritten > 0 : in.pos < in.size) {
        unwritten =
            ZSTD_compressStream2(pack->packer, &out, &in, is_last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(unwritten) || (out.pos == out.size && unwritten > 0)) {
            return PACK_USELESS;
        }
    }
    pack->block_done += in.pos;
    pack->value_len = out.pos;
    if (!is_last) {
        return PACK_MORE;
    }
    *ret_value = str_make(pack->value, pack->value_len);
    return PACK_DONE;
}

void pack_end(struct pack *pack)
{
    mem_free(pack->value);
    pack->value = NULL;
    pack->block = STR_EMPTY;
}

/* ---- opening ---- */

/* The length of the block in a packed value; 0: it cannot be one of ours. */
static size_t packed_block_len(struct str value)
{
    struct str frame = str_slice(value, PACK_HEAD_BYTES, value.len);
    uint64_t len = 0;

    if (!str_starts(frame, str_make(frame_magic, sizeof(frame_magic)))) {
        return 0;
    }
    for (unsigned i = 0; i < 4; i++) {
        len |= (uint64_t)(uint8_t)value.ptr[sizeof(magic) + i] << (8 * i);
    }
    /* Both constants for "unknown" and "error" are longer than any u32. */
    if (ZSTD_getFrameContentSize(frame.ptr, frame.len) != len ||
        ZSTD_findFrameCompressedSize(frame.ptr, frame.len) != frame.len) {
        return 0;
    }
    return (size_t)len;
}

static bool open_into(struct pack *pack, struct str value, char *block, size_t block_len)
{
    if (pack->opener == NULL) {
        pack->opener = ZSTD_createDCtx();
    }
    return pack->opener != NULL &&
           ZSTD_decompressDCtx(pack->opener, block, block_len, value.ptr + PACK_HEAD_BYTES,
                               value.len - PACK_HEAD_BYTES) == block_len;
}

static struct cache_entry *open_packed(struct pack *pack, struct str value, size_t block_max)
{
    size_t block_len = packed_block_len(value);
    struct cache_entry *entry;
    char *block;

    if (block_len < ENTRY_HEAD_BYTES || block_len > block_max) {
        return NULL;
    }
    entry = entry_new(block_len, &block);
    if (entry == NULL) {
        return NULL;
    }
    if (!open_into(pack, value, block, block_len) || !entry_is_sound(entry)) {
        cache_entry_unref(entry);
        return NULL;
    }
    return entry;
}

struct cache_entry *pack_open(struct pack *pack, struct str value, size_t block_max)
{
    if (value.len > block_max) {
        return NULL; /* packed or not: ours are never longer than their block */
    }
    if (str_starts(value, str_make(magic, sizeof(magic)))) {
        return open_packed(pack, value, block_max);
    }
    return cache_entry_from_bytes(value);
}
