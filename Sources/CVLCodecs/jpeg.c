// JPEG through libjpeg-turbo.
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "codecs.h"

// Pixels from which on fewer scans are taken.
enum { LARGE_PICTURE = 24 << 20 };

typedef struct {
    struct jpeg_error_mgr base;
    jmp_buf jump;
    char *text;
} error_manager;

typedef struct {
    struct jpeg_progress_mgr base;
} progress_manager;

static void on_error(j_common_ptr info) {
    error_manager *manager = (error_manager *)info->err;
    char message[JMSG_LENGTH_MAX];
    info->err->format_message(info, message);
    snprintf(manager->text, VL_IMAGE_ERROR_SIZE, "%s", message);
    longjmp(manager->jump, 1);
}

// Warnings are kept silent, but for the one that says that the file ends early: libjpeg would go on with grey.
static void on_message(j_common_ptr info, int level) {
    if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
}

static void on_progress(j_common_ptr info) {
    if (!info->is_decompressor) return;
    const j_decompress_ptr decoder = (j_decompress_ptr)info;
    // Scans of a few bytes each may go over all of a large picture.
    const int64_t pixels = (int64_t)decoder->image_width * decoder->image_height;
    const int limit = pixels > LARGE_PICTURE ? VL_JPEG_SCAN_LIMIT / 4 : VL_JPEG_SCAN_LIMIT;
    if (decoder->input_scan_number > limit) {
        error_manager *manager = (error_manager *)info->err;
        snprintf(manager->text, VL_IMAGE_ERROR_SIZE, "more than %d scans", limit);
        longjmp(manager->jump, 1);
    }
}

// Inks are stored inverted: Adobe's habit, which Pillow takes for granted.
static void from_cmyk(uint8_t *out, const uint8_t *in, int64_t width) {
    for (int64_t x = 0; x < width; x++, in += 4, out += 3)
        vl_mix_cmyk(out, 255u - in[0], 255u - in[1], 255u - in[2], 255u - in[3]);
}

int vl_jpeg_read(const uint8_t *bytes, size_t size, vl_image_info *result, uint8_t *rgb, char *error) {
    struct jpeg_decompress_struct info;
    error_manager manager;
    progress_manager progress;
    memset(&info, 0, sizeof info);
    memset(&progress, 0, sizeof progress);
    info.err = jpeg_std_error(&manager.base);
    manager.base.error_exit = on_error;
    manager.base.emit_message = on_message;
    manager.text = error;
    if (setjmp(manager.jump)) {
        jpeg_destroy_decompress(&info);
        return 1;
    }
    jpeg_create_decompress(&info);
    progress.base.progress_monitor = on_progress;
    info.progress = &progress.base;
    jpeg_mem_src(&info, bytes, (unsigned long)size);
    jpeg_read_header(&info, TRUE);
    if (!rgb) {
        result->width = info.image_width;
        result->height = info.image_height;
        if (info.num_components != 1 && info.num_components != 3 && info.num_components != 4) {
            jpeg_destroy_decompress(&info);
            return vl_codec_fail(error, "a JPEG of neither 1, 3 nor 4 components");
        }
        jpeg_destroy_decompress(&info);
        return 0;
    }
    if (info.image_width != result->width || info.image_height != result->height) {
        jpeg_destroy_decompress(&info);
        return vl_codec_fail(error, "two sizes in one JPEG");
    }
    const int components = info.num_components;
    info.out_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_start_decompress(&info);
    const int64_t width = info.output_width;
    JSAMPARRAY row =
        (*info.mem->alloc_sarray)((j_common_ptr)&info, JPOOL_IMAGE, (JDIMENSION)(width * info.output_components), 1);
    while (info.output_scanline < info.output_height) {
        uint8_t *out = rgb + (int64_t)info.output_scanline * width * 3;
        jpeg_read_scanlines(&info, row, 1);
        if (components == 3) {
            memcpy(out, row[0], (size_t)width * 3);
        } else if (components == 1) {
            for (int64_t x = 0; x < width; x++) out[3 * x] = out[3 * x + 1] = out[3 * x + 2] = row[0][x];
        } else {
            from_cmyk(out, row[0], width);
        }
    }
    jpeg_destroy_decompress(&info);
    return 0;
}
