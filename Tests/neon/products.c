// Products with matrices as they lie: the scalar one's values within a bound, and the same bits whatever is computed with
// an output.
#include "check.h"

typedef struct {
    const char *name;
    vl_product_fn run, reference;
    int narrow_a, type, transposed;
} kind;

// B in a type; the reference reads the same values.
static const void *stored(int at, const float *x, int64_t count, int type) {
    return type == VL_TYPE_F32 ? (const void *)x : narrowed(at, x, count, type == VL_TYPE_F16);
}

static void check_one(const vl_kernels *k, const kind *f, int64_t rows, int64_t columns, int64_t depth) {
    // Strides beyond the width, so that a row's end is not the next one's start.
    const int64_t a_stride = depth + 3, b_stride = (f->transposed ? columns : depth) + 5;
    const int64_t b_rows = f->transposed ? depth : columns;
    const float *x = numbers(0, rows * a_stride, 2), *y = numbers(1, b_rows * b_stride, 1),
                *bias = numbers(2, columns, 1);
    const void *b = stored(3, y, b_rows * b_stride, f->type);
    const uint16_t *narrow = narrowed(4, x, rows * a_stride, 0);
    float *wide = place(5, rows * a_stride * 4);
    for (int64_t i = 0; i < rows * a_stride; i++) wide[i] = f->narrow_a ? vl_f32_of_bf16(narrow[i]) : x[i];
    float *c[2] = {place(6, rows * columns * 4), place(7, rows * columns * 4)};
    const void *a = f->narrow_a ? (const void *)narrow : (const void *)wide;
    vl_product p = {a, a_stride, b, b_stride, c[0], columns, bias, rows, columns, depth, 0};
    f->run(&p, 0, columns);
    vl_product q = {wide, a_stride, b, b_stride, c[1], columns, bias, rows, columns, depth, 0};
    f->reference(&q, 0, columns);
    CHECK(error_of(c[0], c[1], rows * columns) < 4e-6f, "%s: %s %lld x %lld x %lld: error %g", k->name, f->name,
          (long long)rows, (long long)columns, (long long)depth, (double)error_of(c[0], c[1], rows * columns));
    // Each row alone, in two ranges of columns.
    const int64_t width = f->narrow_a ? 2 : 4, middle = columns / 2;
    for (int64_t i = 0; i < rows; i++) {
        float *alone = place(8, columns * 4);
        p.a = (const char *)a + i * a_stride * width, p.c = alone, p.rows = 1;
        f->run(&p, 0, middle);
        f->run(&p, middle, columns);
        CHECK(same_bits(alone, c[0] + i * columns, columns), "%s: %s row %lld of %lld alone", k->name, f->name,
              (long long)i, (long long)rows);
    }
}

void check_products(const vl_kernels *k) {
    const vl_kernels *s = vl_kernels_for(VL_ISA_SCALAR);
    const kind kinds[] = {
        {"nt f32", k->nt_f32_f32, s->nt_f32_f32, 0, VL_TYPE_F32, 0},
        {"nt bf16", k->nt_f32_bf16, s->nt_f32_bf16, 0, VL_TYPE_BF16, 0},
        {"nt f16", k->nt_f32_f16, s->nt_f32_f16, 0, VL_TYPE_F16, 0},
        {"nn f32", k->nn_f32_f32, s->nn_f32_f32, 0, VL_TYPE_F32, 1},
        {"nn bf16", k->nn_f32_bf16, s->nn_f32_bf16, 0, VL_TYPE_BF16, 1},
        {"nn f16", k->nn_f32_f16, s->nn_f32_f16, 0, VL_TYPE_F16, 1},
        {"nt bf16 bf16", k->nt_bf16_bf16, s->nt_f32_bf16, 1, VL_TYPE_BF16, 0},
    };
    static const int64_t columns[] = {1, 3, 4, 9, 17, 33}, depths[] = {1, 4, 7, 8, 31, 64, 131};
    seed(2);
    for (unsigned f = 0; f < sizeof kinds / sizeof kinds[0]; f++) {
        if (!kinds[f].run) continue;
        for (int64_t rows = 1; rows <= 9; rows++) {
            for (int c = 0; c < 6; c++) {
                for (int d = 0; d < 7; d++) check_one(k, &kinds[f], rows, columns[c], depths[d]);
            }
        }
        check_one(k, &kinds[f], 5, 20, 1152);
    }
}
