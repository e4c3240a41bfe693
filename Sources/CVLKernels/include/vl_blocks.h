/// Block formats: weights as small integers with scales.
///
/// Two forms of each. The **stored** form is that of GGUF files, row after row, each row whole blocks. The **packed** form
/// is what the product kernels read: groups of 16 rows whose codes are interleaved so that one vector holds 4 columns of
/// 16 rows, their scales beside them. Packing loses nothing and changes no size (but for the rounding of a row count to
/// 16, and 6-bit scales that become 8-bit ones: at most 2.8 %).
#ifndef VL_BLOCKS_H
#define VL_BLOCKS_H

#include <stdint.h>

#include "vl_kernels.h"

#pragma clang assume_nonnull begin

/// Rows in a group of the packed form.
enum { VL_GROUP_ROWS = 16 };

/// Values in a block: 32, or 256 for the K formats; 1 for F32, BF16, F16. A row holds whole blocks.
int64_t vl_block_length(vl_type type);
/// Bytes of a stored block.
int64_t vl_block_bytes(vl_type type);

/// Values of stored blocks as float32; `n` is a multiple of the block length.
void vl_decode(vl_type type, const void *blocks, float *values, int64_t n);

/// Stores `n` values (a multiple of the block length), rounded to the format's nearest.
///
/// Q8_0 gives the bytes that ggml's reference gives, and so do Q4_0, Q4_1, Q5_0 and Q5_1 without `importance`. With it,
/// and in the K formats, scales are searched that make the weighted squared error small. `importance` holds a weight for
/// each value, or is null; `n` values are then one row. Deterministic; NaN becomes 0.
void vl_encode(vl_type type, const float *values, const float *_Nullable importance, void *blocks, int64_t n);

/// Bytes of one packed group of 16 rows of `depth` values.
int64_t vl_packed_group_bytes(vl_type type, int64_t depth);
/// Packs stored rows `16 group`... into `packed` (the place of that group); rows from `rows` on become zeros.
void vl_pack_group(vl_type type, const void *stored, int64_t rows, int64_t depth, int64_t group, void *packed);
/// One row of a packed matrix (`packed` is its first group) as float32.
void vl_packed_row(vl_type type, const void *packed, int64_t depth, int64_t row, float *values);
/// Columns [first, first + n) of a group, column by column, 16 values each; both multiples of 32.
void vl_packed_columns(vl_type type, const void *group, int64_t first, int64_t n, float *values);

/// Bytes of a row of quantized activations: int8 codes, then a float scale and an int32 sum for each 32 codes, then an
/// int32 sum for each 16; then how many outliers there are, and room for them: values far greater than the row's others, of
/// which each block's scale would be too coarse for the rest of the block.
int64_t vl_q8_row_bytes(int64_t depth);
/// Bytes of a row up to its last outlier: what is behind it has no meaning.
int64_t vl_q8_used_bytes(const void *row, int64_t depth);

/// The kernel for quantized activations ([rows], `a_stride` in bytes) and packed weights of a type; its column ranges
/// begin at multiples of 16. Null for types that are not packed.
vl_product_fn _Nullable vl_product_q8(const vl_kernels *kernels, vl_type type);
/// The kernel for float32 activations and packed weights of a type. Null for types that are not packed.
vl_product_fn _Nullable vl_product_f32(const vl_kernels *kernels, vl_type type);

#pragma clang assume_nonnull end

#endif
