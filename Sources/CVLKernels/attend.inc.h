// Softmax attention over a blocked cache, for vector.inc.h: scores and weighted values are its products, so that all types of
// a cache share one order of sums.

// A file that has a form of its own for some caches names this one otherwise.
#ifndef ATTEND
#define ATTEND attend
#endif

// Rows of one call that count as few.
#define ATTEND_FEW 8

// Brings the keys and values of a block into the second cache, for few rows, which wait for nothing else: what a head reads of
// a position is too short, and the next position too far, for the processor's prefetcher.
INLINE void attend_fetch(const vl_attention *p, const char *block, const int64_t block_bytes,
                         const int64_t block_values) {
    const int64_t stride = p->position_stride / block_values * block_bytes;
    const int64_t keys = p->qk_dim / block_values * block_bytes, values = p->v_dim / block_values * block_bytes;
    const char *key = block + p->k_offset / block_values * block_bytes;
    const char *value = block + p->v_offset / block_values * block_bytes;
    for (int64_t j = 0; j < VL_ATTENTION_BLOCK; j++, key += stride, value += stride) {
        for (int64_t byte = 0; byte < keys; byte += 64) __builtin_prefetch(key + byte, 0, 2);
        for (int64_t byte = 0; byte < values; byte += 64) __builtin_prefetch(value + byte, 0, 2);
    }
}

