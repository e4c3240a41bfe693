// AVX2 with FMA and F16C: 8 lanes, 16 registers.
#include "tables.h"
#include "vl_scalars.h"

#if defined(__x86_64__)
#include <immintrin.h>

#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)

#define LANES 8
#define NT_ROWS 3
#define NT_COLUMNS 3
#define NN_ROWS 3
#define NN_VECTORS 3

typedef __m256 vf;

static const int32_t part_masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

#define VF static inline __attribute__((always_inline))
VF __m256i part_mask(int64_t n) { return _mm256_loadu_si256((const __m256i *)(part_masks + 8 - n)); }
VF vf vf_zero(void) { return _mm256_setzero_ps(); }
VF vf vf_set(float x) { return _mm256_set1_ps(x); }
VF vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
VF vf vf_load_part(const float *p, int64_t n) { return _mm256_maskload_ps(p, part_mask(n)); }
VF void vf_store(float *p, vf x) { _mm256_storeu_ps(p, x); }
VF void vf_store_part(float *p, vf x, int64_t n) { _mm256_maskstore_ps(p, part_mask(n), x); }
VF vf vf_widen_bf16(__m128i h) { return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16)); }
VF __m128i load_part_16(const uint16_t *p, int64_t n) {
    uint16_t padded[8] = {0};
    __builtin_memcpy(padded, p, (size_t)n * 2);
    return _mm_loadu_si128((const __m128i *)padded);
}
VF vf vf_load_bf16(const uint16_t *p) { return vf_widen_bf16(_mm_loadu_si128((const __m128i *)p)); }
VF vf vf_load_bf16_part(const uint16_t *p, int64_t n) { return vf_widen_bf16(load_part_16(p, n)); }
VF vf vf_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)); }
VF vf vf_load_f16_part(const uint16_t *p, int64_t n) { return _mm256_cvtph_ps(load_part_16(p, n)); }
VF vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
VF vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
VF vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
VF vf vf_round(vf x) { return _mm256_round_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VF vf vf_pow2(vf n) {
    __m256i e = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
VF vf vf_select_gt(vf a, vf b, vf x, vf y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ)); }
VF vf vf_select_nan(vf x, vf y) { return _mm256_blendv_ps(y, x, _mm256_cmp_ps(x, x, _CMP_UNORD_Q)); }
VF float vf_sum(vf x) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
VF void vf_sum4(const vf *x, const float *bias, float *out) {
    for (int i = 0; i < 4; i++) out[i] = bias ? vf_sum(x[i]) + bias[i] : vf_sum(x[i]);
}
VF float vf_top(vf x) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

#include "vector.inc.h"

static void f16_from_f32(uint16_t *out, const float *x, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((__m128i *)(out + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++) out[i] = vl_f16_of(x[i]);
}

// ---- block formats

typedef __m256i vq;
#define Q_ROWS 2
#define Q_VECTORS 2
#define Q_GROUPS 2
#define VQ_ZERO8 0

VF vq vq_load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
VF vq vq_set(int32_t x) { return _mm256_set1_epi32(x); }
VF vq vq_low(vq w) { return _mm256_and_si256(w, _mm256_set1_epi8(15)); }
VF vq vq_high(vq w) { return _mm256_and_si256(_mm256_srli_epi16(w, 4), _mm256_set1_epi8(15)); }
// Shifts cross the borders of bytes; what crosses is masked away.
VF vq vq_shifted(vq h, const int left) {
    return left > 0 ? _mm256_slli_epi16(h, left) : left < 0 ? _mm256_srli_epi16(h, -left) : h;
}
VF vq vq_fifth(vq w, vq h, const int j) {
    return _mm256_or_si256(w, _mm256_and_si256(vq_shifted(h, 4 - j), _mm256_set1_epi8(0x10)));
}
VF vq vq_sixth(vq w, vq h, const int j) {
    return _mm256_or_si256(w, _mm256_and_si256(vq_shifted(h, 4 - 2 * (j % 4)), _mm256_set1_epi8(0x30)));
}
VF vq vq_times(vq a, vq b) { return _mm256_mullo_epi32(a, b); }
VF vq vq_plus(vq a, vq b) { return _mm256_add_epi32(a, b); }
VF vf vq_float(vq s) { return _mm256_cvtepi32_ps(s); }
VF vf vq_bytes(const uint8_t *p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
VF vq vq_signed(const int8_t *p) { return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)); }
VF vq vq_dot(vq s, vq w, vq a) {
    return _mm256_add_epi32(s, _mm256_madd_epi16(_mm256_maddubs_epi16(w, a), _mm256_set1_epi16(1)));
}
// |w| times a with the sign of w: the pairs then fit 16 bits.
VF vq vq_dot8(vq s, vq w, vq a) {
    const vq centred = _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80));
    return vq_dot(s, _mm256_abs_epi8(centred), _mm256_sign_epi8(a, centred));
}

#include "quant.inc.h"

static void q8_from_f32(void *row, const float *x, int64_t n) { vl_q8_row((int8_t *)row, x, n); }

#pragma clang attribute pop

#define TABLE vl_table_avx2
#define TABLE_ISA VL_ISA_AVX2
#define TABLE_NAME "avx2"
#define TABLE_NT_BF16 0
#include "table.inc.h"
#endif
