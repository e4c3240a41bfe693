// How many threads are worth starting: arithmetic gains nothing from two threads on one core.

#define _GNU_SOURCE  // sched_getaffinity

#include "vl_pool.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__linux__)

#include <sched.h>

enum { MAX_PROCESSORS = 8192 };

// The number in a file of sysfs, or -1.
static int processor_property(int processor, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/%s", processor, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) return -1;
    int value = -1;
    if (fscanf(file, "%d", &value) != 1) value = -1;
    fclose(file);
    return value;
}

static int compare_cores(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Distinct (package, core) pairs among the allowed processors, or 0 if that cannot be found out.
static int allowed_cores(void) {
    cpu_set_t *allowed = CPU_ALLOC(MAX_PROCESSORS);
    uint64_t *cores = calloc(MAX_PROCESSORS, sizeof *cores);
    const size_t size = CPU_ALLOC_SIZE(MAX_PROCESSORS);
    int count = 0;
    if (allowed != NULL && cores != NULL && sched_getaffinity(0, size, allowed) == 0) {
        for (int processor = 0; processor < MAX_PROCESSORS; processor++) {
            if (!CPU_ISSET_S(processor, size, allowed)) continue;
            const int package = processor_property(processor, "physical_package_id");
            const int core = processor_property(processor, "core_id");
            // Without a topology each processor counts as a core of its own.
            cores[count++] =
                core < 0 ? UINT64_C(1) << 63 | (uint64_t)processor : (uint64_t)(uint32_t)package << 31 | (uint64_t)core;
        }
    }
    CPU_FREE(allowed);
    int distinct = 0;
    if (count > 0) {
        qsort(cores, (size_t)count, sizeof *cores, compare_cores);
        for (int i = 0; i < count; i++) distinct += i == 0 || cores[i] != cores[i - 1];
    }
    free(cores);
    return distinct;
}

// Processors that the control group's quota is worth, rounded up, or INT_MAX if there is none. A container sees its
// own group at the root of the tree.
static int quota_processors(void) {
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file == NULL) return INT_MAX;
    long long quota = 0, period = 0;
    const int fields = fscanf(file, "%lld %lld", &quota, &period);  // "max 100000" has no quota
    fclose(file);
    if (fields != 2 || quota <= 0 || period <= 0) return INT_MAX;
    const long long processors = (quota - 1) / period + 1;
    return processors < INT_MAX ? (int)processors : INT_MAX;
}

#elif defined(__APPLE__)

#include <sys/sysctl.h>

static int allowed_cores(void) {
    int cores = 0;
    size_t size = sizeof cores;
    return sysctlbyname("hw.physicalcpu", &cores, &size, NULL, 0) == 0 ? cores : 0;
}

static int quota_processors(void) { return INT_MAX; }

#else

static int allowed_cores(void) { return 0; }

static int quota_processors(void) { return INT_MAX; }

#endif

int vl_physical_cores(void) {
    int cores = allowed_cores();
    if (cores < 1) {
        const long online = sysconf(_SC_NPROCESSORS_ONLN);
        cores = online < 1 ? 1 : online > VL_POOL_MAX_THREADS ? VL_POOL_MAX_THREADS : (int)online;
    }
    const int quota = quota_processors();
    return cores < quota ? cores : quota;
}
