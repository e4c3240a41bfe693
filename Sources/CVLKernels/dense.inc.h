// Dense attention with bfloat16 dot products, for avx512bf16.c: a register holds 16 keys' scores, or 16 values' sums, of
// one query, and a pair of the query's numbers (or of two keys' weights) is spread over it. An output's order of sums does
// not depend on which queries share the call.
#include "dense.h"

#define DENSE_ROWS 6
#define DENSE_VECTORS 4

INLINE __m512bh dense_spread(const uint16_t *p) {
    int32_t pair;
    __builtin_memcpy(&pair, p, 4);
    return (__m512bh)_mm512_set1_epi32(pair);
}

// acc += A B for mr rows of pairs of bfloat16 and nr vectors of B, [pairs][16 nr..., b_stride values][2].
INLINE void dense_product(const uint16_t *a, int64_t a_stride, const uint16_t *b, int64_t b_stride, int64_t pairs,
                          vf acc[DENSE_ROWS][DENSE_VECTORS], const int mr, const int nr) {
    for (int64_t k = 0; k < pairs; k++) {
        __m512bh w[DENSE_VECTORS];
        UNROLL for (int n = 0; n < nr; n++) w[n] = load_pairs(b + 2 * (k * b_stride + 16 * n));
        UNROLL for (int i = 0; i < mr; i++) {
            const __m512bh av = dense_spread(a + i * a_stride + 2 * k);
            UNROLL for (int n = 0; n < nr; n++) acc[i][n] = _mm512_dpbf16_ps(acc[i][n], w[n], av);
        }
    }
}

// C (+)= A B.
INLINE void dense_tile(const uint16_t *a, int64_t a_stride, const uint16_t *b, int64_t b_stride, int64_t pairs,
                       float *c, int64_t c_stride, const int adds, const int mr, const int nr) {
    vf acc[DENSE_ROWS][DENSE_VECTORS];
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int n = 0; n < nr; n++) acc[i][n] = adds ? vf_load(c + i * c_stride + 16 * n) : vf_zero();
    }
    dense_product(a, a_stride, b, b_stride, pairs, acc, mr, nr);
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int n = 0; n < nr; n++) vf_store(c + i * c_stride + 16 * n, acc[i][n]);
    }
}

// All rows and `width` (a multiple of 16) columns.
INLINE void dense_all(int64_t rows, const uint16_t *a, int64_t a_stride, const uint16_t *b, int64_t width,
                      int64_t pairs, float *c, int64_t c_stride, const int adds) {
    int64_t n = 0;
    for (; n + 64 <= width; n += 64) {
        int64_t i = 0;
        for (; i + DENSE_ROWS <= rows; i += DENSE_ROWS)
            dense_tile(a + i * a_stride, a_stride, b + 2 * n, width, pairs, c + i * c_stride + n, c_stride, adds,
                       DENSE_ROWS, 4);
        for (; i < rows; i++)
            dense_tile(a + i * a_stride, a_stride, b + 2 * n, width, pairs, c + i * c_stride + n, c_stride, adds, 1, 4);
    }
    for (; n < width; n += 16) {
        int64_t i = 0;
        for (; i + DENSE_ROWS <= rows; i += DENSE_ROWS)
            dense_tile(a + i * a_stride, a_stride, b + 2 * n, width, pairs, c + i * c_stride + n, c_stride, adds,
                       DENSE_ROWS, 1);
        for (; i < rows; i++)
            dense_tile(a + i * a_stride, a_stride, b + 2 * n, width, pairs, c + i * c_stride + n, c_stride, adds, 1, 1);
    }
}

// 2^x for x <= 0; 0 for minus infinity.
INLINE vf dense_exp2(vf x) {
    const vf bounded = vf_max(x, vf_set(-200.0f)), n = vf_round(bounded);
    return _mm512_scalef_ps(vf_exp2_near(bounded - n), n);
}

// What a query's scores gain, in powers of two: products with the distances, and their sums if 16 keys are of two rows.
INLINE void dense_distances(const vl_dense_attention *p, int64_t t0, int64_t rows, const dense_scratch *s,
                            float log2e) {
    const int64_t height = dense_padded(p->grid_height), width = dense_padded(p->grid_width);
    const vf unit = vf_set(log2e);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t y = (t0 + i) / p->grid_width, x = (t0 + i) % p->grid_width;
        const uint16_t *q = s->queries + i * p->qk_dim;
        float *by_row = s->by_row + i * height, *by_column = s->by_column + i * width;
        dense_all(1, q, 0, p->distance_rows + y * p->qk_dim * height, height, p->qk_dim / 2, by_row, 0, 0);
        dense_all(1, q, 0, p->distance_columns + x * p->qk_dim * width, width, p->qk_dim / 2, by_column, 0, 0);
        for (int64_t j = 0; j < height; j += 16) vf_store(by_row + j, vf_load(by_row + j) * unit);
        for (int64_t j = 0; j < width; j += 16) vf_store(by_column + j, vf_load(by_column + j) * unit);
        const int64_t bias_width = dense_bias_width(p);
        if (bias_width == 0) continue;
        // Each row's last vector is written over the next row's first places, which are written after it.
        float *bias = s->bias + i * bias_width;
        for (int64_t other = 0; other < p->grid_height; other++) {
            const vf whole = vf_set(by_row[other]);
            for (int64_t j = 0; j < p->grid_width; j += 16)
                vf_store(bias + other * p->grid_width + j, whole + vf_load(by_column + j));
        }
    }
}

