// Vector operations of AVX-512: 16 lanes, 32 registers, masked tails. Included inside a target attribute.
#include <immintrin.h>

#define LANES 16
#define NT_ROWS 6
#define NT_COLUMNS 4
#define NT_WIDE 8
#define NN_ROWS 4
#define NN_VECTORS 4

typedef __m512 vf;

#define VF static inline __attribute__((always_inline))
VF __mmask16 part_mask(int64_t n) { return (__mmask16)((1u << n) - 1u); }
VF vf vf_zero(void) { return _mm512_setzero_ps(); }
VF vf vf_set(float x) { return _mm512_set1_ps(x); }
VF vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
VF vf vf_load_part(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(part_mask(n), p); }
VF void vf_store(float *p, vf x) { _mm512_storeu_ps(p, x); }
VF void vf_store_part(float *p, vf x, int64_t n) { _mm512_mask_storeu_ps(p, part_mask(n), x); }
VF vf vf_widen_bf16(__m256i h) { return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16)); }
VF vf vf_load_bf16(const uint16_t *p) { return vf_widen_bf16(_mm256_loadu_si256((const __m256i *)p)); }
VF vf vf_load_bf16_part(const uint16_t *p, int64_t n) {
    return vf_widen_bf16(_mm256_maskz_loadu_epi16(part_mask(n), p));
}
VF vf vf_load_f16(const uint16_t *p) { return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p)); }
VF vf vf_load_f16_part(const uint16_t *p, int64_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(part_mask(n), p));
}
VF vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
VF vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
VF vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
VF vf vf_round(vf x) { return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
VF vf vf_pow2(vf n) {
    __m512i e = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(e, 23));
}
VF vf vf_select_gt(vf a, vf b, vf x, vf y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x); }
VF vf vf_select_nan(vf x, vf y) { return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), y, x); }
VF float vf_sum(vf x) {
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
VF float vf_top(vf x) {
    __m256 a = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

#include "vector.inc.h"

static void f16_from_f32(uint16_t *out, const float *x, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(out + i), _mm512_cvtps_ph(_mm512_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++) out[i] = vl_f16_of(x[i]);
}
