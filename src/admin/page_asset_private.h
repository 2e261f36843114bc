/* SPDX-License-Identifier: MIT */
/* The style and the script of the status page: part of it, nothing is fetched from elsewhere. */
#ifndef NEARSIDE_ADMIN_PAGE_ASSET_PRIVATE_H
#define NEARSIDE_ADMIN_PAGE_ASSET_PRIVATE_H

extern const char page_style[];
extern const char page_script[];

#endif
