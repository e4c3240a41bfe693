// The packed form of block formats in detail, as constants that the compiler folds: shared by all instruction sets.
//
// A group of 16 rows is one stream, read from its first byte to its last: with scales in a place of their own every group
// would begin with two misses, and half the memory's speed was lost.
//   32-value formats, for each 32 columns:  d[16] half, and m[16] half for the formats with a minimum, then the codes
//   Q4_K and Q5_K, for each 256 columns:    d[16], dmin[16] half, then for each 32: scale[16], min[16] bytes, the codes
//   Q6_K, for each 256 columns:             d[16] half, then for each 32: scale[16] signed bytes twice (for 16 columns
//                                           each), the codes
//   codes of 8 bits:  8 vectors of 64 bytes; byte 4 r + c of vector j is row r, column 4 j + c, plus 128
//   codes of 4 bits:  4 vectors; the low half of a byte belongs to vector j, the high half to vector j + 4
//   the fifth bit:    1 vector; bit j of a byte belongs to vector j
//   bits 5 and 6:     2 vectors; bits 2 (j % 4) and 2 (j % 4) + 1 of vector j / 4 belong to vector j
#ifndef VL_PACKED_H
#define VL_PACKED_H

#include "vl_blocks.h"
#include "vl_scalars.h"

#define PACKED static inline __attribute__((always_inline))

// All formats, for lists that are filled by macro.
#define VL_BLOCK_TYPES(X)                                                                                              \
    X(q8_0, VL_TYPE_Q8_0)                                                                                              \
    X(q4_0, VL_TYPE_Q4_0)                                                                                              \
    X(q4_1, VL_TYPE_Q4_1)                                                                                              \
    X(q5_0, VL_TYPE_Q5_0)                                                                                              \
    X(q5_1, VL_TYPE_Q5_1)                                                                                              \
    X(q4_k, VL_TYPE_Q4_K)                                                                                              \
    X(q5_k, VL_TYPE_Q5_K)                                                                                              \
    X(q6_k, VL_TYPE_Q6_K)

// Columns that share a piece of the scales.
PACKED int64_t packed_span(const vl_type t) {
    return t == VL_TYPE_Q4_K || t == VL_TYPE_Q5_K || t == VL_TYPE_Q6_K ? 256 : 32;
}
// Bytes in front of a span: its halves.
PACKED int64_t packed_head_bytes(const vl_type t) {
    switch (t) {
        case VL_TYPE_Q4_1:
        case VL_TYPE_Q5_1:
        case VL_TYPE_Q4_K:
        case VL_TYPE_Q5_K: return 64;
        default: return 32;
    }
}
// Bytes in front of the codes of 32 columns: the small scales of the K formats.
PACKED int64_t packed_small_bytes(const vl_type t) { return packed_span(t) == 256 ? 32 : 0; }
PACKED int packed_bits(const vl_type t) {
    switch (t) {
        case VL_TYPE_Q8_0: return 8;
        case VL_TYPE_Q5_0:
        case VL_TYPE_Q5_1:
        case VL_TYPE_Q5_K: return 5;
        case VL_TYPE_Q6_K: return 6;
        default: return 4;
    }
}
// Bytes of the codes of 32 columns.
PACKED int64_t packed_code_bytes(const vl_type t) { return 64 * packed_bits(t); }
// What is subtracted from a code.
PACKED int packed_zero(const vl_type t) {
    switch (t) {
        case VL_TYPE_Q8_0: return 128;
        case VL_TYPE_Q4_0: return 8;
        case VL_TYPE_Q5_0: return 16;
        case VL_TYPE_Q6_K: return 32;
        default: return 0;
    }
}
PACKED int packed_has_min(const vl_type t) {
    return t == VL_TYPE_Q4_1 || t == VL_TYPE_Q5_1 || t == VL_TYPE_Q4_K || t == VL_TYPE_Q5_K;
}
PACKED int64_t packed_span_bytes(const vl_type t) {
    return packed_head_bytes(t) + packed_span(t) / 32 * (packed_small_bytes(t) + packed_code_bytes(t));
}
PACKED int64_t packed_group(const vl_type t, int64_t depth) { return depth / packed_span(t) * packed_span_bytes(t); }
// Where the halves, the small scales and the codes of the 32-column block `block` of a group are.
PACKED const uint8_t *packed_head(const vl_type t, const uint8_t *group, int64_t block) {
    return group + block / (packed_span(t) / 32) * packed_span_bytes(t);
}
PACKED const uint8_t *packed_small(const vl_type t, const uint8_t *group, int64_t block) {
    return packed_head(t, group, block) + packed_head_bytes(t) +
           block % (packed_span(t) / 32) * (packed_small_bytes(t) + packed_code_bytes(t));
}
PACKED const uint8_t *packed_codes(const vl_type t, const uint8_t *group, int64_t block) {
    return packed_small(t, group, block) + packed_small_bytes(t);
}

