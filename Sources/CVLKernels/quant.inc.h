// Products with block formats, written once over what an ISA file defines before it includes this one, besides what
// vector.inc.h needs:
//
//   vq                             as many bytes as vf: LANES rows of 4 codes, or LANES 32-bit sums
//   vq_load vq_set                 64 LANES / 16 bytes as they lie; one 32-bit number in all lanes
//   vq_low vq_high                 the low and the high half of each byte
//   vq_fifth(w, h, j)              w with bit j of each byte of h as its fifth bit
//   vq_sixth(w, h, j)              w with bits 2 (j % 4)... of each byte of h as its fifth and sixth
//   vq_dot(s, w, a)                s + the sums of 4 products of codes (0...63) and 4 signed bytes that a holds in each lane
//   vq_dot8(s, w, a)               the same for 8-bit codes, less VQ_ZERO8 where the instruction wants signed ones
//   vq_times(a, b) vq_plus(a, b)   32-bit integers
//   vq_float(s)                    32-bit integers as floats
//   vq_bytes(p) vq_signed(p)       LANES bytes as floats, LANES signed bytes as 32-bit integers
//   Q_ROWS Q_VECTORS               tile of the panel product, in rows and vectors
//   Q_GROUPS                       groups of 16 rows in a panel; a multiple of the tile
//   Q_DIRECT                       rows that the direct form takes at a time, if not 4
//   Q_STREAM                       rows up to which it is used, if more than that
//   Q_DIRECT_PARTS                 vectors of a group that it takes at a time, if more than one
//   Q_HALVES, q_half               a form of its own for the sums of 16 columns, in place of vq_dot and vq_dot8 (see below)
//
// An output's sum runs over the blocks of 32 columns in order: within a block in integers (exact), then
// float(sum) * activation scale, fused into the running sum with the weight's scale, and then the minimum's part. After
// the bias come the row's outliers, each like a block of four columns. That is the same in the direct form (few rows:
// weights are unpacked into registers), in the panel form (weights are unpacked once into scratch for many rows, but for
// 8-bit codes, which are read where they lie) and in the scalar reference, so all give the same bits.
#include "packed.h"

// Vectors of a group.
#define Q_PARTS (VL_GROUP_ROWS / LANES)
// Columns of a panel: its codes fit the second cache beside the rows.
#define Q_CHUNK 2048
#ifndef Q_DIRECT
#define Q_DIRECT 4
#endif
#ifndef Q_STREAM
#define Q_STREAM Q_DIRECT
#endif
#ifndef Q_DIRECT_PARTS
#define Q_DIRECT_PARTS 1
#endif

// What scales a block of 32 columns for one vector of rows.
typedef struct {
    vf scale, min;
    vq small[2];
} q_scales;

INLINE void q_load_scales(const vl_type t, const uint8_t *group, int64_t block, const int part, q_scales *out) {
    const uint8_t *p = packed_head(t, group, block);
    const int first = part * LANES;
    out->scale = vf_load_f16((const uint16_t *)(const void *)p + first);
    if (packed_has_min(t)) out->min = vf_load_f16((const uint16_t *)(const void *)(p + 32) + first);
    if (t == VL_TYPE_Q4_K || t == VL_TYPE_Q5_K) {
        const uint8_t *small = packed_small(t, group, block) + first;
        out->scale = out->scale * vq_bytes(small);
        out->min = -(out->min * vq_bytes(small + 16));
    }
    if (t == VL_TYPE_Q6_K) {
        const int8_t *small = (const int8_t *)packed_small(t, group, block) + first;
        out->small[0] = vq_signed(small);
        out->small[1] = vq_signed(small + 16);
    }
}

INLINE void q_load_codes(const vl_type t, const uint8_t *codes, const int part, vq w[8]) {
    const uint8_t *p = codes + part * LANES * 4;
    if (packed_bits(t) == 8) {
        UNROLL for (int j = 0; j < 8; j++) w[j] = vq_load(p + 64 * j);
        return;
    }
    UNROLL for (int j = 0; j < 4; j++) {
        const vq both = vq_load(p + 64 * j);
        w[j] = vq_low(both);
        w[j + 4] = vq_high(both);
    }
    if (packed_bits(t) == 5) {
        const vq high = vq_load(p + 256);
        UNROLL for (int j = 0; j < 8; j++) w[j] = vq_fifth(w[j], high, j);
    }
    if (packed_bits(t) == 6) {
        const vq high[2] = {vq_load(p + 256), vq_load(p + 320)};
        UNROLL for (int j = 0; j < 8; j++) w[j] = vq_sixth(w[j], high[j / 4], j);
    }
}

