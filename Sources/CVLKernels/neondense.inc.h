// Dense attention with bfloat16 matrix products, for neonbf16.c. BFMMLA multiplies 2 rows of 4 numbers with 2 columns of 4,
// so queries go in pairs, and between the products everything stays as BFMMLA leaves it:
//
//   queries, weights        [pairs of queries][fours along the depth][2][4]
//   scores, sums            [pairs of queries][pairs of columns][2 queries][2 columns]
//
// Keys, values and distances are packed in pairs along the depth, as BFDOT takes them: two registers of them, zipped by 32
// bits, are BFMMLA's operands for two pairs of columns. In a tile of 12 queries and 8 columns that is 4 zips and 10 loads
// for 24 BFMMLA.
//
// An output's sum runs over the depth in pairs, (a0 b0 + a1 b1) first and then that to the sum, each rounded to odd (see
// neonbf16.c), whichever queries share the call. A second query that is missing is the first one again.
#include "dense.h"

#define DENSE_PAIRS 6
#define DENSE_COLUMNS 8

INLINE uint32x4_t dense_load(const uint16_t *p) { return vreinterpretq_u32_u16(vld1q_u16(p)); }

// Numbers of two queries in the layout of the scores: each twice, or two of each.
INLINE vf dense_spread(float upper, float lower) { return vcombine_f32(vdup_n_f32(upper), vdup_n_f32(lower)); }
INLINE vf dense_beside(const float *upper, const float *lower) {
    return vcombine_f32(vld1_f32(upper), vld1_f32(lower));
}

// Four columns of the upper and of the lower query, from two registers of two columns each; and the other way round.
INLINE vf dense_upper(vf a, vf b) {
    return vreinterpretq_f32_f64(vzip1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
INLINE vf dense_lower(vf a, vf b) {
    return vreinterpretq_f32_f64(vzip2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}

// Four numbers along the depth, or the last two.
INLINE void dense_step(const uint16_t *a, int64_t a_stride, const uint16_t *b, int64_t b_stride, const int four,
                       vf acc[DENSE_PAIRS][DENSE_COLUMNS / 2], const int mr) {
    bfloat16x8_t w[DENSE_COLUMNS / 2];
    UNROLL for (int n = 0; n < DENSE_COLUMNS / 4; n++) {
        const uint32x4_t first = dense_load(b + 8 * n);
        const uint32x4_t second = four ? dense_load(b + 2 * b_stride + 8 * n) : vdupq_n_u32(0);
        w[2 * n] = vreinterpretq_bf16_u32(vzip1q_u32(first, second));
        w[2 * n + 1] = vreinterpretq_bf16_u32(vzip2q_u32(first, second));
    }
    UNROLL for (int i = 0; i < mr; i++) {
        const bfloat16x8_t av = vreinterpretq_bf16_u16(vld1q_u16(a + i * a_stride));
        UNROLL for (int n = 0; n < DENSE_COLUMNS / 2; n++) acc[i][n] = vbfmmlaq_f32(acc[i][n], av, w[n]);
    }
}

// C (+)= A B for mr pairs of rows and DENSE_COLUMNS columns; B is [pairs][b_stride][2].
INLINE void dense_tile(const uint16_t *a, int64_t a_stride, const uint16_t *b, int64_t b_stride, int64_t pairs,
                       float *c, int64_t c_stride, const int adds, const int mr) {
    vf acc[DENSE_PAIRS][DENSE_COLUMNS / 2];
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int n = 0; n < DENSE_COLUMNS / 2; n++) acc[i][n] =
            adds ? vf_load(c + i * c_stride + 4 * n) : vf_zero();
    }
    int64_t k = 0;
    for (; k + 2 <= pairs; k += 2) dense_step(a + 4 * k, a_stride, b + 2 * k * b_stride, b_stride, 1, acc, mr);
    if (k < pairs) dense_step(a + 4 * k, a_stride, b + 2 * k * b_stride, b_stride, 0, acc, mr);
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int n = 0; n < DENSE_COLUMNS / 2; n++) vf_store(c + i * c_stride + 4 * n, acc[i][n]);
    }
}

