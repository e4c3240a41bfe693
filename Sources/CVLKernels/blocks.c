// Block formats as values: sizes, decoding, packing. Plain loops; the fast forms are the product kernels.
#include <stddef.h>

#include "packed.h"

// The stored blocks, as the GGUF format defines them (ggml-common.h): little-endian, without padding.
typedef struct {
    uint16_t d;
    uint8_t qs[16];
} block_q4_0;
typedef struct {
    uint16_t d, m;
    uint8_t qs[16];
} block_q4_1;
typedef struct {
    uint16_t d;
    uint8_t qh[4], qs[16];
} block_q5_0;
typedef struct {
    uint16_t d, m;
    uint8_t qh[4], qs[16];
} block_q5_1;
typedef struct {
    uint16_t d;
    int8_t qs[32];
} block_q8_0;
typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12], qs[128];
} block_q4_k;
typedef struct {
    uint16_t d, dmin;
    uint8_t scales[12], qh[32], qs[128];
} block_q5_k;
typedef struct {
    uint8_t ql[128], qh[64];
    int8_t scales[16];
    uint8_t d[2];
} block_q6_k;
_Static_assert(sizeof(block_q4_0) == 18 && sizeof(block_q4_1) == 20, "4-bit blocks");
_Static_assert(sizeof(block_q5_0) == 22 && sizeof(block_q5_1) == 24, "5-bit blocks");
_Static_assert(sizeof(block_q8_0) == 34, "8-bit blocks");
_Static_assert(sizeof(block_q4_k) == 144 && sizeof(block_q5_k) == 176 && sizeof(block_q6_k) == 210, "K blocks");

int64_t vl_block_length(vl_type type) {
    switch (type) {
        case VL_TYPE_F32:
        case VL_TYPE_BF16:
        case VL_TYPE_F16: return 1;
        case VL_TYPE_Q4_K:
        case VL_TYPE_Q5_K:
        case VL_TYPE_Q6_K: return 256;
        default: return 32;
    }
}

int64_t vl_block_bytes(vl_type type) {
    switch (type) {
        case VL_TYPE_F32: return 4;
        case VL_TYPE_BF16:
        case VL_TYPE_F16: return 2;
        case VL_TYPE_Q8_0: return sizeof(block_q8_0);
        case VL_TYPE_Q4_0: return sizeof(block_q4_0);
        case VL_TYPE_Q4_1: return sizeof(block_q4_1);
        case VL_TYPE_Q5_0: return sizeof(block_q5_0);
        case VL_TYPE_Q5_1: return sizeof(block_q5_1);
        case VL_TYPE_Q4_K: return sizeof(block_q4_k);
        case VL_TYPE_Q5_K: return sizeof(block_q5_k);
        case VL_TYPE_Q6_K: return sizeof(block_q6_k);
    }
    return 0;
}

// The 6-bit scale and minimum of sub-block j in the 12 bytes of a Q4_K or Q5_K block.
static void small_scale(const uint8_t *q, int j, uint8_t *scale, uint8_t *min) {
    if (j < 4) {
        *scale = q[j] & 63;
        *min = q[j + 4] & 63;
    } else {
        *scale = (uint8_t)((q[j + 4] & 15) | (q[j - 4] >> 6) << 4);
        *min = (uint8_t)((q[j + 4] >> 4) | (q[j] >> 6) << 4);
    }
}

static void nibbles(const uint8_t *qs, uint8_t *codes) {
    for (int i = 0; i < 16; i++) {
        codes[i] = qs[i] & 15;
        codes[i + 16] = qs[i] >> 4;
    }
}

static void fifth_bits(const uint8_t *qh, uint8_t *codes) {
    uint32_t bits;
    __builtin_memcpy(&bits, qh, 4);
    for (int i = 0; i < 32; i++) codes[i] |= (uint8_t)((bits >> i & 1) << 4);
}

// One block of 32 values as it goes into the packed form: codes, and what scales them.
typedef struct {
    uint8_t codes[32];
    uint16_t d, m;       // halves
    uint8_t scale, min;  // Q4_K, Q5_K
    int8_t scales[2];    // Q6_K
} piece;