// What the sums start from: the zero point's part.
INLINE int32_t q_zero(const vl_type t) { return packed_bits(t) == 8 ? VQ_ZERO8 : packed_zero(t); }
INLINE vq q_start(const vl_type t, int32_t sum) { return q_zero(t) == 0 ? vq_set(0) : vq_set(-q_zero(t) * sum); }

#ifndef Q_HALVES
INLINE vq q_dot(const vl_type t, vq s, vq w, vq a) { return packed_bits(t) == 8 ? vq_dot8(s, w, a) : vq_dot(s, w, a); }

INLINE vq q_four(const int8_t *p) {
    int32_t four;
    __builtin_memcpy(&four, p, 4);
    return vq_set(four);
}

// s + the products of 16 columns: four vectors of codes and 16 signed bytes of a row.
INLINE vq q_half(const vl_type t, vq s, const vq *w, const int8_t *a) {
    UNROLL for (int j = 0; j < 4; j++) s = q_dot(t, s, w[j], q_four(a + 4 * j));
    return s;
}
#endif

// Adds a block's integer sum to an output.
INLINE vf q_add(const vl_type t, vf acc, vq sum, const q_scales *s, float scale, int32_t total) {
    acc = vf_fma(vq_float(sum) * vf_set(scale), s->scale, acc);
    return packed_has_min(t) ? vf_fma(s->min, vf_set(scale * (float)total), acc) : acc;
}

INLINE void q_store(const vl_product *p, int64_t row, int64_t column, vf sum) {
    const int64_t left = p->columns - column;
    float *c = p->c + row * p->c_stride + column;
    if (left >= LANES) vf_store(c, sum);
    else if (left > 0) vf_store_part(c, sum, left);
}

INLINE vf q_add_bias(const vl_product *p, int64_t column, vf sum) {
    const int64_t left = p->columns - column;
    if (!p->bias || left <= 0) return sum;
    return left >= LANES ? sum + vf_load(p->bias + column) : sum + vf_load_part(p->bias + column, left);
}

// Vector j of the codes of 32 columns.
INLINE vq q_load_four(const vl_type t, const uint8_t *codes, int part, int j) {
    const uint8_t *p = codes + part * LANES * 4;
    if (packed_bits(t) == 8) return vq_load(p + 64 * j);
    const vq both = vq_load(p + 64 * (j % 4));
    const vq w = j < 4 ? vq_low(both) : vq_high(both);
    if (packed_bits(t) == 4) return w;
    const vq high = vq_load(p + (packed_bits(t) == 6 && j >= 4 ? 320 : 256));
    // Shifts are part of the instructions.
#define Q_FOUR(J)                                                                                                      \
    case J: return packed_bits(t) == 5 ? vq_fifth(w, high, J) : vq_sixth(w, high, J)
    switch (j) {
        Q_FOUR(0);
        Q_FOUR(1);
        Q_FOUR(2);
        Q_FOUR(3);
        Q_FOUR(4);
        Q_FOUR(5);
        Q_FOUR(6);
        Q_FOUR(7);
        default: return w;
    }
#undef Q_FOUR
}

// s + the products of 4 columns.
INLINE vq q_dot_four(const vl_type t, vq s, vq w, const int8_t *codes) {
#ifdef Q_HALVES
    const vq columns[4] = {w, vq_set(0), vq_set(0), vq_set(0)};
    int8_t a[16] = {codes[0], codes[1], codes[2], codes[3]};
    return q_half(t, s, columns, a);
#else
    return q_dot(t, s, w, q_four(codes));
#endif
}

// Adds an outlier of a row to an output; w are the codes of its four columns.
INLINE vf q_add_outlier(const vl_type t, vf acc, vq w, const q_scales *s, const q8_outlier *one) {
    vq sum = q_dot_four(t, q_start(t, one->sum), w, one->codes);
    if (t == VL_TYPE_Q6_K) sum = vq_times(sum, s->small[one->four % 8 / 4]);
    return q_add(t, acc, sum, s, one->scale, one->sum);
}

