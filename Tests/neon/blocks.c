// Products with block formats: the scalar one's bits for quantized activations, a bound for float32 ones.
#include "check.h"

// What the codes of a check are: random ones, or those whose products are the largest.
enum { ANY, GREATEST, LEAST };

// Packed weights of random bytes, every code among them, or of equal ones; halves are kept finite.
static uint8_t *packed_bytes(int at, vl_type t, int64_t columns, int64_t depth, int codes) {
    const int64_t groups = (columns + 15) / 16, span = packed_span_bytes(t);
    uint8_t *w = place(at, groups * packed_group(t, depth));
    for (int64_t i = 0; i < groups * packed_group(t, depth); i++)
        w[i] = codes == ANY ? (uint8_t)(bits() >> 8) : codes == GREATEST ? 0xff : 0;
    for (int64_t i = 0; i < groups * packed_group(t, depth); i += span) {
        for (int64_t h = 0; h < packed_head_bytes(t); h++) {
            // Scales of 1 where there are no random ones.
            if (codes != ANY) w[i + h] = h % 2 == 1 ? 0x3c : 0;
            else if (h % 2 == 1) w[i + h] &= 0xbf;
        }
    }
    return w;
}

static void check_exact(const vl_kernels *k, vl_type t, int64_t rows, int64_t columns, int64_t depth, int extreme,
                        int codes) {
    const vl_kernels *s = vl_kernels_for(VL_ISA_SCALAR);
    const int64_t row_bytes = vl_q8_row_bytes(depth);
    const float *x = numbers(0, rows * depth, 3), *bias = numbers(1, columns, 1);
    uint8_t *a = place(2, rows * row_bytes);
    for (int64_t i = 0; i < rows; i++) {
        float *row = place(3, depth * 4);
        for (int64_t d = 0; d < depth; d++) row[d] = extreme ? (bits() & 1024 ? 1.0f : -1.0f) : x[i * depth + d];
        // Some rows have values that stand out.
        for (int64_t d = i; !extreme && i % 3 != 1 && d < depth; d += 29) row[d] *= 40;
        // All signs alike in some rows: the largest sums that there are.
        if (extreme && i % 4 == 1)
            for (int64_t d = 0; d < depth; d++) row[d] = -1e30f;
        if (extreme && i % 4 == 0)
            for (int64_t d = 0; d < depth; d++) row[d] = 1e30f;
        k->q8_from_f32(a + i * row_bytes, row, depth);
        uint8_t *expected = place(4, row_bytes);
        s->q8_from_f32(expected, row, depth);
        const int64_t used = vl_q8_used_bytes(expected, depth), codes_bytes = depth + depth / 4 + depth / 4;
        // Between the number of outliers and the first one there is nothing.
        CHECK(memcmp(a + i * row_bytes, expected, (size_t)codes_bytes + 4) == 0 &&
                  memcmp(a + i * row_bytes + codes_bytes + 16, expected + codes_bytes + 16,
                         (size_t)(used - codes_bytes - 16)) == 0,
              "%s: quantized row", k->name);
    }
    const uint8_t *w = packed_bytes(5, t, columns, depth, codes);
    float *c[2] = {place(6, rows * columns * 4), place(7, rows * columns * 4)};
    vl_product p = {a, row_bytes, w, 0, c[1], columns, bias, rows, columns, depth, 0};
    vl_product_q8(s, t)(&p, 0, columns);
    p.c = c[0];
    vl_product_q8(k, t)(&p, 0, columns);
    CHECK(same_bits(c[0], c[1], rows * columns), "%s: type %d, %lld x %lld x %lld", k->name, (int)t, (long long)rows,
          (long long)columns, (long long)depth);
    if (columns <= 16) return;
    memset(c[0], 0xff, (size_t)(rows * columns) * 4);
    vl_product_q8(k, t)(&p, 0, 16);
    vl_product_q8(k, t)(&p, 16, columns);
    CHECK(same_bits(c[0], c[1], rows * columns), "%s: type %d in two ranges", k->name, (int)t);
}

static void check_float(const vl_kernels *k, vl_type t, int64_t rows, int64_t columns) {
    const vl_kernels *s = vl_kernels_for(VL_ISA_SCALAR);
    const int64_t depth = 512, row_bytes = depth / vl_block_length(t) * vl_block_bytes(t);
    const float *x = numbers(0, rows * depth, 1), *weights = numbers(1, columns * depth, 1);
    uint8_t *stored = place(2, columns * row_bytes), *w = place(3, (columns + 15) / 16 * packed_group(t, depth));
    float *values = place(4, columns * depth * 4);
    vl_encode(t, weights, 0, stored, columns * depth);
    vl_decode(t, stored, values, columns * depth);
    for (int64_t g = 0; g < (columns + 15) / 16; g++)
        vl_pack_group(t, stored, columns, depth, g, w + g * packed_group(t, depth));
    float *c[2] = {place(5, rows * columns * 4), place(6, rows * columns * 4)};
    vl_product p = {x, depth, w, 0, c[0], columns, 0, rows, columns, depth, 0};
    vl_product_f32(k, t)(&p, 0, columns);
    vl_product q = {x, depth, values, depth, c[1], columns, 0, rows, columns, depth, 0};
    s->nt_f32_f32(&q, 0, columns);
    CHECK(error_of(c[0], c[1], rows * columns) < 4e-6f, "%s: float32 times type %d, %lld rows", k->name, (int)t,
          (long long)rows);
    // One row alone has the bits that it has among others.
    float *alone = place(7, columns * 4);
    p.a = x + (rows - 1) * depth, p.c = alone, p.rows = 1;
    vl_product_f32(k, t)(&p, 0, columns);
    CHECK(same_bits(alone, c[0] + (rows - 1) * columns, columns), "%s: float32 times type %d alone", k->name, (int)t);
}

void check_blocks(const vl_kernels *k) {
    static const int64_t columns[] = {1, 15, 16, 37, 53};
    seed(3);
    for (int t = VL_TYPE_Q8_0; t <= VL_TYPE_Q6_K; t++) {
        // Depths of one piece, of an odd number, and of more than a panel's chunk.
        const int wide = t >= VL_TYPE_Q4_K;
        const int64_t depths[3] = {wide ? 256 : 32, wide ? 768 : 96, wide ? 2304 : 2144};
        for (int64_t rows = 1; rows <= 9; rows++) {
            for (int c = 0; c < 5; c++)
                check_exact(k, (vl_type)t, rows, columns[c], depths[(rows + c) % 2], c % 2, ANY);
        }
        for (int64_t rows = 12; rows <= 15; rows++) check_exact(k, (vl_type)t, rows, 80, depths[1], 1, ANY);
        check_exact(k, (vl_type)t, 3, 33, depths[2], 0, ANY);
        check_exact(k, (vl_type)t, 13, 53, depths[2], 0, ANY);
        check_exact(k, (vl_type)t, 7, 21, depths[2], 1, ANY);
        // Sums of products in 16 bits must not overflow, with few rows nor with many.
        for (int64_t rows = 1; rows <= 7; rows++) {
            check_exact(k, (vl_type)t, rows, 32, depths[1], 1, GREATEST);
            check_exact(k, (vl_type)t, rows, 32, depths[1], 1, LEAST);
        }
        check_float(k, (vl_type)t, 1, 16);
        check_float(k, (vl_type)t, 3, 37);
    }
}