static void attend_dense(const vl_dense_attention *p, int64_t t0, int64_t t1, void *scratch) {
    dense_scratch s;
    dense_scratch_cut(p, scratch, &s);
    const int64_t rows = t1 - t0, width = dense_padded(p->v_dim), bias_width = dense_bias_width(p);
    float largest[VL_DENSE_ROWS];
    vf total[VL_DENSE_ROWS];
    const float log2e = 1.44269504f;
    const vf scale = vf_set(p->scale * log2e), minus = vf_set(-__builtin_inff());
    for (int64_t i = 0; i < rows; i++) {
        const float *q = p->q + (t0 + i) * p->q_stride;
        int64_t d = 0;
        for (; d + 16 <= p->qk_dim; d += 16)
            _mm256_storeu_si256((__m256i *)(void *)(s.queries + i * p->qk_dim + d),
                                (__m256i)_mm512_cvtneps_pbh(vf_load(q + d)));
        for (; d < p->qk_dim; d++) s.queries[i * p->qk_dim + d] = vl_bf16_of(q[d]);
        largest[i] = -__builtin_inff();
        total[i] = vf_zero();
        for (d = 0; d < width; d += 16) vf_store(s.sums + i * width + d, vf_zero());
    }
    if (p->distance_rows) dense_distances(p, t0, rows, &s, log2e);
    for (int64_t first = 0; first < p->key_count; first += VL_ATTENTION_BLOCK) {
        const int64_t count = p->key_count - first < VL_ATTENTION_BLOCK ? p->key_count - first : VL_ATTENTION_BLOCK;
        dense_all(rows, s.queries, p->qk_dim, p->keys + first * p->qk_dim, VL_ATTENTION_BLOCK, p->qk_dim / 2, s.scores,
                  VL_ATTENTION_BLOCK, 0);
        for (int64_t i = 0; i < rows; i++) {
            const float *scores = s.scores + i * VL_ATTENTION_BLOCK;
            vf x[4];
            UNROLL for (int n = 0; n < 4; n++) {
                vf added = vf_zero();
                if (bias_width > 0) {
                    added = vf_load(s.bias + i * bias_width + first + 16 * n);
                } else if (p->distance_rows) {
                    const int64_t key = first + 16 * n < p->key_count ? first + 16 * n : 0;
                    added = vf_set(s.by_row[i * dense_padded(p->grid_height) + key / p->grid_width]) +
                            vf_load(s.by_column + i * p->grid_width + key % p->grid_width);
                }
                x[n] = vf_fma(vf_load(scores + 16 * n), scale, added);
                const int64_t left = count - 16 * n;
                if (left < 16) x[n] = _mm512_mask_mov_ps(minus, left > 0 ? part_mask(left) : 0, x[n]);
            }
            const vf tops = vf_max(vf_max(x[0], x[1]), vf_max(x[2], x[3]));
            // The maximum seldom rises after the first blocks, and asking whether it does costs less than finding it.
            if (_mm512_cmp_ps_mask(tops, vf_set(largest[i]), _CMP_GT_OQ) != 0) {
                const float top = vf_top(tops);
                if (first > 0) {
                    const vf factor = dense_exp2(vf_set(largest[i] - top));
                    total[i] = total[i] * factor;
                    for (int64_t d = 0; d < width; d += 16)
                        vf_store(s.sums + i * width + d, vf_load(s.sums + i * width + d) * factor);
                }
                largest[i] = top;
            }
            const vf shift = vf_set(largest[i]);
            UNROLL for (int n = 0; n < 4; n++) x[n] = dense_exp2(x[n] - shift);
            total[i] = total[i] + ((x[0] + x[1]) + (x[2] + x[3]));
            uint16_t *weights = s.weights + i * VL_ATTENTION_BLOCK;
            _mm512_storeu_si512(weights, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0]));
            _mm512_storeu_si512(weights + 32, (__m512i)_mm512_cvtne2ps_pbh(x[3], x[2]));
        }
        dense_all(rows, s.weights, VL_ATTENTION_BLOCK, p->values + first * width, width, VL_ATTENTION_BLOCK / 2, s.sums,
                  width, 1);
    }
    for (int64_t i = 0; i < rows; i++) {
        const vf factor = vf_set(1.0f / vf_sum(total[i]));
        float *out = p->out + (t0 + i) * p->out_stride;
        for (int64_t d = 0; d < p->v_dim; d += 16) {
            const vf y = vf_load(s.sums + i * width + d) * factor;
            if (d + 16 <= p->v_dim) vf_store(out + d, y);
            else vf_store_part(out + d, y, p->v_dim - d);
        }
    }
}
