// Tasks are handed out through one number, `remaining`. A thread takes a task by lowering it with compare-and-swap and
// only then reads what the region is; the region cannot end before that task has, so these fields need no lock and no
// epoch. A thread that was descheduled between two regions finds zero or tasks of the new region, both of which are
// fine. The caller waits for tasks, never for threads: a worker that sleeps through a region delays nobody.

#define _GNU_SOURCE  // pthread_setname_np, syscall

#include "vl_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// VL_POOL_NO_FUTEX builds the portable form on Linux too, for tests.
#if defined(__linux__) && !defined(VL_POOL_NO_FUTEX)
#define USE_FUTEX 1
#include <linux/futex.h>
#include <sys/syscall.h>
#else
#define USE_FUTEX 0
#endif

// How often an idle thread looks for work, with a pause between, before it sleeps; a pause is some 10 to 40 ns. It
// must outlast the gaps between the regions of one step, and no more: a spinning thread takes time from others.
enum { SPINS = 2000 };

enum { CACHE_LINE = 64 };

// Bytes of stack that a worker has at least.
enum { WORKER_STACK = 2 * 1024 * 1024 };

// A number to sleep on. Linux sleeps on the number itself, others on a condition beside it.
typedef struct {
    atomic_uint value;
#if !USE_FUTEX
    pthread_mutex_t mutex;
    pthread_cond_t condition;
#endif
} event;

typedef struct {
    vl_pool *pool;
    pthread_t thread;
    int number;
} worker;

struct vl_pool {
    // Changes with each region.
    _Alignas(CACHE_LINE) atomic_llong remaining;  // tasks that nobody has taken yet
    vl_pool_body body;
    void *context;
    int64_t count;

    _Alignas(CACHE_LINE) atomic_llong unfinished;  // tasks that have not been reported as done
    atomic_bool caller_sleeps;
    event done;

    _Alignas(CACHE_LINE) atomic_int sleepers;
    atomic_bool stop;
    event work;

    // Never changes.
    _Alignas(CACHE_LINE) pthread_mutex_t callers;  // held during a region
    int threads;
    int spins;
    worker *workers;  // threads - 1
};

// The pool in whose body this thread is, and its number there.
static _Thread_local const vl_pool *current_pool;
static _Thread_local int current_worker;

// ---- sleeping -------------------------------------------------------------------------------------------------------

static inline void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");  // `yield` is too short to let a sibling on
#endif
}

#if USE_FUTEX

static bool event_create(event *e) {
    atomic_init(&e->value, 0);
    return true;
}

static void event_destroy(event *e) { (void)e; }

