// The first page of a TIFF through libtiff, from memory.
#include <stdlib.h>
#include <string.h>

#include <tiffio.h>

#include "codecs.h"

typedef struct {
    const uint8_t *bytes;
    uint64_t size;
    uint64_t place;
} source;

static tmsize_t read_bytes(thandle_t handle, void *out, tmsize_t count) {
    source *from = (source *)handle;
    const uint64_t rest = from->place < from->size ? from->size - from->place : 0;
    const uint64_t taken = (uint64_t)count < rest ? (uint64_t)count : rest;
    memcpy(out, from->bytes + from->place, taken);
    from->place += taken;
    return (tmsize_t)taken;
}

static tmsize_t write_bytes(thandle_t handle, void *data, tmsize_t count) {
    (void)handle;
    (void)data;
    (void)count;
    return 0;
}

static toff_t seek(thandle_t handle, toff_t offset, int whence) {
    source *from = (source *)handle;
    from->place = whence == SEEK_SET ? offset : whence == SEEK_CUR ? from->place + offset : from->size + offset;
    return from->place;
}

static int close_nothing(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t size_of(thandle_t handle) { return ((source *)handle)->size; }

int vl_tiff_read(const uint8_t *bytes, size_t size, vl_image_info *result, uint8_t *rgb, char *error) {
    source from = {bytes, size, 0};
    TIFFSetErrorHandler(0);
    TIFFSetWarningHandler(0);
    TIFF *file = TIFFClientOpen("picture", "rm", &from, read_bytes, write_bytes, seek, close_nothing, size_of, 0, 0);
    if (!file) return vl_codec_fail(error, "a damaged TIFF header");
    uint32_t width = 0, height = 0;
    uint16_t orientation = 1;
    TIFFGetField(file, TIFFTAG_IMAGEWIDTH, &width);
    TIFFGetField(file, TIFFTAG_IMAGELENGTH, &height);
    TIFFGetFieldDefaulted(file, TIFFTAG_ORIENTATION, &orientation);
    if (!rgb) {
        result->width = width;
        result->height = height;
        result->orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
        TIFFClose(file);
        return 0;
    }
    char reason[1024] = "";
    TIFFRGBAImage image;
    if (width != result->width || height != result->height || !TIFFRGBAImageOK(file, reason) ||
        !TIFFRGBAImageBegin(&image, file, 1, reason)) {
        TIFFClose(file);
        return vl_codec_fail(error, reason[0] ? reason : "a damaged TIFF");
    }
    const uint64_t pixels = (uint64_t)width * height;
    uint32_t *raster = (uint32_t *)calloc(pixels, 4);
    // Rows come as they are stored; the caller turns the picture if it wants to.
    image.orientation = ORIENTATION_TOPLEFT;
    image.req_orientation = ORIENTATION_TOPLEFT;
    const int failed = !raster || !TIFFRGBAImageGet(&image, raster, width, height);
    TIFFRGBAImageEnd(&image);
    TIFFClose(file);
    for (uint64_t i = 0; !failed && i < pixels; i++) {
        rgb[3 * i] = (uint8_t)TIFFGetR(raster[i]);
        rgb[3 * i + 1] = (uint8_t)TIFFGetG(raster[i]);
        rgb[3 * i + 2] = (uint8_t)TIFFGetB(raster[i]);
    }
    free(raster);
    return failed ? vl_codec_fail(error, "damaged TIFF data") : 0;
}