INLINE void attend_typed(const vl_attention *p, int64_t t0, int64_t t1, int64_t h0, int64_t h1, float *scratch,
                         const int64_t block_bytes, const int64_t block_values,
                         void (*const nt)(const vl_product *, int64_t, int64_t),
                         void (*const nn)(const vl_product *, int64_t, int64_t)) {
    float *scores = scratch;
    float *maximum = scratch + VL_ATTENTION_ROWS * VL_ATTENTION_BLOCK;
    float *total = maximum + VL_ATTENTION_ROWS;
    const int64_t heads = h1 - h0, rows = (t1 - t0) * heads;
    for (int64_t r = 0; r < rows; r++) {
        maximum[r] = -__builtin_inff();
        total[r] = 0.0f;
        float *out = p->out + (t0 + r / heads) * p->out_token_stride + (h0 + r % heads) * p->out_head_stride;
        for (int64_t i = 0; i < p->v_dim; i++) out[i] = 0.0f;
    }
    int64_t visible = p->key_count;
    if (p->causal && p->first_position + t1 < visible) visible = p->first_position + t1;
    const vf scale = vf_set(p->scale);
    for (int64_t base = 0; base < visible; base += VL_ATTENTION_BLOCK) {
        const int64_t count = visible - base < VL_ATTENTION_BLOCK ? visible - base : VL_ATTENTION_BLOCK;
        const char *block = (const char *)p->blocks[base / VL_ATTENTION_BLOCK];
        if (rows <= ATTEND_FEW && base + VL_ATTENTION_BLOCK < visible)
            attend_fetch(p, (const char *)p->blocks[base / VL_ATTENTION_BLOCK + 1], block_bytes, block_values);
        // Scores of one token's heads (or of one head's tokens) are one product; both strides are handled by walking
        // the shorter side.
        if (heads >= t1 - t0) {
            for (int64_t t = t0; t < t1; t++) {
                vl_product s = {p->q + t * p->q_token_stride + h0 * p->q_head_stride,
                                p->q_head_stride,
                                block + p->k_offset / block_values * block_bytes,
                                p->position_stride,
                                scores + (t - t0) * heads * VL_ATTENTION_BLOCK,
                                VL_ATTENTION_BLOCK,
                                0,
                                heads,
                                count,
                                p->qk_dim,
                                0};
                nt(&s, 0, count);
            }
        } else {
            for (int64_t h = h0; h < h1; h++) {
                vl_product s = {p->q + t0 * p->q_token_stride + h * p->q_head_stride,
                                p->q_token_stride,
                                block + p->k_offset / block_values * block_bytes,
                                p->position_stride,
                                scores + (h - h0) * VL_ATTENTION_BLOCK,
                                heads * VL_ATTENTION_BLOCK,
                                0,
                                t1 - t0,
                                count,
                                p->qk_dim,
                                0};
                nt(&s, 0, count);
            }
        }
        for (int64_t r = 0; r < rows; r++) {
            float *row = scores + r * VL_ATTENTION_BLOCK;
            int64_t seen = count;
            if (p->causal && p->first_position + t0 + r / heads + 1 - base < seen)
                seen = p->first_position + t0 + r / heads + 1 - base;
            // A whole block is always processed, hidden places as minus infinity, so that a row's sum has one shape.
            for (int64_t i = seen > 0 ? seen : 0; i < VL_ATTENTION_BLOCK; i++) row[i] = -__builtin_inff();
            if (seen <= 0) {
                for (int64_t i = 0; i < VL_ATTENTION_BLOCK; i++) row[i] = 0.0f;
                continue;
            }
            vf best = vf_set(-__builtin_inff());
            for (int64_t i = 0; i < VL_ATTENTION_BLOCK; i += LANES) {
                vf v = vf_load(row + i) * scale;
                vf_store(row + i, v);
                best = vf_max(best, v);
            }
            const float top = vf_top(best);
            const float next = top > maximum[r] ? top : maximum[r];
            vf sum = vf_zero();
            const vf shift = vf_set(next);
            for (int64_t i = 0; i < VL_ATTENTION_BLOCK; i += LANES) {
                vf e = vf_exp(vf_load(row + i) - shift);
                vf_store(row + i, e);
                sum = sum + e;
            }
            if (next > maximum[r]) {
                float old[LANES];
                vf_store(old, vf_exp(vf_set(maximum[r] - next)));
                total[r] *= old[0];
                if (base > 0) {
                    const vf factor = vf_set(old[0]);
                    float *out =
                        p->out + (t0 + r / heads) * p->out_token_stride + (h0 + r % heads) * p->out_head_stride;
                    int64_t i = 0;
                    for (; i + LANES <= p->v_dim; i += LANES) vf_store(out + i, vf_load(out + i) * factor);
                    if (i < p->v_dim)
                        vf_store_part(out + i, vf_load_part(out + i, p->v_dim - i) * factor, p->v_dim - i);
                }
                maximum[r] = next;
            }
            total[r] += vf_sum(sum);
        }
        // The values of the block are weighted and added to what the rows hold already.
        if (heads >= t1 - t0) {
            for (int64_t t = t0; t < t1; t++) {
                vl_product s = {scores + (t - t0) * heads * VL_ATTENTION_BLOCK,
                                VL_ATTENTION_BLOCK,
                                block + p->v_offset / block_values * block_bytes,
                                p->position_stride,
                                p->out + t * p->out_token_stride + h0 * p->out_head_stride,
                                p->out_head_stride,
                                0,
                                heads,
                                p->v_dim,
                                count,
                                1};
                nn(&s, 0, p->v_dim);
            }
        } else {
            for (int64_t h = h0; h < h1; h++) {
                vl_product s = {scores + (h - h0) * VL_ATTENTION_BLOCK,
                                heads * VL_ATTENTION_BLOCK,
                                block + p->v_offset / block_values * block_bytes,
                                p->position_stride,
                                p->out + t0 * p->out_token_stride + h * p->out_head_stride,
                                p->out_token_stride,
                                0,
                                t1 - t0,
                                p->v_dim,
                                count,
                                1};
                nn(&s, 0, p->v_dim);
            }
        }
    }
    for (int64_t r = 0; r < rows; r++) {
        float *out = p->out + (t0 + r / heads) * p->out_token_stride + (h0 + r % heads) * p->out_head_stride;
        const vf factor = vf_set(1.0f / total[r]);
        int64_t i = 0;
        for (; i + LANES <= p->v_dim; i += LANES) vf_store(out + i, vf_load(out + i) * factor);
        if (i < p->v_dim) vf_store_part(out + i, vf_load_part(out + i, p->v_dim - i) * factor, p->v_dim - i);
    }
}

static void ATTEND(const vl_attention *p, int64_t t0, int64_t t1, int64_t h0, int64_t h1, float *scratch) {
    switch (p->type) {
        case VL_TYPE_BF16: attend_typed(p, t0, t1, h0, h1, scratch, 2, 1, nt_f32_bf16, nn_f32_bf16); break;
        case VL_TYPE_F16: attend_typed(p, t0, t1, h0, h1, scratch, 2, 1, nt_f32_f16, nn_f32_f16); break;
        case VL_TYPE_Q8_0: attend_typed(p, t0, t1, h0, h1, scratch, 34, 32, nt_f32_q8, nn_f32_q8); break;
        default: attend_typed(p, t0, t1, h0, h1, scratch, 4, 1, nt_f32_f32, nn_f32_f32); break;
    }
}
