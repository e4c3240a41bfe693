// The kernels of every vector instruction set, written once over the operations that an ISA file defines before it
// includes this file (inside its target attribute):
//
//   LANES, vf                      float vector
//   vf_zero vf_set vf_load vf_load_part vf_store vf_store_part
//   vf_load_bf16 vf_load_bf16_part vf_load_f16 vf_load_f16_part
//   vf_fma(a, b, c) = a * b + c    vf_max vf_min vf_round vf_pow2 vf_select_gt(a, b, x, y) = a > b ? x : y
//   vf_sum vf_top                  horizontal sum in a fixed tree, horizontal maximum
//   vf_sum4(x, bias, out)          the sums of four vectors, bit for bit as vf_sum, plus the bias unless that is null
//   NT_ROWS NT_COLUMNS NN_ROWS NN_VECTORS   tile sizes
//   NT_ALONE                       columns that one row alone takes at a time, if more than one
//   NT_STREAM                      rows up to which columns are taken so, if more than one
//
// An output element of an "nt" product has one accumulator of LANES partial sums that runs over the depth in steps of
// LANES, the rest padded with zeros, and is then folded by vf_sum. An output element of an "nn" product is one lane that
// runs over the depth. Neither depends on the tile, which is what keeps results equal for all batch shapes.

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

#ifndef NT_ALONE
#define NT_ALONE 1
#endif
#ifndef NT_STREAM
#define NT_STREAM 1
#endif
_Static_assert(NT_STREAM == 1 || (NT_STREAM == 2 && NT_ALONE == 1), "two rows take one column at a time");
// Depth up to which even one row takes several columns at a time: such columns are no long streams, and what costs is
// folding each one's sums.
#define NT_SHORT 512
#define NT_WIDEST (NT_ALONE > NT_COLUMNS ? NT_ALONE : NT_COLUMNS)

// Values [k, k + LANES) of a stored row, or the first n of them.
INLINE vf load_f32(const void *p, int64_t k) { return vf_load((const float *)p + k); }
INLINE vf load_f32_part(const void *p, int64_t k, int64_t n) { return vf_load_part((const float *)p + k, n); }
INLINE vf load_bf16(const void *p, int64_t k) { return vf_load_bf16((const uint16_t *)p + k); }
INLINE vf load_bf16_part(const void *p, int64_t k, int64_t n) { return vf_load_bf16_part((const uint16_t *)p + k, n); }
INLINE vf load_f16(const void *p, int64_t k) { return vf_load_f16((const uint16_t *)p + k); }
INLINE vf load_f16_part(const void *p, int64_t k, int64_t n) { return vf_load_f16_part((const uint16_t *)p + k, n); }

// A cache of 8 bits: blocks of 32 as Q8_0 stores them, a half and the codes; k is a multiple of LANES.
typedef int8_t q8_codes __attribute__((vector_size(LANES)));
typedef float q8_values __attribute__((vector_size(LANES * 4)));
INLINE vf load_q8(const void *p, int64_t k) {
    const char *block = (const char *)p + k / 32 * 34;
    _Float16 scale;
    q8_codes codes;
    __builtin_memcpy(&scale, block, sizeof scale);
    __builtin_memcpy(&codes, block + 2 + k % 32, sizeof codes);
    return (vf) __builtin_convertvector(codes, q8_values) * vf_set((float)scale);
}
INLINE vf load_q8_part(const void *p, int64_t k, int64_t n) {
    // Rows are whole blocks: there is no rest.
    (void)n;
    return load_q8(p, k);
}

// Bytes of n values of a stored row.
#define BYTES_4(n) ((n)*4)
#define BYTES_2(n) ((n)*2)
#define BYTES_Q8(n) ((n) / 32 * 34)

