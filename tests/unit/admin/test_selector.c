/* SPDX-License-Identifier: MIT */
/* Label selectors, as Kubernetes' own library understands them. */
#include "admin/selector_private.h"

#include <nearside/base/attr.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "unit/http/guard_page.h"

#define TEXT_MAX_BYTES 4096

/* All asked of region=us-east. */
static const struct {
    const char *text;
    enum selector_answer wanted;
} cases[] = {
    {"", SELECTOR_MATCHES},
    {"  ", SELECTOR_MATCHES},
    {"region=us-east", SELECTOR_MATCHES},
    {"region==us-east", SELECTOR_MATCHES},
    {" region = us-east ", SELECTOR_MATCHES},
    {"region=eu-west", SELECTOR_DIFFERS},
    {"region=us-eas", SELECTOR_DIFFERS},
    {"region=", SELECTOR_DIFFERS},
    {"region!=eu-west", SELECTOR_MATCHES},
    {"region!=us-east", SELECTOR_DIFFERS},
    {"zone=us-east", SELECTOR_DIFFERS},
    {"zone!=us-east", SELECTOR_MATCHES},
    {"region", SELECTOR_MATCHES},
    {"zone", SELECTOR_DIFFERS},
    {"!zone", SELECTOR_MATCHES},
    {"!region", SELECTOR_DIFFERS},
    {"region in (us-east)", SELECTOR_MATCHES},
    {"region in (eu-west, us-east)", SELECTOR_MATCHES},
    {"region in (eu-west,eu-north)", SELECTOR_DIFFERS},
    {"region notin (us-east)", SELECTOR_DIFFERS},
    {"region notin (eu-west)", SELECTOR_MATCHES},
    {"zone in (us-east)", SELECTOR_DIFFERS},
    {"zone notin (us-east)", SELECTOR_MATCHES},
    {"region=us-east,!zone", SELECTOR_MATCHES},
    {"region=us-east,zone=a", SELECTOR_DIFFERS},
    {"zone=a , region in (us-east)", SELECTOR_DIFFERS},
    {"example.com/region=a", SELECTOR_DIFFERS},
    {",", SELECTOR_BAD},
    {"=us-east", SELECTOR_BAD},
    {"region=us-east,", SELECTOR_BAD},
    {"region=a b", SELECTOR_BAD},
    {"region>5", SELECTOR_BAD},
    {"region in us-east", SELECTOR_BAD},
    {"region in (us-east", SELECTOR_BAD},
    {"region near (us-east)", SELECTOR_BAD},
    {"!region=us-east", SELECTOR_BAD},
    {"region=us-east;zone=a", SELECTOR_BAD},
    {"!", SELECTOR_BAD},
};

static void test_a_selector_fits_or_not_or_is_none(void **state)
{
    struct guard_page page;

    (void)state;
    guard_page_init(&page, TEXT_MAX_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = guard_page_put(&page, str_of(cases[i].text));

        assert_int_equal(selector_match(text, STR_LIT("region"), STR_LIT("us-east")),
                         cases[i].wanted);
    }
    guard_page_done(&page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_selector_fits_or_not_or_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
