// Encoding of block formats. Every loop has one order and no fused operation, so that the bytes are the same everywhere.
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "packed.h"

static void store_half(uint8_t *p, uint16_t half) { memcpy(p, &half, 2); }

// What is no number becomes 0, what is infinite becomes large: conversions to integers stay defined.
static float tame(float x) {
    if (x != x) return 0.0f;
    return x > 1e30f ? 1e30f : x < -1e30f ? -1e30f : x;
}

// ---- formats of 32 values: as ggml's reference does it --------------------------------------------------------------

static float extreme(const float *x) {
    float size = 0.0f, value = 0.0f;
    for (int i = 0; i < 32; i++) {
        if (fabsf(x[i]) > size) {
            size = fabsf(x[i]);
            value = x[i];
        }
    }
    return value;
}

static int clip(int x, int most) { return x > most ? most : x; }

// Codes around a zero point, the value of the largest size being the lowest code (4 or 5 bits).
static void encode_symmetric(const float *x, uint8_t *out, int bits) {
    const int zero = 1 << (bits - 1);
    const float d = extreme(x) / (float)-zero;
    const float factor = d != 0.0f ? 1.0f / d : 0.0f;
    uint8_t *qs = out + (bits == 5 ? 6 : 2);
    uint32_t high = 0;
    store_half(out, vl_f16_of(d));
    for (int i = 0; i < 16; i++) {
        const int low = clip((int8_t)(x[i] * factor + ((float)zero + 0.5f)), 2 * zero - 1);
        const int upper = clip((int8_t)(x[i + 16] * factor + ((float)zero + 0.5f)), 2 * zero - 1);
        qs[i] = (uint8_t)((low & 15) | (upper & 15) << 4);
        high |= (uint32_t)(low >> 4 & 1) << i | (uint32_t)(upper >> 4 & 1) << (i + 16);
    }
    if (bits == 5) memcpy(out + 2, &high, 4);
}

// Codes from the smallest value on (4 or 5 bits).
static void encode_from_min(const float *x, uint8_t *out, int bits) {
    const int most = (1 << bits) - 1;
    float low = x[0], high = x[0];
    for (int i = 1; i < 32; i++) {
        if (x[i] < low) low = x[i];
        if (x[i] > high) high = x[i];
    }
    const float d = (high - low) / (float)most;
    const float factor = d != 0.0f ? 1.0f / d : 0.0f;
    uint8_t *qs = out + (bits == 5 ? 8 : 4);
    uint32_t fifth = 0;
    store_half(out, vl_f16_of(d));
    store_half(out + 2, vl_f16_of(low));
    for (int i = 0; i < 16; i++) {
        const int a = clip((int)((x[i] - low) * factor + 0.5f), most);
        const int b = clip((int)((x[i + 16] - low) * factor + 0.5f), most);
        qs[i] = (uint8_t)((a & 15) | (b & 15) << 4);
        fifth |= (uint32_t)(a >> 4) << i | (uint32_t)(b >> 4) << (i + 16);
    }
    if (bits == 5) memcpy(out + 4, &fifth, 4);
}

static void encode_q8_0(const float *x, uint8_t *out) {
    const float d = fabsf(extreme(x)) / 127.0f;
    const float factor = d != 0.0f ? 1.0f / d : 0.0f;
    store_half(out, vl_f16_of(d));
    for (int i = 0; i < 32; i++) out[2 + i] = (uint8_t)(int8_t)roundf(x[i] * factor);
}

// ---- K formats: all sub-blocks of 256 values at once, one a lane ----------------------------------------------------

// Helpers are inlined, so that vectors are never passed between functions, and compiled twice where the loader can choose:
// wider vectors change nothing in the results, as no operation is fused or reordered.
#pragma clang diagnostic ignored "-Wpsabi"
#define LANES8 static inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__linux__)
#define TWICE __attribute__((target_clones("avx2", "default")))
#else
#define TWICE
#endif

typedef float lanes8 __attribute__((vector_size(32), aligned(4)));
typedef int32_t mask8 __attribute__((vector_size(32), aligned(4)));

LANES8 lanes8 choose8(mask8 m, lanes8 a, lanes8 b) { return (lanes8)(((mask8)a & m) | ((mask8)b & ~m)); }
// To the nearest whole number for sizes below 2^22, ties to even.
LANES8 lanes8 near8(lanes8 x) { return (x + 12582912.0f) - 12582912.0f; }
LANES8 lanes8 clamp8(lanes8 x, float low, float high) {
    const lanes8 l = {low, low, low, low, low, low, low, low}, h = {high, high, high, high, high, high, high, high};
    x = choose8(x > l, x, l);
    return choose8(x < h, x, h);
}