// The code of row r, column c (below 32) in the codes of 32 columns.
PACKED int packed_code(const vl_type t, const uint8_t *codes, int r, int c) {
    const int j = c / 4, byte = 4 * r + c % 4;
    if (packed_bits(t) == 8) return codes[64 * j + byte];
    const int low = codes[64 * (j % 4) + byte];
    int code = j < 4 ? low & 15 : low >> 4;
    if (packed_bits(t) == 5) code |= (codes[256 + byte] >> j & 1) << 4;
    if (packed_bits(t) == 6) code |= (codes[256 + 64 * (j / 4) + byte] >> 2 * (j % 4) & 3) << 4;
    return code;
}

PACKED uint16_t load_half(const uint8_t *p) {
    uint16_t half;
    __builtin_memcpy(&half, p, 2);
    return half;
}

// Scale (of Q6_K without its small scale) and minimum of row r at the 32-column block `block` of a group.
PACKED float packed_scale(const vl_type t, const uint8_t *group, int64_t block, int r) {
    const float d = vl_f32_of_f16(load_half(packed_head(t, group, block) + 2 * r));
    if (t == VL_TYPE_Q4_K || t == VL_TYPE_Q5_K) return d * (float)packed_small(t, group, block)[r];
    return d;
}
PACKED float packed_min(const vl_type t, const uint8_t *group, int64_t block, int r) {
    const float m = vl_f32_of_f16(load_half(packed_head(t, group, block) + 32 + 2 * r));
    if (t == VL_TYPE_Q4_K || t == VL_TYPE_Q5_K) return -(m * (float)packed_small(t, group, block)[16 + r]);
    return m;
}
// Small scale of the 16 columns `half` (0 or 1) of a block; Q6_K only.
PACKED int packed_small_scale(const uint8_t *group, int64_t block, int half, int r) {
    return (int8_t)packed_small(VL_TYPE_Q6_K, group, block)[16 * half + r];
}

// Places in a row of quantized activations.
PACKED const float *q8_scales(const int8_t *row, int64_t depth) { return (const float *)(const void *)(row + depth); }
PACKED const int32_t *q8_sums(const int8_t *row, int64_t depth) {
    return (const int32_t *)(const void *)(row + depth + depth / 8);
}
PACKED const int32_t *q8_half_sums(const int8_t *row, int64_t depth) {
    return (const int32_t *)(const void *)(row + depth + depth / 4);
}

// Values of a row that stand out from it, and would cost their block's other values most of their bits: they are left out of
// the blocks, and kept four columns at a time with a scale of their own.
typedef struct {
    int32_t four;     // which four columns
    int8_t codes[4];  // 0 for those of them that do not stand out
    float scale;
    int32_t sum;  // of the codes
} q8_outlier;

// How many times the mean of the blocks' largest values stands out. On SmolLM2, whose perplexity chose the number, that is
// so of 2 % of all fours.
#define Q8_OUTLIER 1.5f

