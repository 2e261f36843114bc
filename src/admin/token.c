/* SPDX-License-Identifier: MIT */
/* Compare a secret without telling by the time it takes how much of it was right. */
#include "access_private.h"

#include <stddef.h>
#include <string.h>

bool token_matches(const char *given, const char *token)
{
    size_t given_len = strlen(given);
    size_t token_len = strlen(token);
    /* Volatile: the compiler may not leave the loop early. */
    volatile unsigned char difference = given_len == token_len ? 0 : 1;

    for (size_t i = 0; i < given_len; i++) {
        /* Behind its end the token's NUL stands in; the lengths then differ anyway. */
        char expected = token[i < token_len ? i : token_len];

        difference = (unsigned char)(difference | (unsigned char)(given[i] ^ expected));
    }
    return difference == 0;
}