// All outliers of a row, straight from the packed weights. Not a part of every tile, since few rows have any.
#define Q_OUTLIERS(NAME, TYPE)                                                                                         \
    static __attribute__((noinline))                                                                                   \
    vf q_outliers_##NAME(vf acc, const int8_t *row, int64_t depth, const uint8_t *group, int part) {                   \
        const int32_t count = *q8_outlier_count(row, depth);                                                           \
        const q8_outlier *all = q8_outliers(row, depth);                                                               \
        for (int32_t n = 0; n < count; n++) {                                                                          \
            const int64_t block = all[n].four / 8;                                                                     \
            q_scales s;                                                                                                \
            q_load_scales(TYPE, group, block, part, &s);                                                               \
            const vq w = q_load_four(TYPE, packed_codes(TYPE, group, block), part, all[n].four % 8);                   \
            acc = q_add_outlier(TYPE, acc, w, &s, all + n);                                                            \
        }                                                                                                              \
        return acc;                                                                                                    \
    }
VL_BLOCK_TYPES(Q_OUTLIERS)

INLINE vf q_outliers(const vl_type t, vf acc, const int8_t *row, int64_t depth, const uint8_t *group, int part) {
#define Q_OUTLIERS_OF(NAME, TYPE)                                                                                      \
    case TYPE: return q_outliers_##NAME(acc, row, depth, group, part);
    switch (t) {
        VL_BLOCK_TYPES(Q_OUTLIERS_OF)
        default: return acc;
    }
}

// A few vectors of outputs for mr rows, straight from the packed weights: one stream of memory, from a group's first byte to
// its last, which is what the processor's prefetcher follows best. Where a vector is a quarter of a group, all of them go
// together, or each would read a part of every line and the stream would be four.
INLINE void q_direct(const vl_type t, const vl_product *p, int64_t row, int64_t column, const int mr) {
    const int first = (int)(column % VL_GROUP_ROWS / LANES);
    const uint8_t *group = (const uint8_t *)p->b + column / VL_GROUP_ROWS * packed_group(t, p->depth);
    const int8_t *a = (const int8_t *)p->a + row * p->a_stride;
    vf acc[Q_DIRECT][Q_DIRECT_PARTS];
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int part = 0; part < Q_DIRECT_PARTS; part++) acc[i][part] = vf_zero();
    }
    for (int64_t block = 0; block < p->depth / 32; block++) {
        UNROLL for (int part = 0; part < Q_DIRECT_PARTS; part++) {
            vq w[8];
            q_scales s;
            q_load_codes(t, packed_codes(t, group, block), first + part, w);
            q_load_scales(t, group, block, first + part, &s);
            UNROLL for (int i = 0; i < mr; i++) {
                const int8_t *ai = a + i * p->a_stride, *columns = ai + 32 * block;
                const int32_t total = q8_sums(ai, p->depth)[block];
                vq sum;
                if (t == VL_TYPE_Q6_K) {
                    const int32_t *halves = q8_half_sums(ai, p->depth) + 2 * block;
                    const vq low = q_half(t, q_start(t, halves[0]), w, columns);
                    const vq high = q_half(t, q_start(t, halves[1]), w + 4, columns + 16);
                    sum = vq_plus(vq_times(low, s.small[0]), vq_times(high, s.small[1]));
                } else {
                    const vq low = q_half(t, q_start(t, total), w, columns);
                    sum = vq_plus(low, q_half(t, vq_set(0), w + 4, columns + 16));
                }
                acc[i][part] = q_add(t, acc[i][part], sum, &s, q8_scales(ai, p->depth)[block], total);
            }
        }
    }
    UNROLL for (int i = 0; i < mr; i++) {
        const int8_t *ai = a + i * p->a_stride;
        const int apart = *q8_outlier_count(ai, p->depth) > 0;
        UNROLL for (int part = 0; part < Q_DIRECT_PARTS; part++) {
            vf sum = q_add_bias(p, column + part * LANES, acc[i][part]);
            if (apart) sum = q_outliers(t, sum, ai, p->depth, group, first + part);
            q_store(p, row + i, column + part * LANES, sum);
        }
    }
}

