// The standard alone knows no terminals and no signal sets.
#define _DEFAULT_SOURCE 1

#include "include/vl_terminal.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

static _Atomic int32_t interrupts;

static void count(int number) {
    (void)number;
    atomic_fetch_add_explicit(&interrupts, 1, memory_order_relaxed);
}

void vl_interrupts_watch(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = count;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

int32_t vl_interrupts_count(void) { return atomic_load_explicit(&interrupts, memory_order_relaxed); }

void vl_interrupts_reset(void) { atomic_store_explicit(&interrupts, 0, memory_order_relaxed); }
