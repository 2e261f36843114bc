/* SPDX-License-Identifier: MIT */
/* Socket addresses by value: strict parsing of literals, comparing, formatting. */
#include <nearside/base/addr.h>

#include <nearside/base/assert.h>

#include <arpa/inet.h>
#include <stdio.h>

static bool parse_port(struct str text, uint16_t *ret_port)
{
    uint64_t port = 0;

    if (text.len > 5 || !str_to_u64(text, &port) || port > UINT16_MAX) {
        return false;
    }
    *ret_port = (uint16_t)port;
    return true;
}

/* A colon in the host part is allowed only within brackets: "::1:80" would be ambiguous. */
bool addr_parse(struct str text, struct addr *ret_addr)
{
    size_t host_len = str_find_char(text, ':');
    uint16_t port = 0;

    if (text.len > 0 && text.ptr[0] == '[') {
        host_len = str_find_char(text, ']') + 1;
    }
    if (host_len >= text.len || text.ptr[host_len] != ':') {
        return false;
    }
    if (!parse_port(str_slice(text, host_len + 1, text.len), &port)) {
        return false;
    }
    return addr_parse_ip(str_slice(text, 0, host_len), port, ret_addr);
}

bool addr_parse_ip(struct str text, uint16_t port, struct addr *ret_addr)
{
    char literal[INET6_ADDRSTRLEN];
    bool bracketed = text.len >= 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']';
    struct addr addr = {0};

    if (bracketed) {
        text = str_slice(text, 1, text.len - 1);
    }
    if (text.len >= sizeof(literal) || str_find_char(text, '\0') != text.len) {
        return false;
    }
    if (text.len > 0) {
        memcpy(literal, text.ptr, text.len);
    }
    literal[text.len] = '\0';

    if (!bracketed && inet_pton(AF_INET, literal, &addr.sa.v4.sin_addr) == 1) {
        addr.sa.v4.sin_family = AF_INET;
        addr.len = sizeof(addr.sa.v4);
    } else if (inet_pton(AF_INET6, literal, &addr.sa.v6.sin6_addr) == 1) {
        addr.sa.v6.sin6_family = AF_INET6;
        addr.len = sizeof(addr.sa.v6);
    } else {
        return false;
    }
    addr_set_port(&addr, port);
    *ret_addr = addr;
    return true;
}

bool addr_from_sockaddr(const struct sockaddr *sa, socklen_t len, struct addr *ret_addr)
{
    struct addr addr = {0};

    if (len < sizeof(sa_family_t)) {
        return false;
    }
    if (sa->sa_family == AF_INET && len >= sizeof(addr.sa.v4)) {
        addr.len = sizeof(addr.sa.v4);
    } else if (sa->sa_family == AF_INET6 && len >= sizeof(addr.sa.v6)) {
        addr.len = sizeof(addr.sa.v6);
    } else {
        return false;
    }
    memcpy(&addr.sa, sa, addr.len);
    *ret_addr = addr;
    return true;
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    if (a->len == 0 || b->len == 0) {
        return a->len == b->len;
    }
    if (a->sa.any.sa_family != b->sa.any.sa_family || addr_port(a) != addr_port(b)) {
        return false;
    }
    if (a->sa.any.sa_family == AF_INET) {
        return a->sa.v4.sin_addr.s_addr == b->sa.v4.sin_addr.s_addr;
    }
    return memcmp(&a->sa.v6.sin6_addr, &b->sa.v6.sin6_addr, sizeof(struct in6_addr)) == 0 &&
           a->sa.v6.sin6_scope_id == b->sa.v6.sin6_scope_id;
}

uint16_t addr_port(const struct addr *addr)
{
    if (addr->len == 0) {
        return 0;
    }
    return ntohs(addr->sa.any.sa_family == AF_INET ? addr->sa.v4.sin_port : addr->sa.v6.sin6_port);
}

void addr_set_port(struct addr *addr, uint16_t port)
{
    ASSERT(addr->len != 0);
    if (addr->sa.any.sa_family == AF_INET) {
        addr->sa.v4.sin_port = htons(port);
    } else {
        addr->sa.v6.sin6_port = htons(port);
    }
}

static bool is_every_address(const struct addr *addr)
{
    return addr->sa.any.sa_family == AF_INET ? addr->sa.v4.sin_addr.s_addr == htonl(INADDR_ANY)
                                             : IN6_IS_ADDR_UNSPECIFIED(&addr->sa.v6.sin6_addr);
}

bool addr_overlaps(const struct addr *a, const struct addr *b)
{
    if (a->len == 0 || b->len == 0 || a->sa.any.sa_family != b->sa.any.sa_family ||
        addr_port(a) != addr_port(b)) {
        return false;
    }
    return is_every_address(a) || is_every_address(b) || addr_eq(a, b);
}

bool addr_is_loopback(const struct addr *addr)
{
    if (addr->len == 0) {
        return false;
    }
    if (addr->sa.any.sa_family == AF_INET) {
        return (ntohl(addr->sa.v4.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET;
    }
    const struct in6_addr *ip = &addr->sa.v6.sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(ip) ||
           (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == IN_LOOPBACKNET);
}

static char *put_number(char *at, unsigned value)
{
    if (value >= 10) {
        at = put_number(at, value / 10);
    }
    *at = (char)('0' + value % 10);
    return at + 1;
}

/* By hand: every request carries its client's address on, and inet_ntop() prints it with printf. */
static size_t format_v4(const struct addr *addr, char out[ADDR_TEXT_LEN])
{
    const uint32_t ip = ntohl(addr->sa.v4.sin_addr.s_addr);
    char *at = out;

    for (unsigned shift = 24;; shift -= 8) {
        at = put_number(at, ip >> shift & 0xff);
        if (shift == 0) {
            break;
        }
        *at++ = '.';
    }
    *at = '\0';
    return (size_t)(at - out);
}

size_t addr_format_ip(const struct addr *addr, char out[ADDR_TEXT_LEN])
{
    const char *done;

    if (addr->len == 0) {
        out[0] = '-'; /* a log value, never empty */
        out[1] = '\0';
        return 1;
    }
    if (addr->sa.any.sa_family == AF_INET) {
        return format_v4(addr, out);
    }
    done = inet_ntop(AF_INET6, &addr->sa.v6.sin6_addr, out, ADDR_TEXT_LEN);
    ASSERT(done != NULL);
    return strlen(out);
}

size_t addr_format(const struct addr *addr, char out[ADDR_TEXT_LEN])
{
    char ip[ADDR_TEXT_LEN];

    if (addr->len == 0) {
        return addr_format_ip(addr, out);
    }
    const bool v6 = addr->sa.any.sa_family == AF_INET6;
    const size_t ip_len = addr_format_ip(addr, ip);
    char *at = out;

    /* INET6_ADDRSTRLEN (46) + "[]:65535" fits into ADDR_TEXT_LEN. */
    ASSERT(ip_len < INET6_ADDRSTRLEN);
    if (v6) {
        *at++ = '[';
    }
    memcpy(at, ip, ip_len);
    at += ip_len;
    if (v6) {
        *at++ = ']';
    }
    *at++ = ':';
    at = put_number(at, addr_port(addr));
    *at = '\0';
    return (size_t)(at - out);
}
