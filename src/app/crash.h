/* SPDX-License-Identifier: MIT */
/*
 * A crash is loud: one line on stderr says which signal and which thread, then the process dies of
 * the signal as it would have, at once and whole. Nothing is saved or tidied: memory that led to a
 * crash is not to be trusted.
 */
#ifndef NEARSIDE_APP_CRASH_H
#define NEARSIDE_APP_CRASH_H

#include <signal.h>

/* Where something else than the default is set up already (a sanitizer's report), that stays. */
void crash_report_on_stderr(void);

/* Take the signals of a crash out of a set to be blocked: a blocked one kills without a word. */
void crash_leave_open(sigset_t *blocked);

#endif
