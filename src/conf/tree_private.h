/* SPDX-License-Identifier: MIT */
/* How a tree is begun: the rest of conf/ fills it before anyone else sees it. */
#ifndef NEARSIDE_CONF_TREE_PRIVATE_H
#define NEARSIDE_CONF_TREE_PRIVATE_H

#include <nearside/base/arena.h>
#include <nearside/base/str.h>

#include <stdint.h>

struct conf;
struct conf_block;

struct conf_strings {
    struct arena arena;
};

/* The defaults, one reference, no listener and no region yet. */
struct conf *conf_new(void);

/* A NUL-terminated copy that lives as long as the tree. Bytes after a NUL are lost. */
const char *conf_keep(struct conf *conf, struct str text);

/* Zeroed blocks that live as long as the tree. */
struct conf_block *conf_make_blocks(struct conf *conf, uint32_t count);

/* Give the tree zeroed listeners or regions of its own, to be filled. Called once each. */
void conf_make_listeners(struct conf *conf, uint32_t count);
void conf_make_regions(struct conf *conf, uint32_t count);

/* What depends on the machine: the host's name for an empty edge.id, CPUs for 0 workers. */
void conf_settle_edge(struct conf *conf);

#endif