// Stores the folded sums of a row of a tile. Four at a time are folded together, with the additions of vf_sum.
INLINE void store_sums(const vl_product *p, int64_t row, int64_t column, const vf *acc, const int nr) {
    float *c = p->c + row * p->c_stride + column;
    const float *bias = p->bias ? p->bias + column : 0;
    int j = 0;
    UNROLL for (; j + 4 <= nr; j += 4) vf_sum4(acc + j, bias ? bias + j : 0, c + j);
    UNROLL for (; j < nr; j++) {
        const float sum = vf_sum(acc[j]);
        c[j] = bias ? sum + bias[j] : sum;
    }
}

// ---- products -------------------------------------------------------------------------------------------------------

// Rows of A that a block of the loop keeps in the second-level cache: about 512 KB of them.
INLINE int64_t block_rows(int64_t depth, int64_t element_size, int64_t tile) {
    int64_t rows = (512 * 1024) / (depth * element_size + 1);
    rows -= rows % tile;
    return rows < tile ? tile : rows;
}

// What the next tiles of columns read: lines of 64 bytes from `at` to `end`, so many of them with each step.
typedef struct {
    const char *at, *end;
    int64_t step;
    int near;
} nt_ahead;

// The first cache waits for few lines at a time, so it is for those that come slowly.
INLINE void nt_fetch(nt_ahead *ahead) {
    for (int64_t n = 0; n < ahead->step && ahead->at < ahead->end; n++, ahead->at += 64) {
        if (ahead->near) __builtin_prefetch(ahead->at, 0, 3);
        else __builtin_prefetch(ahead->at, 0, 2);
    }
}

// Lines of a tile's columns from `column` on, if they lie side by side.
INLINE int64_t nt_lines(const vl_product *p, int64_t bytes, int64_t column) {
    return p->b_stride == p->depth && column < p->columns ? bytes / 64 : 0;
}

// The share of `count` rows from `row` on, of `rows`, in as many steps as they take.
INLINE nt_ahead nt_share(const char *next, int64_t lines, int64_t row, int64_t count, int64_t rows, int64_t steps) {
    const int64_t from = lines * row / rows, to = lines * (row + count) / rows;
    return (nt_ahead){next + 64 * from, next + 64 * to, (to - from + steps) / (steps + 1), rows >= 4 * NT_ROWS};
}

// Brings `bytes` bytes near that lie `ahead` bytes from here, in other memory perhaps: hence the numbers.
INLINE void near_lines(const char *here, int64_t ahead, int64_t bytes) {
    const uintptr_t at = (uintptr_t)here + (uintptr_t)ahead;
    for (int64_t byte = 0; byte < bytes; byte += 64) __builtin_prefetch((const void *)(at + (uintptr_t)byte), 0, 2);
}

// Brings near what is read after the product in place of its columns from `column` on (see vl_product).
INLINE void nt_after(const vl_product *p, int64_t bytes, int64_t stride, int64_t column, const int nr) {
    if (p->ahead == 0) return;
    const char *b = (const char *)p->b + column * stride;
    for (int j = 0; j < nr; j++, b += stride) near_lines(b, p->ahead, bytes);
}