// Weight of each value's squared error: its own size and its block's, times its importance.
LANES8 void weigh(const float *x, const float *importance, float *weights) {
    float squares = 0.0f;
    for (int i = 0; i < 256; i++) squares += x[i] * x[i];
    const float all = 2.0f * squares / 256.0f;
    for (int j = 0; j < 8; j++) {
        float own = 0.0f;
        for (int i = 0; i < 32; i++) own += x[32 * j + i] * x[32 * j + i];
        const float size = sqrtf(own / 32.0f);
        for (int i = 0; i < 32; i++) {
            const float v = x[32 * j + i];
            weights[32 * j + i] = importance ? importance[32 * j + i] * sqrtf(all + v * v) : size + fabsf(v);
        }
    }
}

// Scales and minima (value = scale * code - min) of 8 sub-blocks that make the weighted squared error small: for a row
// of first scales the codes are rounded, the best line through them is taken, and the best of all is kept.
//
// `fine` tries twice as many first scales.
LANES8 void fit_minima(const float *x, const float *weights, int most, int fine, float *scales, float *minima) {
    lanes8 v[32], w[32], low = {0}, high = {0}, sum_w = {0}, sum_x = {0};
    for (int i = 0; i < 32; i++) {
        for (int j = 0; j < 8; j++) {
            v[i][j] = x[32 * j + i];
            w[i][j] = weights[32 * j + i];
        }
        low = i == 0 ? v[i] : choose8(v[i] < low, v[i], low);
        high = i == 0 ? v[i] : choose8(v[i] > high, v[i], high);
        sum_w += w[i];
        sum_x += w[i] * v[i];
    }
    const lanes8 zero = {0};
    low = choose8(low > zero, zero, low);
    const mask8 flat = high <= low;
    const lanes8 span = choose8(flat, zero + 1.0f, high - low);
    lanes8 best_scale = choose8(flat, zero, span / (float)most), best_min = -low, best_error = zero + INFINITY;
    const int last = fine ? 40 : 20;
    for (int step = -1; step <= last; step++) {
        // The first try is the plain one; the others begin a little below and end a little above it.
        const float reach = step < 0 ? (float)most : (float)most - 1.0f + (fine ? 0.05f : 0.1f) * (float)step;
        const lanes8 factor = reach / span;
        lanes8 sum_l = zero, sum_ll = zero, sum_xl = zero, codes[32];
        for (int i = 0; i < 32; i++) {
            const lanes8 l = clamp8(near8(factor * (v[i] - low)), 0.0f, (float)most);
            codes[i] = l;
            sum_l += w[i] * l;
            sum_ll += w[i] * l * l;
            sum_xl += w[i] * l * v[i];
        }
        const lanes8 determinant = sum_w * sum_ll - sum_l * sum_l;
        const mask8 solvable = determinant > zero;
        const lanes8 divisor = choose8(solvable, determinant, zero + 1.0f);
        lanes8 scale = (sum_w * sum_xl - sum_x * sum_l) / divisor;
        lanes8 shift = (sum_ll * sum_x - sum_l * sum_xl) / divisor;
        // A minimum above 0 cannot be stored: the line then goes through 0.
        const mask8 above = shift > zero;
        shift = choose8(above, zero, shift);
        scale = choose8(above, sum_xl / choose8(sum_ll > zero, sum_ll, zero + 1.0f), scale);
        lanes8 error = zero;
        for (int i = 0; i < 32; i++) {
            const lanes8 miss = scale * codes[i] + shift - v[i];
            error += w[i] * miss * miss;
        }
        const mask8 better = (error < best_error) & solvable;
        best_error = choose8(better, error, best_error);
        best_scale = choose8(better, scale, best_scale);
        best_min = choose8(better, -shift, best_min);
    }
    best_scale = choose8(best_scale > zero, best_scale, zero);
    best_min = choose8(best_min > zero, best_min, zero);
    memcpy(scales, &best_scale, 32);
    memcpy(minima, &best_min, 32);
}

// The weighted squared error of a sub-block with given scale and minimum, its values rounded as they will be.
LANES8 float error_of(const float *x, const float *w, float scale, float min, int most) {
    const float factor = scale > 0.0f ? 1.0f / scale : 0.0f;
    lanes8 total = {0};
    for (int i = 0; i < 32; i += 8) {
        lanes8 v, weight;
        memcpy(&v, x + i, 32);
        memcpy(&weight, w + i, 32);
        const lanes8 miss = scale * clamp8(near8((v + min) * factor), 0.0f, (float)most) - min - v;
        total += weight * miss * miss;
    }
    return ((total[0] + total[1]) + (total[2] + total[3])) + ((total[4] + total[5]) + (total[6] + total[7]));
}

