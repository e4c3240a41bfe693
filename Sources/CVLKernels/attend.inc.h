// Softmax attention over a blocked cache, for vector.inc.h: scores and weighted values are its products, so that all types of
// a cache share one order of sums.

// A file that has a form of its own for some caches names this one otherwise.
#ifndef ATTEND
#define ATTEND attend
#endif

// Rows of a group that count as few: they wait for what they read of the cache and for nothing else.
#define ATTEND_FEW 8

// Bytes of n values of a cache.
INLINE int64_t attend_bytes(int64_t n, const int64_t block_bytes, const int64_t block_values) {
    return n / block_values * block_bytes;
}

// What one group of heads sees.
INLINE vl_attention attend_group(const vl_attention *p, int64_t group) {
    vl_attention one = *p;
    one.q += group * p->group_q_stride;
    one.out += group * p->group_out_stride;
    one.k_offset += group * p->group_k_stride;
    one.v_offset += group * p->group_v_stride;
    return one;
}

// Positions that some token before t1 sees, and how many of them the block from `base` on has.
INLINE int64_t attend_visible(const vl_attention *p, int64_t t1) {
    return p->causal && p->first_position + t1 < p->key_count ? p->first_position + t1 : p->key_count;
}
INLINE int64_t attend_count(int64_t visible, int64_t base) {
    return visible - base < VL_ATTENTION_BLOCK ? visible - base : VL_ATTENTION_BLOCK;
}

INLINE float *attend_out(const vl_attention *p, int64_t t0, int64_t h0, int64_t heads, int64_t r) {
    return p->out + (t0 + r / heads) * p->out_token_stride + (h0 + r % heads) * p->out_head_stride;
}

// Bytes from this place of a block to the same place of what is read after it, the keys of the next group or else those of
// the first group's next block; 0 if there is neither. The processor's prefetcher does not find the way: what a head reads
// of a position is too short, and the next position too far.
INLINE int64_t attend_ahead(const vl_attention *p, int64_t group, int64_t group_stride, int64_t base, int64_t visible,
                            const int64_t block_bytes, const int64_t block_values) {
    if (group + 1 < p->groups) return attend_bytes(group_stride, block_bytes, block_values);
    if (base + VL_ATTENTION_BLOCK >= visible) return 0;
    const void *const *block = p->blocks + base / VL_ATTENTION_BLOCK;
    return (int64_t)((uintptr_t)block[1] - (uintptr_t)block[0]) -
           attend_bytes(group * group_stride, block_bytes, block_values);
}

// One block of the cache for one group: its scores, the running softmax, its weighted values.
INLINE void attend_block(const vl_attention *p, int64_t t0, int64_t t1, int64_t h0, int64_t h1, int64_t base,
                         int64_t count, int64_t ahead_keys, int64_t ahead_values, float *scores, float *maximum,
                         float *total, const int64_t block_bytes, const int64_t block_values,
                         void (*const nt)(const vl_product *, int64_t, int64_t),
                         void (*const nn)(const vl_product *, int64_t, int64_t)) {
    const int64_t heads = h1 - h0, tokens = t1 - t0, rows = tokens * heads;
    const char *block = (const char *)p->blocks[base / VL_ATTENTION_BLOCK];
    const char *keys = block + attend_bytes(p->k_offset, block_bytes, block_values);
    const char *values = block + attend_bytes(p->v_offset, block_bytes, block_values);
    const vf scale = vf_set(p->scale);
    // Scores of one token's heads (or of one head's tokens) are one product; both strides are handled by walking the
    // shorter side.
    const int by_token = heads >= tokens;
    for (int64_t n = 0; n < (by_token ? tokens : heads); n++) {
        const int64_t t = by_token ? t0 + n : t0, h = by_token ? h0 : h0 + n;
        vl_product s = {p->q + t * p->q_token_stride + h * p->q_head_stride,
                        by_token ? p->q_head_stride : p->q_token_stride,
                        keys,
                        p->position_stride,
                        scores + ((t - t0) * heads + h - h0) * VL_ATTENTION_BLOCK,
                        by_token ? VL_ATTENTION_BLOCK : heads * VL_ATTENTION_BLOCK,
                        0,
                        by_token ? heads : tokens,
                        count,
                        p->qk_dim,
                        0,
                        n == 0 ? ahead_keys : 0};
        nt(&s, 0, count);
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
                float *out = attend_out(p, t0, h0, heads, r);
                int64_t i = 0;
                for (; i + LANES <= p->v_dim; i += LANES) vf_store(out + i, vf_load(out + i) * factor);
                if (i < p->v_dim) vf_store_part(out + i, vf_load_part(out + i, p->v_dim - i) * factor, p->v_dim - i);
            }
            maximum[r] = next;
        }
        total[r] += vf_sum(sum);
    }
    // The values of the block are weighted and added to what the rows hold already.
    for (int64_t n = 0; n < (by_token ? tokens : heads); n++) {
        const int64_t t = by_token ? t0 + n : t0, h = by_token ? h0 : h0 + n;
        vl_product s = {scores + ((t - t0) * heads + h - h0) * VL_ATTENTION_BLOCK,
                        by_token ? VL_ATTENTION_BLOCK : heads * VL_ATTENTION_BLOCK,
                        values,
                        p->position_stride,
                        p->out + t * p->out_token_stride + h * p->out_head_stride,
                        by_token ? p->out_head_stride : p->out_token_stride,
                        0,
                        by_token ? heads : tokens,
                        p->v_dim,
                        count,
                        1,
                        n == 0 ? ahead_values : 0};
        nn(&s, 0, p->v_dim);
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
    for (int64_t g = 0; g < p->groups; g++) {
        const vl_attention one = attend_group(p, g);
        for (int64_t r = 0; r < rows; r++) {
            maximum[g * rows + r] = -__builtin_inff();
            total[g * rows + r] = 0.0f;
            float *out = attend_out(&one, t0, h0, heads, r);
            for (int64_t i = 0; i < p->v_dim; i++) out[i] = 0.0f;
        }
    }
    const int64_t visible = attend_visible(p, t1);
    // Groups inside, blocks outside: what groups read of a position lies side by side.
    for (int64_t base = 0; base < visible; base += VL_ATTENTION_BLOCK) {
        const int64_t count = attend_count(visible, base);
        for (int64_t g = 0; g < p->groups; g++) {
            const vl_attention one = attend_group(p, g);
            int64_t keys = 0, values = 0;
            if (rows <= ATTEND_FEW) {
                keys = attend_ahead(p, g, p->group_k_stride, base, visible, block_bytes, block_values);
                values = attend_ahead(p, g, p->group_v_stride, base, visible, block_bytes, block_values);
            }
            attend_block(&one, t0, t1, h0, h1, base, count, keys, values, scores, maximum + g * rows, total + g * rows,
                         block_bytes, block_values, nt, nn);
        }
    }
    for (int64_t g = 0; g < p->groups; g++) {
        const vl_attention one = attend_group(p, g);
        for (int64_t r = 0; r < rows; r++) {
            float *out = attend_out(&one, t0, h0, heads, r);
            const vf factor = vf_set(1.0f / total[g * rows + r]);
            int64_t i = 0;
            for (; i + LANES <= p->v_dim; i += LANES) vf_store(out + i, vf_load(out + i) * factor);
            if (i < p->v_dim) vf_store_part(out + i, vf_load_part(out + i, p->v_dim - i) * factor, p->v_dim - i);
        }
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