// Room for them; what stands out beyond stays in its block.
PACKED int64_t q8_outlier_room(int64_t depth) { return depth / 32; }
// Their number, and after 16 bytes themselves, rising by `four`.
PACKED int32_t *q8_outlier_count(const int8_t *row, int64_t depth) {
    return (int32_t *)(void *)(row + depth + depth / 4 + depth / 4);
}
PACKED q8_outlier *q8_outliers(const int8_t *row, int64_t depth) {
    return (q8_outlier *)(void *)(q8_outlier_count(row, depth) + 4);
}

PACKED float q8_top(const float *x, int n) {
    float top = 0.0f;
    for (int i = 0; i < n; i++) {
        const float size = __builtin_fabsf(x[i]);
        if (size > top) top = size;
    }
    return top;
}

// Quantizes 32 values: codes, their scale, their sum and the sums of their halves.
PACKED void vl_q8_block(const float *x, int8_t *codes, float *scale, int32_t *sum, int32_t *halves) {
    const float top = q8_top(x, 32), factor = top > 0.0f ? 127.0f / top : 0.0f;
    *scale = top * (1.0f / 127.0f);
    halves[0] = halves[1] = 0;
    for (int i = 0; i < 32; i++) {
        const float scaled = __builtin_rintf(x[i] * factor);
        // What is no number, or too large for its block's scale to be one, becomes a number all the same.
        const int32_t code = scaled >= -127.0f && scaled <= 127.0f ? (int32_t)scaled : 0;
        codes[i] = (int8_t)code;
        halves[i / 16] += code;
    }
    *sum = halves[0] + halves[1];
}

// From which size on values stand out, of blocks whose largest values are `tops`.
PACKED float q8_limit(const float *tops, int64_t blocks) {
    float total = 0.0f;
    for (int64_t block = 0; block < blocks; block++) total += tops[block];
    return total * (Q8_OUTLIER / (float)blocks);
}

// Puts the values above `limit` of the block with these 32 values among the row's outliers, and zeros in their places.
PACKED void q8_take_outliers(int8_t *row, int64_t depth, float *x, int64_t block, float limit) {
    int32_t *count = q8_outlier_count(row, depth);
    for (int j = 0; j < 8 && *count < q8_outlier_room(depth); j++) {
        const float top = q8_top(x + 4 * j, 4);
        if (!(top > limit)) continue;
        q8_outlier *one = q8_outliers(row, depth) + (*count)++;
        one->four = (int32_t)(8 * block + j);
        one->scale = top * (1.0f / 127.0f);
        one->sum = 0;
        for (int c = 0; c < 4; c++) {
            float *value = x + 4 * j + c;
            one->codes[c] = 0;
            if (!(__builtin_fabsf(*value) > limit)) continue;
            one->codes[c] = (int8_t)__builtin_rintf(*value / top * 127.0f);
            one->sum += one->codes[c];
            *value = 0.0f;
        }
    }
}

// A row of them.
PACKED void vl_q8_row(int8_t *codes, const float *x, int64_t n) {
    float *scales = (float *)(void *)(codes + n);
    int32_t *sums = (int32_t *)(void *)(codes + n + n / 8);
    int32_t *halves = (int32_t *)(void *)(codes + n + n / 4);
    *q8_outlier_count(codes, n) = 0;
    // Where scales go there are the largest values first.
    for (int64_t block = 0; block < n / 32; block++) scales[block] = q8_top(x + 32 * block, 32);
    const float limit = q8_limit(scales, n / 32);
    for (int64_t block = 0; block < n / 32; block++) {
        float rest[32];
        __builtin_memcpy(rest, x + 32 * block, sizeof rest);
        if (scales[block] > limit) q8_take_outliers(codes, n, rest, block, limit);
        vl_q8_block(rest, codes + 32 * block, scales + block, sums + block, halves + 2 * block);
    }
}

#endif
