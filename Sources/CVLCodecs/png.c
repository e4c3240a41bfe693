// PNG through libpng's row interface.
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "codecs.h"

typedef struct {
    const uint8_t *bytes;
    size_t size;
    size_t place;
} source;

static void on_error(png_structp png, png_const_charp message) {
    snprintf((char *)png_get_error_ptr(png), VL_IMAGE_ERROR_SIZE, "%s", message);
    longjmp(png_jmpbuf(png), 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void read_bytes(png_structp png, png_bytep out, size_t count) {
    source *from = (source *)png_get_io_ptr(png);
    if (count > from->size - from->place) png_error(png, "the file ends early");
    memcpy(out, from->bytes + from->place, count);
    from->place += count;
}

int vl_png_read(const uint8_t *bytes, size_t size, vl_image_info *result, uint8_t *rgb, char *error) {
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, error, on_error, on_warning);
    if (!png) return vl_codec_fail(error, "no memory for a PNG reader");
    png_infop info = png_create_info_struct(png);
    uint8_t *volatile wide = 0;
    if (!info) {
        png_destroy_read_struct(&png, 0, 0);
        return vl_codec_fail(error, "no memory for a PNG reader");
    }
    if (setjmp(png_jmpbuf(png))) {
        free(wide);
        png_destroy_read_struct(&png, &info, 0);
        return 1;
    }
    source from = {bytes, size, 0};
    png_set_read_fn(png, &from, read_bytes);
    png_set_user_limits(png, 0x7fffffff, 0x7fffffff);
    png_set_chunk_malloc_max(png, 8 << 20);
    png_set_chunk_cache_max(png, 256);
    // Side chunks are no concern of ours: what is not read cannot hurt.
    png_set_keep_unknown_chunks(png, PNG_HANDLE_CHUNK_NEVER, 0, -1);
    png_read_info(png, info);
    const int64_t width = png_get_image_width(png, info), height = png_get_image_height(png, info);
    if (!rgb) {
        result->width = width;
        result->height = height;
        png_destroy_read_struct(&png, &info, 0);
        return 0;
    }
    const int depth = png_get_bit_depth(png, info), type = png_get_color_type(png, info);
    // Pillow keeps 16 bits only for grey without alpha, and clips those at 255 instead of scaling them.
    const int is_wide_gray = depth == 16 && type == PNG_COLOR_TYPE_GRAY;
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
    if (type == PNG_COLOR_TYPE_GRAY && depth < 8) png_set_expand_gray_1_2_4_to_8(png);
    if (depth == 16 && !is_wide_gray) png_set_strip_16(png);
    if (!is_wide_gray && !(type & PNG_COLOR_MASK_COLOR)) png_set_gray_to_rgb(png);
    if (type & PNG_COLOR_MASK_ALPHA || png_get_valid(png, info, PNG_INFO_tRNS)) png_set_strip_alpha(png);
    const int passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    const size_t row_bytes = png_get_rowbytes(png, info);
    if (row_bytes != (size_t)width * (is_wide_gray ? 2 : 3)) png_error(png, "rows of an unexpected size");
    if (is_wide_gray) {
        // An interlaced picture is completed pass by pass, so all of it is kept.
        wide = (uint8_t *)malloc(row_bytes * (size_t)(passes > 1 ? height : 1));
        if (!wide) png_error(png, "no memory for 16-bit rows");
    }
    for (int pass = 0; pass < passes; pass++) {
        for (int64_t y = 0; y < height; y++) {
            uint8_t *row = is_wide_gray ? wide + (passes > 1 ? (size_t)y * row_bytes : 0) : rgb + y * width * 3;
            png_read_row(png, row, 0);
            if (is_wide_gray && pass == passes - 1) {
                for (int64_t x = 0; x < width; x++) {
                    const uint8_t value = row[2 * x] ? 255 : row[2 * x + 1];
                    memset(rgb + (y * width + x) * 3, value, 3);
                }
            }
        }
    }
    free(wide);
    png_destroy_read_struct(&png, &info, 0);
    return 0;
}

typedef struct {
    uint8_t *block;
    size_t size;
    size_t capacity;
} sink;

static void write_bytes(png_structp png, png_bytep data, size_t count) {
    sink *to = (sink *)png_get_io_ptr(png);
    if (count > to->capacity - to->size) {
        size_t wanted = to->capacity * 2 + count;
        uint8_t *block = (uint8_t *)realloc(to->block, wanted);
        if (!block) png_error(png, "no memory for the PNG");
        to->block = block;
        to->capacity = wanted;
    }
    memcpy(to->block + to->size, data, count);
    to->size += count;
}

static void flush_nothing(png_structp png) { (void)png; }

uint8_t *vl_png_encode(const uint8_t *rgb, int64_t width, int64_t height, size_t *size, char *error) {
    error[0] = 0;
    *size = 0;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, error, on_error, on_warning);
    if (!png) {
        vl_codec_fail(error, "no memory for a PNG writer");
        return 0;
    }
    png_infop info = png_create_info_struct(png);
    static const sink nothing = {0, 0, 0};
    sink *to = (sink *)malloc(sizeof *to);
    if (!info || !to) {
        free(to);
        png_destroy_write_struct(&png, &info);
        vl_codec_fail(error, "no memory for a PNG writer");
        return 0;
    }
    *to = nothing;
    if (setjmp(png_jmpbuf(png))) {
        free(to->block);
        free(to);
        png_destroy_write_struct(&png, &info);
        return 0;
    }
    png_set_write_fn(png, to, write_bytes, flush_nothing);
    png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int64_t y = 0; y < height; y++) png_write_row(png, rgb + y * width * 3);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    uint8_t *block = to->block;
    *size = to->size;
    free(to);
    return block;
}
