// ARMv8.6-A: 8-bit and bfloat16 matrix products (Neoverse V1 and N2, Apple M2).
#include "tables.h"
#include "vl_scalars.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#pragma clang attribute push(__attribute__((target("dotprod,i8mm,bf16"))), apply_to = function)
#define VL_DOT
#define VL_I8MM
#include "neon.inc.h"

// BFMMLA: 2 rows of 4 columns times 2 rows of 4 columns. An output is one lane of one register, whatever its neighbours:
//
//     sum = sum + (a0 b0 + a1 b1), then sum = sum + (a2 b2 + a3 b3), and so on along the depth
//
// Unless the system sets FPCR.EBF (none does for programs that do not ask), the products are exact, both additions round
// to odd (an inexact result has a last bit of 1: an error below one unit, where rounding to nearest has half of one),
// subnormal numbers count as zero and FPCR has no say. So |error| <= depth * 2^-23 * sum |a b|, apart from subnormals:
// twice the bound of the scalar loop with the same order. With FPCR.EBF the pair is fused, and the error smaller.
//
// BFMLALB and BFMLALT would give plain fused multiply-adds, but have the throughput of float32's: 4 multiply-adds an
// instruction, where BFMMLA has 16. Rounding the activations would then buy nothing but the widening of the weights.
// BFDOT adds like BFMMLA, with half its work an instruction and another order, which few rows and many cannot share.
#define BF_ROWS 4
#define BF_COLUMNS 8

// Columns [k, k + 8) of two rows, as two operands of four columns each.
typedef struct {
    bfloat16x8_t part[2];
} bf_pair;

VF bf_pair bf_zip(uint16x8_t upper, uint16x8_t lower) {
    const uint64x2_t u = vreinterpretq_u64_u16(upper), l = vreinterpretq_u64_u16(lower);
    return (bf_pair){{vreinterpretq_bf16_u64(vzip1q_u64(u, l)), vreinterpretq_bf16_u64(vzip2q_u64(u, l))}};
}

VF uint16x8_t bf_load(const uint16_t *p, int64_t n) {
    if (n >= 8) return vld1q_u16(p);
    uint16_t padded[8] = {0};
    __builtin_memcpy(padded, p, (size_t)n * 2);
    return vld1q_u16(padded);
}

// Rows from p on; a second one that is missing counts as zeros.
VF bf_pair bf_rows(const uint16_t *p, int64_t stride, const int two, int64_t n) {
    return bf_zip(bf_load(p, n), two ? bf_load(p + stride, n) : vdupq_n_u16(0));
}

INLINE void bf_step(const vl_product *p, const uint16_t *a, const uint16_t *b, int64_t n, const int mr, const int nr,
                    vf acc[BF_ROWS / 2][BF_COLUMNS / 2]) {
    bf_pair av[BF_ROWS / 2];
    UNROLL for (int i = 0; i < mr; i += 2) av[i / 2] = bf_rows(a + i * p->a_stride, p->a_stride, i + 1 < mr, n);
    UNROLL for (int j = 0; j < nr; j += 2) {
        const bf_pair bv = bf_rows(b + j * p->b_stride, p->b_stride, j + 1 < nr, n);
        UNROLL for (int part = 0; part < 2; part++) {
            UNROLL for (int i = 0; i < mr; i += 2) acc[i / 2][j / 2] =
                vbfmmlaq_f32(acc[i / 2][j / 2], av[i / 2].part[part], bv.part[part]);
        }
    }
}

INLINE void bf_tile(const vl_product *p, int64_t row, int64_t column, const int mr, const int nr) {
    vf acc[BF_ROWS / 2][BF_COLUMNS / 2];
    const uint16_t *a = (const uint16_t *)p->a + row * p->a_stride;
    const uint16_t *b = (const uint16_t *)p->b + column * p->b_stride;
    UNROLL for (int i = 0; i < mr; i += 2) { UNROLL for (int j = 0; j < nr; j += 2) acc[i / 2][j / 2] = vf_zero(); }
    int64_t k = 0;
    for (; k + 8 <= p->depth; k += 8) bf_step(p, a + k, b + k, 8, mr, nr, acc);
    if (k < p->depth) bf_step(p, a + k, b + k, p->depth - k, mr, nr, acc);
    UNROLL for (int i = 0; i < mr; i++) {
        float *c = p->c + (row + i) * p->c_stride + column;
        UNROLL for (int j = 0; j < nr; j++) {
            const float sum = acc[i / 2][j / 2][2 * (i % 2) + j % 2];
            c[j] = p->bias ? sum + p->bias[column + j] : sum;
        }
    }
}

#define BF_DOWN(NR)                                                                                                    \
    {                                                                                                                  \
        int64_t i = top;                                                                                               \
        for (; i + BF_ROWS <= bottom; i += BF_ROWS) bf_tile(p, i, j, BF_ROWS, NR);                                     \
        for (; i + 2 <= bottom; i += 2) bf_tile(p, i, j, 2, NR);                                                       \
        if (i < bottom) bf_tile(p, i, j, 1, NR);                                                                       \
    }

// As NT_DRIVER, but one row takes eight columns at a time, too: four chains of dependent instructions, where one column
// after the other would wait for each.
static void nt_bf16_bf16(const vl_product *p, int64_t first, int64_t last) {
    const int64_t block = block_rows(p->depth, sizeof(uint16_t), BF_ROWS);
    for (int64_t top = 0; top < p->rows; top += block) {
        const int64_t bottom = top + block < p->rows ? top + block : p->rows;
        int64_t j = first;
        for (; j + BF_COLUMNS <= last; j += BF_COLUMNS) BF_DOWN(BF_COLUMNS)
        for (; j + 2 <= last; j += 2) BF_DOWN(2)
        if (j < last) BF_DOWN(1)
    }
}

#include "neondense.inc.h"
#pragma clang attribute pop

#define TABLE vl_table_neonbf16
#define TABLE_ISA VL_ISA_NEONBF16
#define TABLE_NAME "neonbf16"
#define TABLE_NT_BF16 nt_bf16_bf16
#define TABLE_DENSE attend_dense
#include "table.inc.h"
#endif
