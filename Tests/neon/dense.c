// Dense attention in bfloat16: the scalar one's values within the bound of docs/numerics.md, the rounding that neonbf16.c
// states, and the same bits in every tile.
#include "check.h"

typedef struct {
    int64_t keys, qk, v, height, width;
    float scale;
} shape;

// What lies where: `place` of each operand.
enum { FUSED = 0, KEYS, VALUES, ROWS, COLUMNS, SCRATCH, TABLE_ROWS, TABLE_COLUMNS, OUT };

static void attend(const vl_kernels *k, vl_dense_attention *p, int64_t tile, float *out) {
    const int64_t bytes = vl_dense_scratch(p);
    char *scratch = place(SCRATCH, bytes);
    // What a kernel does not write first must not matter: all ones are no number.
    memset(scratch, 0xff, (size_t)bytes);
    p->out = out;
    for (int64_t t = 0; t < p->key_count; t += tile) {
        const int64_t end = t + tile < p->key_count ? t + tile : p->key_count;
        k->attend_dense(p, t, end, scratch);
    }
}

static vl_dense_attention prepared(const shape *c) {
    const int64_t stride = 2 * c->qk + c->v + 3;
    const float *fused = numbers(FUSED, c->keys * stride, 2);
    uint16_t *keys = place(KEYS, 2 * vl_dense_keys_size(c->keys, c->qk));
    uint16_t *values = place(VALUES, 2 * vl_dense_values_size(c->keys, c->v));
    vl_dense_pack_keys(keys, fused + c->qk, stride, c->keys, c->qk);
    vl_dense_pack_values(values, fused + 2 * c->qk, stride, c->keys, c->v);
    vl_dense_attention p = {.q = fused,
                            .q_stride = stride,
                            .out_stride = c->v,
                            .keys = keys,
                            .values = values,
                            .grid_height = c->height,
                            .grid_width = c->width,
                            .key_count = c->keys,
                            .qk_dim = c->qk,
                            .v_dim = c->v,
                            .scale = c->scale};
    if (c->width > 0) {
        uint16_t *rows = place(ROWS, 2 * vl_dense_distances_size(c->height, c->qk));
        uint16_t *columns = place(COLUMNS, 2 * vl_dense_distances_size(c->width, c->qk));
        vl_dense_pack_distances(rows, numbers(TABLE_ROWS, (2 * c->height - 1) * c->qk, 1), c->height, c->qk);
        vl_dense_pack_distances(columns, numbers(TABLE_COLUMNS, (2 * c->width - 1) * c->qk, 1), c->width, c->qk);
        p.distance_rows = rows;
        p.distance_columns = columns;
    }
    return p;
}

// Attention of one query in float64, from the operands as they are packed; nothing is rounded but the operands. `sizes` is
// what the weighted values add up to without their signs.
static void exact(const vl_dense_attention *p, int64_t t, double *out, double *sizes) {
    static double scores[4096];
    double top = -INFINITY, total = 0;
    for (int64_t j = 0; j < p->key_count; j++) {
        double score = 0;
        for (int64_t d = 0; d < p->qk_dim; d++) {
            const double q = (double)vl_f32_of_bf16(vl_bf16_of(p->q[t * p->q_stride + d]));
            const int64_t height = (p->grid_height + 15) / 16 * 16, width = (p->grid_width + 15) / 16 * 16;
            const int64_t at = j / 64 * 64 * p->qk_dim + (d / 2 * 64 + j % 64) * 2 + d % 2;
            score += q * (double)vl_f32_of_bf16(p->keys[at]) * (double)p->scale;
            if (!p->distance_rows) continue;
            const int64_t y = t / p->grid_width, x = t % p->grid_width;
            const int64_t row = (y * p->qk_dim * height) + (d / 2 * height + j / p->grid_width) * 2 + d % 2;
            const int64_t column = (x * p->qk_dim * width) + (d / 2 * width + j % p->grid_width) * 2 + d % 2;
            score += q * ((double)vl_f32_of_bf16(p->distance_rows[row]) +
                          (double)vl_f32_of_bf16(p->distance_columns[column]));
        }
        scores[j] = score;
        top = fmax(top, score);
    }
    for (int64_t d = 0; d < p->v_dim; d++) out[d] = sizes[d] = 0;
    const int64_t width = (p->v_dim + 15) / 16 * 16;
    for (int64_t j = 0; j < p->key_count; j++) {
        const double weight = exp(scores[j] - top);
        total += weight;
        for (int64_t d = 0; d < p->v_dim; d++) {
            const double part = weight * (double)vl_f32_of_bf16(p->values[(j / 2 * width + d) * 2 + j % 2]);
            out[d] += part;
            sizes[d] += fabs(part);
        }
    }
    for (int64_t d = 0; d < p->v_dim; d++) out[d] /= total, sizes[d] /= total;
}

