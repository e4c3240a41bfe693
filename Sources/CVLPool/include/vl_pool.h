/// A fork-join pool: one call runs many independent tasks on all threads and returns when the last is done.
///
/// The pool is made for regions of some microseconds to some milliseconds that follow each other closely, as the
/// operations of a neural network do. It knows nothing of tensors.
#ifndef VL_POOL_H
#define VL_POOL_H

#include <stdint.h>

#ifdef __clang__
#pragma clang assume_nonnull begin
#else
#define _Nullable
#endif

/// A fixed number of threads, of which the caller of `vl_pool_run` is one.
typedef struct vl_pool vl_pool;

/// Largest number of threads that `vl_pool_create` accepts.
enum { VL_POOL_MAX_THREADS = 1024 };

/// One task: does the work of `index`, which is in 0 ..< count.
///
/// `worker` is in 0 ..< `vl_pool_threads(pool)`; of the bodies of one region, no two run at the same time with the
/// same number, so it may choose a piece of scratch memory. The caller's thread is worker 0. `context` is passed
/// through. A body must return: it may not jump out, end its thread or unwind.
typedef void (*vl_pool_body)(void *_Nullable context, int64_t index, int worker);

/// Starts a pool of `threads` threads, the caller included: `threads - 1` are created.
///
/// Null if `threads` is not in 1 ... VL_POOL_MAX_THREADS, or if memory or threads cannot be had. The threads sleep
/// while there is nothing to do and take no signals.
vl_pool *_Nullable vl_pool_create(int threads);

/// Ends the threads and frees the pool. No region may be running or start later. Null is allowed.
void vl_pool_destroy(vl_pool *_Nullable pool);

/// Number of threads, the caller included.
int vl_pool_threads(const vl_pool *pool);

/// Calls `body(context, index, worker)` once for each index in 0 ..< count and returns when all have returned.
///
/// Indexes are handed out one by one in rising order to whichever thread is free; what thread does which index
/// varies from run to run. All that the caller wrote before is visible to the bodies, and all that these wrote is
/// visible to the caller afterwards. A count below 1 does nothing. Allocates nothing.
///
/// - With one task or one thread everything runs on the caller's thread, in order, without synchronisation.
/// - A call from inside a body of the same pool runs in place, with the worker number of that body.
/// - Calls from several threads wait for each other. (Their worker numbers may coincide where one of them runs in
///   place, so such callers must not share scratch memory.)
/// - A body may use another pool, as long as bodies of that one do not use this one.
void vl_pool_run(vl_pool *pool, int64_t count, vl_pool_body body, void *_Nullable context);

/// Number of physical cores that this process may use, at least 1.
///
/// On Linux: the distinct cores among the processors that the scheduler lets the calling thread run on, and no more
/// than the CPU quota of the control group, rounded up. Elsewhere what the system reports.
int vl_physical_cores(void);

#ifdef __clang__
#pragma clang assume_nonnull end
#endif

#endif
