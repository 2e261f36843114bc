/* SPDX-License-Identifier: MIT */
/*
 * HTTP dates by civil-calendar arithmetic: no locale, no time zone, no C library. Only
 * IMF-fixdate is read; nothing written since 1999 sends the two obsolete forms.
 */
#include <nearside/http/date.h>

#define SECONDS_PER_DAY      86400U
#define RETRY_AFTER_MAX_MS   300000U
#define IMF_FIXDATE_LEN      (HTTP_DATE_LEN - 1)
#define DAYS_0000_TO_1970    719468U /* from 0000-03-01 */
#define DAYS_PER_400_YEARS   146097U
#define LAST_WRITABLE_SECOND 253402300799ULL /* 9999-12-31 23:59:59 */

static const char day_names[] = "SunMonTueWedThuFriSat";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

struct civil {
    unsigned year;
    unsigned month; /* 1..12 */
    unsigned day;   /* 1..31 */
};

/* Years run from 1 March here, so that the leap day is the last one. */
static struct civil civil_of_days(uint64_t days_since_1970)
{
    const uint64_t days = days_since_1970 + DAYS_0000_TO_1970;
    const uint64_t era = days / DAYS_PER_400_YEARS;
    const unsigned in_era = (unsigned)(days % DAYS_PER_400_YEARS);
    const unsigned year = (in_era - in_era / 1460 + in_era / 36524 - in_era / 146096) / 365;
    const unsigned in_year = in_era - (365 * year + year / 4 - year / 100);
    const unsigned shifted = (5 * in_year + 2) / 153; /* 0: March */
    const unsigned month = shifted < 10 ? shifted + 3 : shifted - 9;

    return (struct civil){
        .year = (unsigned)era * 400 + year + (month <= 2 ? 1 : 0),
        .month = month,
        .day = in_year - (153 * shifted + 2) / 5 + 1,
    };
}

static uint64_t days_of_civil(struct civil date)
{
    const unsigned year = date.year - (date.month <= 2 ? 1 : 0);
    const unsigned in_era = year % 400;
    const unsigned shifted = date.month > 2 ? date.month - 3 : date.month + 9;
    const unsigned in_year = (153 * shifted + 2) / 5 + date.day - 1;
    const uint64_t days = (uint64_t)(year / 400) * DAYS_PER_400_YEARS + in_era * 365 + in_era / 4 -
                          in_era / 100 + in_year;

    return days - DAYS_0000_TO_1970;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
    static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return days[month - 1] + (month == 2 && leap ? 1U : 0U);
}

static char *put_digits(char *out, unsigned value, unsigned count)
{
    for (unsigned i = count; i > 0; i--) {
        out[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return out + count;
}

static char *put_text(char *out, const char *text, size_t len)
{
    memcpy(out, text, len);
    return out + len;
}

void http_date_format(uint64_t wall_ms, char out[HTTP_DATE_LEN])
{
    const uint64_t given = wall_ms / 1000;
    const uint64_t seconds = given > LAST_WRITABLE_SECOND ? LAST_WRITABLE_SECOND : given;
    const uint64_t days = seconds / SECONDS_PER_DAY;
    const unsigned in_day = (unsigned)(seconds % SECONDS_PER_DAY);
    const struct civil date = civil_of_days(days);
    char *at = out;

    at = put_text(at, day_names + 3 * ((days + 4) % 7), 3); /* 1970-01-01 was a Thursday */
    at = put_text(at, ", ", 2);
    at = put_digits(at, date.day, 2);
    at = put_text(at, " ", 1);
    at = put_text(at, month_names + 3 * (date.month - 1), 3);
    at = put_text(at, " ", 1);
    at = put_digits(at, date.year, 4);
    at = put_text(at, " ", 1);
    at = put_digits(at, in_day / 3600, 2);
    at = put_text(at, ":", 1);
    at = put_digits(at, in_day / 60 % 60, 2);
    at = put_text(at, ":", 1);
    at = put_digits(at, in_day % 60, 2);
    (void)put_text(at, " GMT", sizeof(" GMT"));
}

/* `count` digits at `at`; false when one is none. */
static bool read_digits(const char *at, unsigned count, unsigned *ret_value)
{
    unsigned value = 0;

    for (unsigned i = 0; i < count; i++) {
        if (at[i] < '0' || at[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(at[i] - '0');
    }
    *ret_value = value;
    return true;
}

/* Place of a three-letter name in `names`, from 0; `count` when it is not there. */
static unsigned read_name(const char *at, const char *names, unsigned count)
{
    unsigned i = 0;

    while (i < count && memcmp(at, names + (size_t)3 * i, 3) != 0) {
        i++;
    }
    return i;
}

/* Are the bytes between the numbers and names the right ones? '.' stands for any. */
static bool has_fixdate_shape(const char *at)
{
    static const char shape[] = "..., .. ... .... ..:..:.. GMT";

    for (size_t i = 0; i < IMF_FIXDATE_LEN; i++) {
        if (shape[i] != '.' && shape[i] != at[i]) {
            return false;
        }
    }
    return true;
}

bool http_date_parse(struct str text, uint64_t *ret_wall_ms)
{
    struct civil date;
    unsigned hour;
    unsigned minute;
    unsigned second;

    if (text.len != IMF_FIXDATE_LEN || !has_fixdate_shape(text.ptr) ||
        read_name(text.ptr, day_names, 7) == 7 || !read_digits(text.ptr + 5, 2, &date.day) ||
        !read_digits(text.ptr + 12, 4, &date.year) || !read_digits(text.ptr + 17, 2, &hour) ||
        !read_digits(text.ptr + 20, 2, &minute) || !read_digits(text.ptr + 23, 2, &second)) {
        return false;
    }
    date.month = read_name(text.ptr + 8, month_names, 12) + 1;
    /* Second 60 is a leap second: it counts as the next minute's first. */
    if (date.month > 12 || date.year < 1970 || date.day == 0 ||
        date.day > days_in_month(date.year, date.month) || hour > 23 || minute > 59 ||
        second > 60) {
        return false;
    }
    *ret_wall_ms =
        (days_of_civil(date) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second) * 1000;
    return true;
}

static bool is_all_digits(struct str text)
{
    size_t i = 0;

    while (i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9') {
        i++;
    }
    return i == text.len && text.len > 0;
}

bool http_retry_after_ms(struct str value, uint64_t wall_ms, uint64_t *ret_ms)
{
    const struct str text = str_trim(value);
    uint64_t wait_ms = RETRY_AFTER_MAX_MS;
    uint64_t number;

    if (is_all_digits(text)) {
        if (str_to_u64(text, &number) && number < RETRY_AFTER_MAX_MS / 1000) {
            wait_ms = number * 1000;
        }
    } else if (http_date_parse(text, &number)) {
        wait_ms = number > wall_ms ? number - wall_ms : 0;
    } else {
        return false;
    }
    *ret_ms = wait_ms < RETRY_AFTER_MAX_MS ? wait_ms : RETRY_AFTER_MAX_MS;
    return true;
}