// All rows, so that those after the first few find the weights in the first cache.
INLINE void q_stream(const vl_type t, const vl_product *p, int64_t column) {
    int64_t i = 0;
    for (; i + Q_DIRECT <= p->rows; i += Q_DIRECT) q_direct(t, p, i, column, Q_DIRECT);
    // The switch is on values below Q_DIRECT only.
    switch (p->rows - i) {
        case 1: q_direct(t, p, i, column, 1); break;
        case 2: q_direct(t, p, i, column, 2); break;
        case 3: q_direct(t, p, i, column, 3); break;
        case 4: q_direct(t, p, i, column, Q_DIRECT > 4 ? 4 : 1); break;
        case 5: q_direct(t, p, i, column, Q_DIRECT > 5 ? 5 : 1); break;
        case 6: q_direct(t, p, i, column, Q_DIRECT > 6 ? 6 : 1); break;
        case 7: q_direct(t, p, i, column, Q_DIRECT > 7 ? 7 : 1); break;
        default: break;
    }
}

// Weights of a few groups and up to Q_CHUNK columns, unpacked: the codes of 32 columns of a vector of rows after
// the other, as q_arrange leaves them.
typedef struct {
    _Alignas(64) uint8_t codes[Q_GROUPS * Q_PARTS][Q_CHUNK / 32][8][LANES * 4];
    _Alignas(64) q_scales scales[Q_GROUPS * Q_PARTS][Q_CHUNK / 32];
    const uint8_t *packed[Q_GROUPS * Q_PARTS];  // where a vector's codes lie, for those that are read there
} q_panel;

// Whether tiles read the packed codes: copies of them would be the same bytes.
INLINE int q_in_place(const vl_type t) {
#ifdef Q_PAIRS
    (void)t;
    return 0;
#else
    return packed_bits(t) == 8;
#endif
}

INLINE vq q_codes(const vl_type t, const q_panel *panel, int64_t v, int64_t block, int j) {
    return vq_load(q_in_place(t) ? panel->packed[v] + block * packed_span_bytes(t) + 64 * j
                                 : panel->codes[v][block][j]);
}

// What the next panel will read, in lines of 64 bytes: brought in, a few with each block of each tile, while this panel's
// tiles run from the caches.
typedef struct {
    const uint8_t *at;
    int64_t lines, left;  // of a group, and what is left of this one
    int64_t gap;          // bytes from a group's last line to the next group's first
    int64_t count;        // of lines in all groups
    int64_t done, due;
} q_ahead;

INLINE q_ahead q_look_ahead(const vl_type t, const vl_product *p, int64_t column, int64_t end, int64_t first) {
    q_ahead ahead = {.count = 0, .done = 0, .due = 0};
    if (first >= p->depth / 32) {
        column += Q_GROUPS * VL_GROUP_ROWS;
        first = 0;
    }
    if (column >= end) return ahead;
    const int64_t blocks = p->depth / 32 - first < Q_CHUNK / 32 ? p->depth / 32 - first : Q_CHUNK / 32;
    const int64_t groups = end - column < Q_GROUPS * VL_GROUP_ROWS ? (end - column) / VL_GROUP_ROWS : Q_GROUPS;
    const int64_t pitch = packed_group(t, p->depth);
    ahead.at = packed_head(t, (const uint8_t *)p->b + column / VL_GROUP_ROWS * pitch, first);
    ahead.lines = ahead.left = blocks * 32 / packed_span(t) * packed_span_bytes(t) / 64;
    ahead.gap = pitch - 64 * ahead.lines;
    ahead.count = groups * ahead.lines;
    return ahead;
}

INLINE void q_fetch_ahead(q_ahead *ahead) {
    for (; ahead->done < ahead->due; ahead->done++) {
        __builtin_prefetch(ahead->at, 0, 3);
        ahead->at += 64;
        if (--ahead->left > 0) continue;
        ahead->at += ahead->gap;
        ahead->left = ahead->lines;
    }
}

#ifdef Q_PAIRS
#include "neonpairs.inc.h"
#else
INLINE void q_arrange(const vl_type t, vq w[8]) { (void)t, (void)w; }
#endif