static void check_shape(const vl_kernels *k, const shape *c) {
    const vl_kernels *s = vl_kernels_for(VL_ISA_SCALAR);
    vl_dense_attention p = prepared(c);
    const int64_t outputs = c->keys * c->v;
    float *out[3] = {place(OUT, outputs * 4), place(OUT + 1, outputs * 4), place(OUT + 2, outputs * 4)};
    attend(k, &p, VL_DENSE_ROWS, out[0]);
    attend(s, &p, 1, out[1]);
    float largest = 1e-30f, worst = 0;
    for (int64_t i = 0; i < outputs; i++) largest = fmaxf(largest, fabsf(out[1][i]));
    for (int64_t i = 0; i < outputs; i++) worst = fmaxf(worst, fabsf(out[0][i] - out[1][i]));
    // A weight between two bfloat16 numbers may be rounded the other way: 2^-8 of its part, and the parts add up to one.
    CHECK(worst < 4e-3f * largest && error_of(out[0], out[1], outputs) < 4e-3f,
          "%s: dense attention to %lld keys of %lld: error %g", k->name, (long long)c->keys, (long long)c->qk,
          (double)(worst / largest));
    // Against numbers that round nothing else: a weight's rounding is 2^-8 of it at most. Scores, and with them the logarithms
    // of weights, err by 2^-23 of their terms at each of some hundred additions.
    for (int64_t t = 0; t < c->keys; t += 7) {
        static double expected[256], sizes[256];
        exact(&p, t, expected, sizes);
        double off = 0;
        for (int64_t d = 0; d < c->v; d++)
            off = fmax(off, fabs((double)out[0][t * c->v + d] - expected[d]) / (sizes[d] + 1e-6));
        CHECK(off < 0x1p-8 + 3e-4, "%s: query %lld of %lld is off by %g", k->name, (long long)t, (long long)c->keys,
              off);
    }
    static const int64_t tiles[] = {1, 2, 5, 7, 12, 23};
    for (unsigned i = 0; i < sizeof tiles / sizeof tiles[0]; i++) {
        attend(k, &p, tiles[i], out[2]);
        CHECK(same_bits(out[0], out[2], outputs), "%s: dense attention to %lld keys in tiles of %lld", k->name,
              (long long)c->keys, (long long)tiles[i]);
    }
    // A query that is no number, or too large, leaves its neighbours alone.
    if (c->keys < 2) return;
    float *q = (float *)place(FUSED, c->keys * p.q_stride * 4) + c->keys / 2 * p.q_stride;
    const float kept = q[0];
    for (int i = 0; i < 2; i++) {
        q[0] = i == 0 ? NAN : INFINITY;
        attend(k, &p, VL_DENSE_ROWS, out[2]);
        const int64_t before = c->keys / 2 * c->v, after = before + c->v;
        CHECK(same_bits(out[0], out[2], before) && same_bits(out[0] + after, out[2] + after, outputs - after),
              "%s: neighbours of a query with %g, %lld keys", k->name, (double)q[0], (long long)c->keys);
        for (int64_t d = 0; i == 0 && d < c->v; d++)
            CHECK(isnan(out[2][before + d]), "%s: a query that is no number gives %g", k->name,
                  (double)out[2][before + d]);
    }
    q[0] = kept;
}

// One key: the weight is 1, and the output is its value, exactly. Two keys with equal scores: half of both.
static void check_choice(const vl_kernels *k) {
    float *fused = place(FUSED, 3 * 12 * 4), *out = place(OUT, 3 * 4 * 4);
    for (int keys = 1; keys <= 2; keys++) {
        for (int i = 0; i < 36; i++) fused[i] = (float)(i % 12 < 8 ? i % 4 + 1 : i);
        uint16_t *packed = place(KEYS, 2 * vl_dense_keys_size(keys, 4));
        uint16_t *values = place(VALUES, 2 * vl_dense_values_size(keys, 4));
        vl_dense_pack_keys(packed, fused + 4, 12, keys, 4);
        vl_dense_pack_values(values, fused + 8, 12, keys, 4);
        vl_dense_attention p = {.q = fused,
                                .q_stride = 12,
                                .out = out,
                                .out_stride = 4,
                                .keys = packed,
                                .values = values,
                                .key_count = keys,
                                .qk_dim = 4,
                                .v_dim = 4,
                                .scale = 0.5f};
        k->attend_dense(&p, 0, 3, place(SCRATCH, vl_dense_scratch(&p)));
        for (int i = 0; i < 12; i++) {
            const float expected = (float)(8 + i % 4) + (keys == 2 ? 6.0f : 0.0f);
            CHECK(out[i] == expected, "%s: %d equal keys give %g, expected %g", k->name, keys, (double)out[i],
                  (double)expected);
        }
    }
}

void check_dense(const vl_kernels *k) {
    static const shape shapes[] = {
        {1, 2, 1, 0, 0, 0.3f},      {63, 72, 72, 0, 0, 0.3f},  {64, 64, 64, 0, 0, 0.3f},    {65, 18, 33, 0, 0, 0.3f},
        {200, 72, 72, 0, 0, 3},     {129, 6, 5, 0, 0, 40},     {196, 64, 64, 14, 14, 0.3f}, {96, 32, 32, 6, 16, 0.3f},
        {128, 64, 64, 2, 64, 0.3f}, {15, 16, 16, 3, 5, 0.3f},  {6, 8, 8, 6, 1, 3},          {80, 10, 20, 5, 16, 1},
        {160, 64, 48, 2, 80, 0.1f}, {66, 20, 16, 66, 1, 0.5f},
    };
    // A table without bfloat16 products has no use for it: float32 attention is as fast there, and rounds nothing.
    CHECK((k->attend_dense != 0) == (k->nt_bf16_bf16 != 0), "%s: dense attention and bfloat16 products", k->name);
    if (!k->attend_dense) return;
    seed(6);
    check_choice(k);
    for (unsigned i = 0; i < sizeof shapes / sizeof shapes[0]; i++) check_shape(k, &shapes[i]);
}