// All pairs of rows and `width` (a multiple of 16) columns.
INLINE void dense_all(int64_t rows, const uint16_t *a, int64_t a_stride, const uint16_t *b, int64_t width,
                      int64_t pairs, float *c, const int adds) {
    for (int64_t n = 0; n < width; n += DENSE_COLUMNS) {
        const uint16_t *bn = b + 2 * n;
        float *cn = c + 2 * n;
        int64_t i = 0;
        for (; i + DENSE_PAIRS <= rows; i += DENSE_PAIRS)
            dense_tile(a + i * a_stride, a_stride, bn, width, pairs, cn + i * 2 * width, 2 * width, adds, DENSE_PAIRS);
        for (; i + 2 <= rows; i += 2)
            dense_tile(a + i * a_stride, a_stride, bn, width, pairs, cn + i * 2 * width, 2 * width, adds, 2);
        if (i < rows) dense_tile(a + i * a_stride, a_stride, bn, width, pairs, cn + i * 2 * width, 2 * width, adds, 1);
    }
}

// 2^x for x <= 0; 0 below -126.5, and for minus infinity.
INLINE vf dense_exp2(vf x) {
    const vf bounded = vf_max(x, vf_set(-127.0f)), n = vf_round(bounded);
    return vf_exp2_near(bounded - n) * vf_pow2(n);
}

// One query's products with 4 nr distances, times `unit`: each query has distances of its own, so BFMMLA's second row
// would be idle, and BFDOT, with half of its work, needs no zips.
INLINE void dense_dots(const uint16_t *q, const uint16_t *b, int64_t width, int64_t pairs, vf unit, float *c,
                       const int nr) {
    vf acc[16];
    UNROLL for (int n = 0; n < nr; n++) acc[n] = vf_zero();
    for (int64_t k = 0; k < pairs; k++) {
        uint32_t pair;
        __builtin_memcpy(&pair, q + k / 2 * 8 + k % 2 * 2, sizeof pair);
        const bfloat16x8_t both = vreinterpretq_bf16_u32(vdupq_n_u32(pair));
        UNROLL for (int n = 0; n < nr; n++) acc[n] =
            vbfdotq_f32(acc[n], vreinterpretq_bf16_u32(dense_load(b + 2 * k * width + 8 * n)), both);
    }
    UNROLL for (int n = 0; n < nr; n++) vf_store(c + 4 * n, acc[n] * unit);
}

INLINE void dense_one(const uint16_t *q, const uint16_t *b, int64_t width, int64_t pairs, vf unit, float *c) {
    int64_t n = 0;
    for (; n + 64 <= width; n += 64) dense_dots(q, b + 2 * n, width, pairs, unit, c + n, 16);
    for (; n < width; n += 16) dense_dots(q, b + 2 * n, width, pairs, unit, c + n, 4);
}

// What a query's scores gain, in powers of two: products with the distances, and their sums if 16 keys are of two rows.
INLINE void dense_distances(const vl_dense_attention *p, int64_t t0, int64_t rows, int64_t q_stride,
                            const dense_scratch *s, vf unit) {
    const int64_t height = dense_padded(p->grid_height), width = dense_padded(p->grid_width);
    for (int64_t i = 0; i < rows; i++) {
        const int64_t y = (t0 + i) / p->grid_width, x = (t0 + i) % p->grid_width;
        const uint16_t *q = s->queries + i / 2 * q_stride + i % 2 * 4;
        float *by_row = s->by_row + i * height, *by_column = s->by_column + i * width;
        dense_one(q, p->distance_rows + y * p->qk_dim * height, height, p->qk_dim / 2, unit, by_row);
        dense_one(q, p->distance_columns + x * p->qk_dim * width, width, p->qk_dim / 2, unit, by_column);
        const int64_t bias_width = dense_bias_width(p);
        if (bias_width == 0) continue;
        // Each row's last vector is written over the next row's first places, which are written after it.
        float *bias = s->bias + i * bias_width;
        for (int64_t other = 0; other < p->grid_height; other++) {
            const vf whole = vf_set(by_row[other]);
            for (int64_t j = 0; j < p->grid_width; j += LANES)
                vf_store(bias + other * p->grid_width + j, whole + vf_load(by_column + j));
        }
    }
}

