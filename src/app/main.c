/* SPDX-License-Identifier: MIT */
/* nearside: read the command line, do what it says. */
#include "edge.h"
#include "options.h"
#include "privilege.h"

#include <nearside/admin/docs.h>
#include <nearside/base/buf.h>
#include <nearside/conf/describe.h>
#include <nearside/conf/tree.h>
#include <nearside/net/tls_ctx.h>
#include <nearside/obs/metric_text.h>
#include <nearside/proxy/world.h>
#include <nearside/top/top.h>

#include <stdio.h>
#include <string.h>

enum { EXIT_OK = 0, EXIT_BAD_CONFIG = 1, EXIT_NOT_STARTED = 2 };

static int exit_code(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return EXIT_OK;
    case STATUS_INVALID:
        return EXIT_BAD_CONFIG;
    default:
        return EXIT_NOT_STARTED;
    }
}

static int complain(const struct errbuf *err, int code)
{
    (void)fprintf(stderr, "nearside: %s\n", err->text);
    return code;
}

static int print_buf(struct buf *out)
{
    bool ok =
        fwrite(buf_str(out).ptr, 1, buf_len(out), stdout) == buf_len(out) && fflush(stdout) == 0;

    buf_done(out);
    return ok ? EXIT_OK : EXIT_NOT_STARTED;
}

static int print_docs(const char *what)
{
    struct errbuf err;
    struct buf out;

    buf_init(&out);
    if (strcmp(what, "configuration") == 0) {
        conf_describe_docs(&out);
    } else if (strcmp(what, "metrics") == 0) {
        metric_text_docs(&out);
        admin_metrics_docs(&out);
    } else if (strcmp(what, "conf") == 0) {
        conf_describe(NULL, &out);
    } else if (strcmp(what, "man") == 0) {
        conf_describe_man(&out);
    } else {
        err_set(&err, "--docs %s: allowed are configuration, metrics, conf, man", what);
        return complain(&err, EXIT_BAD_CONFIG);
    }
    return print_buf(&out);
}

static int print_config(const struct options *options)
{
    struct conf *conf = NULL;
    struct errbuf err;
    struct buf out;

    buf_init(&out);
    if (options->file != NULL || options->region_count > 0) {
        if (edge_read_conf(options, &conf, &err) != STATUS_OK) {
            return complain(&err, EXIT_BAD_CONFIG);
        }
    }
    conf_describe(conf, &out);
    conf_unref(conf);
    return print_buf(&out);
}

/* Every certificate that a start or a reload would load. */
static enum status load_certificates(struct conf *conf, struct errbuf *err)
{
    struct tls_ctx *admin_tls;
    struct world *world;

    if (world_new(conf, NULL, &world, err) != STATUS_OK) {
        return STATUS_FAILED;
    }
    world_unref(world);
    if (edge_load_admin_tls(conf, &admin_tls, err) != STATUS_OK) {
        return STATUS_FAILED;
    }
    tls_ctx_unref(admin_tls);
    return STATUS_OK;
}

/* What this accepts, a start or a reload accepts. */
static int test_config(const struct options *options)
{
    struct conf *conf;
    struct privilege privilege;
    struct errbuf err;

    if (edge_read_conf(options, &conf, &err) != STATUS_OK) {
        return complain(&err, EXIT_BAD_CONFIG);
    }
    if (privilege_resolve(conf, &privilege, &err) != STATUS_OK ||
        load_certificates(conf, &err) != STATUS_OK) {
        edge_name_file(options, &err);
        conf_unref(conf);
        return complain(&err, EXIT_BAD_CONFIG);
    }
    conf_unref(conf);
    (void)fputs("ok\n", stdout);
    return EXIT_OK;
}

static int run(const struct options *options)
{
    struct inheritance inheritance;
    struct conf *conf;
    struct errbuf err;
    struct edge edge;
    enum status status;

    signals_await();
    status = edge_read_conf(options, &conf, &err);
    if (status != STATUS_OK) {
        return complain(&err, exit_code(status));
    }
    inheritance_init(&inheritance);
    status = inheritance_receive(&inheritance, &err);
    if (status != STATUS_OK) {
        conf_unref(conf);
        return complain(&err, EXIT_NOT_STARTED);
    }
    status = edge_start(&edge, options, conf, &inheritance, &err);
    conf_unref(conf);
    if (status == STATUS_OK) {
        status = edge_run(&edge);
    } else {
        (void)complain(&err, EXIT_NOT_STARTED);
    }
    edge_free(&edge);
    inheritance_done(&inheritance);
    return exit_code(status);
}

int main(int argc, char **argv)
{
    struct options options;
    struct errbuf err;

    /* A region's argument has a `=`, so no region is in the way of this word. */
    if (argc > 1 && strcmp(argv[1], "top") == 0) {
        return (int)top_main(argc - 1, argv + 1);
    }
    if (options_parse(argc, argv, &options, &err) != STATUS_OK) {
        return complain(&err, EXIT_BAD_CONFIG);
    }
    switch (options.action) {
    case ACTION_HELP:
        (void)fputs(options_help, stdout);
        return EXIT_OK;
    case ACTION_VERSION:
        (void)fputs("nearside " NEARSIDE_VERSION "\n", stdout);
        return EXIT_OK;
    case ACTION_DOCS:
        return print_docs(options.docs);
    case ACTION_PRINT_CONFIG:
        return print_config(&options);
    case ACTION_TEST:
        return test_config(&options);
    case ACTION_RUN:
        break;
    }
    return run(&options);
}