#if defined(Q_HALVES) && !defined(Q_PAIRS)
// The integer sums of a tile's block, 16 columns at a time: their codes stay in registers for all rows.
INLINE void q_sums(const vl_type t, const vl_product *p, const q_panel *panel, const int8_t *a, int64_t v,
                   int64_t first, int64_t block, const int mr, const int nr, vq sum[Q_ROWS][Q_VECTORS]) {
    const int64_t place = first + block;
    UNROLL for (int half = 0; half < 2; half++) {
        vq w[Q_VECTORS][4];
        UNROLL for (int n = 0; n < nr; n++) {
            UNROLL for (int j = 0; j < 4; j++) w[n][j] = q_codes(t, panel, v + n, block, 4 * half + j);
        }
        UNROLL for (int i = 0; i < mr; i++) {
            const int8_t *ai = a + i * p->a_stride, *columns = ai + 32 * place + 16 * half;
            if (t == VL_TYPE_Q6_K) {
                const vq start = q_start(t, q8_half_sums(ai, p->depth)[2 * place + half]);
                UNROLL for (int n = 0; n < nr; n++) {
                    const vq scaled =
                        vq_times(q_half(t, start, w[n], columns), panel->scales[v + n][block].small[half]);
                    sum[i][n] = half == 0 ? scaled : vq_plus(sum[i][n], scaled);
                }
            } else {
                const vq start = q_start(t, q8_sums(ai, p->depth)[place]);
                UNROLL for (int n = 0; n < nr; n++) sum[i][n] = q_half(t, half == 0 ? start : sum[i][n], w[n], columns);
            }
        }
    }
}
#endif

INLINE void q_fill(const vl_type t, const vl_product *p, int64_t column, int64_t groups, int64_t first, int64_t blocks,
                   q_panel *panel) {
    for (int64_t v = 0; v < groups * Q_PARTS; v++) {
        const int part = (int)(v % Q_PARTS);
        const uint8_t *group =
            (const uint8_t *)p->b + (column / VL_GROUP_ROWS + v / Q_PARTS) * packed_group(t, p->depth);
        panel->packed[v] = packed_codes(t, group, first) + part * LANES * 4;
        for (int64_t block = 0; block < blocks; block++) {
            q_load_scales(t, group, first + block, part, &panel->scales[v][block]);
            if (q_in_place(t)) continue;
            vq w[8];
            q_load_codes(t, packed_codes(t, group, first + block), part, w);
            q_arrange(t, w);
            UNROLL for (int j = 0; j < 8; j++) __builtin_memcpy(panel->codes[v][block][j], &w[j], sizeof(vq));
        }
    }
}

// Adds a row's outliers to its finished outputs of a tile, from the panel if that holds all columns.
INLINE void q_tile_outliers(const vl_type t, const vl_product *p, const q_panel *panel, const int8_t *row,
                            int64_t column, int64_t v, int whole, vf *acc, const int nr) {
    const int32_t count = *q8_outlier_count(row, p->depth);
    if (count == 0) return;
#ifndef Q_PAIRS
    if (whole) {
        const q8_outlier *all = q8_outliers(row, p->depth);
        for (int32_t n = 0; n < count; n++) {
            const int64_t block = all[n].four / 8;
            const int four = all[n].four % 8;
            UNROLL for (int m = 0; m < nr; m++) acc[m] =
                q_add_outlier(t, acc[m], q_codes(t, panel, v + m, block, four), &panel->scales[v + m][block], all + n);
        }
        return;
    }
#else
    (void)panel, (void)v, (void)whole;
#endif
    UNROLL for (int m = 0; m < nr; m++) {
        const int64_t place = column + m * LANES;
        acc[m] = q_outliers(t, acc[m], row, p->depth,
                            (const uint8_t *)p->b + place / VL_GROUP_ROWS * packed_group(t, p->depth),
                            (int)(place % VL_GROUP_ROWS / LANES));
    }
}