static int near(float x, int most) {
    const float n = rintf(x);
    // What is no number is none of both.
    return n > 0.0f ? (n > (float)most ? most : (int)n) : 0;
}

// Q4_K and Q5_K: 8 sub-blocks of 32 with 6-bit scales and minima.
TWICE static void encode_with_minima(const float *x, const float *importance, uint8_t *out, int bits) {
    const int most = (1 << bits) - 1;
    float weights[256], scales[8], minima[8];
    weigh(x, importance, weights);
    fit_minima(x, weights, most, importance != 0, scales, minima);
    float top_scale = 0.0f, top_min = 0.0f;
    for (int j = 0; j < 8; j++) {
        if (scales[j] > top_scale) top_scale = scales[j];
        if (minima[j] > top_min) top_min = minima[j];
    }
    const uint16_t half_d = vl_f16_of(top_scale / 63.0f), half_m = vl_f16_of(top_min / 63.0f);
    const float d = vl_f32_of_f16(half_d), m = vl_f32_of_f16(half_m);
    store_half(out, half_d);
    store_half(out + 2, half_m);
    uint8_t *packed = out + 4, *qs = out + (bits == 5 ? 48 : 16), *qh = out + 16;
    memset(packed, 0, 12);
    if (bits == 5) memset(qh, 0, 32);
    for (int j = 0; j < 8; j++) {
        const float *sub = x + 32 * j, *w = weights + 32 * j;
        const int s0 = d > 0.0f ? near(scales[j] / d, 63) : 0, m0 = m > 0.0f ? near(minima[j] / m, 63) : 0;
        // Rounding moved the scale; a neighbour may fit better together with a neighbour of the minimum.
        int scale = s0, min = m0;
        float least = INFINITY;
        for (int s = s0 > 0 ? s0 - 1 : 0; s <= s0 + 1 && s <= 63; s++) {
            for (int n = m0 > 0 ? m0 - 1 : 0; n <= m0 + 1 && n <= 63; n++) {
                const float error = error_of(sub, w, d * (float)s, m * (float)n, most);
                if (error < least) {
                    least = error;
                    scale = s;
                    min = n;
                }
            }
        }
        if (j < 4) {
            packed[j] |= (uint8_t)scale;
            packed[j + 4] |= (uint8_t)min;
        } else {
            packed[j + 4] = (uint8_t)((scale & 15) | (min & 15) << 4);
            packed[j - 4] |= (uint8_t)(scale >> 4 << 6);
            packed[j] |= (uint8_t)(min >> 4 << 6);
        }
        const float ds = d * (float)scale, dm = m * (float)min, factor = ds > 0.0f ? 1.0f / ds : 0.0f;
        uint8_t *q = qs + j / 2 * 32;
        for (int i = 0; i < 32; i++) {
            const int code = near((sub[i] + dm) * factor, most);
            q[i] = (uint8_t)(j % 2 ? q[i] | (code & 15) << 4 : code & 15);
            if (bits == 5) qh[i] |= (uint8_t)(code >> 4 << j);
        }
    }
}

// The scale (value = scale * code, code from -32 to 31) of 16 values that makes the weighted squared error small.
LANES8 float fit_symmetric(const float *x, const float *w) {
    float size = 0.0f, value = 0.0f;
    for (int i = 0; i < 16; i++) {
        if (fabsf(x[i]) > size) {
            size = fabsf(x[i]);
            value = x[i];
        }
    }
    if (size < 1e-30f) return 0.0f;
    float best = 0.0f, gain = -1.0f;
    for (int step = -9; step <= 9; step++) {
        const float factor = -(32.0f + 0.1f * (float)step) / value;
        lanes8 sum_xl = {0}, sum_ll = {0};
        for (int i = 0; i < 16; i += 8) {
            lanes8 v, weight;
            memcpy(&v, x + i, 32);
            memcpy(&weight, w + i, 32);
            const lanes8 l = clamp8(near8(v * factor), -32.0f, 31.0f);
            sum_xl += weight * v * l;
            sum_ll += weight * l * l;
        }
        float xl = 0.0f, ll = 0.0f;
        for (int i = 0; i < 8; i++) {
            xl += sum_xl[i];
            ll += sum_ll[i];
        }
        if (ll > 0.0f && xl * xl > gain * ll) {
            gain = xl * xl / ll;
            best = xl / ll;
        }
    }
    return best;
}

