// The integer sums of a panel's tile by SMMLA, which multiplies 2 rows of 8 columns with 2 rows of 8 columns and adds the
// 2 x 2 sums of 8 products. quant.inc.h includes this file for instruction sets that define Q_PAIRS.
//
// The packed form has 4 columns of 4 rows in a vector. Two vectors, zipped by 32 bits, are two pairs of rows with 8
// columns each; that is done once, when a panel is unpacked, and takes no more room. The activations' side is zipped from
// two rows as they lie. Integer sums are exact, so the bits are those of every other instruction set.
//
// What it saves, in instructions for 4 rows, 16 rows of weights and a block of 32 columns (2048 multiply-adds):
//            multiply-adds   loads of codes   loads and zips of activations   zips of sums   in all
//   SDOT     128             32               16                               0             176
//   SMMLA     64             32               32                              16             144
// With a tile of two vectors, as for SDOT: sums and accumulators then fit the registers (8 + 8 + operands; 4 x 4 needs
// 16 + 16 and spills).
// Up to four rows are multiplied by SDOT straight from the packed weights (q_direct): there the weights are read once from
// memory, which is what takes the time, and SMMLA would want the zips for every block.

// Codes of 32 columns of 4 rows: in place of vectors j and j + 1 for even j, rows 0 and 1, then rows 2 and 3.
INLINE void q_arrange(const vl_type t, vq w[8]) {
    UNROLL for (int j = 0; j < 8; j += 2) {
        const vq first = vzip1q_s32(w[j], w[j + 1]), second = vzip2q_s32(w[j], w[j + 1]);
        w[j] = first;
        w[j + 1] = second;
    }
    if (packed_bits(t) == 8) {
        // Signed once here, and not at every product.
        UNROLL for (int j = 0; j < 8; j++) w[j] = vreinterpretq_s32_u8(veorq_u8(vq_u8(w[j]), vdupq_n_u8(0x80)));
    }
}

// Sums of columns [16 half, 16 half + 16) of a block for rows i and i + 1; the second may be missing.
INLINE void q_pair_sums(const vl_type t, const vl_product *p, const q_panel *panel, const int8_t *a, int64_t v,
                        int64_t place, int64_t block, const int half, const int two, const int nr,
                        int32x4_t (*sums)[2]) {
    const int8x16_t zero = vdupq_n_s8(0);
    const int8x16_t upper = vld1q_s8(a + 32 * place + 16 * half);
    const int8x16_t lower = two ? vld1q_s8(a + p->a_stride + 32 * place + 16 * half) : zero;
    int8x16_t rows[2];
    rows[0] = vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(upper), vreinterpretq_s64_s8(lower)));
    rows[1] = vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(upper), vreinterpretq_s64_s8(lower)));
    UNROLL for (int j = 0; j < 2; j++) {
        UNROLL for (int n = 0; n < nr; n++) {
            UNROLL for (int pair = 0; pair < 2; pair++) {
                const vq w = vq_load(panel->codes[v + n][block][4 * half + 2 * j + pair]);
                sums[n][pair] = vmmlaq_s32(sums[n][pair], rows[j], vreinterpretq_s8_s32(w));
            }
        }
    }
}

// From (row, row of weights) as SMMLA leaves them, to a vector for each row.
INLINE vq q_upper(const int32x4_t *sums) {
    return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(sums[0]), vreinterpretq_s64_s32(sums[1])));
}
INLINE vq q_lower(const int32x4_t *sums) {
    return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(sums[0]), vreinterpretq_s64_s32(sums[1])));
}

INLINE int32x4_t q_pair_start(const vl_type t, int32_t upper, int32_t lower) {
    if (q_zero(t) == 0) return vdupq_n_s32(0);
    return vmulq_n_s32(vcombine_s32(vdup_n_s32(upper), vdup_n_s32(lower)), -q_zero(t));
}

INLINE void q_sums(const vl_type t, const vl_product *p, const q_panel *panel, const int8_t *a, int64_t v,
                   int64_t first, int64_t block, const int mr, const int nr, vq sum[Q_ROWS][Q_VECTORS]) {
    UNROLL for (int i = 0; i < mr; i += 2) {
        const int8_t *upper = a + i * p->a_stride;
        const int two = i + 1 < mr;
        const int8_t *lower = two ? upper + p->a_stride : upper;
        const int64_t place = first + block;
        if (t == VL_TYPE_Q6_K) {
            const int32_t *u = q8_half_sums(upper, p->depth) + 2 * place;
            const int32_t *l = q8_half_sums(lower, p->depth) + 2 * place;
            UNROLL for (int half = 0; half < 2; half++) {
                int32x4_t part[Q_VECTORS][2];
                UNROLL for (int n = 0; n < nr; n++) part[n][0] = part[n][1] = q_pair_start(t, u[half], l[half]);
                q_pair_sums(t, p, panel, upper, v, place, block, half, two, nr, part);
                UNROLL for (int n = 0; n < nr; n++) {
                    const vq scale = panel->scales[v + n][block].small[half];
                    const vq one = vq_times(q_upper(part[n]), scale);
                    sum[i][n] = half == 0 ? one : vq_plus(sum[i][n], one);
                    if (!two) continue;
                    const vq other = vq_times(q_lower(part[n]), scale);
                    sum[i + 1][n] = half == 0 ? other : vq_plus(sum[i + 1][n], other);
                }
            }
        } else {
            const int32x4_t start = q_pair_start(t, q8_sums(upper, p->depth)[place], q8_sums(lower, p->depth)[place]);
            int32x4_t both[Q_VECTORS][2];
            UNROLL for (int n = 0; n < nr; n++) both[n][0] = both[n][1] = start;
            q_pair_sums(t, p, panel, upper, v, place, block, 0, two, nr, both);
            q_pair_sums(t, p, panel, upper, v, place, block, 1, two, nr, both);
            UNROLL for (int n = 0; n < nr; n++) {
                sum[i][n] = q_upper(both[n]);
                if (two) sum[i + 1][n] = q_lower(both[n]);
            }
        }
    }
}