#define DEFINE_NT(NAME, BYTES, LOAD, LOAD_PART)                                                                        \
    INLINE void NAME##_tile(const vl_product *p, int64_t row, int64_t column, const int mr, const int nr,              \
                            nt_ahead ahead) {                                                                          \
        vf acc[NT_ROWS][NT_WIDEST];                                                                                    \
        const float *a = (const float *)p->a + row * p->a_stride;                                                      \
        const char *b = (const char *)p->b + BYTES(column * p->b_stride);                                              \
        UNROLL for (int i = 0; i < mr; i++) { UNROLL for (int j = 0; j < nr; j++) acc[i][j] = vf_zero(); }             \
        int64_t k = 0;                                                                                                 \
        for (; k + LANES <= p->depth; k += LANES) {                                                                    \
            vf av[NT_ROWS];                                                                                            \
            nt_fetch(&ahead);                                                                                          \
            UNROLL for (int i = 0; i < mr; i++) av[i] = vf_load(a + i * p->a_stride + k);                              \
            UNROLL for (int j = 0; j < nr; j++) {                                                                      \
                vf bv = LOAD(b + BYTES(j * p->b_stride), k);                                                           \
                UNROLL for (int i = 0; i < mr; i++) acc[i][j] = vf_fma(av[i], bv, acc[i][j]);                          \
            }                                                                                                          \
        }                                                                                                              \
        if (k < p->depth) {                                                                                            \
            int64_t rest = p->depth - k;                                                                               \
            UNROLL for (int j = 0; j < nr; j++) {                                                                      \
                vf bv = LOAD_PART(b + BYTES(j * p->b_stride), k, rest);                                                \
                UNROLL for (int i = 0; i < mr; i++) acc[i][j] =                                                        \
                    vf_fma(vf_load_part(a + i * p->a_stride + k, rest), bv, acc[i][j]);                                \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL for (int i = 0; i < mr; i++) store_sums(p, row + i, column, acc[i], nr);                                \
    }                                                                                                                  \
    NT_DRIVER(NAME, sizeof(float), BYTES, LANES)

// Rows that do not fill a tile, each number with a tile of its own. The switch is on values below NT_ROWS only.
#define NT_REST(NAME, NR)                                                                                              \
    switch (bottom - i) {                                                                                              \
        case 1: NAME##_tile(p, i, j, 1, NR, ahead); break;                                                             \
        case 2: NAME##_tile(p, i, j, 2, NR, ahead); break;                                                             \
        case 3: NAME##_tile(p, i, j, NT_ROWS > 3 ? 3 : 1, NR, ahead); break;                                           \
        case 4: NAME##_tile(p, i, j, NT_ROWS > 4 ? 4 : 1, NR, ahead); break;                                           \
        case 5: NAME##_tile(p, i, j, NT_ROWS > 5 ? 5 : 1, NR, ahead); break;                                           \
        default: break;                                                                                                \
    }

// Walks tiles: blocks of rows outside, columns next, tiles of rows inside, so that a tile's columns stay in the first
// cache and the block's rows in the second. Meanwhile the next columns come in, a share with each tile of rows: all at
// once they would wait for the memory, and columns that come when they are read cost a fifth of the time. One row alone
// takes long columns one after the other: what it reads is then one stream of memory, which the processor's prefetcher
// follows best. Vectors of few lanes want several columns all the same, or each multiply-add would wait for the one before.
#define NT_DRIVER(NAME, A_SIZE, BYTES, STEP)                                                                           \
    static void NAME(const vl_product *p, int64_t first, int64_t last) {                                               \
        nt_ahead ahead = {0};                                                                                          \
        if (p->rows == 0) return;                                                                                      \
        if (p->rows <= NT_STREAM && p->depth > NT_SHORT) {                                                             \
            int64_t j = first;                                                                                         \
            for (; NT_ALONE > 1 && j + NT_ALONE <= last; j += NT_ALONE) NAME##_tile(p, 0, j, 1, NT_ALONE, ahead);      \
            for (; j < last; j++) {                                                                                    \
                if (NT_STREAM > 1 && p->rows == 2) NAME##_tile(p, 0, j, 2, 1, ahead);                                  \
                else NAME##_tile(p, 0, j, 1, 1, ahead);                                                                \
            }                                                                                                          \
            return;                                                                                                    \
        }                                                                                                              \
        const int64_t block = block_rows(p->depth, A_SIZE, NT_ROWS);                                                   \
        for (int64_t top = 0; top < p->rows; top += block) {                                                           \
            const int64_t bottom = top + block < p->rows ? top + block : p->rows;                                      \
            int64_t j = first;                                                                                         \
            for (; j + NT_COLUMNS <= last; j += NT_COLUMNS) {                                                          \
                int64_t i = top;                                                                                       \
                const char *next = (const char *)p->b + BYTES((j + NT_COLUMNS) * p->b_stride);                         \
                const int64_t lines = nt_lines(p, BYTES(NT_COLUMNS * p->b_stride), j + NT_COLUMNS);                    \
                if (top == 0) nt_after(p, BYTES(p->depth), BYTES(p->b_stride), j, NT_COLUMNS);                         \
                for (; i + NT_ROWS <= bottom; i += NT_ROWS) {                                                          \
                    ahead = nt_share(next, lines, i - top, NT_ROWS, bottom - top, p->depth / STEP);                    \
                    NAME##_tile(p, i, j, NT_ROWS, NT_COLUMNS, ahead);                                                  \
                }                                                                                                      \
                ahead = nt_share(next, lines, i - top, bottom - i, bottom - top, p->depth / STEP);                     \
                NT_REST(NAME, NT_COLUMNS)                                                                              \
            }                                                                                                          \
            ahead.end = ahead.at;                                                                                      \
            for (; j < last; j++) {                                                                                    \
                int64_t i = top;                                                                                       \
                if (top == 0) nt_after(p, BYTES(p->depth), BYTES(p->b_stride), j, 1);                                  \
                for (; i + NT_ROWS <= bottom; i += NT_ROWS) NAME##_tile(p, i, j, NT_ROWS, 1, ahead);                   \
                NT_REST(NAME, 1)                                                                                       \
            }                                                                                                          \
        }                                                                                                              \
    }

DEFINE_NT(nt_f32_f32, BYTES_4, load_f32, load_f32_part)
DEFINE_NT(nt_f32_bf16, BYTES_2, load_bf16, load_bf16_part)
DEFINE_NT(nt_f32_f16, BYTES_2, load_f16, load_f16_part)
DEFINE_NT(nt_f32_q8, BYTES_Q8, load_q8, load_q8_part)

#define DEFINE_NN(NAME, BYTES, LOAD, LOAD_PART)                                                                        \
    INLINE void NAME##_tile(const vl_product *p, int64_t row, int64_t column, const int mr, const int vectors,         \
                            int64_t part) {                                                                            \
        vf acc[NN_ROWS][NN_VECTORS];                                                                                   \
        const float *a = (const float *)p->a + row * p->a_stride;                                                      \
        const char *b = (const char *)p->b;                                                                            \
        const int64_t ahead = row == 0 ? p->ahead : 0;                                                                 \
        UNROLL for (int i = 0; i < mr; i++) {                                                                          \
            const float *c = p->c + (row + i) * p->c_stride + column;                                                  \
            if (!p->accumulate) {                                                                                      \
                UNROLL for (int v = 0; v < vectors; v++) acc[i][v] = vf_zero();                                        \
            } else if (part) {                                                                                         \
                acc[i][0] = vf_load_part(c, part);                                                                     \
            } else {                                                                                                   \
                UNROLL for (int v = 0; v < vectors; v++) acc[i][v] = vf_load(c + v * LANES);                           \
            }                                                                                                          \
        }                                                                                                              \
        for (int64_t k = 0; k < p->depth; k++) {                                                                       \
            const char *bk = b + BYTES(k * p->b_stride);                                                               \
            if (ahead != 0) near_lines(bk + BYTES(column), ahead, BYTES(vectors * LANES));                             \
            vf bv[NN_VECTORS];                                                                                         \
            if (part) {                                                                                                \
                bv[0] = LOAD_PART(bk, column, part);                                                                   \
            } else {                                                                                                   \
                UNROLL for (int v = 0; v < vectors; v++) bv[v] = LOAD(bk, column + v * LANES);                         \
            }                                                                                                          \
            UNROLL for (int i = 0; i < mr; i++) {                                                                      \
                vf av = vf_set(a[i * p->a_stride + k]);                                                                \
                UNROLL for (int v = 0; v < vectors; v++) acc[i][v] = vf_fma(av, bv[v], acc[i][v]);                     \
            }                                                                                                          \
        }                                                                                                              \
        UNROLL for (int i = 0; i < mr; i++) {                                                                          \
            float *c = p->c + (row + i) * p->c_stride + column;                                                        \
            if (part) {                                                                                                \
                vf sum = p->bias ? acc[i][0] + vf_load_part(p->bias + column, part) : acc[i][0];                       \
                vf_store_part(c, sum, part);                                                                           \
            } else {                                                                                                   \
                UNROLL for (int v = 0; v < vectors; v++) {                                                             \
                    vf sum = p->bias ? acc[i][v] + vf_load(p->bias + column + v * LANES) : acc[i][v];                  \
                    vf_store(c + v * LANES, sum);                                                                      \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    INLINE void NAME##_rows(const vl_product *p, int64_t column, const int vectors, int64_t part) {                    \
        int64_t i = 0;                                                                                                 \
        for (; i + NN_ROWS <= p->rows; i += NN_ROWS) NAME##_tile(p, i, column, NN_ROWS, vectors, part);                \
        for (; i < p->rows; i++) NAME##_tile(p, i, column, 1, vectors, part);                                          \
    }                                                                                                                  \
    static void NAME(const vl_product *p, int64_t first, int64_t last) {                                               \
        int64_t j = first;                                                                                             \
        for (; j + NN_VECTORS * LANES <= last; j += NN_VECTORS * LANES) NAME##_rows(p, j, NN_VECTORS, 0);              \
        for (; j + LANES <= last; j += LANES) NAME##_rows(p, j, 1, 0);                                                 \
        if (j < last) NAME##_rows(p, j, 1, last - j);                                                                  \
    }

DEFINE_NN(nn_f32_f32, BYTES_4, load_f32, load_f32_part)
DEFINE_NN(nn_f32_bf16, BYTES_2, load_bf16, load_bf16_part)
DEFINE_NN(nn_f32_f16, BYTES_2, load_f16, load_f16_part)
DEFINE_NN(nn_f32_q8, BYTES_Q8, load_q8, load_q8_part)

// ---- functions ------------------------------------------------------------------------------------------------------

// exp(x) = 2^n exp(r), n = round(x / ln 2), |r| <= 0.3466, by the Taylor polynomial of degree 7 (its error there, 6e-9,
// is below half a unit in the last place). ln 2 is split so that n * high is exact.
INLINE vf vf_exp(vf x) {
    const vf low = vf_set(-104.0f), high = vf_set(88.8f);
    vf clamped = vf_min(vf_max(x, low), high);
    vf n = vf_round(clamped * vf_set(1.44269504088896341f));
    vf r = vf_fma(n, vf_set(-0.693359375f), clamped);
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf p = vf_set(1.0f / 5040.0f);
    p = vf_fma(p, r, vf_set(1.0f / 720.0f));
    p = vf_fma(p, r, vf_set(1.0f / 120.0f));
    p = vf_fma(p, r, vf_set(1.0f / 24.0f));
    p = vf_fma(p, r, vf_set(1.0f / 6.0f));
    p = vf_fma(p, r, vf_set(0.5f));
    p = vf_fma(p, r, vf_set(1.0f));
    p = vf_fma(p, r, vf_set(1.0f));
    // Two factors, since 2^128 and 2^-150 alone are no normal numbers.
    vf half = vf_round(n * vf_set(0.5f));
    vf y = p * vf_pow2(half) * vf_pow2(n - half);
    y = vf_select_gt(vf_set(-103.972084f), x, vf_zero(), y);
    y = vf_select_gt(x, vf_set(88.7228394f), vf_set(__builtin_inff()), y);
    return vf_select_nan(x, y);
}

// 2^r for |r| <= 0.5 to within 4e-6, far less than the rounding of a softmax's weights to bfloat16; exactly 1 for 0.
INLINE vf vf_exp2_near(vf r) {
    vf p = vf_set(0.0095701f);
    p = vf_fma(p, r, vf_set(0.0559179f));
    p = vf_fma(p, r, vf_set(0.2402475f));
    p = vf_fma(p, r, vf_set(0.6931218f));
    return vf_fma(p, r, vf_set(1.0f));
}

// Polynomials fitted to erf(x) / x in x^2 on [0, 1] and to -log(erfc(x)) in x - 2.5 on [1, 4.2].
INLINE vf vf_erf(vf x) {
    vf a = vf_min(vf_max(x, -x), vf_set(4.2f));
    vf s = a * a;
    vf p = vf_set(-9.673590848e-06f);
    p = vf_fma(p, s, vf_set(1.126825389e-04f));
    p = vf_fma(p, s, vf_set(-8.484396548e-04f));
    p = vf_fma(p, s, vf_set(5.221053412e-03f));
    p = vf_fma(p, s, vf_set(-2.686543831e-02f));
    p = vf_fma(p, s, vf_set(1.128378262e-01f));
    p = vf_fma(p, s, vf_set(-3.761263848e-01f));
    p = vf_fma(p, s, vf_set(1.128379167e+00f));
    vf small = p * x;
    vf u = a - vf_set(2.5f);
    vf g = vf_set(8.905025025e-08f);
    g = vf_fma(g, u, vf_set(-1.605720355e-06f));
    g = vf_fma(g, u, vf_set(1.286086881e-05f));
    g = vf_fma(g, u, vf_set(-7.743193427e-05f));
    g = vf_fma(g, u, vf_set(4.208955976e-04f));
    g = vf_fma(g, u, vf_set(-2.165108414e-03f));
    g = vf_fma(g, u, vf_set(1.085805293e-02f));
    g = vf_fma(g, u, vf_set(9.438936178e-01f));
    g = vf_fma(g, u, vf_set(5.352680758e+00f));
    g = vf_fma(g, u, vf_set(7.806815279e+00f));
    vf tail = vf_set(1.0f) - vf_exp(-g);
    tail = vf_select_gt(vf_zero(), x, -tail, tail);
    return vf_select_nan(x, vf_select_gt(vf_set(1.0f), a, small, tail));
}

// Applies EXPRESSION(x) to n values, the last ones padded, so that a value's result does not depend on its place.
#define MAP1(EXPRESSION)                                                                                               \
    int64_t i = 0;                                                                                                     \
    for (; i + LANES <= n; i += LANES) {                                                                               \
        vf x0 = vf_load(x + i);                                                                                        \
        vf_store(y + i, EXPRESSION(x0));                                                                               \
    }                                                                                                                  \
    if (i < n) {                                                                                                       \
        vf x0 = vf_load_part(x + i, n - i);                                                                            \
        vf_store_part(y + i, EXPRESSION(x0), n - i);                                                                   \
    }

#define MAP1_FROM(LOAD)                                                                                                \
    int64_t i = 0;                                                                                                     \
    for (; i + LANES <= n; i += LANES) vf_store(y + i, LOAD(x + i));                                                   \
    if (i < n) vf_store_part(y + i, LOAD##_part(x + i, n - i), n - i);

INLINE vf gelu_tanh_of(vf x) {
    vf inner = vf_fma(x * x * x, vf_set(0.044715f), x) * vf_set(-2.0f * 0.7978845608028654f);
    return x / (vf_set(1.0f) + vf_exp(inner));
}

INLINE vf gelu_erf_of(vf x) {
    vf half = vf_set(0.5f) * x;
    return vf_fma(half, vf_erf(x * vf_set(0.70710678118654752f)), half);
}

static void gelu_tanh(float *y, const float *x, int64_t n) { MAP1(gelu_tanh_of) }
static void gelu_erf(float *y, const float *x, int64_t n) { MAP1(gelu_erf_of) }
static void exponential(float *y, const float *x, int64_t n) { MAP1(vf_exp) }

static void silu_multiply(float *y, const float *gate, const float *up, int64_t n) {
    const vf one = vf_set(1.0f);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf g = vf_load(gate + i);
        vf_store(y + i, g / (one + vf_exp(-g)) * vf_load(up + i));
    }
    if (i < n) {
        vf g = vf_load_part(gate + i, n - i);
        vf_store_part(y + i, g / (one + vf_exp(-g)) * vf_load_part(up + i, n - i), n - i);
    }
}

static void add(float *y, const float *x, int64_t n) {
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store(y + i, vf_load(y + i) + vf_load(x + i));
    if (i < n) vf_store_part(y + i, vf_load_part(y + i, n - i) + vf_load_part(x + i, n - i), n - i);
}

static void add_scaled(float *y, const float *x, float scale, int64_t n) {
    const vf s = vf_set(scale);
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) vf_store(y + i, vf_fma(vf_load(x + i), s, vf_load(y + i)));
    if (i < n) vf_store_part(y + i, vf_fma(vf_load_part(x + i, n - i), s, vf_load_part(y + i, n - i)), n - i);
}

static void rms_norm(float *y, const float *x, const float *weight, float eps, int64_t n) {
    vf squares = vf_zero();
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf v = vf_load(x + i);
        squares = vf_fma(v, v, squares);
    }
    if (i < n) {
        vf v = vf_load_part(x + i, n - i);
        squares = vf_fma(v, v, squares);
    }
    const vf scale = vf_set(1.0f / __builtin_sqrtf(vf_sum(squares) / (float)n + eps));
    for (i = 0; i + LANES <= n; i += LANES) vf_store(y + i, vf_load(x + i) * scale * vf_load(weight + i));
    if (i < n) vf_store_part(y + i, vf_load_part(x + i, n - i) * scale * vf_load_part(weight + i, n - i), n - i);
}

static void layer_norm(float *y, const float *x, const float *weight, const float *bias, float eps, int64_t n) {
    vf total = vf_zero();
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) total = total + vf_load(x + i);
    if (i < n) total = total + vf_load_part(x + i, n - i);
    const float mean = vf_sum(total) / (float)n;
    const vf shift = vf_set(mean);
    vf squares = vf_zero();
    for (i = 0; i + LANES <= n; i += LANES) {
        vf v = vf_load(x + i) - shift;
        squares = vf_fma(v, v, squares);
    }
    float variance = vf_sum(squares);
    // The rest is added one by one: a padded lane would add mean^2.
    for (; i < n; i++) variance += (x[i] - mean) * (x[i] - mean);
    const vf scale = vf_set(1.0f / __builtin_sqrtf(variance / (float)n + eps));
    for (i = 0; i + LANES <= n; i += LANES)
        vf_store(y + i, vf_fma((vf_load(x + i) - shift) * scale, vf_load(weight + i), vf_load(bias + i)));
    if (i < n) {
        vf v = (vf_load_part(x + i, n - i) - shift) * scale;
        vf_store_part(y + i, vf_fma(v, vf_load_part(weight + i, n - i), vf_load_part(bias + i, n - i)), n - i);
    }
}

static void rotate_halves(float *x, const float *cosine, const float *sine, int64_t n) {
    const int64_t half = n / 2;
    float *y = x + half;
    int64_t i = 0;
    for (; i + LANES <= half; i += LANES) {
        vf a = vf_load(x + i), b = vf_load(y + i), c = vf_load(cosine + i), s = vf_load(sine + i);
        vf_store(x + i, a * c - b * s);
        vf_store(y + i, b * c + a * s);
    }
    if (i < half) {
        int64_t rest = half - i;
        vf a = vf_load_part(x + i, rest), b = vf_load_part(y + i, rest);
        vf c = vf_load_part(cosine + i, rest), s = vf_load_part(sine + i, rest);
        vf_store_part(x + i, a * c - b * s, rest);
        vf_store_part(y + i, b * c + a * s, rest);
    }
}

static void f32_from_bf16(float *y, const uint16_t *x, int64_t n) { MAP1_FROM(vf_load_bf16) }
static void f32_from_f16(float *y, const uint16_t *x, int64_t n) { MAP1_FROM(vf_load_f16) }

#include "attend.inc.h"

// ---- conversions to stored types ------------------------------------------------------------------------------------

#ifndef VF_STORES_BF16
static void bf16_from_f32(uint16_t *y, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] = vl_bf16_of(x[i]);
}
#endif
