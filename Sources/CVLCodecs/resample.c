// The inner loops of Pillow's resampling for 8-bit channels; the weights are made in Swift.
#include "vl_codecs.h"

enum { PRECISION = 32 - 8 - 2 };

static inline uint8_t clip(int32_t sum) {
    const int32_t value = sum >> PRECISION;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

void vl_resample_rows(uint8_t *out, const uint8_t *in, int64_t rows, int64_t out_width, int64_t in_stride,
                      const int32_t *starts, const int32_t *counts, const int32_t *weights, int64_t weight_stride) {
    for (int64_t row = 0; row < rows; row++) {
        const uint8_t *line = in + row * in_stride;
        for (int64_t x = 0; x < out_width; x++) {
            const uint8_t *p = line + (int64_t)starts[x] * 3;
            const int32_t *w = weights + x * weight_stride;
            int32_t r = 1 << (PRECISION - 1), g = r, b = r;
            for (int32_t i = 0; i < counts[x]; i++) {
                r += p[3 * i] * w[i];
                g += p[3 * i + 1] * w[i];
                b += p[3 * i + 2] * w[i];
            }
            out[0] = clip(r);
            out[1] = clip(g);
            out[2] = clip(b);
            out += 3;
        }
    }
}

void vl_resample_column(uint8_t *out, const uint8_t *in, int64_t bytes, int64_t in_stride, int32_t count,
                        const int32_t *weights, int32_t *sums) {
    for (int64_t x = 0; x < bytes; x++) sums[x] = 1 << (PRECISION - 1);
    for (int32_t i = 0; i < count; i++) {
        const uint8_t *line = in + i * in_stride;
        const int32_t weight = weights[i];
        for (int64_t x = 0; x < bytes; x++) sums[x] += line[x] * weight;
    }
    for (int64_t x = 0; x < bytes; x++) out[x] = clip(sums[x]);
}
