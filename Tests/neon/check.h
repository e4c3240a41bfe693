// What the parts of the driver share: numbers, guarded memory, and how a difference is reported.
#ifndef CHECK_H
#define CHECK_H

// For setenv and MAP_ANONYMOUS.
#define _DEFAULT_SOURCE

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "packed.h"
#include "tables.h"
#include "vl_blocks.h"
#include "vl_kernels.h"
#include "vl_scalars.h"

extern int64_t checks, failures;

// Counts a check; the first failures are printed.
#define CHECK(HOLDS, ...)                                                                                              \
    do {                                                                                                               \
        checks++;                                                                                                      \
        if (!(HOLDS) && ++failures <= 40) {                                                                            \
            printf("  failed: ");                                                                                      \
            printf(__VA_ARGS__);                                                                                       \
            printf("\n");                                                                                              \
        }                                                                                                              \
    } while (0)

// Memory of `bytes` bytes in front of a page that nobody may touch, so that reading or writing beyond the end is a crash.
// Its address has the alignment of its size only. A place is used again by the next call with the same number.
enum { PLACES = 16 };
void *place(int number, int64_t bytes);

// Numbers in [-1, 1) that look random and are the same everywhere.
void seed(uint64_t value);
uint32_t bits(void);
float number(void);
float *numbers(int at, int64_t count, float scale);
uint16_t *narrowed(int at, const float *x, int64_t count, int half);

// Largest difference in relation to the largest value, or to 1 where all are smaller: what is left of larger terms that
// cancel each other is not judged by its own size. Infinite where one is no number.
float error_of(const float *found, const float *expected, int64_t n);
int same_bits(const float *a, const float *b, int64_t n);

void check_products(const vl_kernels *k);
void check_order(const vl_kernels *k);
void check_blocks(const vl_kernels *k);
void check_functions(const vl_kernels *k);
void check_attention(const vl_kernels *k);
void check_dense(const vl_kernels *k);
void check_probes(void);

#endif
