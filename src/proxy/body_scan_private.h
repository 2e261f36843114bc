/* SPDX-License-Identifier: MIT */
/*
 * What is learned of a request's body: its model, its form, whether the cache may answer, the key.
 *
 * A body that comes in pieces is scanned, and its prompt digested, while it comes, so that little
 * is left to do behind its last byte. A short one is scanned when it is whole.
 *
 * Thread: the worker's.
 */
#ifndef NEARSIDE_PROXY_BODY_SCAN_PRIVATE_H
#define NEARSIDE_PROXY_BODY_SCAN_PRIVATE_H

struct request;
struct worker;

/* More of a body that is kept has come. */
void body_scan_more(struct request *request);

/* The body is complete: fill in what request knows of it (scan_ok, model, wants_stream, plan, form,
 * key, cache_word). */
void body_scan_end(struct request *request);

/* Give up what has been begun; harmless when nothing was. */
void body_scan_drop(struct request *request);

/* Of a worker that ends. */
void body_scan_free_all(struct worker *worker);

#endif