// The block of 32 columns `block` of a stored row.
PACKED void take(const vl_type type, const uint8_t *row, int64_t block, piece *out) {
    switch (type) {
        case VL_TYPE_Q4_0: {
            const block_q4_0 *b = (const block_q4_0 *)(const void *)row + block;
            nibbles(b->qs, out->codes);
            out->d = b->d;
            break;
        }
        case VL_TYPE_Q4_1: {
            const block_q4_1 *b = (const block_q4_1 *)(const void *)row + block;
            nibbles(b->qs, out->codes);
            out->d = b->d;
            out->m = b->m;
            break;
        }
        case VL_TYPE_Q5_0: {
            const block_q5_0 *b = (const block_q5_0 *)(const void *)row + block;
            nibbles(b->qs, out->codes);
            fifth_bits(b->qh, out->codes);
            out->d = b->d;
            break;
        }
        case VL_TYPE_Q5_1: {
            const block_q5_1 *b = (const block_q5_1 *)(const void *)row + block;
            nibbles(b->qs, out->codes);
            fifth_bits(b->qh, out->codes);
            out->d = b->d;
            out->m = b->m;
            break;
        }
        case VL_TYPE_Q8_0: {
            const block_q8_0 *b = (const block_q8_0 *)(const void *)row + block;
            for (int i = 0; i < 32; i++) out->codes[i] = (uint8_t)(b->qs[i] + 128);
            out->d = b->d;
            break;
        }
        case VL_TYPE_Q4_K:
        case VL_TYPE_Q5_K: {
            const int is5 = type == VL_TYPE_Q5_K, j = (int)(block % 8);
            const uint8_t *b = row + block / 8 * (is5 ? (int64_t)sizeof(block_q5_k) : (int64_t)sizeof(block_q4_k));
            const uint8_t *qs = b + (is5 ? 48 : 16) + j / 2 * 32;
            for (int i = 0; i < 32; i++) {
                out->codes[i] = j % 2 ? qs[i] >> 4 : qs[i] & 15;
                if (is5) out->codes[i] |= (uint8_t)((b[16 + i] >> j & 1) << 4);
            }
            out->d = load_half(b);
            out->m = load_half(b + 2);
            small_scale(b + 4, j, &out->scale, &out->min);
            break;
        }
        default: {
            const block_q6_k *b = (const block_q6_k *)(const void *)row + block / 8;
            const int j = (int)(block % 8), n = j / 4, q = j % 4;
            for (int i = 0; i < 32; i++) {
                const uint8_t low = b->ql[64 * n + 32 * (q % 2) + i];
                const uint8_t high = (uint8_t)(b->qh[32 * n + i] >> 2 * q & 3);
                out->codes[i] = (uint8_t)((q < 2 ? low & 15 : low >> 4) | high << 4);
            }
            out->scales[0] = b->scales[8 * n + 2 * q];
            out->scales[1] = b->scales[8 * n + 2 * q + 1];
            out->d = load_half(b->d);
            break;
        }
    }
}

static void values_of(vl_type type, const piece *p, float *values) {
    const float d = vl_f32_of_f16(p->d), m = vl_f32_of_f16(p->m);
    const int zero = packed_zero(type);
    for (int i = 0; i < 32; i++) {
        const float code = (float)(p->codes[i] - zero);
        switch (type) {
            case VL_TYPE_Q4_1:
            case VL_TYPE_Q5_1: values[i] = d * code + m; break;
            case VL_TYPE_Q4_K:
            case VL_TYPE_Q5_K: values[i] = d * (float)p->scale * code - m * (float)p->min; break;
            case VL_TYPE_Q6_K: values[i] = d * (float)p->scales[i / 16] * code; break;
            default: values[i] = d * code; break;
        }
    }
}

void vl_decode(vl_type type, const void *blocks, float *values, int64_t n) {
    piece p = {{0}, 0, 0, 0, 0, {0, 0}};
    switch (type) {
        case VL_TYPE_F32: __builtin_memcpy(values, blocks, (size_t)n * 4); return;
        case VL_TYPE_BF16:
            for (int64_t i = 0; i < n; i++) values[i] = vl_f32_of_bf16(load_half((const uint8_t *)blocks + 2 * i));
            return;
        case VL_TYPE_F16:
            for (int64_t i = 0; i < n; i++) values[i] = vl_f32_of_f16(load_half((const uint8_t *)blocks + 2 * i));
            return;
        default: break;
    }
#define DECODE(NAME, TYPE)                                                                                             \
    case TYPE:                                                                                                         \
        for (int64_t i = 0; i < n / 32; i++) {                                                                         \
            take(TYPE, (const uint8_t *)blocks, i, &p);                                                                \
            values_of(TYPE, &p, values + 32 * i);                                                                      \
        }                                                                                                              \
        return;
    switch (type) {
        VL_BLOCK_TYPES(DECODE)
        default: return;
    }
}

int64_t vl_packed_group_bytes(vl_type type, int64_t depth) { return packed_group(type, depth); }

