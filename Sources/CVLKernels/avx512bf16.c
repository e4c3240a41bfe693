// AVX-512 with VNNI and BF16 dot products (Zen 4, Cooper Lake, Sapphire Rapids).
#include "tables.h"
#include "vl_scalars.h"

#if defined(__x86_64__)
#pragma clang attribute push(                                                                                          \
    __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma,f16c"))),                 \
    apply_to = function)
#define VL_VNNI
#define ATTEND attend_exact
#include "avx512.inc.h"

#define BF16_LANES 32

VF __m512bh load_pairs(const uint16_t *p) { return (__m512bh)_mm512_loadu_si512(p); }
VF __m512bh load_pairs_part(const uint16_t *p, int64_t n) {
    return (__m512bh)_mm512_maskz_loadu_epi16((__mmask32)((1u << n) - 1u), p);
}

// As the float32 tiles, with a lane that sums pairs of neighbours; steps of 32 along the depth.
INLINE void nt_bf16_bf16_tile(const vl_product *p, int64_t row, int64_t column, const int mr, const int nr,
                              nt_ahead ahead) {
    vf acc[NT_ROWS][NT_COLUMNS];
    const uint16_t *a = (const uint16_t *)p->a + row * p->a_stride;
    const uint16_t *b = (const uint16_t *)p->b + column * p->b_stride;
    UNROLL for (int i = 0; i < mr; i++) { UNROLL for (int j = 0; j < nr; j++) acc[i][j] = vf_zero(); }
    int64_t k = 0;
    for (; k + BF16_LANES <= p->depth; k += BF16_LANES) {
        __m512bh av[NT_ROWS];
        nt_fetch(&ahead);
        UNROLL for (int i = 0; i < mr; i++) av[i] = load_pairs(a + i * p->a_stride + k);
        UNROLL for (int j = 0; j < nr; j++) {
            __m512bh bv = load_pairs(b + j * p->b_stride + k);
            UNROLL for (int i = 0; i < mr; i++) acc[i][j] = _mm512_dpbf16_ps(acc[i][j], av[i], bv);
        }
    }
    if (k < p->depth) {
        const int64_t rest = p->depth - k;
        UNROLL for (int j = 0; j < nr; j++) {
            __m512bh bv = load_pairs_part(b + j * p->b_stride + k, rest);
            UNROLL for (int i = 0; i < mr; i++) acc[i][j] =
                _mm512_dpbf16_ps(acc[i][j], load_pairs_part(a + i * p->a_stride + k, rest), bv);
        }
    }
    UNROLL for (int i = 0; i < mr; i++) store_sums(p, row + i, column, acc[i], nr);
}

NT_DRIVER(nt_bf16_bf16, sizeof(uint16_t), BYTES_2, BF16_LANES)

#include "dense.inc.h"
#include "rounded.inc.h"
#pragma clang attribute pop

#define TABLE vl_table_avx512bf16
#define TABLE_ISA VL_ISA_AVX512BF16
#define TABLE_NAME "avx512bf16"
#define TABLE_NT_BF16 nt_bf16_bf16
#define TABLE_DENSE attend_dense
#define TABLE_ROUNDS 1
#include "table.inc.h"
#endif
