/* SPDX-License-Identifier: MIT */
/* See options.h. Every option is a row of the table: its name, its kind, where its value goes. */
#include "options.h"

#include "pod.h"

#include <nearside/base/attr.h>

#include <stdio.h>

enum option_kind { OPTION_TEXT, OPTION_NUMBER, OPTION_PORT, OPTION_FAULT, OPTION_FLAG };

struct option_row {
    const char *name;
    enum option_kind kind;
    void *target;
};

static bool store(const struct option_row *row, const char *value)
{
    uint64_t number = 0;

    switch (row->kind) {
    case OPTION_TEXT:
        *(const char **)row->target = value;
        return true;
    case OPTION_NUMBER:
        return str_to_u64(str_of(value), row->target);
    case OPTION_PORT:
        if (!str_to_u64(str_of(value), &number) || number > UINT16_MAX) {
            return false;
        }
        *(uint16_t *)row->target = (uint16_t)number;
        return true;
    case OPTION_FAULT:
        return fault_parse(str_of(value), row->target);
    case OPTION_FLAG:
        *(bool *)row->target = true;
        return true;
    }
    return false;
}

static const struct option_row *find(const struct option_row *rows, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(str_of(rows[i].name), str_of(name))) {
            return &rows[i];
        }
    }
    return NULL;
}

static bool read_rows(const struct option_row *rows, size_t count, int argc, char *const *argv)
{
    for (int i = 1; i < argc; i++) {
        const struct option_row *row = find(rows, count, argv[i]);
        if (row == NULL) {
            (void)fprintf(stderr, "pod: unknown option %s\n", argv[i]);
            return false;
        }
        const char *value = NULL;
        if (row->kind != OPTION_FLAG) {
            i++;
            value = i < argc ? argv[i] : "";
        }
        if (!store(row, value)) {
            (void)fprintf(stderr, "pod: bad value for %s\n", row->name);
            return false;
        }
    }
    return true;
}

bool options_read(struct pod_options *options, int argc, char *const *argv)
{
    bool fault_on_health = false;

    *options = (struct pod_options){
        .name = "pod",
        .bind = "127.0.0.1",
        .model = "sim",
        .settings = {.tokens = 16},
    };
    struct pod_settings *settings = &options->settings;
    const struct option_row rows[] = {
        {"--name", OPTION_TEXT, &options->name},
        {"--bind", OPTION_TEXT, &options->bind},
        {"--port", OPTION_PORT, &options->port},
        {"--control-port", OPTION_PORT, &options->control_port},
        {"--model", OPTION_TEXT, &options->model},
        {"--path-delay-ms", OPTION_NUMBER, &settings->path_delay_ms},
        {"--first-token-ms", OPTION_NUMBER, &settings->first_token_ms},
        {"--token-gap-ms", OPTION_NUMBER, &settings->token_gap_ms},
        {"--tokens", OPTION_NUMBER, &settings->tokens},
        {"--fault", OPTION_FAULT, &settings->fault},
        {"--fault-health", OPTION_FLAG, &fault_on_health},
        {"--tls-cert", OPTION_TEXT, &options->tls_cert},
        {"--tls-key", OPTION_TEXT, &options->tls_key},
        {"--tls-client-ca", OPTION_TEXT, &options->tls_client_ca},
        {"--close-after", OPTION_NUMBER, &options->close_after},
        {"--keepalive-timeout-s", OPTION_NUMBER, &options->keepalive_timeout_s},
    };

    if (!read_rows(rows, ARRAY_LEN(rows), argc, argv)) {
        return false;
    }
    for (int i = 1; i < argc; i++) {
        options->has_control |= str_eq(str_of(argv[i]), STR_LIT("--control-port"));
    }
    settings->fault.on_health |= fault_on_health;
    if ((options->tls_cert == NULL) != (options->tls_key == NULL)) {
        (void)fprintf(stderr, "pod: --tls-cert and --tls-key go together\n");
        return false;
    }
    return true;
}