// Returns at once if the value is no longer `seen`; may also return without a reason.
static void event_wait(event *e, unsigned seen) {
    syscall(SYS_futex, &e->value, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void event_signal(event *e, int threads) {
    atomic_fetch_add(&e->value, 1);
    syscall(SYS_futex, &e->value, FUTEX_WAKE_PRIVATE, threads, NULL, NULL, 0);
}

#else

static bool event_create(event *e) {
    atomic_init(&e->value, 0);
    if (pthread_mutex_init(&e->mutex, NULL) != 0) return false;
    if (pthread_cond_init(&e->condition, NULL) == 0) return true;
    pthread_mutex_destroy(&e->mutex);
    return false;
}

static void event_destroy(event *e) {
    pthread_cond_destroy(&e->condition);
    pthread_mutex_destroy(&e->mutex);
}

static void event_wait(event *e, unsigned seen) {
    pthread_mutex_lock(&e->mutex);
    while (atomic_load(&e->value) == seen) pthread_cond_wait(&e->condition, &e->mutex);
    pthread_mutex_unlock(&e->mutex);
}

static void event_signal(event *e, int threads) {
    pthread_mutex_lock(&e->mutex);
    atomic_fetch_add(&e->value, 1);
    if (threads > 1) {
        pthread_cond_broadcast(&e->condition);
    } else {
        pthread_cond_signal(&e->condition);
    }
    pthread_mutex_unlock(&e->mutex);
}

#endif

// ---- working --------------------------------------------------------------------------------------------------------

// Takes and does tasks until none is left, then reports them together.
static void work(vl_pool *pool, int number) {
    long long finished = 0;
    long long left = atomic_load_explicit(&pool->remaining, memory_order_relaxed);
    while (left > 0) {
        if (atomic_compare_exchange_weak_explicit(&pool->remaining, &left, left - 1, memory_order_acquire,
                                                  memory_order_relaxed)) {
            pool->body(pool->context, pool->count - left, number);
            finished++;
            left = atomic_load_explicit(&pool->remaining, memory_order_relaxed);
        }
    }
    // Sequentially consistent with the caller's "I sleep, is anything unfinished?": one of the two sees the other.
    if (finished > 0 && atomic_fetch_sub(&pool->unfinished, finished) == finished &&
        atomic_load(&pool->caller_sleeps)) {
        event_signal(&pool->done, 1);
    }
}

static void wait_for_work(vl_pool *pool) {
    for (int i = 0; i < pool->spins; i++) {
        if (atomic_load_explicit(&pool->remaining, memory_order_relaxed) > 0) return;
        pause_briefly();
    }
    unsigned seen = atomic_load(&pool->work.value);
    atomic_fetch_add(&pool->sleepers, 1);
    if (atomic_load(&pool->remaining) == 0 && !atomic_load(&pool->stop)) event_wait(&pool->work, seen);
    atomic_fetch_sub(&pool->sleepers, 1);
}

static void wait_until_done(vl_pool *pool) {
    for (int i = 0; i < pool->spins; i++) {
        if (atomic_load_explicit(&pool->unfinished, memory_order_acquire) == 0) return;
        pause_briefly();
    }
    atomic_store(&pool->caller_sleeps, true);
    for (;;) {
        unsigned seen = atomic_load(&pool->done.value);
        if (atomic_load(&pool->unfinished) == 0) break;
        event_wait(&pool->done, seen);
    }
    atomic_store(&pool->caller_sleeps, false);
}

static void *worker_main(void *argument) {
    worker *self = argument;
    vl_pool *pool = self->pool;
#if defined(__linux__)
    pthread_setname_np(pthread_self(), "vl-worker");
#elif defined(__APPLE__)
    pthread_setname_np("vl-worker");
#endif
    current_pool = pool;
    current_worker = self->number;
    while (!atomic_load_explicit(&pool->stop, memory_order_relaxed)) {
        work(pool, self->number);
        wait_for_work(pool);
    }
    return NULL;
}

void vl_pool_run(vl_pool *pool, int64_t count, vl_pool_body body, void *context) {
    const bool nested = current_pool == pool;
    if (count <= 1 || pool->threads == 1 || nested) {
        const int number = nested ? current_worker : 0;
        for (int64_t i = 0; i < count; i++) body(context, i, number);
        return;
    }
    const vl_pool *outer_pool = current_pool;
    const int outer_worker = current_worker;

    pthread_mutex_lock(&pool->callers);
    pool->body = body;
    pool->context = context;
    pool->count = count;
    atomic_store_explicit(&pool->unfinished, count, memory_order_relaxed);
    // Sequentially consistent with a worker's "I sleep, is anything remaining?".
    atomic_store(&pool->remaining, count);
    if (atomic_load(&pool->sleepers) > 0) {
        const int helpers = pool->threads - 1;
        event_signal(&pool->work, count - 1 < helpers ? (int)(count - 1) : helpers);
    }
    current_pool = pool;
    current_worker = 0;
    work(pool, 0);
    current_pool = outer_pool;
    current_worker = outer_worker;
    wait_until_done(pool);
    pthread_mutex_unlock(&pool->callers);
}

// ---- life -----------------------------------------------------------------------------------------------------------

// Ends the first `started` workers and frees everything.
static void shut_down(vl_pool *pool, int started) {
    atomic_store(&pool->stop, true);
    event_signal(&pool->work, VL_POOL_MAX_THREADS);
    for (int i = 0; i < started; i++) pthread_join(pool->workers[i].thread, NULL);
    event_destroy(&pool->work);
    event_destroy(&pool->done);
    pthread_mutex_destroy(&pool->callers);
    free(pool->workers);
    free(pool);
}

static bool create_events(vl_pool *pool) {
    if (!event_create(&pool->work)) return false;
    if (event_create(&pool->done)) {
        if (pthread_mutex_init(&pool->callers, NULL) == 0) return true;
        event_destroy(&pool->done);
    }
    event_destroy(&pool->work);
    return false;
}

vl_pool *vl_pool_create(int threads) {
    if (threads < 1 || threads > VL_POOL_MAX_THREADS) return NULL;
    void *memory = NULL;
    if (posix_memalign(&memory, CACHE_LINE, sizeof(vl_pool)) != 0) return NULL;
    memset(memory, 0, sizeof(vl_pool));
    vl_pool *pool = memory;
    pool->workers = calloc((size_t)threads, sizeof(worker));
    if (pool->workers == NULL || !create_events(pool)) {
        free(pool->workers);
        free(pool);
        return NULL;
    }
    pool->threads = threads;
    // With more threads than processors a spinning thread keeps a working one from running.
    pool->spins = threads <= sysconf(_SC_NPROCESSORS_ONLN) ? SPINS : SPINS / 100;

    // Workers inherit the mask, so that signal handlers run on the program's own threads.
    sigset_t all, before;
    sigfillset(&all);
    const bool masked = pthread_sigmask(SIG_SETMASK, &all, &before) == 0;
    // Some systems give threads less than the kernels' scratch memory and what calls them may take.
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    size_t stack = 0;
    if (pthread_attr_getstacksize(&attributes, &stack) == 0 && stack < WORKER_STACK)
        pthread_attr_setstacksize(&attributes, WORKER_STACK);
    int started = 0;
    while (started < threads - 1) {
        worker *next = &pool->workers[started];
        next->pool = pool;
        next->number = started + 1;
        if (pthread_create(&next->thread, &attributes, worker_main, next) != 0) break;
        started++;
    }
    pthread_attr_destroy(&attributes);
    if (masked) pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started == threads - 1) return pool;
    shut_down(pool, started);
    return NULL;
}

void vl_pool_destroy(vl_pool *pool) {
    if (pool != NULL) shut_down(pool, pool->threads - 1);
}

int vl_pool_threads(const vl_pool *pool) { return pool->threads; }
