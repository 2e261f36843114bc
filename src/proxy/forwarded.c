/* SPDX-License-Identifier: MIT */
/*
 * Who asked, and through whom: X-Forwarded-For read from its trusted end, Via read for loops, and
 * the names of fields that nobody untrusted may set.
 */
#include "forwarded_private.h"

#include <nearside/conf/tree.h>

#define FORWARDED_HOPS_MAX 64 /* addresses of X-Forwarded-For that are looked at */
#define VIA_HOPS_MAX       16 /* through Nearsides; comments, and with them ids, may get lost */
#define CLAIM_BYTES_MAX    32 /* no name in the lists is longer */
#define PSEUDONYM          "nearside"

/* ---- the client's address ---- */

/* "10.0.0.1", "10.0.0.1:80", "::1", "[::1]", "[::1]:80", with or without quotes. */
static bool parse_hop(struct str text, struct addr *ret_addr)
{
    if (text.len >= 2 && text.ptr[0] == '"' && text.ptr[text.len - 1] == '"') {
        text = str_slice(text, 1, text.len - 1);
    }
    if (addr_parse(text, ret_addr)) {
        addr_set_port(ret_addr, 0);
        return true;
    }
    return addr_parse_ip(text, 0, ret_addr);
}

/* Take the last item off a comma-separated list. */
static bool last_item(struct str *list, struct str *ret_item)
{
    size_t at = list->len;

    if (list->len == 0) {
        return false;
    }
    while (at > 0 && list->ptr[at - 1] != ',') {
        at--;
    }
    *ret_item = str_trim(str_slice(*list, at, list->len));
    *list = str_slice(*list, 0, at == 0 ? 0 : at - 1);
    return true;
}

/* Go through one line from its right end. False: the client was found, or nobody knows better. */
static bool walk_line(struct str line, const struct conf_blocks *trusted, unsigned *hops,
                      struct addr *client)
{
    struct str item;

    while (last_item(&line, &item)) {
        struct addr hop;

        if (item.len == 0) {
            continue;
        }
        if (++*hops > FORWARDED_HOPS_MAX || !parse_hop(item, &hop)) {
            return false;
        }
        *client = hop;
        if (!conf_blocks_have(trusted, &hop)) {
            return false;
        }
    }
    return true;
}

bool forwarded_client(const struct http_head *head, const struct addr *peer,
                      const struct conf_blocks *trusted, struct addr *ret_client)
{
    unsigned hops = 0;

    *ret_client = *peer;
    if (!conf_blocks_have(trusted, peer)) {
        return false;
    }
    for (uint32_t i = head->field_count; i > 0; i--) {
        const struct http_field *field = &head->fields[i - 1];

        if (field->id == HTTP_NAME_X_FORWARDED_FOR &&
            !walk_line(field->value, trusted, &hops, ret_client)) {
            break;
        }
    }
    return true;
}

/* ---- names ---- */

static const struct str claim_prefixes[] = {
    STR_LIT("x-forwarded"),
    STR_LIT("x-original-"),
    STR_LIT("cf-connecting-"),
};

static const struct str claims[] = {
    STR_LIT("forwarded"),
    STR_LIT("forwarded-for"),
    STR_LIT("x-forward-for"),
    STR_LIT("x-real-ip"),
    STR_LIT("x-client-ip"),
    STR_LIT("client-ip"),
    STR_LIT("true-client-ip"),
    STR_LIT("x-cluster-client-ip"),
    STR_LIT("fastly-client-ip"),
    STR_LIT("x-azure-clientip"),
    STR_LIT("x-envoy-external-address"),
    STR_LIT("x-remote-ip"),
    STR_LIT("x-remote-addr"),
    STR_LIT("x-originating-ip"),
    STR_LIT("x-proxyuser-ip"),
    STR_LIT("x-host"),
    STR_LIT("x-rewrite-url"),
    STR_LIT("x-http-host-override"),
};

/* Do any of the lists begin so? Most names that come here do not ("accept-language"). */
static bool may_be_claim(struct str name)
{
    switch (name.ptr[0] | 0x20) {
    case 'x':
    case 'c':
    case 'f':
    case 't':
        return true;
    default:
        return false;
    }
}

