/* SPDX-License-Identifier: MIT */
/*
 * The files of page/ as they stand, put into the binary by the assembler (`.incbin`, paths from the
 * top of the tree, where make runs). Each text ends with a NUL. The parts of the script are one
 * module: the browser sees them in this order.
 */
#include "page_asset_private.h"

#define TEXT_BEGIN(symbol)                                                                         \
    ".pushsection .rodata\n"                                                                       \
    ".global " symbol "\n"                                                                         \
    ".type " symbol ", %object\n" symbol ":\n"
#define TEXT_FILE(name) ".incbin \"src/admin/page/" name "\"\n"
#define TEXT_END(symbol)                                                                           \
    ".byte 0\n"                                                                                    \
    ".size " symbol ", . - " symbol "\n"                                                           \
    ".popsection\n"

__asm__(TEXT_BEGIN("page_frame") TEXT_FILE("page.html") TEXT_END("page_frame"));

__asm__(TEXT_BEGIN("page_style") TEXT_FILE("page.css") TEXT_END("page_style"));

__asm__(TEXT_BEGIN("page_script") TEXT_FILE("text.js") TEXT_FILE("dom.js") TEXT_FILE("curve.js")
            TEXT_FILE("operate.js") TEXT_FILE("regions.js") TEXT_FILE("choice.js")
                TEXT_FILE("panels.js") TEXT_FILE("timeline.js") TEXT_FILE("live.js")
                    TEXT_END("page_script"));
