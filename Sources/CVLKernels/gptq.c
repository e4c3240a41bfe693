#include "vl_gptq.h"

#include <math.h>

#include "vl_scalars.h"

static inline float half_of(float x) { return vl_f32_of_f16(vl_f16_of(x)); }

static inline float inverse(float scale) { return scale == 0 ? 0 : 1 / scale; }

/// The code nearest to a value given as (x - offset) / scale.
static inline float nearest(float place) {
    const float bounded = place < 0 ? 0 : place > 15 ? 15 : place;
    return (float)(int32_t)(bounded + 0.5f);
}

uint8_t vl_gptq_code(vl_gptq_grid grid, float x) {
    if (grid.scale == 0) return grid.offset == 0 ? 8 : 0;
    return (uint8_t)nearest((x - grid.offset) * inverse(grid.scale));
}

static float grid_error(vl_gptq_grid grid, const float *x, const float *_Nullable weights, int64_t n) {
    const float to_code = inverse(grid.scale);
    // Eight sums, so that the compiler may use vectors without changing the order that is written here.
    float sums[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int64_t lane = 0; lane < 8; lane++) {
            const float value = x[i + lane];
            const float code = nearest((value - grid.offset) * to_code);
            const float error = grid.scale * code + grid.offset - value;
            sums[lane] += (weights ? weights[i + lane] : 1.0f) * error * error;
        }
    }
    float sum = 0;
    for (int64_t lane = 0; lane < 8; lane++) sum += sums[lane];
    for (; i < n; i++) {
        const float code = nearest((x[i] - grid.offset) * to_code);
        const float error = grid.scale * code + grid.offset - x[i];
        sum += (weights ? weights[i] : 1.0f) * error * error;
    }
    return sum;
}

/// Factors of the covering scale that are tried: from 1.10 down by 0.025.
enum { TRIED_SCALES = 27 };
static const float first_factor = 1.10f;
static const float factor_step = 0.025f;

typedef struct {
    vl_gptq_grid grid;
    float error;
} candidate;

static void try_grid(candidate *best, vl_gptq_grid grid, const float *x, const float *_Nullable weights, int64_t n) {
    if (grid.scale == 0 || !isfinite(grid.scale) || !isfinite(grid.offset)) return;
    const float error = grid_error(grid, x, weights, n);
    if (error < best->error) {
        best->error = error;
        best->grid = grid;
    }
}