/* Small letters, "-" for "_". `name` is at most CLAIM_BYTES_MAX long. */
static struct str normalize(struct str name, char out[CLAIM_BYTES_MAX])
{
    for (size_t i = 0; i < name.len; i++) {
        out[i] = name.ptr[i] == '_' ? '-' : str_lower_char(name.ptr[i]);
    }
    return str_make(out, name.len);
}

static bool is_claim(struct str small)
{
    for (size_t i = 0; i < ARRAY_LEN(claim_prefixes); i++) {
        if (str_starts(small, claim_prefixes[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        if (str_eq(small, claims[i])) {
            return true;
        }
    }
    return false;
}

bool forwarded_may_pass(struct str name, bool peer_is_trusted)
{
    char text[CLAIM_BYTES_MAX];

    if (name.len == 0) {
        return true;
    }
    name = str_slice(name, 0, CLAIM_BYTES_MAX); /* a longer one can still begin like a claim */
    if (str_find_char(name, '_') < name.len &&
        http_name_find(normalize(name, text)) != HTTP_NAME_OTHER) {
        return false;
    }
    return peer_is_trusted || !may_be_claim(name) || !is_claim(normalize(name, text));
}

/* ---- Via ---- */

/* Takes "<protocol> " off an item of Via. */
static struct str received_by(struct str item)
{
    const size_t blank = str_find_char(item, ' ');

    return str_trim(str_slice(item, blank, item.len));
}

/* Ours are "nearside", or "nearside (fra-1)". A comma in somebody's comment cuts it into pieces
 * that are none of these. */
static bool names_edge(struct str hop, const char *edge_id)
{
    const struct str comment = str_trim(str_slice(hop, sizeof(PSEUDONYM) - 1, hop.len));

    return comment.len >= 2 && comment.ptr[0] == '(' && comment.ptr[comment.len - 1] == ')' &&
           str_eq(str_slice(comment, 1, comment.len - 1), str_of(edge_id));
}

static bool is_nearside(struct str hop)
{
    const struct str name = STR_LIT(PSEUDONYM);

    return str_starts(hop, name) && (hop.len == name.len || hop.ptr[name.len] == ' ' ||
                                     hop.ptr[name.len] == '\t' || hop.ptr[name.len] == '(');
}

bool forwarded_is_loop(const struct http_head *head, const char *edge_id)
{
    unsigned hops = 0;

    for (const struct http_field *field = http_head_find(head, HTTP_NAME_VIA); field != NULL;
         field = http_head_next(head, field)) {
        struct str rest = field->value;
        struct str item;

        while (str_next_item(&rest, ',', &item)) {
            const struct str hop = received_by(item);

            if (is_nearside(hop) && (++hops > VIA_HOPS_MAX || names_edge(hop, edge_id))) {
                return true;
            }
        }
    }
    return false;
}

/* ---- writing ---- */

static void append_lines(struct buf *out, const struct http_head *head, enum http_name id)
{
    for (const struct http_field *field = http_head_find(head, id); field != NULL;
         field = http_head_next(head, field)) {
        if (field->value.len > 0) {
            buf_append_str(out, field->value);
            buf_append_str(out, STR_LIT(", "));
        }
    }
}

void forwarded_write_list(struct buf *out, const struct http_head *head, enum http_name id,
                          struct str name, struct str last)
{
    buf_append_str(out, name);
    buf_append_str(out, STR_LIT(": "));
    append_lines(out, head, id);
    buf_append_str(out, last);
    buf_append_str(out, STR_LIT("\r\n"));
}

void forwarded_write_via(struct buf *out, const struct http_head *head, const char *edge_id)
{
    buf_append_str(out, STR_LIT("Via: "));
    append_lines(out, head, HTTP_NAME_VIA);
    buf_append_str(out, head->version_minor == 0 ? STR_LIT("1.0 ") : STR_LIT("1.1 "));
    buf_append_str(out, STR_LIT(PSEUDONYM));
    if (edge_id != NULL) {
        buf_append_str(out, STR_LIT(" ("));
        buf_append_str(out, str_of(edge_id));
        buf_append_char(out, ')');
    }
    buf_append_str(out, STR_LIT("\r\n"));
}
