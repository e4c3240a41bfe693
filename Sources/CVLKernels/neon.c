// ARMv8-A with Advanced SIMD: 4 lanes, 32 registers.
#include "tables.h"
#include "vl_scalars.h"

#if defined(__aarch64__)
#include <arm_neon.h>

#define LANES 4
#define NT_ROWS 4
#define NT_COLUMNS 4
#define NT_WIDE 8
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
VF float vf_top(vf x) { return vmaxvq_f32(x); }

#include "vector.inc.h"

static void f16_from_f32(uint16_t *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = vl_f16_of(x[i]);
}

#define TABLE vl_table_neon
#define TABLE_ISA VL_ISA_NEON
#define TABLE_NAME "neon"
#define TABLE_NT_BF16 0
#include "table.inc.h"
#endif
