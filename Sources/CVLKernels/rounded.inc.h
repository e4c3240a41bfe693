// Attention over a bfloat16 cache with bfloat16 dot products, for avx512bf16.c: queries and the softmax's weights are
// rounded to bfloat16, products are exact, sums are float32, in pairs as the processor adds them. All rows of a call meet the
// same keys, so that scores are one product and each part of the values is read once for all rows. A row's order of sums
// does not depend on which rows share the call.

// Widest query that has room; wider ones are not rounded.
#define ROUNDED_DEPTH 1024
#define ROUNDED_ROWS 8
// Parts of 32 columns that one row alone takes at a time.
#define ROUNDED_PARTS 4

// Vectors that are read next, in lines of 64 bytes, which come in while this block's values are read.
typedef struct {
    const char *at;
    int64_t stride, left;  // bytes from a vector to the next, and how many are left
    int64_t line, lines;   // of a vector
    int64_t step;          // lines with each pair of this block's keys
} rounded_ahead;

INLINE void rounded_fetch(rounded_ahead *ahead) {
    for (int64_t n = 0; n < ahead->step && ahead->left > 0; n++) {
        __builtin_prefetch(ahead->at + 64 * ahead->line, 0, 2);
        if (++ahead->line < ahead->lines) continue;
        ahead->line = 0;
        ahead->at += ahead->stride;
        ahead->left--;
    }
}

// out = out * factor + weights * values for mr rows and nc times 32 columns, of which `left` are there (if not all, nc is
// 1). Two keys' values are woven, so that a lane holds a pair; lanes come out in the order that weaving leaves.
INLINE void rounded_tile(const uint16_t *weights, const uint16_t *values, int64_t stride, int64_t pairs,
                         float *const *out, const float *factor, int64_t column, int64_t left, const int whole,
                         rounded_ahead *ahead, const int mr, const int nc) {
    vf low[ROUNDED_ROWS][ROUNDED_PARTS], high[ROUNDED_ROWS][ROUNDED_PARTS];
    UNROLL for (int i = 0; i < mr; i++) { UNROLL for (int n = 0; n < nc; n++) low[i][n] = high[i][n] = vf_zero(); }
    const __mmask32 mask = whole || left >= 32 ? ~(__mmask32)0 : ((__mmask32)1 << left) - 1;
    for (int64_t k = 0; k < pairs; k++) {
        UNROLL for (int n = 0; n < nc; n++) {
            rounded_fetch(ahead);
            const uint16_t *first = values + 2 * k * stride + column + 32 * n, *second = first + stride;
            const __m512i a = whole ? _mm512_loadu_si512(first) : _mm512_maskz_loadu_epi16(mask, first);
            const __m512i b = whole ? _mm512_loadu_si512(second) : _mm512_maskz_loadu_epi16(mask, second);
            const __m512bh front = (__m512bh)_mm512_unpacklo_epi16(a, b), back = (__m512bh)_mm512_unpackhi_epi16(a, b);
            UNROLL for (int i = 0; i < mr; i++) {
                const __m512bh pair = dense_spread(weights + i * VL_ATTENTION_BLOCK + 2 * k);
                low[i][n] = _mm512_dpbf16_ps(low[i][n], front, pair);
                high[i][n] = _mm512_dpbf16_ps(high[i][n], back, pair);
            }
        }
    }
    const __m512i first = _mm512_setr_epi32(0, 1, 2, 3, 16, 17, 18, 19, 4, 5, 6, 7, 20, 21, 22, 23);
    const __m512i second = _mm512_setr_epi32(8, 9, 10, 11, 24, 25, 26, 27, 12, 13, 14, 15, 28, 29, 30, 31);
    UNROLL for (int i = 0; i < mr; i++) {
        const vf scale = vf_set(factor[i]);
        UNROLL for (int n = 0; n < nc; n++) {
            float *c = out[i] + column + 32 * n;
            const vf x = _mm512_permutex2var_ps(low[i][n], first, high[i][n]),
                     y = _mm512_permutex2var_ps(low[i][n], second, high[i][n]);
            if (whole) {
                vf_store(c, vf_fma(vf_load(c), scale, x));
                vf_store(c + 16, vf_fma(vf_load(c + 16), scale, y));
            } else {
                const int64_t near = left < 16 ? left : 16;
                vf_store_part(c, vf_fma(vf_load_part(c, near), scale, x), near);
                if (left > 16) vf_store_part(c + 16, vf_fma(vf_load_part(c + 16, left - 16), scale, y), left - 16);
            }
        }
    }
}

