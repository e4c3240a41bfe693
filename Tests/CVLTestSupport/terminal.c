// Pseudo-terminals and sessions of new processes are extensions.
#define _GNU_SOURCE 1

#include "include/vl_test_support.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static int spawn(const char *program, char *const *arguments, char *const *environment, const char *terminal,
                 int32_t *process) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int error = posix_spawn_file_actions_init(&actions);
    if (error != 0) return error;
    error = posix_spawnattr_init(&attributes);
    if (error == 0) {
        // The first terminal that the leader of a session opens becomes the session's own.
        // The threads that run tests block signals, and a process inherits what its maker blocks: Ctrl-C would be lost.
        sigset_t none;
        sigemptyset(&none);
        error = posix_spawnattr_setsigmask(&attributes, &none);
        if (error == 0) error = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK);
        if (error == 0) error = posix_spawn_file_actions_addopen(&actions, 0, terminal, O_RDWR, 0);
        if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, 0, 1);
        if (error == 0) error = posix_spawn_file_actions_adddup2(&actions, 0, 2);
        pid_t started = 0;
        if (error == 0) error = posix_spawn(&started, program, &actions, &attributes, arguments, environment);
        *process = started;
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return error;
}

int32_t vl_test_start_at_terminal(const char *program, char *const *arguments, char *const *environment,
                                  int32_t *process) {
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0) return -1;
    const struct winsize size = {.ws_row = 24, .ws_col = 200};
    const char *name = NULL;
    if (grantpt(terminal) == 0 && unlockpt(terminal) == 0) name = ptsname(terminal);
    int error = name == NULL ? errno : 0;
    if (error == 0 && (ioctl(terminal, TIOCSWINSZ, &size) != 0 || fcntl(terminal, F_SETFD, FD_CLOEXEC) != 0)) {
        error = errno;
    }
    if (error == 0) error = spawn(program, arguments, environment, name, process);
    if (error == 0) return terminal;
    close(terminal);
    errno = error;
    return -1;
}
