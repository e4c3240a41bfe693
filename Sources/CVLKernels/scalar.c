// The reference: plain loops in float32, one value at a time. Every other table is tested against this one.
#include <math.h>
#include <string.h>

#include "dense.h"
#include "packed.h"
#include "tables.h"
#include "vl_scalars.h"

static float element(const void *p, vl_type type, int64_t index) {
    switch (type) {
        case VL_TYPE_BF16: return vl_f32_of_bf16(((const uint16_t *)p)[index]);
        case VL_TYPE_F16: return vl_f32_of_f16(((const uint16_t *)p)[index]);
        case VL_TYPE_Q8_0: {
            const uint8_t *block = (const uint8_t *)p + index / 32 * 34;
            uint16_t scale;
            memcpy(&scale, block, sizeof scale);
            return (float)(int8_t)block[2 + index % 32] * vl_f32_of_f16(scale);
        }
        default: return ((const float *)p)[index];
    }
}

static void product_nt(const vl_product *p, int64_t first, int64_t last, vl_type type) {
    const float *a = (const float *)p->a;
    for (int64_t i = 0; i < p->rows; i++) {
        for (int64_t j = first; j < last; j++) {
            float sum = 0.0f;
            for (int64_t k = 0; k < p->depth; k++)
                sum += a[i * p->a_stride + k] * element(p->b, type, j * p->b_stride + k);
            p->c[i * p->c_stride + j] = p->bias ? sum + p->bias[j] : sum;
        }
    }
}

static void product_nn(const vl_product *p, int64_t first, int64_t last, vl_type type) {
    const float *a = (const float *)p->a;
    for (int64_t i = 0; i < p->rows; i++) {
        for (int64_t j = first; j < last; j++) {
            float sum = p->accumulate ? p->c[i * p->c_stride + j] : 0.0f;
            for (int64_t k = 0; k < p->depth; k++)
                sum += a[i * p->a_stride + k] * element(p->b, type, k * p->b_stride + j);
            p->c[i * p->c_stride + j] = p->bias ? sum + p->bias[j] : sum;
        }
    }
}

static void nt_f32_f32(const vl_product *p, int64_t first, int64_t last) { product_nt(p, first, last, VL_TYPE_F32); }
static void nt_f32_bf16(const vl_product *p, int64_t first, int64_t last) { product_nt(p, first, last, VL_TYPE_BF16); }
static void nt_f32_f16(const vl_product *p, int64_t first, int64_t last) { product_nt(p, first, last, VL_TYPE_F16); }
static void nn_f32_f32(const vl_product *p, int64_t first, int64_t last) { product_nn(p, first, last, VL_TYPE_F32); }
static void nn_f32_bf16(const vl_product *p, int64_t first, int64_t last) { product_nn(p, first, last, VL_TYPE_BF16); }
static void nn_f32_f16(const vl_product *p, int64_t first, int64_t last) { product_nn(p, first, last, VL_TYPE_F16); }

static void q8_from_f32(void *row, const float *x, int64_t n) { vl_q8_row((int8_t *)row, x, n); }

PACKED void product_q8(const vl_type t, const vl_product *p, int64_t first, int64_t last) {
    for (int64_t i = 0; i < p->rows; i++) {
        const int8_t *a = (const int8_t *)p->a + i * p->a_stride;
        for (int64_t j = first; j < last && j < p->columns; j++) {
            const uint8_t *group = (const uint8_t *)p->b + j / VL_GROUP_ROWS * packed_group(t, p->depth);
            const int r = (int)(j % VL_GROUP_ROWS);
            float acc = 0.0f;
            for (int64_t block = 0; block < p->depth / 32; block++) {
                int32_t sums[2] = {0, 0}, total = 0;
                for (int c = 0; c < 32; c++) {
                    const int32_t code = a[32 * block + c];
                    sums[c / 16] += code * (packed_code(t, packed_codes(t, group, block), r, c) - packed_zero(t));
                    total += code;
                }
                const int32_t sum = t == VL_TYPE_Q6_K ? sums[0] * packed_small_scale(group, block, 0, r) +
                                                            sums[1] * packed_small_scale(group, block, 1, r)
                                                      : sums[0] + sums[1];
                const float scale = q8_scales(a, p->depth)[block];
                acc = fmaf((float)sum * scale, packed_scale(t, group, block, r), acc);
                if (packed_has_min(t)) acc = fmaf(packed_min(t, group, block, r), scale * (float)total, acc);
            }
            if (p->bias) acc += p->bias[j];
            for (int32_t n = 0; n < *q8_outlier_count(a, p->depth); n++) {
                const q8_outlier *one = q8_outliers(a, p->depth) + n;
                const int64_t block = one->four / 8;
                const int four = one->four % 8;
                int32_t sum = 0;
                for (int c = 0; c < 4; c++)
                    sum += one->codes[c] *
                           (packed_code(t, packed_codes(t, group, block), r, 4 * four + c) - packed_zero(t));
                if (t == VL_TYPE_Q6_K) sum *= packed_small_scale(group, block, four / 4, r);
                acc = fmaf((float)sum * one->scale, packed_scale(t, group, block, r), acc);
                if (packed_has_min(t)) acc = fmaf(packed_min(t, group, block, r), one->scale * (float)one->sum, acc);
            }
            p->c[i * p->c_stride + j] = acc;
        }
    }
}

