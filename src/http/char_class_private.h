/* SPDX-License-Identifier: MIT */
/* What each byte may be in HTTP/1 grammar, by one table look-up. */
#ifndef NEARSIDE_HTTP_CHAR_CLASS_PRIVATE_H
#define NEARSIDE_HTTP_CHAR_CLASS_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

enum char_class {
    CHAR_TOKEN = 0x01,  /* tchar, RFC 9110 5.6.2 */
    CHAR_VALUE = 0x02,  /* field-value: HTAB, SP, VCHAR, obs-text; RFC 9110 5.5 */
    CHAR_TARGET = 0x04, /* visible ASCII but "#"; see h1_target.c */
    CHAR_HOST = 0x08,   /* unreserved, RFC 3986 2.3 */
    CHAR_HEX = 0x10,
    CHAR_DIGIT = 0x20,
};

extern const uint8_t char_classes[256];

static inline bool char_is(char c, enum char_class wanted)
{
    return (char_classes[(unsigned char)c] & (unsigned)wanted) != 0;
}

/* Of a CHAR_HEX byte. */
static inline unsigned char_hex_value(char c)
{
    return ((unsigned)c & 0xf) + ((unsigned)c >> 6) * 9;
}

#endif