INLINE void rounded_rows(int64_t rows, const uint16_t *weights, const uint16_t *values, int64_t stride, int64_t pairs,
                         float *const *out, const float *factor, int64_t column, int64_t left, const int whole,
                         rounded_ahead *ahead) {
    int64_t i = 0;
#define ROUNDED_TILES(MR)                                                                                              \
    for (; i + MR <= rows; i += MR)                                                                                    \
        rounded_tile(weights + i * VL_ATTENTION_BLOCK, values, stride, pairs, out + i, factor + i, column, left,       \
                     whole, ahead, MR, 1);
    ROUNDED_TILES(8)
    ROUNDED_TILES(4)
    ROUNDED_TILES(2)
    ROUNDED_TILES(1)
#undef ROUNDED_TILES
}

// The same for all columns. One row alone takes several parts of each value at a time: one would be two chains of dependent
// sums, and short reads far from each other.
INLINE void rounded_values(int64_t rows, const uint16_t *weights, const uint16_t *values, int64_t stride, int64_t pairs,
                           float *const *out, const float *factor, int64_t columns, rounded_ahead *ahead) {
    int64_t d = 0;
    if (rows == 1) {
        for (; d + 32 * ROUNDED_PARTS <= columns; d += 32 * ROUNDED_PARTS)
            rounded_tile(weights, values, stride, pairs, out, factor, d, 32, 1, ahead, 1, ROUNDED_PARTS);
        for (; d + 64 <= columns; d += 64)
            rounded_tile(weights, values, stride, pairs, out, factor, d, 32, 1, ahead, 1, 2);
    }
    for (; d + 32 <= columns; d += 32) rounded_rows(rows, weights, values, stride, pairs, out, factor, d, 32, 1, ahead);
    if (d < columns) rounded_rows(rows, weights, values, stride, pairs, out, factor, d, columns - d, 0, ahead);
}

// Whether attention may round and has room to.
INLINE int rounded_takes(const vl_attention *p) {
    return p->rounds && p->type == VL_TYPE_BF16 && p->qk_dim <= ROUNDED_DEPTH;
}

// The running softmax of a call's rows, group after group.
typedef struct {
    _Alignas(64) uint16_t queries[VL_ATTENTION_ROWS * ROUNDED_DEPTH];
    _Alignas(64) uint16_t weights[VL_ATTENTION_ROWS * VL_ATTENTION_BLOCK];
    float *out[VL_ATTENTION_ROWS];
    float largest[VL_ATTENTION_ROWS], factor[VL_ATTENTION_ROWS];
    vf total[VL_ATTENTION_ROWS];
} rounded_state;

// Scores of a row become weights of 64 keys, of which it sees `seen`.
INLINE void rounded_softmax(const vl_attention *p, rounded_state *state, int64_t r, const float *row, int64_t seen,
                            const int first) {
    const float log2e = 1.44269504f;
    const vf scale = vf_set(p->scale * log2e), minus = vf_set(-__builtin_inff());
    uint16_t *w = state->weights + r * VL_ATTENTION_BLOCK;
    state->factor[r] = 1.0f;
    if (seen <= 0) {
        _mm512_storeu_si512(w, _mm512_setzero_si512());
        _mm512_storeu_si512(w + 32, _mm512_setzero_si512());
        return;
    }
    vf x[4];
    UNROLL for (int n = 0; n < 4; n++) {
        const int64_t left = seen - 16 * n;
        x[n] = vf_load(row + 16 * n) * scale;
        if (left < 16) x[n] = _mm512_mask_mov_ps(minus, left > 0 ? part_mask(left) : 0, x[n]);
    }
    const vf tops = vf_max(vf_max(x[0], x[1]), vf_max(x[2], x[3]));
    // The maximum seldom rises after the first blocks, and asking whether it does costs less than finding it.
    if (_mm512_cmp_ps_mask(tops, vf_set(state->largest[r]), _CMP_GT_OQ) != 0) {
        const float top = vf_top(tops);
        const vf old = first ? vf_zero() : dense_exp2(vf_set(state->largest[r] - top));
        state->factor[r] = _mm512_cvtss_f32(old);
        state->total[r] = state->total[r] * old;
        state->largest[r] = top;
    }
    const vf shift = vf_set(state->largest[r]);
    UNROLL for (int n = 0; n < 4; n++) x[n] = dense_exp2(x[n] - shift);
    state->total[r] = state->total[r] + ((x[0] + x[1]) + (x[2] + x[3]));
    _mm512_storeu_si512(w, (__m512i)_mm512_cvtne2ps_pbh(x[1], x[0]));
    _mm512_storeu_si512(w + 32, (__m512i)_mm512_cvtne2ps_pbh(x[3], x[2]));
}