PACKED void product_f32(const vl_type t, const vl_product *p, int64_t first, int64_t last) {
    for (int64_t j = first; j < last && j < p->columns; j++) {
        for (int64_t i = 0; i < p->rows; i++) {
            const float *a = (const float *)p->a + i * p->a_stride;
            float sum = 0.0f;
            for (int64_t k = 0; k < p->depth; k += 32) {
                float weights[32 * VL_GROUP_ROWS];
                const uint8_t *group = (const uint8_t *)p->b + j / VL_GROUP_ROWS * packed_group(t, p->depth);
                vl_packed_columns(t, group, k, 32, weights);
                for (int c = 0; c < 32; c++) sum += a[k + c] * weights[c * VL_GROUP_ROWS + j % VL_GROUP_ROWS];
            }
            p->c[i * p->c_stride + j] = p->bias ? sum + p->bias[j] : sum;
        }
    }
}

#define DEFINE_QUANTIZED(NAME, TYPE)                                                                                   \
    static void nt_q8_##NAME(const vl_product *p, int64_t first, int64_t last) { product_q8(TYPE, p, first, last); }   \
    static void nt_f32_##NAME(const vl_product *p, int64_t first, int64_t last) { product_f32(TYPE, p, first, last); }
VL_BLOCK_TYPES(DEFINE_QUANTIZED)

static void attend_row(const vl_attention *p, int64_t group, int64_t t, int64_t h) {
    const vl_type type = (vl_type)p->type;
    const int64_t key = p->k_offset + group * p->group_k_stride, value = p->v_offset + group * p->group_v_stride;
    const float *q = p->q + group * p->group_q_stride + t * p->q_token_stride + h * p->q_head_stride;
    float *out = p->out + group * p->group_out_stride + t * p->out_token_stride + h * p->out_head_stride;
    int64_t seen = p->key_count;
    if (p->causal && p->first_position + t + 1 < seen) seen = p->first_position + t + 1;
    for (int64_t i = 0; i < p->v_dim; i++) out[i] = 0.0f;
    float maximum = -INFINITY, total = 0.0f;
    for (int64_t j = 0; j < seen; j++) {
        const void *block = p->blocks[j / VL_ATTENTION_BLOCK];
        const int64_t place = (j % VL_ATTENTION_BLOCK) * p->position_stride;
        float score = 0.0f;
        for (int64_t i = 0; i < p->qk_dim; i++) score += q[i] * element(block, type, key + place + i);
        score *= p->scale;
        if (score > maximum) {
            const float factor = expf(maximum - score);
            total *= factor;
            for (int64_t i = 0; i < p->v_dim; i++) out[i] *= factor;
            maximum = score;
        }
        const float weight = expf(score - maximum);
        total += weight;
        for (int64_t i = 0; i < p->v_dim; i++) out[i] += weight * element(block, type, value + place + i);
    }
    for (int64_t i = 0; i < p->v_dim; i++) out[i] /= total;
}

static void attend(const vl_attention *p, int64_t t0, int64_t t1, int64_t h0, int64_t h1, float *scratch) {
    (void)scratch;
    for (int64_t g = 0; g < p->groups; g++) {
        for (int64_t t = t0; t < t1; t++) {
            for (int64_t h = h0; h < h1; h++) attend_row(p, g, t, h);
        }
    }
}

static void rms_norm(float *y, const float *x, const float *weight, float eps, int64_t n) {
    float squares = 0.0f;
    for (int64_t i = 0; i < n; i++) squares += x[i] * x[i];
    const float scale = 1.0f / sqrtf(squares / (float)n + eps);
    for (int64_t i = 0; i < n; i++) y[i] = x[i] * scale * weight[i];
}

static void layer_norm(float *y, const float *x, const float *weight, const float *bias, float eps, int64_t n) {
    float total = 0.0f, squares = 0.0f;
    for (int64_t i = 0; i < n; i++) total += x[i];
    const float mean = total / (float)n;
    for (int64_t i = 0; i < n; i++) squares += (x[i] - mean) * (x[i] - mean);
    const float scale = 1.0f / sqrtf(squares / (float)n + eps);
    for (int64_t i = 0; i < n; i++) y[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

static void rotate_halves(float *x, const float *cosine, const float *sine, int64_t n) {
    const int64_t half = n / 2;
    for (int64_t i = 0; i < half; i++) {
        const float a = x[i], b = x[i + half];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + half] = b * cosine[i] + a * sine[i];
    }
}

static void silu_multiply(float *y, const float *gate, const float *up, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void gelu_tanh(float *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = 0.5f * x[i] * (1.0f + tanhf(0.7978845608028654f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
}

static void gelu_erf(float *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = 0.5f * x[i] * (1.0f + erff(x[i] * 0.70710678118654752f));
}

static void add(float *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += x[i];
}

static void add_scaled(float *y, const float *x, float scale, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += scale * x[i];
}

static void exponential(float *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = expf(x[i]);
}

static void f32_from_bf16(float *y, const uint16_t *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = vl_f32_of_bf16(x[i]);
}

static void f32_from_f16(float *y, const uint16_t *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = vl_f32_of_f16(x[i]);
}

static void bf16_from_f32(uint16_t *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = vl_bf16_of(x[i]);
}

static void f16_from_f32(uint16_t *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = vl_f16_of(x[i]);
}

#define TABLE vl_table_scalar
#define TABLE_ISA VL_ISA_SCALAR
#define TABLE_NAME "scalar"
#define TABLE_NT_BF16 0
#define TABLE_DENSE vl_attend_dense_scalar
#include "table.inc.h"
