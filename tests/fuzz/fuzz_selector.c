/* SPDX-License-Identifier: MIT */
/* Any bytes as a label selector: whether it is one does not depend on what is asked about. */
#include "admin/selector_private.h"

#include <nearside/base/assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_make((const char *)data, size);
    enum selector_answer one = selector_match(text, STR_LIT("region"), STR_LIT("us-east"));
    enum selector_answer other = selector_match(text, STR_LIT("zone"), STR_LIT(""));

    ASSERT((one == SELECTOR_BAD) == (other == SELECTOR_BAD));
    return 0;
}
