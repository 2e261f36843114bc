/* SPDX-License-Identifier: MIT */
/* A JSON number, a character at a time (RFC 8259 6). */
#ifndef NEARSIDE_HTTP_JSON_NUMBER_PRIVATE_H
#define NEARSIDE_HTTP_JSON_NUMBER_PRIVATE_H

#include "char_class_private.h"

#include <stdbool.h>

/* What of a number has been passed. */
enum json_number_part {
    JSON_NUMBER_SIGN,
    JSON_NUMBER_ZERO,
    JSON_NUMBER_INTEGER,
    JSON_NUMBER_POINT,
    JSON_NUMBER_FRACTION,
    JSON_NUMBER_EXPONENT,
    JSON_NUMBER_EXPONENT_SIGN,
    JSON_NUMBER_EXPONENT_DIGITS,
};

/* The part of a number that `c` brings it to; -1: it does not go on with it. */
static inline int json_number_next(enum json_number_part part, char c)
{
    const bool digit = char_is(c, CHAR_DIGIT);
    const bool exponent = c == 'e' || c == 'E';

    switch (part) {
    case JSON_NUMBER_SIGN:
        return c == '0' ? JSON_NUMBER_ZERO : digit ? JSON_NUMBER_INTEGER : -1;
    case JSON_NUMBER_INTEGER:
        if (digit) {
            return JSON_NUMBER_INTEGER;
        }
        return c == '.' ? JSON_NUMBER_POINT : exponent ? JSON_NUMBER_EXPONENT : -1;
    case JSON_NUMBER_ZERO:
        return c == '.' ? JSON_NUMBER_POINT : exponent ? JSON_NUMBER_EXPONENT : -1;
    case JSON_NUMBER_POINT:
        return digit ? JSON_NUMBER_FRACTION : -1;
    case JSON_NUMBER_FRACTION:
        return digit ? JSON_NUMBER_FRACTION : exponent ? JSON_NUMBER_EXPONENT : -1;
    case JSON_NUMBER_EXPONENT:
        if (c == '+' || c == '-') {
            return JSON_NUMBER_EXPONENT_SIGN;
        }
        break;
    case JSON_NUMBER_EXPONENT_SIGN:
    case JSON_NUMBER_EXPONENT_DIGITS:
        break;
    }
    return digit ? JSON_NUMBER_EXPONENT_DIGITS : -1;
}

static inline bool json_number_is_whole(enum json_number_part part)
{
    return part == JSON_NUMBER_ZERO || part == JSON_NUMBER_INTEGER ||
           part == JSON_NUMBER_FRACTION || part == JSON_NUMBER_EXPONENT_DIGITS;
}

#endif
