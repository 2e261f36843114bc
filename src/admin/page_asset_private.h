/* SPDX-License-Identifier: MIT */
/*
 * The status page's files (page/), NUL-terminated. All of the page is in its one answer: nothing is
 * fetched from elsewhere. `{{word}}` in the frame marks what status_page.c puts in.
 */
#ifndef NEARSIDE_ADMIN_PAGE_ASSET_PRIVATE_H
#define NEARSIDE_ADMIN_PAGE_ASSET_PRIVATE_H

extern const char page_frame[];
extern const char page_style[];
extern const char page_script[];

#endif
