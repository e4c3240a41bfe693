// Which codec reads what.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codecs.h"

int vl_codec_fail(char *error, const char *text) {
    snprintf(error, VL_IMAGE_ERROR_SIZE, "%s", text);
    return 1;
}

vl_image_format vl_image_sniff(const uint8_t *bytes, size_t size) {
    if (size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0) return VL_IMAGE_JPEG;
    if (size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0) return VL_IMAGE_PNG;
    if (size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0) return VL_IMAGE_WEBP;
    if (size >= 6 && (memcmp(bytes, "GIF87a", 6) == 0 || memcmp(bytes, "GIF89a", 6) == 0)) return VL_IMAGE_GIF;
    if (size >= 4 && (memcmp(bytes, "II*\0", 4) == 0 || memcmp(bytes, "MM\0*", 4) == 0)) return VL_IMAGE_TIFF;
    // The same with 64-bit offsets.
    if (size >= 4 && (memcmp(bytes, "II+\0", 4) == 0 || memcmp(bytes, "MM\0+", 4) == 0)) return VL_IMAGE_TIFF;
    return VL_IMAGE_UNKNOWN;
}

static int read_image(const uint8_t *bytes, size_t size, vl_image_info *info, uint8_t *rgb, char *error) {
    switch (info->format) {
        case VL_IMAGE_JPEG: return vl_jpeg_read(bytes, size, info, rgb, error);
        case VL_IMAGE_PNG: return vl_png_read(bytes, size, info, rgb, error);
        case VL_IMAGE_WEBP: return vl_webp_read(bytes, size, info, rgb, error);
        case VL_IMAGE_GIF: return vl_gif_read(bytes, size, info, rgb, error);
        case VL_IMAGE_TIFF: return vl_tiff_read(bytes, size, info, rgb, error);
        default: return vl_codec_fail(error, "no known picture format");
    }
}

int vl_image_probe(const uint8_t *bytes, size_t size, vl_image_info *info, char *error) {
    info->format = vl_image_sniff(bytes, size);
    info->width = info->height = 0;
    info->orientation = 1;
    error[0] = 0;
    return read_image(bytes, size, info, 0, error);
}

int vl_image_decode(const uint8_t *bytes, size_t size, const vl_image_info *info, uint8_t *rgb, char *error) {
    vl_image_info copy = *info;
    error[0] = 0;
    return read_image(bytes, size, &copy, rgb, error);
}

void vl_codecs_free(void *block) { free(block); }
