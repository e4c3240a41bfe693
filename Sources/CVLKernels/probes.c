// Small loops that show what the machine can do at most; `bench --limits` puts our figures beside them.
#include "tables.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

uint64_t vl_probe_read(const void *data, int64_t bytes) {
    const uint64_t *p = (const uint64_t *)data;
    uint64_t sums[16] = {0};
    const int64_t words = bytes / 8;
    int64_t i = 0;
    for (; i + 16 <= words; i += 16) {
        for (int j = 0; j < 16; j++) sums[j] ^= p[i + j];
    }
    uint64_t sum = 0;
    for (int j = 0; j < 16; j++) sum ^= sums[j];
    return sum;
}

#if defined(__x86_64__)
// The accumulators feed a sum that is returned through a volatile, so the loops stay.
#define PROBE(NAME, TARGET, VECTOR, ZERO, STEP, FOLD, OPERATIONS)                                                      \
    __attribute__((target(TARGET))) static double NAME(int64_t rounds) {                                               \
        VECTOR acc[12];                                                                                                \
        for (int j = 0; j < 12; j++) acc[j] = ZERO;                                                                    \
        for (int64_t i = 0; i < rounds; i++) {                                                                         \
            _Pragma("clang loop unroll(full)") for (int j = 0; j < 12; j++) {                                          \
                STEP;                                                                                                  \
                __asm__ volatile("" : "+v"(acc[j]));                                                                   \
            }                                                                                                          \
        }                                                                                                              \
        volatile int sink = 0;                                                                                         \
        for (int j = 0; j < 12; j++) sink += FOLD;                                                                     \
        return (double)rounds * 12 * OPERATIONS;                                                                       \
    }

PROBE(f32_avx2, "avx2,fma", __m256, _mm256_setzero_ps(),
      acc[j] = _mm256_fmadd_ps(_mm256_set1_ps(0.5f), _mm256_set1_ps(0.25f), acc[j]), _mm256_movemask_ps(acc[j]), 16)
PROBE(f32_avx512, "avx512f", __m512, _mm512_setzero_ps(),
      acc[j] = _mm512_fmadd_ps(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f), acc[j]),
      _mm_cvtsi128_si32(_mm512_castsi512_si128(_mm512_castps_si512(acc[j]))), 32)
PROBE(bf16_avx512, "avx512f,avx512bf16", __m512, _mm512_setzero_ps(),
      acc[j] = _mm512_dpbf16_ps(acc[j], (__m512bh)_mm512_set1_epi16(0x3f00), (__m512bh)_mm512_set1_epi16(0x3e80)),
      _mm_cvtsi128_si32(_mm512_castsi512_si128(_mm512_castps_si512(acc[j]))), 64)
PROBE(int8_avx512, "avx512f,avx512vnni", __m512i, _mm512_setzero_si512(),
      acc[j] = _mm512_dpbusd_epi32(acc[j], _mm512_set1_epi8(3), _mm512_set1_epi8(1)),
      _mm_cvtsi128_si32(_mm512_castsi512_si128(acc[j])), 128)
#elif defined(__aarch64__)
// As many chains of dependent instructions as registers hold beside two operands: four pipes with a latency of four want
// 16. They are written as they stand, since compilers merge what is constant in intrinsics.
#define CHAINS 24
#define PROBE(NAME, EXTENSION, INSTRUCTION, OPERATIONS)                                                                \
    __attribute__((target(EXTENSION))) static double NAME(int64_t rounds) {                                            \
        const uint16x8_t operand = vdupq_n_u16(0);                                                                     \
        uint32x4_t acc[CHAINS];                                                                                        \
        for (int j = 0; j < CHAINS; j++) acc[j] = vdupq_n_u32(0);                                                      \
        for (int64_t i = 0; i < rounds; i++) {                                                                         \
            _Pragma("clang loop unroll(full)") for (int j = 0; j < CHAINS; j++) {                                      \
                __asm__ volatile(INSTRUCTION : "+w"(acc[j]) : "w"(operand));                                           \
            }                                                                                                          \
        }                                                                                                              \
        volatile uint32_t sink = 0;                                                                                    \
        for (int j = 0; j < CHAINS; j++) sink += vgetq_lane_u32(acc[j], 0);                                            \
        return (double)rounds * CHAINS * OPERATIONS;                                                                   \
    }

PROBE(f32_neon, "neon", "fmla %0.4s, %1.4s, %1.4s", 8)
PROBE(bf16_neon, "bf16", "bfmmla %0.4s, %1.8h, %1.8h", 32)
PROBE(int8_dot, "dotprod", "sdot %0.4s, %1.16b, %1.16b", 32)
PROBE(int8_i8mm, "i8mm", "smmla %0.4s, %1.16b, %1.16b", 64)
#endif

#if !defined(__aarch64__)
static double f32_plain(int64_t rounds) {
    float acc[32] = {0};
    for (int64_t i = 0; i < rounds; i++) {
        for (int j = 0; j < 32; j++) acc[j] += 0.5f;
    }
    volatile float sink = 0;
    for (int j = 0; j < 32; j++) sink += acc[j];
    return (double)rounds * 32;
}
#endif

double vl_probe_f32(int64_t rounds) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f")) return f32_avx512(rounds);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return f32_avx2(rounds);
#endif
#if defined(__aarch64__)
    return f32_neon(rounds);
#else
    return f32_plain(rounds);
#endif
}

double vl_probe_bf16(int64_t rounds) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512bf16")) return bf16_avx512(rounds);
#elif defined(__aarch64__)
    if (vl_kernels_for(VL_ISA_NEONBF16)) return bf16_neon(rounds);
#endif
    (void)rounds;
    return 0;
}

double vl_probe_int8(int64_t rounds) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vnni")) return int8_avx512(rounds);
#elif defined(__aarch64__)
    if (vl_kernels_for(VL_ISA_NEONI8MM)) return int8_i8mm(rounds);
    if (vl_kernels_for(VL_ISA_NEONDOT)) return int8_dot(rounds);
#endif
    (void)rounds;
    return 0;
}
