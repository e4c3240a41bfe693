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

#endif
