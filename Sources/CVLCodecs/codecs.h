// What the codecs share among themselves.
#ifndef VL_CODECS_PRIVATE_H
#define VL_CODECS_PRIVATE_H

#include "vl_codecs.h"

int vl_jpeg_read(const uint8_t *bytes, size_t size, vl_image_info *info, uint8_t *rgb, char *error);
int vl_png_read(const uint8_t *bytes, size_t size, vl_image_info *info, uint8_t *rgb, char *error);
int vl_webp_read(const uint8_t *bytes, size_t size, vl_image_info *info, uint8_t *rgb, char *error);
int vl_gif_read(const uint8_t *bytes, size_t size, vl_image_info *info, uint8_t *rgb, char *error);
int vl_tiff_read(const uint8_t *bytes, size_t size, vl_image_info *info, uint8_t *rgb, char *error);

/// Writes an error text; returns 1.
int vl_codec_fail(char *error, const char *text);

/// One pixel of four inks to RGB, as Pillow mixes them in 8 bits.
static inline void vl_mix_cmyk(uint8_t *rgb, unsigned cyan, unsigned magenta, unsigned yellow, unsigned black) {
    const unsigned inks[3] = {cyan, magenta, yellow};
    const int light = 255 - (int)black;
    for (int c = 0; c < 3; c++) {
        const int product = (int)inks[c] * light + 128;
        const int value = light - ((product + (product >> 8)) >> 8);
        rgb[c] = (uint8_t)(value < 0 ? 0 : value);
    }
}

#endif