// A pair of queries in the running softmax.
typedef struct {
    vf largest, total;
} dense_state;

// The scores of a block of keys, in powers of two and with their bias, for queries `upper` and `lower`; returns the largest
// of each query in both of its places.
INLINE vf dense_scores(const vl_dense_attention *p, const dense_scratch *s, int64_t first, int64_t upper, int64_t lower,
                       vf scale, float *x) {
    const int64_t bias_width = dense_bias_width(p);
    const int64_t height = dense_padded(p->grid_height), width = dense_padded(p->grid_width);
    const vf minus = vf_set(-__builtin_inff());
    vf tops[4] = {minus, minus, minus, minus};
    for (int64_t part = 0; part < VL_ATTENTION_BLOCK; part += 16) {
        vf whole = vf_zero();
        const float *above = 0, *below = 0;
        if (bias_width > 0) {
            above = s->bias + upper * bias_width + first + part;
            below = s->bias + lower * bias_width + first + part;
        } else if (p->distance_rows) {
            const int64_t key = first + part < p->key_count ? first + part : 0;
            const int64_t row = key / p->grid_width, column = key % p->grid_width;
            whole = dense_spread(s->by_row[upper * height + row], s->by_row[lower * height + row]);
            above = s->by_column + upper * width + column;
            below = s->by_column + lower * width + column;
        }
        UNROLL for (int m = 0; m < 8; m++) {
            vf v = vf_load(x + 2 * part + 4 * m);
            v = above ? vf_fma(v, scale, whole + dense_beside(above + 2 * m, below + 2 * m)) : v * scale;
            const int64_t left = p->key_count - first - part - 2 * m;
            if (left < 2) {
                if (left < 1) v = minus;
                v = vsetq_lane_f32(-__builtin_inff(), vsetq_lane_f32(-__builtin_inff(), v, 1), 3);
            }
            vf_store(x + 2 * part + 4 * m, v);
            tops[m % 4] = vf_max(tops[m % 4], v);
        }
    }
    const vf top = vf_max(vf_max(tops[0], tops[1]), vf_max(tops[2], tops[3]));
    return vf_max(top, vrev64q_f32(top));
}

// The block's weights, [16 fours][2][4], from its scores, and what they do to the running sums.
INLINE void dense_weights(const float *x, vf tops, int64_t first, int64_t width, dense_state *state, float *sums,
                          uint16_t *weights) {
    // The maximum seldom rises after the first blocks. A query that shares the step has a factor of 1.
    if (vmaxvq_u32(vcgtq_f32(tops, state->largest)) != 0) {
        const vf next = vf_max(tops, state->largest);
        if (first > 0) {
            const vf factor = dense_exp2(state->largest - next);
            state->total = state->total * factor;
            for (int64_t d = 0; d < 2 * width; d += LANES) vf_store(sums + d, vf_load(sums + d) * factor);
        }
        state->largest = next;
    }
    vf totals[2] = {vf_zero(), vf_zero()};
    for (int64_t j = 0; j < VL_ATTENTION_BLOCK / 4; j++) {
        const vf a = dense_exp2(vf_load(x + 8 * j) - state->largest);
        const vf b = dense_exp2(vf_load(x + 8 * j + 4) - state->largest);
        totals[0] = totals[0] + a;
        totals[1] = totals[1] + b;
        const bfloat16x8_t upper = vcvtq_low_bf16_f32(dense_upper(a, b));
        vst1q_u16(weights + 8 * j, vreinterpretq_u16_bf16(vcvtq_high_bf16_f32(upper, dense_lower(a, b))));
    }
    state->total = state->total + (totals[0] + totals[1]);
}