vl_gptq_grid vl_gptq_search(vl_gptq_form form, const float *x, const float *_Nullable weights, int64_t n,
                            float *_Nullable error) {
    float low = 0, high = 0;
    if (form == VL_GPTQ_MINIMUM && n > 0) low = high = x[0];
    for (int64_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    candidate best = {{0, form == VL_GPTQ_MINIMUM ? half_of(low) : 0}, INFINITY};
    best.error = grid_error(best.grid, x, weights, n);
    const float span = (high - low) / (VL_GPTQ_LEVELS - 1);
    const float top = high > -low ? high : low;
    for (int32_t step = 0; step < TRIED_SCALES; step++) {
        const float factor = first_factor - factor_step * (float)step;
        switch (form) {
            case VL_GPTQ_SYMMETRIC: {
                // Codes reach 8 steps down and 7 up, so each sign is worth a try.
                const float scale = half_of(top / -8 * factor);
                try_grid(&best, (vl_gptq_grid){scale, -8 * scale}, x, weights, n);
                const float other = half_of(top / 7 * factor);
                try_grid(&best, (vl_gptq_grid){other, -8 * other}, x, weights, n);
                break;
            }
            case VL_GPTQ_ZERO: {
                const float scale = half_of(span * factor);
                const float middle = 7.5f - (low + high) / 2 * inverse(scale);
                for (int32_t turn = 0; turn < 2; turn++) {
                    const float zero = nearest(floorf(middle) + (float)turn);
                    try_grid(&best, (vl_gptq_grid){scale, -zero * scale}, x, weights, n);
                }
                break;
            }
            case VL_GPTQ_MINIMUM: {
                const float scale = half_of(span * factor);
                const float offset = half_of((low + high) / 2 - 7.5f * scale);
                try_grid(&best, (vl_gptq_grid){scale, offset}, x, weights, n);
                break;
            }
        }
    }
    if (error) *error = best.error;
    return best.grid;
}

/// Adds to values [from, count) what an error of column k makes of them.
static inline void feed(const vl_gptq_block *block, int64_t k, float error, float *values, int64_t to) {
    const float *factors = block->feedback + k * block->count;
    for (int64_t j = k + 1; j < to; j++) values[j] += error * factors[j];
}

double vl_gptq_round(const vl_gptq_block *block, const float *weights, const float *fed, float *errors, uint8_t *codes,
                     vl_gptq_grid *grids, float *scratch) {
    const int64_t count = block->count;
    float *values = scratch;
    float *unrounded = scratch + count;
    for (int64_t k = 0; k < count; k++) values[k] = weights[k] + fed[k];
    double loss = 0;
    vl_gptq_grid grid = {0, 0};
    for (int64_t k = 0; k < count; k++) {
        if (block->group > 0) {
            const int64_t column = block->first + k;
            if (column % block->group == 0 || k == 0) {
                const int64_t left = block->group - column % block->group;
                const int64_t end = k + left < count ? k + left : count;
                // The group's values as they would be if none of them were rounded: errors so far, made good for.
                for (int64_t j = k; j < end; j++) unrounded[j] = values[j];
                for (int64_t j = k; j < end; j++) feed(block, j, weights[j] - unrounded[j], unrounded, end);
                grid = vl_gptq_search(block->form, unrounded + k, block->curvature + k, end - k, 0);
                grids[column / block->group] = grid;
            }
        } else {
            grid = grids[block->groups[k]];
        }
        const uint8_t code = vl_gptq_code(grid, values[k]);
        const float rounded = grid.scale * (float)code + grid.offset;
        const float missed = values[k] - rounded;
        codes[k] = code;
        errors[k] = weights[k] - rounded;
        loss += (double)block->curvature[k] * missed * missed;
        feed(block, k, errors[k], values, count);
    }
    return loss;
}

double vl_gptq_loss(const vl_gptq_block *block, const float *errors, const float *fed, float *scratch) {
    const int64_t count = block->count;
    for (int64_t k = 0; k < count; k++) scratch[k] = errors[k] + fed[k];
    double loss = 0;
    for (int64_t k = 0; k < count; k++) {
        loss += (double)block->curvature[k] * scratch[k] * scratch[k];
        feed(block, k, errors[k], scratch, count);
    }
    return loss;
}

int32_t vl_cholesky_block(float *a, int64_t stride, int64_t n) {
    for (int64_t row = 0; row < n; row++) {
        for (int64_t column = 0; column <= row; column++) {
            double sum = a[row * stride + column];
            for (int64_t k = 0; k < column; k++) {
                sum -= (double)a[row * stride + k] * (double)a[column * stride + k];
            }
            if (column < row) {
                a[row * stride + column] = (float)(sum / (double)a[column * stride + column]);
            } else {
                if (!(sum > 0)) return 1;
                const float root = (float)sqrt(sum);
                // Also what underflows to zero, or is infinite, is no factor.
                if (!(root > 0) || !isfinite(root)) return 1;
                a[row * stride + column] = root;
            }
        }
    }
    return 0;
}

void vl_cholesky_row(const float *c, int64_t stride, int64_t n, float *row) {
    for (int64_t column = 0; column < n; column++) {
        double sum = row[column];
        for (int64_t k = 0; k < column; k++) sum -= (double)row[k] * (double)c[column * stride + k];
        row[column] = (float)(sum / (double)c[column * stride + column]);
    }
}

void vl_gptq_pack8(const uint8_t *codes, int64_t stride, int64_t rows, uint32_t *words) {
    for (int64_t row = 0; row < rows; row++) {
        const uint8_t *part = codes + row * stride;
        uint32_t word = 0;
        for (int64_t i = 0; i < 8; i++) word |= (uint32_t)(part[i] & 15) << (4 * i);
        words[row] = word;
    }
}