// mr rows times nr vectors of a panel, from vector v on; C holds the sum of the columns before `first`.
INLINE void q_tile(const vl_type t, const vl_product *p, const q_panel *panel, int64_t row, int64_t column, int64_t v,
                   int64_t first, int64_t blocks, q_ahead *ahead, const int mr, const int nr) {
    vf acc[Q_ROWS][Q_VECTORS];
    const int64_t share = (ahead->due - ahead->done + blocks - 1) / blocks, due = ahead->due;
    const int8_t *a = (const int8_t *)p->a + row * p->a_stride;
    UNROLL for (int i = 0; i < mr; i++) {
        UNROLL for (int n = 0; n < nr; n++) {
            const int64_t place = column + n * LANES, left = p->columns - place;
            const float *c = p->c + (row + i) * p->c_stride + place;
            // Outputs are far, as a rule: they come near while their sums are made.
            __builtin_prefetch(c, 1, 3);
            acc[i][n] = first == 0 || left <= 0 ? vf_zero() : left >= LANES ? vf_load(c) : vf_load_part(c, left);
        }
    }
    for (int64_t block = 0; block < blocks; block++) {
        if (share > 0) {
            ahead->due = ahead->done + share < due ? ahead->done + share : due;
            q_fetch_ahead(ahead);
        }
        vq sum[Q_ROWS][Q_VECTORS];
#ifdef Q_HALVES
        q_sums(t, p, panel, a, v, first, block, mr, nr, sum);
#else
        const int8_t *ab = a + 32 * (first + block);
        if (t == VL_TYPE_Q6_K) {
            UNROLL for (int half = 0; half < 2; half++) {
                vq part[Q_ROWS][Q_VECTORS];
                UNROLL for (int i = 0; i < mr; i++) {
                    const vq start =
                        q_start(t, q8_half_sums(a + i * p->a_stride, p->depth)[2 * (first + block) + half]);
                    UNROLL for (int n = 0; n < nr; n++) part[i][n] = start;
                }
                UNROLL for (int j = 4 * half; j < 4 * half + 4; j++) {
                    vq w[Q_VECTORS];
                    UNROLL for (int n = 0; n < nr; n++) w[n] = q_codes(t, panel, v + n, block, j);
                    UNROLL for (int i = 0; i < mr; i++) {
                        const vq four = q_four(ab + i * p->a_stride + 4 * j);
                        UNROLL for (int n = 0; n < nr; n++) part[i][n] = q_dot(t, part[i][n], w[n], four);
                    }
                }
                UNROLL for (int i = 0; i < mr; i++) {
                    UNROLL for (int n = 0; n < nr; n++) {
                        const vq scaled = vq_times(part[i][n], panel->scales[v + n][block].small[half]);
                        sum[i][n] = half == 0 ? scaled : vq_plus(sum[i][n], scaled);
                    }
                }
            }
        } else {
            UNROLL for (int i = 0; i < mr; i++) {
                const vq start = q_start(t, q8_sums(a + i * p->a_stride, p->depth)[first + block]);
                UNROLL for (int n = 0; n < nr; n++) sum[i][n] = start;
            }
            UNROLL for (int j = 0; j < 8; j++) {
                vq w[Q_VECTORS];
                UNROLL for (int n = 0; n < nr; n++) w[n] = q_codes(t, panel, v + n, block, j);
                UNROLL for (int i = 0; i < mr; i++) {
                    const vq four = q_four(ab + i * p->a_stride + 4 * j);
                    UNROLL for (int n = 0; n < nr; n++) sum[i][n] = q_dot(t, sum[i][n], w[n], four);
                }
            }
        }
#endif
        UNROLL for (int i = 0; i < mr; i++) {
            const int8_t *ai = a + i * p->a_stride;
            const float scale = q8_scales(ai, p->depth)[first + block];
            const int32_t total = packed_has_min(t) ? q8_sums(ai, p->depth)[first + block] : 0;
            UNROLL for (int n = 0; n < nr; n++) acc[i][n] =
                q_add(t, acc[i][n], sum[i][n], &panel->scales[v + n][block], scale, total);
        }
    }
    const int last = first + blocks == p->depth / 32;
    UNROLL for (int i = 0; i < mr; i++) {
        if (last) {
            UNROLL for (int n = 0; n < nr; n++) acc[i][n] = q_add_bias(p, column + n * LANES, acc[i][n]);
            q_tile_outliers(t, p, panel, a + i * p->a_stride, column, v, first == 0, acc[i], nr);
        }
        UNROLL for (int n = 0; n < nr; n++) q_store(p, row + i, column + n * LANES, acc[i][n]);
    }
}

// All rows over the vectors [v, v + nr) of a panel.
INLINE void q_rows(const vl_type t, const vl_product *p, const q_panel *panel, int64_t column, int64_t v, int64_t first,
                   int64_t blocks, q_ahead *ahead, const int nr) {
    const int64_t lines = ahead->count, start = ahead->done;
    int64_t i = 0;
    for (; i + Q_ROWS <= p->rows; i += Q_ROWS) {
        ahead->due = start + (lines - start) * (i + Q_ROWS) / p->rows;
        q_tile(t, p, panel, i, column, v, first, blocks, ahead, Q_ROWS, nr);
    }
#ifdef Q_PAIRS
    for (; i + 2 <= p->rows; i += 2) q_tile(t, p, panel, i, column, v, first, blocks, ahead, 2, nr);
#endif
    // The switch is on values below Q_ROWS only.
    switch (p->rows - i) {
        case 1: q_tile(t, p, panel, i, column, v, first, blocks, ahead, 1, nr); break;
        case 2: q_tile(t, p, panel, i, column, v, first, blocks, ahead, Q_ROWS > 2 ? 2 : 1, nr); break;
        case 3: q_tile(t, p, panel, i, column, v, first, blocks, ahead, Q_ROWS > 3 ? 3 : 1, nr); break;
        default: break;
    }
}

