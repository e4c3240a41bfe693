// Dense attention in bfloat16: how its operands are packed, and the scalar form.
#include "dense.h"

#include "vl_scalars.h"

static int64_t blocks_of(int64_t count) { return (count + VL_ATTENTION_BLOCK - 1) / VL_ATTENTION_BLOCK; }

int64_t vl_dense_keys_size(int64_t count, int64_t dim) { return blocks_of(count) * VL_ATTENTION_BLOCK * dim; }

int64_t vl_dense_values_size(int64_t count, int64_t dim) {
    return blocks_of(count) * VL_ATTENTION_BLOCK * dense_padded(dim);
}

int64_t vl_dense_distances_size(int64_t side, int64_t dim) { return side * dim * dense_padded(side); }

// Two values beside each other.
static inline uint32_t pair_of(float first, float second) {
    return (uint32_t)vl_bf16_of(first) | (uint32_t)vl_bf16_of(second) << 16;
}

void vl_dense_pack_keys(uint16_t *out, const float *keys, int64_t stride, int64_t count, int64_t dim) {
    for (int64_t first = 0; first < count; first += VL_ATTENTION_BLOCK) {
        for (int64_t j = 0; j < VL_ATTENTION_BLOCK; j++) {
            uint16_t *place = out + first * dim + 2 * j;
            const float *key = keys + (first + j) * stride;
            for (int64_t d = 0; d < dim; d += 2, place += 2 * VL_ATTENTION_BLOCK) {
                const uint32_t pair = first + j < count ? pair_of(key[d], key[d + 1]) : 0;
                __builtin_memcpy(place, &pair, sizeof pair);
            }
        }
    }
}

void vl_dense_pack_values(uint16_t *out, const float *values, int64_t stride, int64_t count, int64_t dim) {
    const int64_t width = dense_padded(dim);
    for (int64_t j = 0; j < blocks_of(count) * VL_ATTENTION_BLOCK; j += 2, out += 2 * width) {
        const float *even = values + j * stride, *odd = even + stride;
        for (int64_t d = 0; d < width; d++) {
            const int held = d < dim;
            const uint32_t pair = pair_of(held && j < count ? even[d] : 0.0f, held && j + 1 < count ? odd[d] : 0.0f);
            __builtin_memcpy(out + 2 * d, &pair, sizeof pair);
        }
    }
}

void vl_dense_pack_distances(uint16_t *out, const float *table, int64_t side, int64_t dim) {
    const int64_t width = dense_padded(side);
    for (int64_t place = 0; place < side; place++) {
        uint16_t *part = out + place * dim * width;
        for (int64_t d = 0; d < dim; d++) {
            for (int64_t other = 0; other < width; other++) {
                part[(d / 2 * width + other) * 2 + d % 2] =
                    other < side ? vl_bf16_of(table[(place - other + side - 1) * dim + d]) : 0;
            }
        }
    }
}

int64_t vl_dense_scratch(const vl_dense_attention *p) {
    dense_scratch s;
    return dense_scratch_cut(p, 0, &s);
}

// ---- the scalar form ------------------------------------------------------------------------------------------------

static float product(const uint16_t *a, const uint16_t *b, int64_t step, int64_t dim) {
    float sum = 0.0f;
    for (int64_t d = 0; d < dim; d++) sum += vl_f32_of_bf16(a[d]) * vl_f32_of_bf16(b[d / 2 * step * 2 + d % 2]);
    return sum;
}

void vl_attend_dense_scalar(const vl_dense_attention *p, int64_t t0, int64_t t1, void *scratch) {
    dense_scratch s;
    dense_scratch_cut(p, scratch, &s);
    const int64_t width = dense_padded(p->v_dim);
    for (int64_t t = t0; t < t1; t++) {
        for (int64_t d = 0; d < p->qk_dim; d++) s.queries[d] = vl_bf16_of(p->q[t * p->q_stride + d]);
        float *out = p->out + t * p->out_stride, largest = -__builtin_inff(), total = 0.0f;
        for (int64_t d = 0; d < p->v_dim; d++) out[d] = 0.0f;
        for (int64_t first = 0; first < p->key_count; first += VL_ATTENTION_BLOCK) {
            const int64_t count = p->key_count - first < VL_ATTENTION_BLOCK ? p->key_count - first : VL_ATTENTION_BLOCK;
            float top = largest;
            for (int64_t j = 0; j < count; j++) {
                const uint16_t *key = p->keys + first * p->qk_dim + 2 * j;
                float score = product(s.queries, key, VL_ATTENTION_BLOCK, p->qk_dim) * p->scale;
                if (p->distance_rows && p->distance_columns) {
                    const int64_t rows = dense_padded(p->grid_height), columns = dense_padded(p->grid_width);
                    const int64_t y = t / p->grid_width, x = t % p->grid_width;
                    const int64_t other_y = (first + j) / p->grid_width, other_x = (first + j) % p->grid_width;
                    score += product(s.queries, p->distance_rows + y * p->qk_dim * rows + 2 * other_y, rows, p->qk_dim);
                    score += product(s.queries, p->distance_columns + x * p->qk_dim * columns + 2 * other_x, columns,
                                     p->qk_dim);
                }
                s.scores[j] = score;
                if (score > top) top = score;
            }
            const float factor = __builtin_expf(largest - top);
            total *= factor;
            for (int64_t d = 0; d < p->v_dim; d++) out[d] *= factor;
            largest = top;
            for (int64_t j = 0; j < count; j++) {
                const float weight = __builtin_expf(s.scores[j] - top);
                const float rounded = vl_f32_of_bf16(vl_bf16_of(weight));
                const uint16_t *value = p->values + (first + j) / 2 * width * 2 + j % 2;
                total += weight;
                for (int64_t d = 0; d < p->v_dim; d++) out[d] += rounded * vl_f32_of_bf16(value[2 * d]);
            }
        }
        for (int64_t d = 0; d < p->v_dim; d++) out[d] /= total;
    }
}
