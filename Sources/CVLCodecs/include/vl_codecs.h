/// Pictures to and from bytes, through the system's codec libraries, and Pillow's resampling.
///
/// A picture is read in two steps, so that its size can be judged before memory is taken for it: `vl_image_probe` reads
/// the header, `vl_image_decode` fills a buffer of the caller. Every jump that a library needs for its errors stays in C.
#ifndef VL_CODECS_H
#define VL_CODECS_H

#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

/// Formats that the codecs read; the bytes decide, not the name.
typedef enum {
    VL_IMAGE_UNKNOWN = 0,
    VL_IMAGE_JPEG = 1,
    VL_IMAGE_PNG = 2,
    VL_IMAGE_WEBP = 3,
    VL_IMAGE_GIF = 4,
    VL_IMAGE_TIFF = 5
} vl_image_format;

/// What a header says.
typedef struct {
    int32_t format;  // vl_image_format
    int64_t width;
    int64_t height;
    int32_t orientation;  // TIFF's own tag, 1 to 8; 1 for the other formats, whose EXIF data the caller reads
} vl_image_info;

/// Bytes of an error text, the terminating zero included.
enum { VL_IMAGE_ERROR_SIZE = 200 };

/// Progressive JPEG scans that are decoded at most (a quarter of them for large pictures): legal files with tens of
/// thousands take minutes.
enum { VL_JPEG_SCAN_LIMIT = 100 };

/// The format that the first bytes announce.
vl_image_format vl_image_sniff(const uint8_t *bytes, size_t size);

/// Reads the header. Returns 0, or 1 with a text in `error` (VL_IMAGE_ERROR_SIZE bytes).
int vl_image_probe(const uint8_t *bytes, size_t size, vl_image_info *info, char *error);

/// Decodes into `rgb`, width * height * 3 bytes, as Pillow's `convert("RGB")` gives them. Returns 0, or 1 with a text.
/// A file that ends before its last pixel is an error.
int vl_image_decode(const uint8_t *bytes, size_t size, const vl_image_info *info, uint8_t *rgb, char *error);

/// Encodes an RGB picture as PNG. Returns null with a text in `error`; else a block for vl_codecs_free.
uint8_t *_Nullable vl_png_encode(const uint8_t *rgb, int64_t width, int64_t height, size_t *size, char *error);

/// Frees what vl_png_encode returned.
void vl_codecs_free(void *_Nullable block);

/// One pass of Pillow's 8-bit resampling along rows: for each of `rows` rows of `in` (`in_stride` bytes apart), output
/// pixel x is the sum over `counts[x]` pixels from `starts[x]` of pixel times `weights[x * weight_stride + i]`, rounded
/// and clipped at 22 bits of fixed point. Three channels.
void vl_resample_rows(uint8_t *out, const uint8_t *in, int64_t rows, int64_t out_width, int64_t in_stride,
                      const int32_t *starts, const int32_t *counts, const int32_t *weights, int64_t weight_stride);

/// The same along columns for one output row of `bytes` bytes: the sum over `count` rows of `in`, `in_stride` apart.
/// `sums` is scratch for `bytes` numbers.
void vl_resample_column(uint8_t *out, const uint8_t *in, int64_t bytes, int64_t in_stride, int32_t count,
                        const int32_t *weights, int32_t *sums);

#pragma clang assume_nonnull end

#endif
