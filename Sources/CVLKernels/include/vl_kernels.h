/// The arithmetic contract between Swift and C: every kernel's type and meaning, one table an instruction set.
///
/// Shared rules. Matrices are row-major; strides count elements, not bytes. No kernel allocates, locks, starts a
/// thread or keeps state. Pointers need the alignment of their element only. Outputs never overlap inputs unless a
/// kernel says so. **Each output element is summed in one order that depends on the instruction set and on the inner
/// dimension alone**, never on how many rows or columns a call covers: callers may split work as they like and get the
/// same bits.
#ifndef VL_KERNELS_H
#define VL_KERNELS_H

#include <stdint.h>

#pragma clang assume_nonnull begin

/// Instruction sets, in rising order of preference on their architecture.
typedef enum {
    VL_ISA_SCALAR = 0,
    VL_ISA_AVX2 = 1,        // AVX2, FMA, F16C
    VL_ISA_AVX512 = 2,      // AVX-512 F, BW, VL, DQ
    VL_ISA_AVX512VNNI = 3,  // the same with VNNI: 8-bit dot products
    VL_ISA_AVX512BF16 = 4,  // the same with BF16 dot products
    VL_ISA_NEON = 5,        // ARMv8-A
    VL_ISA_NEONDOT = 6,     // the same with 8-bit dot products (ARMv8.2-A)
    VL_ISA_NEONI8MM = 7,    // the same with 8-bit matrix products (ARMv8.6-A)
    VL_ISA_NEONBF16 = 8,    // the same with bfloat16 matrix products
    VL_ISA_COUNT = 9
} vl_isa;

/// Element types of matrices; those from VL_TYPE_Q8_0 on are block formats (see vl_blocks.h).
typedef enum {
    VL_TYPE_F32 = 0,
    VL_TYPE_BF16 = 1,
    VL_TYPE_F16 = 2,
    VL_TYPE_Q8_0 = 3,
    VL_TYPE_Q4_0 = 4,
    VL_TYPE_Q4_1 = 5,
    VL_TYPE_Q5_0 = 6,
    VL_TYPE_Q5_1 = 7,
    VL_TYPE_Q4_K = 8,
    VL_TYPE_Q5_K = 9,
    VL_TYPE_Q6_K = 10
} vl_type;

/// One matrix product, C = A B + bias.
///
/// A is [rows, depth]; C is [rows, columns] float32. B is [columns, depth] ("nt" kernels, as checkpoints store
/// weights) or [depth, columns] ("nn" kernels).
typedef struct {
    const void *a;
    int64_t a_stride;
    const void *b;
    int64_t b_stride;
    float *c;
    int64_t c_stride;
    const float *_Nullable bias;  // [columns], added after the sum, or null
    int64_t rows;
    int64_t columns;
    int64_t depth;
    int32_t accumulate;  // "nn" kernels: start from what C holds instead of zero
    int64_t ahead;  // bytes from each row of B to one that is read soon after the product, to be brought near; or 0
} vl_product;

/// Computes columns [first, last) of a product. The types of A and B are those of the table's entry.
typedef void (*vl_product_fn)(const vl_product *product, int64_t first, int64_t last);

/// Number of positions in a block of the key-value cache. Attention folds one block after the other into the running
/// softmax, so this number is part of the summation order.
enum { VL_ATTENTION_BLOCK = 64 };

/// Largest number of (token, head, group) triples that one `attend` call may cover.
enum { VL_ATTENTION_ROWS = 32 };

/// Floats of scratch that one `attend` call needs.
enum { VL_ATTENTION_SCRATCH = VL_ATTENTION_ROWS * (VL_ATTENTION_BLOCK + 2) };

/// Softmax attention of query vectors over a blocked cache, for groups of heads that share a key-value head.
///
/// Key j of group 0 lies at `blocks[j / 64] + (k_offset + (j % 64) * position_stride)` elements of the cache's type; its
/// value vector likewise from `v_offset`. The query vector of (token t, head h) lies at
/// `q + t * q_token_stride + h * q_head_stride`; the output likewise. Group g has all of these g group strides further.
typedef struct {
    const float *q;
    int64_t q_token_stride;
    int64_t q_head_stride;
    float *out;
    int64_t out_token_stride;
    int64_t out_head_stride;
    const void *const _Nonnull *_Nonnull blocks;
    int64_t k_offset;
    int64_t v_offset;
    int64_t position_stride;
    int64_t groups;
    int64_t group_q_stride;
    int64_t group_out_stride;
    int64_t group_k_stride;
    int64_t group_v_stride;
    int64_t qk_dim;
    int64_t v_dim;
    int64_t key_count;       // positions that hold a key
    int64_t first_position;  // position of token 0; token t sees the keys 0...first_position + t if causal
    int32_t causal;
    int32_t type;    // vl_type of keys and values: a float type, or Q8_0 if all widths and offsets are multiples of 32
    int32_t rounds;  // whether queries and the softmax's weights may be rounded to bfloat16, for a cache in bfloat16
    float scale;     // multiplies each score after the dot product
} vl_attention;