TWICE static void encode_q6_k(const float *x, const float *importance, uint8_t *out) {
    float weights[256], scales[16], top = 0.0f;
    for (int i = 0; i < 256; i++) weights[i] = importance ? importance[i] : x[i] * x[i];
    for (int j = 0; j < 16; j++) {
        scales[j] = fit_symmetric(x + 16 * j, weights + 16 * j);
        if (fabsf(scales[j]) > fabsf(top)) top = scales[j];
    }
    memset(out, 0, 210);
    if (fabsf(top) < 1e-30f) return;
    // The largest scale becomes -128, as its sign allows one step more.
    const uint16_t half = vl_f16_of(top / -128.0f);
    const float d = vl_f32_of_f16(half);
    store_half(out + 208, half);
    for (int j = 0; j < 16; j++) {
        const float n = d != 0.0f ? rintf(scales[j] / d) : 0.0f;
        const int scale = n > 127.0f ? 127 : n < -128.0f ? -128 : (int)n;
        out[192 + j] = (uint8_t)(int8_t)scale;
        const float ds = d * (float)scale, factor = ds != 0.0f ? 1.0f / ds : 0.0f;
        for (int i = 0; i < 16; i++) {
            const int place = 16 * j + i, n128 = place / 128, q = place % 128 / 32, l = place % 32;
            const float code = rintf(x[place] * factor);
            const int c = (code > 31.0f ? 31 : code < -32.0f ? -32 : (int)code) + 32;
            uint8_t *low = out + 64 * n128 + 32 * (q % 2) + l, *high = out + 128 + 32 * n128 + l;
            *low |= (uint8_t)(q < 2 ? c & 15 : (c & 15) << 4);
            *high |= (uint8_t)(c >> 4 << 2 * q);
        }
    }
}

// ---- formats of 32 values with columns that matter more than others -------------------------------------------------

// What a factor (code = factor * value) takes from the weighted squared error if the best scale follows, and that scale.
LANES8 float gain_of(const float *x, const float *w, float factor, int zero, float *scale) {
    lanes8 sum_xl = {0}, sum_ll = {0};
    for (int i = 0; i < 32; i += 8) {
        lanes8 v, weight;
        memcpy(&v, x + i, 32);
        memcpy(&weight, w + i, 32);
        const lanes8 l = clamp8(near8(v * factor), (float)-zero, (float)(zero - 1));
        sum_xl += weight * v * l;
        sum_ll += weight * l * l;
    }
    float xl = 0.0f, ll = 0.0f;
    for (int i = 0; i < 8; i++) {
        xl += sum_xl[i];
        ll += sum_ll[i];
    }
    *scale = ll > 0.0f ? xl / ll : 0.0f;
    return ll > 0.0f ? xl * xl / ll : -1.0f;
}

// Codes around a zero point whose scale makes the weighted squared error small: the largest value lies at or near the
// lowest code, or near the highest one, and the best of all tries is then fitted until nothing changes.
TWICE static void encode_symmetric_weighted(const float *x, const float *w, uint8_t *out, int bits) {
    const int zero = 1 << (bits - 1);
    const float value = extreme(x);
    float best = 0.0f, most = -1.0f, scale = 0.0f;
    for (int side = -1; side <= 1 && fabsf(value) > 1e-30f; side += 2) {
        for (int step = -18; step <= 18; step++) {
            const float reach = (float)(side < 0 ? zero : zero - 1) + 0.05f * (float)step;
            const float gain = gain_of(x, w, (float)side * reach / value, zero, &scale);
            if (gain > most) {
                most = gain;
                best = scale;
            }
        }
    }
    // Columns that nothing met say nothing.
    if (best == 0.0f) return encode_symmetric(x, out, bits);
    for (int round = 0; round < 4; round++) {
        const float gain = gain_of(x, w, 1.0f / best, zero, &scale);
        if (gain <= most) break;
        most = gain;
        best = scale;
    }
    const uint16_t half = vl_f16_of(best);
    const float d = vl_f32_of_f16(half), factor = d != 0.0f ? 1.0f / d : 0.0f;
    uint8_t *qs = out + (bits == 5 ? 6 : 2);
    uint32_t high = 0;
    store_half(out, half);
    for (int i = 0; i < 32; i++) {
        const float code = rintf(x[i] * factor);
        const int c = (code > (float)(zero - 1) ? zero - 1 : code < (float)-zero ? -zero : (int)code) + zero;
        qs[i % 16] = (uint8_t)(i < 16 ? c & 15 : qs[i % 16] | (c & 15) << 4);
        high |= (uint32_t)(c >> 4 & 1) << i;
    }
    if (bits == 5) memcpy(out + 2, &high, 4);
}

