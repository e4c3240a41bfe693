// What cannot be held by a bound alone: the order and the rounding that neonbf16.c states, bit for bit, and float products
// of numbers of all sizes, each output against the sizes of its own products.
#include "check.h"

// What BFMMLA adds: two exact products, then the sum; each addition rounds to odd, subnormal numbers are zeros.
static float flushed(float x) { return fabsf(x) < 0x1p-126f ? 0.0f : x; }

static float odd_sum(float a, float b) {
    const double sum = (double)a + b, back = sum - a, rest = ((double)a - (sum - back)) + ((double)b - back);
    float near = (float)sum;
    if (isnan(near) || isinf(near) || ((double)near == sum && rest == 0)) return flushed(near);
    // Towards zero, then the last bit set.
    const double beyond = near > 0 ? (double)near - sum : sum - near;
    if (beyond > 0 || (beyond == 0 && (near > 0 ? rest < 0 : rest > 0))) near = vl_float(vl_bits(near) - 1);
    return flushed(vl_float(vl_bits(near) | 1));
}

static void check_bfmmla(const vl_kernels *k, int64_t rows, int64_t columns, int64_t depth) {
    const uint16_t *a = narrowed(2, numbers(0, rows * depth, 2), rows * depth, 0);
    const uint16_t *b = narrowed(3, numbers(1, columns * depth, 2), columns * depth, 0);
    float *c = place(4, rows * columns * 4);
    vl_product p = {a, depth, b, depth, c, columns, 0, rows, columns, depth, 0};
    k->nt_bf16_bf16(&p, 0, columns);
    for (int64_t i = 0; i < rows * columns; i++) {
        float sum = 0.0f;
        for (int64_t d = 0; d < depth; d += 2) {
            float pair[2] = {0, 0};
            for (int64_t e = 0; e < 2 && d + e < depth; e++)
                pair[e] = flushed(flushed(vl_f32_of_bf16(a[i / columns * depth + d + e])) *
                                  flushed(vl_f32_of_bf16(b[i % columns * depth + d + e])));
            sum = odd_sum(sum, odd_sum(pair[0], pair[1]));
        }
        CHECK(sum == c[i], "%s: order of sums, %lld x %lld x %lld: %a, expected %a", k->name, (long long)rows,
              (long long)columns, (long long)depth, (double)c[i], (double)sum);
    }
}

// Numbers between 2^-exponent and 2^exponent.
static void spread(float *x, int64_t count, int exponent) {
    for (int64_t i = 0; i < count; i++) x[i] = ldexpf(number(), (int)(bits() % (2u * (unsigned)exponent)) - exponent);
}

static void check_sizes(const vl_kernels *k, vl_product_fn run, vl_product_fn reference, int type, int plain,
                        int64_t rows, int64_t columns, int64_t depth) {
    float *a = place(0, rows * depth * 4), *b = place(1, columns * depth * 4);
    // Halves end at 65504, so those stay small.
    spread(a, rows * depth, 30);
    spread(b, columns * depth, type == VL_TYPE_F16 ? 10 : 30);
    const void *stored = b;
    if (type != VL_TYPE_F32) {
        const uint16_t *narrow = narrowed(2, b, columns * depth, type == VL_TYPE_F16);
        for (int64_t i = 0; i < columns * depth; i++)
            b[i] = type == VL_TYPE_F16 ? vl_f32_of_f16(narrow[i]) : vl_f32_of_bf16(narrow[i]);
        stored = narrow;
    }
    float *c[2] = {place(3, rows * columns * 4), place(4, rows * columns * 4)};
    vl_product p = {a, depth, stored, plain ? columns : depth, c[0], columns, 0, rows, columns, depth, 0};
    run(&p, 0, columns);
    p.c = c[1];
    reference(&p, 0, columns);
    for (int64_t i = 0; i < rows * columns; i++) {
        double size = 0;
        for (int64_t d = 0; d < depth; d++)
            size += fabs((double)a[i / columns * depth + d] *
                         b[plain ? d * columns + i % columns : i % columns * depth + d]);
        // Either side errs by 2^-23 of that a step at most.
        CHECK(fabs((double)c[0][i] - c[1][i]) <= size * (double)(depth + 4) * 0x1p-22,
              "%s: numbers of all sizes, type %d, plain %d: %g, expected %g", k->name, type, plain, (double)c[0][i],
              (double)c[1][i]);
    }
}

void check_order(const vl_kernels *k) {
    static const int64_t depths[] = {1, 2, 3, 4, 5, 7, 8, 9, 16, 33, 72, 588};
    const vl_kernels *s = vl_kernels_for(VL_ISA_SCALAR);
    seed(5);
    for (unsigned d = 0; d < sizeof depths / sizeof depths[0]; d++) {
        for (int64_t rows = 1; k->isa == VL_ISA_NEONBF16 && rows <= 9; rows++)
            check_bfmmla(k, rows, 5 + 4 * (rows % 4), depths[d]);
        check_sizes(k, k->nt_f32_f32, s->nt_f32_f32, VL_TYPE_F32, 0, 4, 13, depths[d]);
        check_sizes(k, k->nt_f32_bf16, s->nt_f32_bf16, VL_TYPE_BF16, 0, 4, 13, depths[d]);
        check_sizes(k, k->nt_f32_f16, s->nt_f32_f16, VL_TYPE_F16, 0, 4, 13, depths[d]);
        check_sizes(k, k->nn_f32_f32, s->nn_f32_f32, VL_TYPE_F32, 1, 5, 21, depths[d]);
        check_sizes(k, k->nn_f32_bf16, s->nn_f32_bf16, VL_TYPE_BF16, 1, 5, 21, depths[d]);
        check_sizes(k, k->nn_f32_f16, s->nn_f32_f16, VL_TYPE_F16, 1, 5, 21, depths[d]);
    }
}