// A pair of queries, rounded to bfloat16 and with zeros up to a multiple of four.
INLINE void dense_queries(const vl_dense_attention *p, int64_t upper, int64_t lower, uint16_t *out) {
    const float *q[2] = {p->q + upper * p->q_stride, p->q + lower * p->q_stride};
    for (int64_t d = 0; d < p->qk_dim; d += 4) {
        UNROLL for (int i = 0; i < 2; i++) {
            const vf x = d + 4 <= p->qk_dim ? vf_load(q[i] + d) : vf_load_part(q[i] + d, p->qk_dim - d);
            vst1_u16(out + 2 * d + 4 * i, vreinterpret_u16_bf16(vcvt_bf16_f32(x)));
        }
    }
}

INLINE void dense_output(const vl_dense_attention *p, int64_t token, vf y, int64_t d) {
    float *out = p->out + token * p->out_stride + d;
    if (d + LANES <= p->v_dim) vf_store(out, y);
    else vf_store_part(out, y, p->v_dim - d);
}

static void attend_dense(const vl_dense_attention *p, int64_t t0, int64_t t1, void *scratch) {
    dense_scratch s;
    dense_scratch_cut(p, scratch, &s);
    const int64_t rows = t1 - t0, pairs = (rows + 1) / 2, width = dense_padded(p->v_dim);
    const int64_t q_stride = (p->qk_dim + 3) / 4 * 8, block = 2 * VL_ATTENTION_BLOCK;
    const vf log2e = vf_set(1.44269504f), scale = vf_set(p->scale) * log2e;
    dense_state states[VL_DENSE_ROWS / 2];
    for (int64_t i = 0; i < pairs; i++) {
        const int64_t upper = 2 * i, lower = upper + 1 < rows ? upper + 1 : upper;
        dense_queries(p, t0 + upper, t0 + lower, s.queries + i * q_stride);
        states[i] = (dense_state){vf_set(-__builtin_inff()), vf_zero()};
        for (int64_t d = 0; d < 2 * width; d += LANES) vf_store(s.sums + i * 2 * width + d, vf_zero());
    }
    if (p->distance_rows) dense_distances(p, t0, rows, q_stride, &s, log2e);
    for (int64_t first = 0; first < p->key_count; first += VL_ATTENTION_BLOCK) {
        dense_all(pairs, s.queries, q_stride, p->keys + first * p->qk_dim, VL_ATTENTION_BLOCK, p->qk_dim / 2, s.scores,
                  0);
        for (int64_t i = 0; i < pairs; i++) {
            const int64_t upper = 2 * i, lower = upper + 1 < rows ? upper + 1 : upper;
            float *x = s.scores + i * block;
            const vf tops = dense_scores(p, &s, first, upper, lower, scale, x);
            dense_weights(x, tops, first, width, &states[i], s.sums + i * 2 * width, s.weights + i * block);
        }
        dense_all(pairs, s.weights, block, p->values + first * width, width, VL_ATTENTION_BLOCK / 2, s.sums, 1);
    }
    for (int64_t i = 0; i < pairs; i++) {
        const vf factor = vf_set(1.0f) / (states[i].total + vrev64q_f32(states[i].total));
        for (int64_t d = 0; d < p->v_dim; d += LANES) {
            const float *sums = s.sums + i * 2 * width + 2 * d;
            const vf a = vf_load(sums) * factor, b = vf_load(sums + 4) * factor;
            dense_output(p, t0 + 2 * i, dense_upper(a, b), d);
            if (2 * i + 1 < rows) dense_output(p, t0 + 2 * i + 1, dense_lower(a, b), d);
        }
    }
}
