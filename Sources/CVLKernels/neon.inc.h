// Vector operations of Advanced SIMD: 4 lanes, 32 registers. Included inside a target attribute, if any.
#include <arm_neon.h>
#include <stddef.h>

#define LANES 4
#define NT_ROWS 4
#define NT_COLUMNS 4
#define NT_ALONE 8
#define NN_ROWS 4
#define NN_VECTORS 4

typedef float32x4_t vf;

#define VF static inline __attribute__((always_inline))
VF vf vf_zero(void) { return vdupq_n_f32(0.0f); }
VF vf vf_set(float x) { return vdupq_n_f32(x); }
VF vf vf_load(const float *p) { return vld1q_f32(p); }
VF vf vf_load_part(const float *p, int64_t n) {
    float padded[4] = {0};
    __builtin_memcpy(padded, p, (size_t)n * 4);
    return vld1q_f32(padded);
}
VF void vf_store(float *p, vf x) { vst1q_f32(p, x); }
VF void vf_store_part(float *p, vf x, int64_t n) {
    float padded[4];
    vst1q_f32(padded, x);
    __builtin_memcpy(p, padded, (size_t)n * 4);
}
VF uint16x4_t load_part_16(const uint16_t *p, int64_t n) {
    uint16_t padded[4] = {0};
    __builtin_memcpy(padded, p, (size_t)n * 2);
    return vld1_u16(padded);
}
VF vf vf_widen_bf16(uint16x4_t h) { return vreinterpretq_f32_u32(vshll_n_u16(h, 16)); }
VF vf vf_load_bf16(const uint16_t *p) { return vf_widen_bf16(vld1_u16(p)); }
VF vf vf_load_bf16_part(const uint16_t *p, int64_t n) { return vf_widen_bf16(load_part_16(p, n)); }
VF vf vf_load_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
VF vf vf_load_f16_part(const uint16_t *p, int64_t n) { return vcvt_f32_f16(vreinterpret_f16_u16(load_part_16(p, n))); }
VF vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
VF vf vf_max(vf a, vf b) { return vmaxq_f32(a, b); }
VF vf vf_min(vf a, vf b) { return vminq_f32(a, b); }
VF vf vf_round(vf x) { return vrndnq_f32(x); }
VF vf vf_pow2(vf n) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23)); }
VF vf vf_select_gt(vf a, vf b, vf x, vf y) { return vbslq_f32(vcgtq_f32(a, b), x, y); }
VF vf vf_select_nan(vf x, vf y) { return vbslq_f32(vceqq_f32(x, x), y, x); }
VF float vf_sum(vf x) {
    float32x2_t s = vadd_f32(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(vpadd_f32(s, s), 0);
}
VF vf vf_low_halves(vf a, vf b) { return vcombine_f32(vget_low_f32(a), vget_low_f32(b)); }
VF vf vf_high_halves(vf a, vf b) { return vcombine_f32(vget_high_f32(a), vget_high_f32(b)); }
VF void vf_sum4(const vf *x, const float *bias, float *out) {
    const vf first = vf_low_halves(x[0], x[1]) + vf_high_halves(x[0], x[1]);
    const vf second = vf_low_halves(x[2], x[3]) + vf_high_halves(x[2], x[3]);
    const vf sums = vpaddq_f32(first, second);
    vf_store(out, bias ? sums + vf_load(bias) : sums);
}
VF float vf_top(vf x) { return vmaxvq_f32(x); }

#include "vector.inc.h"

static void f16_from_f32(uint16_t *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = vl_f16_of(x[i]);
}

// ---- block formats

#include "packed.h"

typedef int32x4_t vq;
#define Q_ROWS 4
#define Q_VECTORS 2
#ifdef VL_I8MM
#define Q_PAIRS
#endif
#define Q_GROUPS 2
#define Q_DIRECT_PARTS 4
#define Q_HALVES
#define VQ_ZERO8 0

VF vq vq_load(const uint8_t *p) { return vreinterpretq_s32_u8(vld1q_u8(p)); }
VF vq vq_set(int32_t x) { return vdupq_n_s32(x); }
VF uint8x16_t vq_u8(vq w) { return vreinterpretq_u8_s32(w); }
VF vq vq_low(vq w) { return vreinterpretq_s32_u8(vandq_u8(vq_u8(w), vdupq_n_u8(15))); }
VF vq vq_high(vq w) { return vreinterpretq_s32_u8(vshrq_n_u8(vq_u8(w), 4)); }
VF vq vq_bits(vq w, vq h, const int left, const int mask) {
    const uint8x16_t shifted = vshlq_u8(vq_u8(h), vdupq_n_s8((int8_t)left));
    return vreinterpretq_s32_u8(vorrq_u8(vq_u8(w), vandq_u8(shifted, vdupq_n_u8((uint8_t)mask))));
}
VF vq vq_fifth(vq w, vq h, const int j) { return vq_bits(w, h, 4 - j, 0x10); }
VF vq vq_sixth(vq w, vq h, const int j) { return vq_bits(w, h, 4 - 2 * (j % 4), 0x30); }
VF vq vq_times(vq a, vq b) { return vmulq_s32(a, b); }
VF vq vq_plus(vq a, vq b) { return vaddq_s32(a, b); }
VF vf vq_float(vq s) { return vcvtq_f32_s32(s); }
VF vf vq_bytes(const uint8_t *p) {
    const uint32_t values[4] = {p[0], p[1], p[2], p[3]};
    return vcvtq_f32_u32(vld1q_u32(values));
}
VF vq vq_signed(const int8_t *p) {
    const int32_t values[4] = {p[0], p[1], p[2], p[3]};
    return vld1q_s32(values);
}
// s + the products of 16 columns: byte 4 r + c of vector j is row r, column 4 j + c, and meets byte 4 j + c of `a`.
VF int8x16_t vq_codes(const vl_type t, vq w) {
    return vreinterpretq_s8_u8(packed_bits(t) == 8 ? veorq_u8(vq_u8(w), vdupq_n_u8(0x80)) : vq_u8(w));
}
#ifdef VL_DOT
VF vq q_half(const vl_type t, vq s, const vq *w, const int8_t *a) {
    const int8x16_t columns = vld1q_s8(a);
    s = vdotq_laneq_s32(s, vq_codes(t, w[0]), columns, 0);
    s = vdotq_laneq_s32(s, vq_codes(t, w[1]), columns, 1);
    s = vdotq_laneq_s32(s, vq_codes(t, w[2]), columns, 2);
    return vdotq_laneq_s32(s, vq_codes(t, w[3]), columns, 3);
}
#else
// Products are added in 16 bits, one a vector and lane: 4 * 63 * 127 and 2 * 128 * 127 still fit. So what widens to 32 bits
// and adds up the columns is needed once for four vectors, or for two of 8-bit codes.
VF vq q_half(const vl_type t, vq s, const vq *w, const int8_t *a) {
    const int32x4_t columns = vreinterpretq_s32_s8(vld1q_s8(a));
    const int8x16_t four[4] = {
        vreinterpretq_s8_s32(vdupq_laneq_s32(columns, 0)), vreinterpretq_s8_s32(vdupq_laneq_s32(columns, 1)),
        vreinterpretq_s8_s32(vdupq_laneq_s32(columns, 2)), vreinterpretq_s8_s32(vdupq_laneq_s32(columns, 3))};
    const int run = packed_bits(t) == 8 ? 2 : 4;
    int32x4_t upper = vdupq_n_s32(0), lower = upper;  // rows 0 and 1, rows 2 and 3, each in two parts
    UNROLL for (int j = 0; j < 4; j += run) {
        const int8x16_t codes = vq_codes(t, w[j]);
        int16x8_t u = vmull_s8(vget_low_s8(codes), vget_low_s8(four[j])), l = vmull_high_s8(codes, four[j]);
        UNROLL for (int k = j + 1; k < j + run; k++) {
            const int8x16_t more = vq_codes(t, w[k]);
            u = vmlal_s8(u, vget_low_s8(more), vget_low_s8(four[k]));
            l = vmlal_high_s8(l, more, four[k]);
        }
        upper = j == 0 ? vpaddlq_s16(u) : vpadalq_s16(upper, u);
        lower = j == 0 ? vpaddlq_s16(l) : vpadalq_s16(lower, l);
    }
    return vaddq_s32(s, vpaddq_s32(upper, lower));
}
#endif

#include "quant.inc.h"

static void q8_from_f32(void *row, const float *x, int64_t n) { vl_q8_row((int8_t *)row, x, n); }