/// Queries that one `attend_dense` call may cover.
enum { VL_DENSE_ROWS = 24 };

/// Softmax attention of one head in which every query sees every key, in bfloat16: queries, keys, values and the softmax's
/// weights are rounded to bfloat16, their products are exact, sums are float32 (in pairs, as the processor's dot product
/// adds them). Keys are folded in blocks of VL_ATTENTION_BLOCK into the running softmax.
///
/// With `distance_rows`, keys and queries are places of a grid, row after row, and a score gains the query's products with
/// the distances of rows and of columns (decomposed relative positions, arXiv:2112.01526).
typedef struct {
    const float *q;  // query of token t at q + t * q_stride
    int64_t q_stride;
    float *out;  // output of token t at out + t * out_stride
    int64_t out_stride;
    const uint16_t *keys;                        // as vl_dense_pack_keys leaves them
    const uint16_t *values;                      // as vl_dense_pack_values leaves them
    const uint16_t *_Nullable distance_rows;     // as vl_dense_pack_distances leaves them for grid_height
    const uint16_t *_Nullable distance_columns;  // and for grid_width
    int64_t grid_height;
    int64_t grid_width;
    int64_t key_count;
    int64_t qk_dim;  // even
    int64_t v_dim;
    float scale;  // multiplies each product of a query and a key
} vl_dense_attention;

/// Elements of a head's packed keys: [blocks of 64 keys][dim / 2][64 keys][2].
int64_t vl_dense_keys_size(int64_t count, int64_t dim);
/// Elements of a head's packed values: [blocks of 64 keys][32 pairs of keys][dim rounded up to 16][2].
int64_t vl_dense_values_size(int64_t count, int64_t dim);
/// Elements of packed distances of `side` places: [side][dim / 2][side rounded up to 16][2].
int64_t vl_dense_distances_size(int64_t side, int64_t dim);
/// Packs keys [count, dim], `stride` floats from one to the next.
void vl_dense_pack_keys(uint16_t *out, const float *keys, int64_t stride, int64_t count, int64_t dim);
/// Packs values [count, dim], `stride` floats from one to the next.
void vl_dense_pack_values(uint16_t *out, const float *values, int64_t stride, int64_t count, int64_t dim);
/// Packs a vector for each distance, [2 * side - 1, dim]: entry [place][..][other] is that of place - other.
void vl_dense_pack_distances(uint16_t *out, const float *table, int64_t side, int64_t dim);
/// Bytes of scratch that a call of `attend_dense` needs.
int64_t vl_dense_scratch(const vl_dense_attention *attention);

/// Everything an operation of the engine may call. A null entry means that the set has no such kernel.
typedef struct vl_kernels {
    vl_isa isa;
    const char *name;

    /// A float32 [rows, depth] times B^T, B of the type that ends the name, accumulated in float32.
    vl_product_fn nt_f32_f32;
    vl_product_fn nt_f32_bf16;
    vl_product_fn nt_f32_f16;
    /// A bfloat16 times B^T bfloat16, products exact, accumulated in float32; null without hardware support.
    vl_product_fn _Nullable nt_bf16_bf16;
    /// A float32 [rows, depth] times B [depth, columns], accumulated in float32.
    vl_product_fn nn_f32_f32;
    vl_product_fn nn_f32_bf16;
    vl_product_fn nn_f32_f16;

    /// Quantized activations (rows of vl_q8_row_bytes, `a_stride` in bytes) times B^T, B packed in the format that ends
    /// the name; columns [first, last) begin at a multiple of 16. Integer sums within 32 columns are exact; block after
    /// block is added in float32, with the same operations in every instruction set.
    vl_product_fn nt_q8_q8_0, nt_q8_q4_0, nt_q8_q4_1, nt_q8_q5_0, nt_q8_q5_1, nt_q8_q4_k, nt_q8_q5_k, nt_q8_q6_k;
    /// Float32 activations times B^T, B packed, its values decoded exactly, accumulated in float32.
    vl_product_fn nt_f32_q8_0, nt_f32_q4_0, nt_f32_q4_1, nt_f32_q5_0, nt_f32_q5_1, nt_f32_q4_k, nt_f32_q5_k,
        nt_f32_q6_k;
    /// Quantizes n values (a multiple of 32) as a row of vl_q8_row_bytes: code = x * (127 / largest of 32), ties to even,
    /// without the values that stand out of the row, which are kept behind the codes.
    void (*q8_from_f32)(void *row, const float *x, int64_t n);

    /// Tokens [t0, t1) times heads [h0, h1) of each group, at most VL_ATTENTION_ROWS in all; `scratch` is
    /// VL_ATTENTION_SCRATCH floats.
    void (*attend)(const vl_attention *attention, int64_t t0, int64_t t1, int64_t h0, int64_t h1, float *scratch);

    /// Whether `attend` is faster over a cache in bfloat16 if it may round.
    int32_t attend_rounds;

    /// Tokens [t0, t1), at most VL_DENSE_ROWS, of a dense attention; null where a table has no form of its own.
    void (*_Nullable attend_dense)(const vl_dense_attention *attention, int64_t t0, int64_t t1, void *scratch);

    /// y = x / sqrt(mean(x^2) + eps) * weight over n values; y may be x.
    void (*rms_norm)(float *y, const float *x, const float *weight, float eps, int64_t n);
    /// y = (x - mean) / sqrt(variance + eps) * weight + bias over n values; y may be x.
    void (*layer_norm)(float *y, const float *x, const float *weight, const float *bias, float eps, int64_t n);
    /// Rotates n / 2 pairs (x[i], x[i + n / 2]) by the angles whose cosine and sine are given; in place.
    void (*rotate_halves)(float *x, const float *cosine, const float *sine, int64_t n);
    /// y = gate / (1 + exp(-gate)) * up; y may be gate or up.
    void (*silu_multiply)(float *y, const float *gate, const float *up, int64_t n);
    /// y = 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))); y may be x.
    void (*gelu_tanh)(float *y, const float *x, int64_t n);
    /// y = 0.5 x (1 + erf(x / sqrt(2))); y may be x.
    void (*gelu_erf)(float *y, const float *x, int64_t n);
    /// y += x.
    void (*add)(float *y, const float *x, int64_t n);
    /// y += scale * x.
    void (*add_scaled)(float *y, const float *x, float scale, int64_t n);
    /// y = exp(x) to within 2 units in the last place; 0 below -103, infinity above 88.73; y may be x.
    void (*exponential)(float *y, const float *x, int64_t n);
    /// y = x, exactly.
    void (*f32_from_bf16)(float *y, const uint16_t *x, int64_t n);
    void (*f32_from_f16)(float *y, const uint16_t *x, int64_t n);
    /// y = x rounded, ties to even; NaN stays NaN.
    void (*bf16_from_f32)(uint16_t *y, const float *x, int64_t n);
    void (*f16_from_f32)(uint16_t *y, const float *x, int64_t n);
} vl_kernels;

