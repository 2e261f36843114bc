/* SPDX-License-Identifier: MIT */
/* The last words. Only what signal-safety(7) allows. */
#include "crash.h"

#include <nearside/base/attr.h>

#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define THREAD_NAME_LEN 16 /* PR_GET_NAME's */

static const struct {
    int number;
    const char *name;
} crashes[] = {
    {SIGSEGV, "SIGSEGV"}, {SIGBUS, "SIGBUS"},   {SIGILL, "SIGILL"},
    {SIGFPE, "SIGFPE"},   {SIGABRT, "SIGABRT"},
};

static void say(const char *text)
{
    (void)!write(STDERR_FILENO, text, strlen(text)); /* nobody is left to tell of a failure */
}

/* SA_RESETHAND has put the default back: what is raised here is fatal as soon as this returns. */
static void on_crash(int number)
{
    char thread[THREAD_NAME_LEN + 1] = "?";

    (void)prctl(PR_GET_NAME, thread, 0, 0, 0);
    say("nearside: crashed: ");
    for (size_t i = 0; i < ARRAY_LEN(crashes); i++) {
        if (crashes[i].number == number) {
            say(crashes[i].name);
        }
    }
    say(" in thread ");
    say(thread);
    say("\n");
    (void)raise(number);
}

void crash_report_on_stderr(void)
{
    struct sigaction ours = {.sa_handler = on_crash, .sa_flags = (int)SA_RESETHAND};

    for (size_t i = 0; i < ARRAY_LEN(crashes); i++) {
        struct sigaction present;

        if (sigaction(crashes[i].number, NULL, &present) == 0 && present.sa_handler == SIG_DFL) {
            (void)sigaction(crashes[i].number, &ours, NULL);
        }
    }
}

void crash_leave_open(sigset_t *blocked)
{
    for (size_t i = 0; i < ARRAY_LEN(crashes); i++) {
        (void)sigdelset(blocked, crashes[i].number);
    }
}
