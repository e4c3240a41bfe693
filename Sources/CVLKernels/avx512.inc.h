// Vector operations of AVX-512: 16 lanes, 32 registers, masked tails. Included inside a target attribute.
#include <immintrin.h>

#define LANES 16
#define NT_ROWS 6
#define NT_COLUMNS 4
#define NT_STREAM 2
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
// Halves, then quarters of all four are added in whole registers; a lane of 128 bits then belongs to each.
VF void vf_sum4(const vf *x, const float *bias, float *out) {
    const vf ab = _mm512_add_ps(_mm512_shuffle_f32x4(x[0], x[1], 0x44), _mm512_shuffle_f32x4(x[0], x[1], 0xee));
    const vf cd = _mm512_add_ps(_mm512_shuffle_f32x4(x[2], x[3], 0x44), _mm512_shuffle_f32x4(x[2], x[3], 0xee));
    vf s = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0x4e));
    s = _mm512_add_ps(s, _mm512_permute_ps(s, 0xb1));
    const __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    const __m128 sums = _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, s));
    _mm_storeu_ps(out, bias ? _mm_add_ps(sums, _mm_loadu_ps(bias)) : sums);
}
VF float vf_top(vf x) {
    __m256 a = _mm256_max_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// In integers: the instruction that rounds to bfloat16 would make zeros of subnormal numbers.
#define VF_STORES_BF16
static void bf16_from_f32(uint16_t *y, const float *x, int64_t n) {
    const __m512i half = _mm512_set1_epi32(0x7fff), one = _mm512_set1_epi32(1), quiet = _mm512_set1_epi32(0x40);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        const __m512 value = _mm512_loadu_ps(x + i);
        const __m512i u = _mm512_castps_si512(value), high = _mm512_srli_epi32(u, 16);
        const __m512i rounded =
            _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(half, _mm512_and_si512(high, one))), 16);
        const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
        const __m512i stored = _mm512_mask_or_epi32(rounded, nan, high, quiet);
        _mm256_storeu_si256((__m256i *)(void *)(y + i), _mm512_cvtepi32_epi16(stored));
    }
    for (; i < n; i++) y[i] = vl_bf16_of(x[i]);
}

#include "vector.inc.h"

static void f16_from_f32(uint16_t *out, const float *x, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm256_storeu_si256((__m256i *)(out + i), _mm512_cvtps_ph(_mm512_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++) out[i] = vl_f16_of(x[i]);
}

// ---- block formats

typedef __m512i vq;
#define Q_ROWS 4
#define Q_VECTORS 3
#define Q_GROUPS 3
#define Q_DIRECT 8
#define Q_STREAM 12

VF vq vq_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
VF vq vq_set(int32_t x) { return _mm512_set1_epi32(x); }
VF vq vq_low(vq w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
VF vq vq_high(vq w) { return _mm512_and_si512(_mm512_srli_epi16(w, 4), _mm512_set1_epi8(15)); }
// Shifts cross the borders of bytes; what crosses is masked away.
VF vq vq_shifted(vq h, const int left) {
    return left > 0 ? _mm512_slli_epi16(h, (unsigned)left) : left < 0 ? _mm512_srli_epi16(h, (unsigned)-left) : h;
}
VF vq vq_fifth(vq w, vq h, const int j) {
    return _mm512_ternarylogic_epi32(w, vq_shifted(h, 4 - j), _mm512_set1_epi8(0x10), 0xf8);
}
VF vq vq_sixth(vq w, vq h, const int j) {
    return _mm512_ternarylogic_epi32(w, vq_shifted(h, 4 - 2 * (j % 4)), _mm512_set1_epi8(0x30), 0xf8);
}
VF vq vq_times(vq a, vq b) { return _mm512_mullo_epi32(a, b); }
VF vq vq_plus(vq a, vq b) { return _mm512_add_epi32(a, b); }
VF vf vq_float(vq s) { return _mm512_cvtepi32_ps(s); }
VF vf vq_bytes(const uint8_t *p) {
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)));
}
VF vq vq_signed(const int8_t *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)); }
#ifdef VL_VNNI
#define VQ_ZERO8 128
VF vq vq_dot(vq s, vq w, vq a) { return _mm512_dpbusd_epi32(s, w, a); }
VF vq vq_dot8(vq s, vq w, vq a) { return _mm512_dpbusd_epi32(s, w, a); }
#else
#define VQ_ZERO8 0
VF vq vq_dot(vq s, vq w, vq a) {
    return _mm512_add_epi32(s, _mm512_madd_epi16(_mm512_maddubs_epi16(w, a), _mm512_set1_epi16(1)));
}
// |w| times a with the sign of w: the pairs then fit 16 bits.
VF vq vq_dot8(vq s, vq w, vq a) {
    const vq centred = _mm512_xor_si512(w, _mm512_set1_epi8((char)0x80));
    const vq turned = _mm512_mask_sub_epi8(a, _mm512_movepi8_mask(centred), _mm512_setzero_si512(), a);
    return vq_dot(s, _mm512_abs_epi8(centred), turned);
}
#endif

#include "quant.inc.h"

// Largest size of 32 values. The maximum is the second operand where the first is no number.
VF float q8_largest(const float *x) {
    const vf low = vf_load(x), high = vf_load(x + 16);
    return vf_top(_mm512_max_ps(_mm512_abs_ps(high), _mm512_max_ps(_mm512_abs_ps(low), vf_zero())));
}

static void q8_from_f32(void *row, const float *x, int64_t n) {
    int8_t *codes = (int8_t *)row;
    float *scales = (float *)(void *)(codes + n);
    int32_t *sums = (int32_t *)(void *)(codes + n + n / 8);
    int32_t *halves = (int32_t *)(void *)(codes + n + n / 4);
    const vf top = vf_set(127.0f);
    *q8_outlier_count(codes, n) = 0;
    for (int64_t block = 0; block < n / 32; block++) scales[block] = q8_largest(x + 32 * block);
    const float limit = q8_limit(scales, n / 32);
    for (int64_t block = 0; block < n / 32; block++) {
        const float *values = x + 32 * block;
        float largest = scales[block], rest[32];
        if (largest > limit) {
            __builtin_memcpy(rest, values, sizeof rest);
            q8_take_outliers(codes, n, rest, block, limit);
            values = rest;
            largest = q8_largest(rest);
        }
        const vf low = vf_load(values), high = vf_load(values + 16);
        const vf factor = vf_set(largest > 0.0f ? 127.0f / largest : 0.0f);
        const vf first = vf_round(low * factor), second = vf_round(high * factor);
        const __mmask16 firsts = _mm512_cmp_ps_mask(_mm512_abs_ps(first), top, _CMP_LE_OQ);
        const __mmask16 seconds = _mm512_cmp_ps_mask(_mm512_abs_ps(second), top, _CMP_LE_OQ);
        const __m512i a = _mm512_maskz_cvtps_epi32(firsts, first), b = _mm512_maskz_cvtps_epi32(seconds, second);
        _mm_storeu_si128((__m128i *)(void *)(codes + 32 * block), _mm512_cvtepi32_epi8(a));
        _mm_storeu_si128((__m128i *)(void *)(codes + 32 * block + 16), _mm512_cvtepi32_epi8(b));
        scales[block] = largest * (1.0f / 127.0f);
        halves[2 * block] = _mm512_reduce_add_epi32(a);
        halves[2 * block + 1] = _mm512_reduce_add_epi32(b);
        sums[block] = halves[2 * block] + halves[2 * block + 1];
    }
}
