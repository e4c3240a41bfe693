// Conversions of one value, shared by the scalar table and by tails.
#ifndef VL_SCALARS_H
#define VL_SCALARS_H

#include <stdint.h>

static inline uint32_t vl_bits(float x) {
    uint32_t u;
    __builtin_memcpy(&u, &x, sizeof u);
    return u;
}

static inline float vl_float(uint32_t u) {
    float x;
    __builtin_memcpy(&x, &u, sizeof x);
    return x;
}

/// Rounds to bfloat16, ties to even; a NaN stays a (quiet) NaN.
static inline uint16_t vl_bf16_of(float x) {
    const uint32_t u = vl_bits(x);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const uint32_t quiet = (u >> 16) | 0x40u;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

static inline float vl_f32_of_bf16(uint16_t h) { return vl_float((uint32_t)h << 16); }

/// Exact value of an IEEE half, subnormals, infinities and NaN included.
static inline float vl_f32_of_f16(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    const uint32_t magnitude = h & 0x7fffu;
    if (magnitude >= 0x7c00u) return vl_float(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
    if (magnitude >= 0x400u) return vl_float(sign | ((magnitude << 13) + (112u << 23)));
    const float small = (float)magnitude * 0x1p-24f;
    return vl_float(sign | vl_bits(small));
}

/// Rounds to an IEEE half, ties to even; overflow gives infinity.
static inline uint16_t vl_f16_of(float x) {
    const uint32_t u = vl_bits(x);
    const uint32_t sign = (u >> 16) & 0x8000u;
    const uint32_t magnitude = u & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) {
        const uint32_t rebased = magnitude - (112u << 23);
        return (uint16_t)(sign | ((rebased + 0xfffu + ((rebased >> 13) & 1u)) >> 13));
    }
    // Adding 0.5 puts the subnormal's last bit at the float's last bit, so the addition itself rounds to even.
    const uint32_t shifted = vl_bits(vl_float(magnitude) + 0.5f);
    return (uint16_t)(sign | (shifted - vl_bits(0.5f)));
}

#endif