/// The table of an instruction set, or null when this build or this processor does not have it.
const vl_kernels *_Nullable vl_kernels_for(vl_isa isa);

/// The best table of this processor; the environment variable VL_ISA (a table's name) asks for another one, and is
/// ignored when that set is not available.
const vl_kernels *vl_kernels_best(void);

/// The processor's name as it reports it, or "unknown"; valid for the life of the process.
const char *vl_cpu_name(void);

/// Touches `bytes` bytes once and returns a sum that depends on all of them: the read-bandwidth probe of `bench --limits`.
uint64_t vl_probe_read(const void *data, int64_t bytes);
/// Runs `rounds` rounds of independent float32 fused multiply-adds; returns the number of floating-point operations.
double vl_probe_f32(int64_t rounds);
/// The same with bfloat16 dot products; 0 when the processor has none.
double vl_probe_bf16(int64_t rounds);
/// The same with 8-bit integer dot products; 0 when the processor has none.
double vl_probe_int8(int64_t rounds);

/// A product as a job that threads share: ranges of its columns are units of work.
typedef struct {
    vl_product product;
    vl_product_fn kernel;
    int64_t unit_columns;  // set by vl_product_plan
    int64_t first_unit;    // set by vl_product_plan
} vl_product_job;

/// Jobs that run in one parallel region.
typedef struct {
    vl_product_job *jobs;
    int64_t count;
} vl_product_jobs;

/// Cuts the jobs into units of similar work, enough of them for `threads` threads; returns the number of units.
int64_t vl_product_plan(const vl_product_jobs *jobs, int32_t threads);

/// Runs one unit; the body of a parallel region over the number that vl_product_plan returned.
void vl_product_unit(void *_Nullable jobs, int64_t unit, int worker);

/// Attention of some tokens over one cache, for all of its groups with `heads` query heads each.
typedef struct {
    vl_attention attention;
    int64_t tokens;
    int64_t heads;
    int64_t tile_tokens;  // set by vl_attention_plan
    int64_t tile_heads;   // set by vl_attention_plan
    int64_t tile_groups;  // set by vl_attention_plan
    int64_t first_unit;   // set by vl_attention_plan
} vl_attention_job;

/// Attention jobs that run in one parallel region.
typedef struct {
    vl_attention_job *jobs;
    int64_t count;
    void (*attend)(const vl_attention *attention, int64_t t0, int64_t t1, int64_t h0, int64_t h1, float *scratch);
} vl_attention_jobs;

/// Cuts the jobs into tiles of at most VL_ATTENTION_ROWS (token, head, group) triples; returns the number of units.
int64_t vl_attention_plan(const vl_attention_jobs *jobs, int32_t threads);

/// Runs one unit; the body of a parallel region over the number that vl_attention_plan returned.
void vl_attention_unit(void *_Nullable jobs, int64_t unit, int worker);

#pragma clang assume_nonnull end

#endif