// Lays one row's block into its group.
PACKED void put(const vl_type type, const piece *p, uint8_t *group, int64_t block, int r) {
    uint8_t *head = group + (packed_head(type, group, block) - group);
    uint8_t *small = group + (packed_small(type, group, block) - group);
    uint8_t *codes = small + packed_small_bytes(type);
    for (int j = 0; j < 8; j++) {
        for (int c = 0; c < 4; c++) {
            const uint8_t code = p->codes[4 * j + c];
            const int byte = 4 * r + c;
            if (packed_bits(type) == 8) {
                codes[64 * j + byte] = code;
                continue;
            }
            uint8_t *low = codes + 64 * (j % 4) + byte;
            *low = (uint8_t)(j < 4 ? code & 15 : *low | code << 4);
            if (packed_bits(type) == 5) {
                uint8_t *high = codes + 256 + byte;
                *high = (uint8_t)((j == 0 ? 0 : *high) | (code >> 4) << j);
            }
            if (packed_bits(type) == 6) {
                uint8_t *high = codes + 256 + 64 * (j / 4) + byte;
                *high = (uint8_t)((j % 4 == 0 ? 0 : *high) | (code >> 4) << 2 * (j % 4));
            }
        }
    }
    __builtin_memcpy(head + 2 * r, &p->d, 2);
    if (packed_has_min(type)) __builtin_memcpy(head + 32 + 2 * r, &p->m, 2);
    if (type == VL_TYPE_Q4_K || type == VL_TYPE_Q5_K) {
        small[r] = p->scale;
        small[16 + r] = p->min;
    }
    if (type == VL_TYPE_Q6_K) {
        small[r] = (uint8_t)p->scales[0];
        small[16 + r] = (uint8_t)p->scales[1];
    }
}

PACKED void pack(const vl_type type, const uint8_t *stored, int64_t rows, int64_t depth, int64_t group, uint8_t *out) {
    const int64_t row_bytes = depth / vl_block_length(type) * vl_block_bytes(type);
    for (int64_t block = 0; block < depth / 32; block++) {
        for (int r = 0; r < VL_GROUP_ROWS; r++) {
            const int64_t row = group * VL_GROUP_ROWS + r;
            piece p = {{0}, 0, 0, 0, 0, {0, 0}};
            // A row that does not exist has scale 0, whatever its codes are.
            if (row < rows) take(type, stored + row * row_bytes, block, &p);
            put(type, &p, out, block, r);
        }
    }
}

void vl_pack_group(vl_type type, const void *stored, int64_t rows, int64_t depth, int64_t group, void *packed) {
#define PACK(NAME, TYPE)                                                                                               \
    case TYPE: pack(TYPE, (const uint8_t *)stored, rows, depth, group, (uint8_t *)packed); return;
    switch (type) {
        VL_BLOCK_TYPES(PACK)
        default: return;
    }
}

// The value of row r, column c (below 32) of a block.
PACKED float packed_value(const vl_type t, const uint8_t *group, int64_t block, int r, int c) {
    const float code = (float)(packed_code(t, packed_codes(t, group, block), r, c) - packed_zero(t));
    const float scale = packed_scale(t, group, block, r);
    if (t == VL_TYPE_Q6_K) return scale * (float)packed_small_scale(group, block, c / 16, r) * code;
    return packed_has_min(t) ? scale * code + packed_min(t, group, block, r) : scale * code;
}

void vl_packed_row(vl_type type, const void *packed, int64_t depth, int64_t row, float *values) {
    const int r = (int)(row % VL_GROUP_ROWS);
#define ROW(NAME, TYPE)                                                                                                \
    case TYPE: {                                                                                                       \
        const uint8_t *group = (const uint8_t *)packed + row / VL_GROUP_ROWS * packed_group(TYPE, depth);              \
        for (int64_t k = 0; k < depth; k++) values[k] = packed_value(TYPE, group, k / 32, r, (int)(k % 32));           \
        return;                                                                                                        \
    }
    switch (type) {
        VL_BLOCK_TYPES(ROW)
        default: return;
    }
}

void vl_packed_columns(vl_type type, const void *group, int64_t first, int64_t n, float *values) {
#define COLUMNS(NAME, TYPE)                                                                                            \
    case TYPE:                                                                                                         \
        for (int64_t k = first; k < first + n; k++) {                                                                  \
            for (int r = 0; r < VL_GROUP_ROWS; r++)                                                                    \
                *values++ = packed_value(TYPE, (const uint8_t *)group, k / 32, r, (int)(k % 32));                      \
        }                                                                                                              \
        return;
    switch (type) {
        VL_BLOCK_TYPES(COLUMNS)
        default: return;
    }
}

int64_t vl_q8_row_bytes(int64_t depth) {
    return depth + depth / 4 + depth / 4 + 16 + q8_outlier_room(depth) * (int64_t)sizeof(q8_outlier);
}

int64_t vl_q8_used_bytes(const void *row, int64_t depth) {
    const int32_t count = *q8_outlier_count((const int8_t *)row, depth);
    return vl_q8_row_bytes(depth) - (q8_outlier_room(depth) - count) * (int64_t)sizeof(q8_outlier);
}

vl_product_fn vl_product_q8(const vl_kernels *kernels, vl_type type) {
#define Q8(NAME, TYPE)                                                                                                 \
    case TYPE: return kernels->nt_q8_##NAME;
    switch (type) {
        VL_BLOCK_TYPES(Q8)
        default: return 0;
    }
}

vl_product_fn vl_product_f32(const vl_kernels *kernels, vl_type type) {
#define F32(NAME, TYPE)                                                                                                \
    case TYPE: return kernels->nt_f32_##NAME;
    switch (type) {
        VL_BLOCK_TYPES(F32)
        default: return 0;
    }
}