INLINE void q_product(const vl_type t, const vl_product *p, int64_t first, int64_t last) {
    // Whole groups: columns of the last one beyond the matrix are computed and not stored.
    const int64_t end = (last + VL_GROUP_ROWS - 1) / VL_GROUP_ROWS * VL_GROUP_ROWS;
    if (p->rows <= Q_STREAM) {
        for (int64_t j = first; j < end; j += Q_DIRECT_PARTS * LANES) q_stream(t, p, j);
        return;
    }
    const int vectors = t == VL_TYPE_Q6_K && Q_VECTORS > 2 ? 2 : Q_VECTORS;
    q_panel panel;
    for (int64_t j = first; j < end; j += Q_GROUPS * VL_GROUP_ROWS) {
        const int64_t groups = end - j < Q_GROUPS * VL_GROUP_ROWS ? (end - j) / VL_GROUP_ROWS : Q_GROUPS;
        for (int64_t k = 0; k < p->depth / 32; k += Q_CHUNK / 32) {
            const int64_t blocks = p->depth / 32 - k < Q_CHUNK / 32 ? p->depth / 32 - k : Q_CHUNK / 32;
            q_fill(t, p, j, groups, k, blocks, &panel);
            q_ahead ahead = q_look_ahead(t, p, j, end, k + blocks);
            int64_t v = 0;
            for (; v + vectors <= groups * Q_PARTS; v += vectors)
                q_rows(t, p, &panel, j + v * LANES, v, k, blocks, &ahead, vectors);
            if (vectors > 2 && groups * Q_PARTS - v == 2) {
                q_rows(t, p, &panel, j + v * LANES, v, k, blocks, &ahead, 2);
                v += 2;
            }
            for (; v < groups * Q_PARTS; v++) q_rows(t, p, &panel, j + v * LANES, v, k, blocks, &ahead, 1);
        }
    }
}

// Float32 activations: a piece of the weights is decoded, then columns run in lanes.
INLINE void q_product_f32(const vl_type t, const vl_product *p, int64_t first, int64_t last) {
    enum { PIECE = 64 };
    const int64_t end = (last + VL_GROUP_ROWS - 1) / VL_GROUP_ROWS * VL_GROUP_ROWS;
    float weights[PIECE * VL_GROUP_ROWS];
    for (int64_t j = first; j < end; j += VL_GROUP_ROWS) {
        const uint8_t *group = (const uint8_t *)p->b + j / VL_GROUP_ROWS * packed_group(t, p->depth);
        for (int64_t k = 0; k < p->depth; k += PIECE) {
            const int64_t n = p->depth - k < PIECE ? p->depth - k : PIECE;
            vl_packed_columns(t, group, k, n, weights);
            for (int64_t i = 0; i < p->rows; i++) {
                const float *a = (const float *)p->a + i * p->a_stride + k;
                for (int64_t part = 0; part < Q_PARTS; part++) {
                    const int64_t column = j + part * LANES, left = p->columns - column;
                    if (left <= 0) break;
                    const float *c = p->c + i * p->c_stride + column;
                    vf acc = k == 0 ? vf_zero() : left >= LANES ? vf_load(c) : vf_load_part(c, left);
                    for (int64_t d = 0; d < n; d++)
                        acc = vf_fma(vf_set(a[d]), vf_load(weights + d * VL_GROUP_ROWS + part * LANES), acc);
                    q_store(p, i, column, k + n == p->depth ? q_add_bias(p, column, acc) : acc);
                }
            }
        }
    }
}

#define DEFINE_QUANTIZED(NAME, TYPE)                                                                                   \
    static void nt_q8_##NAME(const vl_product *p, int64_t first, int64_t last) { q_product(TYPE, p, first, last); }    \
    static void nt_f32_##NAME(const vl_product *p, int64_t first, int64_t last) { q_product_f32(TYPE, p, first, last); }
VL_BLOCK_TYPES(DEFINE_QUANTIZED)