// Up to 8 blocks of codes from a smallest value on, all at once.
TWICE static void encode_from_min_weighted(const float *x, const float *w, uint8_t *out, int bits, int blocks) {
    const int most = (1 << bits) - 1;
    float values[256] = {0}, weights[256] = {0}, scales[8], minima[8];
    memcpy(values, x, sizeof(float) * 32 * (size_t)blocks);
    memcpy(weights, w, sizeof(float) * 32 * (size_t)blocks);
    fit_minima(values, weights, most, 1, scales, minima);
    for (int j = 0; j < blocks; j++) {
        const uint16_t half_d = vl_f16_of(scales[j]), half_m = vl_f16_of(-minima[j]);
        const float d = vl_f32_of_f16(half_d), m = vl_f32_of_f16(half_m), factor = d > 0.0f ? 1.0f / d : 0.0f;
        uint8_t *block = out + j * (bits == 5 ? 24 : 20), *qs = block + (bits == 5 ? 8 : 4);
        uint32_t fifth = 0;
        store_half(block, half_d);
        store_half(block + 2, half_m);
        for (int i = 0; i < 32; i++) {
            const int c = near((values[32 * j + i] - m) * factor, most);
            qs[i % 16] = (uint8_t)(i < 16 ? c & 15 : qs[i % 16] | (c & 15) << 4);
            fifth |= (uint32_t)(c >> 4) << i;
        }
        if (bits == 5) memcpy(block + 4, &fifth, 4);
    }
}

// A row of Q4_0, Q4_1, Q5_0 or Q5_1. A column's importance is the mean square of what it meets, so that its sum over squared
// errors is the mean squared error of the product if columns do not depend on each other.
static void encode_row_weighted(vl_type type, const float *source, const float *importance, uint8_t *out, int64_t n) {
    const int64_t bytes = vl_block_bytes(type);
    for (int64_t first = 0; first < n; first += 256) {
        const int blocks = (int)((n - first < 256 ? n - first : 256) / 32);
        float x[256];
        for (int i = 0; i < 32 * blocks; i++) x[i] = tame(source[first + i]);
        const float *w = importance + first;
        uint8_t *place = out + first / 32 * bytes;
        const int bits = type == VL_TYPE_Q4_0 || type == VL_TYPE_Q4_1 ? 4 : 5;
        if (type == VL_TYPE_Q4_1 || type == VL_TYPE_Q5_1) {
            encode_from_min_weighted(x, w, place, bits, blocks);
        } else {
            for (int j = 0; j < blocks; j++) encode_symmetric_weighted(x + 32 * j, w + 32 * j, place + j * bytes, bits);
        }
    }
}

static int is_weighted_row(vl_type type) {
    return type == VL_TYPE_Q4_0 || type == VL_TYPE_Q4_1 || type == VL_TYPE_Q5_0 || type == VL_TYPE_Q5_1;
}

void vl_encode(vl_type type, const float *values, const float *importance, void *blocks, int64_t n) {
    if (importance && is_weighted_row(type)) return encode_row_weighted(type, values, importance, blocks, n);
    const int64_t length = vl_block_length(type), bytes = vl_block_bytes(type);
    for (int64_t block = 0; block < n / length; block++) {
        uint8_t *out = (uint8_t *)blocks + block * bytes;
        const float *source = values + block * length;
        const float *weights = importance ? importance + block * length : 0;
        float x[256];
        if (length > 1) {
            for (int64_t i = 0; i < length; i++) x[i] = tame(source[i]);
        }
        switch (type) {
            case VL_TYPE_F32: memcpy(out, source, 4); break;
            case VL_TYPE_BF16: store_half(out, vl_bf16_of(*source)); break;
            case VL_TYPE_F16: store_half(out, vl_f16_of(*source)); break;
            case VL_TYPE_Q8_0: encode_q8_0(x, out); break;
            case VL_TYPE_Q4_0: encode_symmetric(x, out, 4); break;
            case VL_TYPE_Q5_0: encode_symmetric(x, out, 5); break;
            case VL_TYPE_Q4_1: encode_from_min(x, out, 4); break;
            case VL_TYPE_Q5_1: encode_from_min(x, out, 5); break;
            case VL_TYPE_Q4_K: encode_with_minima(x, weights, out, 4); break;
            case VL_TYPE_Q5_K: encode_with_minima(x, weights, out, 5); break;
            case VL_TYPE_Q6_K: encode_q6_k(x, weights, out); break;
        }
    }
}
