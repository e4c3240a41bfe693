/// Rounding with error feedback (GPTQ, arXiv:2210.17323): the inner loops of the quantizer in VLQuantize.
///
/// With the layer's inputs X and H = X^T X = R R^T, R upper triangular, the output's error of a row of weights w that became
/// q is the sum over columns k of d_k (v_k - q_k)^2, where d_k = R_kk^2 and v_k = w_k + sum over j < k of
/// (w_j - q_j) R_jk / R_kk. Rounding v_k in the order of the columns is what GPTQ does; this form of it (arXiv:2307.13304)
/// needs no inverse of H. R_jk / R_kk are the **feedback** factors.
///
/// All functions are deterministic: one order of operations, whatever calls share the work.
#ifndef VL_GPTQ_H
#define VL_GPTQ_H

#include <stdint.h>

#pragma clang assume_nonnull begin

/// Codes are 0...15.
enum { VL_GPTQ_LEVELS = 16 };

/// What the 16 values of a group are: scale * code + offset, scale being a half.
typedef enum {
    VL_GPTQ_SYMMETRIC = 0,  // offset = -8 scale, of either sign: Q4_0 and symmetric GPTQ
    VL_GPTQ_ZERO = 1,       // offset = -zero scale with a whole number zero of 0...15: GPTQ
    VL_GPTQ_MINIMUM = 2     // offset a half of its own: Q4_1
} vl_gptq_form;

/// The values of a group.
typedef struct {
    float scale;
    float offset;
} vl_gptq_grid;

/// The grid that makes the sum of weights[i] * (rounded x[i] - x[i])^2 small, found by trying scales around that which
/// covers all values. `weights` null counts all alike. All values 0 give scale 0 (codes are then 8 or 0).
vl_gptq_grid vl_gptq_search(vl_gptq_form form, const float *x, const float *_Nullable weights, int64_t n,
                            float *_Nullable error);

/// Some columns of a matrix that are rounded together.
typedef struct {
    int64_t first;  // first column of the block in the order of rounding
    int64_t count;  // columns of the block
    int64_t group;  // columns of a group that is found on the way; 0: `groups` names each column's, whose grid is given
    vl_gptq_form form;
    const float *feedback;            // [count][count]: entry [j][k], j < k, is what column k gets of column j's error
    const float *curvature;           // [count]: d_k
    const int32_t *_Nullable groups;  // [count]: each column's group where those are given
} vl_gptq_block;

/// Rounds a block of one row.
///
/// `weights` [count] are the row's values, `fed` [count] what the errors of earlier blocks add to them; `errors` [count] gets
/// w - q, `codes` [count] the codes. `grids` are the row's: read where groups are given; else the grid of column k's group
/// is found when its first column comes and stored at k / group. `scratch` is 2 * count floats.
/// Returns the sum of d_k (v_k - q_k)^2.
double vl_gptq_round(const vl_gptq_block *block, const float *weights, const float *fed, float *errors, uint8_t *codes,
                     vl_gptq_grid *grids, float *scratch);

/// The sum over a block's columns of d_k v_k^2, where v is `errors` plus `fed` plus the block's own feedback: the part of
/// the output's error that errors already made have in this block. `scratch` is `count` floats.
double vl_gptq_loss(const vl_gptq_block *block, const float *errors, const float *fed, float *scratch);

/// The nearest code of a grid.
uint8_t vl_gptq_code(vl_gptq_grid grid, float x);

/// Cholesky's factor C, lower, of the n x n block at `a` in place (rows `stride` apart); sums are float64.
/// Returns 0, or 1 if the block is not positive definite.
int32_t vl_cholesky_block(float *a, int64_t stride, int64_t n);
/// Solves row C^T = row for a row of n values in place, C as `vl_cholesky_block` leaves it.
void vl_cholesky_row(const float *c, int64_t stride, int64_t n, float *row);

/// Packs 8 neighbouring codes of each row into a word, the first in the lowest bits: rows `stride` apart, to `rows` words.
void vl_gptq_pack8(const uint8_t *codes, int64_t stride, int64_t rows, uint32_t *words);

#pragma clang assume_nonnull end

#endif