// One block of the cache for one group, whose rows are those from `from` on.
INLINE void rounded_block(const vl_attention *p, rounded_state *state, int64_t from, int64_t t0, int64_t heads,
                          int64_t rows, int64_t base, int64_t count, int64_t ahead_keys, int64_t ahead_values,
                          float *scores) {
    const uint16_t *block = (const uint16_t *)p->blocks[base / VL_ATTENTION_BLOCK];
    // Latents are keys and values at once.
    const int shared = p->k_offset == p->v_offset;
    const vl_product s = {state->queries + from * p->qk_dim,
                          p->qk_dim,
                          block + p->k_offset,
                          p->position_stride,
                          scores,
                          VL_ATTENTION_BLOCK,
                          0,
                          rows,
                          count,
                          p->qk_dim,
                          0,
                          shared ? 0 : ahead_keys};
    nt_bf16_bf16(&s, 0, count);
    for (int64_t r = 0; r < rows; r++) {
        int64_t seen = count;
        if (p->causal && p->first_position + t0 + r / heads + 1 - base < seen)
            seen = p->first_position + t0 + r / heads + 1 - base;
        rounded_softmax(p, state, from + r, scores + r * VL_ATTENTION_BLOCK, seen, base == 0);
    }
    const int64_t pairs = (count + 1) / 2, next = shared ? ahead_keys : ahead_values;
    rounded_ahead ahead = {0};
    if (next != 0) {
        ahead.at = (const char *)((uintptr_t)(block + p->v_offset) + (uintptr_t)next);
        ahead.stride = 2 * p->position_stride;
        ahead.left = VL_ATTENTION_BLOCK;
        ahead.lines = (2 * (shared ? p->qk_dim : p->v_dim) + 63) / 64;
        const int64_t steps = (p->v_dim + 31) / 32 * pairs;
        ahead.step = (ahead.left * ahead.lines + steps - 1) / steps;
    }
    rounded_values(rows, state->weights + from * VL_ATTENTION_BLOCK, block + p->v_offset, p->position_stride, pairs,
                   state->out + from, state->factor + from, p->v_dim, &ahead);
}

static void attend_rounded(const vl_attention *p, int64_t t0, int64_t t1, int64_t h0, int64_t h1, float *scores) {
    rounded_state state;
    const int64_t heads = h1 - h0, rows = (t1 - t0) * heads;
    for (int64_t g = 0; g < p->groups; g++) {
        const vl_attention one = attend_group(p, g);
        for (int64_t r = 0; r < rows; r++) {
            const int64_t t = t0 + r / heads, h = h0 + r % heads, place = g * rows + r;
            bf16_from_f32(state.queries + place * p->qk_dim, one.q + t * p->q_token_stride + h * p->q_head_stride,
                          p->qk_dim);
            float *out = attend_out(&one, t0, h0, heads, r);
            for (int64_t i = 0; i < p->v_dim; i++) out[i] = 0.0f;
            state.out[place] = out;
            state.largest[place] = -__builtin_inff();
            state.total[place] = vf_zero();
        }
    }
    const int64_t visible = attend_visible(p, t1);
    for (int64_t base = 0; base < visible; base += VL_ATTENTION_BLOCK) {
        const int64_t count = attend_count(visible, base);
        for (int64_t g = 0; g < p->groups; g++) {
            const vl_attention one = attend_group(p, g);
            rounded_block(&one, &state, g * rows, t0, heads, rows, base, count,
                          attend_ahead(p, g, p->group_k_stride, base, visible, 2, 1),
                          attend_ahead(p, g, p->group_v_stride, base, visible, 2, 1), scores);
        }
    }
    for (int64_t r = 0; r < rows * p->groups; r++) {
        const vf share = vf_set(1.0f / vf_sum(state.total[r]));
        for (int64_t d = 0; d < p->v_dim; d += 16) {
            float *out = state.out[r] + d;
            const int64_t left = p->v_dim - d;
            if (left >= 16) vf_store(out, vf_load(out) * share);
            else vf_store_part(out, vf_load_part(out, left) * share, left);
        }
    }
}

static void attend(const vl_attention *p, int64_t t0, int64_t t1, int64_t h0, int64_t h1, float *scratch) {
    (rounded_takes(p) ? attend_rounded : attend_exact)(p, t0, t1, h0, h1, scratch);
}
