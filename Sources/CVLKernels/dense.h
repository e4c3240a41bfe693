// What the forms of dense attention share.
#ifndef VL_DENSE_H
#define VL_DENSE_H

#include "vl_kernels.h"

// Values that a vector register holds.
static inline int64_t dense_padded(int64_t n) { return (n + 15) / 16 * 16; }

// Scratch of one call, for VL_DENSE_ROWS queries.
typedef struct {
    uint16_t *queries;  // [rows][qk_dim rounded up to 4]
    uint16_t *weights;  // [rows][VL_ATTENTION_BLOCK]
    float *scores;      // [rows][VL_ATTENTION_BLOCK]
    float *sums;        // [rows][v_dim rounded up to 16]
    float *by_row;      // [rows][grid_height rounded up to 16]
    float *by_column;   // [rows][grid_width rounded up to 16]
    float *bias;        // [rows][keys rounded up to 64, and 16], unless 16 divides the grid's width
} dense_scratch;

// Floats of a row of `bias`; none where a register's keys are of one row of the grid.
static inline int64_t dense_bias_width(const vl_dense_attention *p) {
    return p->distance_rows && p->grid_width % 16 != 0 ? (p->key_count + 63) / 64 * 64 + 16 : 0;
}

// Lays the parts out from `base` on; returns the bytes that they take.
static inline int64_t dense_scratch_cut(const vl_dense_attention *p, void *base, dense_scratch *s) {
    const int64_t sizes[7] = {
        VL_DENSE_ROWS * ((p->qk_dim + 3) / 4 * 4) * 2,
        VL_DENSE_ROWS * VL_ATTENTION_BLOCK * 2,
        VL_DENSE_ROWS * VL_ATTENTION_BLOCK * 4,
        VL_DENSE_ROWS * dense_padded(p->v_dim) * 4,
        p->distance_rows ? VL_DENSE_ROWS * dense_padded(p->grid_height) * 4 : 0,
        p->distance_rows ? VL_DENSE_ROWS * dense_padded(p->grid_width) * 4 : 0,
        VL_DENSE_ROWS * dense_bias_width(p) * 4,
    };
    int64_t places[7], at = 0;
    for (int i = 0; i < 7; i++) {
        places[i] = at;
        at += (sizes[i] + 63) / 64 * 64;
    }
    if (base) {
        char *start = (char *)base;
        s->queries = (uint16_t *)(void *)(start + places[0]);
        s->weights = (uint16_t *)(void *)(start + places[1]);
        s->scores = (float *)(void *)(start + places[2]);
        s->sums = (float *)(void *)(start + places[3]);
        s->by_row = (float *)(void *)(start + places[4]);
        s->by_column = (float *)(void *)(start + places[5]);
        s->bias = (float *)(void *)(start + places[6]);
    }
    return at;
}

void vl_attend_dense_scalar(const vl_dense_attention *p, int64_t t0, int64_t t1, void *scratch);

#endif
