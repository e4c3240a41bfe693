// Attention over a blocked cache: the scalar one's values within a bound, and the same bits in every tile.
#include "check.h"

typedef struct {
    int64_t groups, heads, qk, v, keys, tokens;
    int causal;
} shape;

static void attend(const vl_kernels *k, const shape *c, const vl_attention *p, int64_t tile, int64_t head_tile,
                   int64_t group_tile, float *out) {
    float *scratch = place(5, VL_ATTENTION_SCRATCH * 4);
    for (int64_t g = 0; g < c->groups; g += group_tile) {
        vl_attention part = *p;
        part.q += g * p->group_q_stride;
        part.out = out + g * p->group_out_stride;
        part.k_offset += g * p->group_k_stride;
        part.v_offset += g * p->group_v_stride;
        part.groups = g + group_tile < c->groups ? group_tile : c->groups - g;
        for (int64_t t = 0; t < c->tokens; t += tile) {
            for (int64_t h = 0; h < c->heads; h += head_tile) {
                const int64_t t1 = t + tile < c->tokens ? t + tile : c->tokens;
                const int64_t h1 = h + head_tile < c->heads ? h + head_tile : c->heads;
                k->attend(&part, t, t1, h, h1, scratch);
            }
        }
    }
}

static void check_shape(const vl_kernels *k, const shape *c, int type) {
    const vl_kernels *s = vl_kernels_for(VL_ISA_SCALAR);
    const int64_t stride = c->groups * (c->qk + c->v), heads = c->groups * c->heads;
    const int64_t blocks = (c->keys + VL_ATTENTION_BLOCK - 1) / VL_ATTENTION_BLOCK;
    const int64_t count = blocks * VL_ATTENTION_BLOCK * stride;
    const float *q = numbers(0, c->tokens * heads * c->qk, 2), *cache = numbers(1, count, 1.5f);
    const int64_t bytes = count / vl_block_length((vl_type)type) * vl_block_bytes((vl_type)type);
    char *kept = place(2, bytes);
    if (type == VL_TYPE_F32) memcpy(kept, cache, (size_t)bytes);
    else if (type == VL_TYPE_Q8_0) vl_encode(VL_TYPE_Q8_0, cache, 0, kept, count);
    else memcpy(kept, narrowed(6, cache, count, type == VL_TYPE_F16), (size_t)bytes);
    const void *table[8];
    for (int64_t b = 0; b < blocks; b++) table[b] = kept + b * (bytes / blocks);
    const int64_t outputs = c->tokens * heads * c->v;
    float *out[3] = {place(3, outputs * 4), place(4, outputs * 4), place(7, outputs * 4)};
    const vl_attention p = {q,
                            heads * c->qk,
                            c->qk,
                            out[0],
                            heads * c->v,
                            c->v,
                            table,
                            0,
                            c->groups * c->qk,
                            stride,
                            c->groups,
                            c->heads * c->qk,
                            c->heads * c->v,
                            c->qk,
                            c->v,
                            c->qk,
                            c->v,
                            c->keys,
                            c->keys - c->tokens,
                            c->causal,
                            type,
                            0,
                            0.3f};
    const int64_t tile = VL_ATTENTION_ROWS / c->heads > 0 ? VL_ATTENTION_ROWS / c->heads : 1;
    attend(k, c, &p, tile, c->heads, 1, out[0]);
    attend(s, c, &p, 1, 1, 1, out[1]);
    attend(k, c, &p, 1, 1, c->groups, out[2]);
    CHECK(error_of(out[0], out[1], outputs) < 4e-6f, "%s: attention to %lld keys of type %d: error %g", k->name,
          (long long)c->keys, type, (double)error_of(out[0], out[1], outputs));
    CHECK(same_bits(out[0], out[2], outputs), "%s: attention to %lld keys in other tiles", k->name, (long long)c->keys);
}

void check_attention(const vl_kernels *k) {
    static const shape shapes[] = {
        {1, 1, 16, 16, 5, 5, 0},  {1, 1, 72, 72, 200, 31, 0}, {1, 1, 128, 128, 130, 30, 1}, {1, 4, 48, 32, 70, 6, 1},
        {1, 2, 96, 64, 66, 3, 1}, {1, 16, 80, 64, 65, 1, 1},  {1, 3, 9, 7, 129, 9, 1},      {10, 1, 64, 64, 150, 1, 1},
        {5, 3, 64, 32, 67, 2, 1}, {3, 2, 18, 9, 64, 1, 0},
    };
    static const int types[] = {VL_TYPE_F32, VL_TYPE_BF16, VL_TYPE_F16, VL_TYPE_Q8_0};
    seed(4);
    for (unsigned i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (int t = 0; t < 4; t++) {
            if (types[t] == VL_TYPE_Q8_0 && (shapes[i].qk % 32 != 0 || shapes[i].v % 32 != 0)) continue;
            check_shape(k, &shapes[i], types[t]);
        }
    }
}
