/* SPDX-License-Identifier: MIT */
/* The admin object: where it is served, and with which token. */
#include <nearside/admin/admin.h>

#include "admin_private.h"
#include "server_private.h"

#include <nearside/base/assert.h>
#include <nearside/base/mem.h>
#include <nearside/fleet/fleet.h>
#include <nearside/loop/loop.h>
#include <nearside/net/listener.h>
#include <nearside/net/tls_ctx.h>
#include <nearside/obs/log.h>

#include <string.h>
#include <sys/socket.h>

static void on_sampling(struct deadline *deadline, void *arg)
{
    struct admin *admin = OBJ_CAST(arg, admin, ADMIN_MAGIC);
    const struct fleet_view *view = fleet_view_last(admin->fleet);

    if (view != NULL) {
        recent_take(&admin->recent, view, loop_now_ns(admin->loop));
    }
    deadline_set_in_ms(deadline, RECENT_STEP_MS);
}

struct admin *admin_new(struct loop *loop, struct fleet *fleet, const struct admin_source *source)
{
    struct admin *admin = mem_new(struct admin);

    admin->magic = ADMIN_MAGIC;
    admin->loop = loop;
    admin->fleet = fleet;
    admin->source = *source;
    admin->token = mem_strdup("");
    admin->page_policy = admin_page_policy();
    list_init(&admin->retired);
    deadline_init(&admin->sampling, loop, on_sampling, admin);
    deadline_set_in_ms(&admin->sampling, 0);
    return admin;
}

static bool address_of(int fd, struct addr *ret_addr)
{
    struct sockaddr_storage bound;
    socklen_t len = sizeof(bound);

    return getsockname(fd, (struct sockaddr *)&bound, &len) == 0 &&
           addr_from_sockaddr((const struct sockaddr *)&bound, len, ret_addr);
}

/* What stands in our own way goes when the new socket is served; whether others do, too, cannot be
 * asked meanwhile. */
enum status admin_bind(const struct addr *addr, int own, int *ret_fd, struct errbuf *err)
{
    struct addr present;
    bool is_ours = own >= 0 && address_of(own, &present) && addr_overlaps(addr, &present);

    if (!is_ours && listener_check_free(addr, err) != STATUS_OK) {
        return STATUS_FAILED;
    }
    return listener_bind(addr, ret_fd, err);
}

static void log_address(int fd)
{
    struct addr addr;
    char text[ADDR_TEXT_LEN] = "?";

    if (address_of(fd, &addr)) {
        (void)addr_format(&addr, text);
    }
    log_info("admin_listening", "address=%s", text);
}

void admin_serve(struct admin *admin, int fd, const char *token, bool loopback)
{
    ASSERT(loop_is_home(admin->loop));
    admin_set_token(admin, token);
    if (admin->server != NULL) {
        server_retire(admin->server);
        admin->server = NULL;
    }
    if (fd >= 0) {
        admin->server = server_new(admin, fd, loopback);
        log_address(fd);
    }
}

static void forget_token(struct admin *admin)
{
    explicit_bzero(admin->token, strlen(admin->token));
    mem_free(admin->token);
}

int admin_socket(const struct admin *admin)
{
    return admin->server == NULL ? -1 : server_socket(admin->server);
}

void admin_set_tls(struct admin *admin, struct tls_ctx *tls, bool api_needs_peer)
{
    struct tls_ctx *old = admin->tls;

    admin->tls = tls == NULL ? NULL : tls_ctx_ref(tls);
    admin->api_needs_peer = api_needs_peer;
    tls_ctx_unref(old);
}

void admin_set_token(struct admin *admin, const char *token)
{
    forget_token(admin);
    admin->token = mem_strdup(token);
}

void admin_free(struct admin *admin)
{
    if (admin == NULL) {
        return;
    }
    ASSERT(admin->magic == ADMIN_MAGIC);
    deadline_done(&admin->sampling);
    server_free(admin->server);
    server_free_retired(admin);
    tls_ctx_unref(admin->tls);
    forget_token(admin);
    mem_free(admin->page_policy);
    admin->magic = 0;
    mem_free(admin);
}
