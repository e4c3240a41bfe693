// The first page of a TIFF through libtiff, from memory.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tiffio.h>

#include "codecs.h"

// What libtiff may take at once, and what one tile or strip may unpack to: headers can promise anything.
enum { ALLOCATION_LIMIT = 256 << 20, BLOCK_LIMIT = 128 << 20 };

typedef struct {
    const uint8_t *bytes;
    uint64_t size;
    uint64_t place;
    int ran_out;  // something was to be read beyond the end
} source;

static tmsize_t read_bytes(thandle_t handle, void *out, tmsize_t count) {
    source *from = (source *)handle;
    const uint64_t rest = from->place < from->size ? from->size - from->place : 0;
    const uint64_t taken = count < 0 ? 0 : (uint64_t)count < rest ? (uint64_t)count : rest;
    memcpy(out, from->bytes + (taken ? from->place : 0), taken);
    from->place += taken;
    if (count < 0 || taken < (uint64_t)count) from->ran_out = 1;
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
    const uint64_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? from->place : from->size;
    // Reading past the end gives nothing, so that a sum that wraps only points elsewhere.
    from->place = base + offset;
    return from->place;
}

static int close_nothing(thandle_t handle) {
    (void)handle;
    return 0;
}

static toff_t size_of(thandle_t handle) { return ((source *)handle)->size; }

// Keeps the first message: later ones are consequences.
static int on_error(TIFF *file, void *error, const char *module, const char *format, va_list arguments) {
    (void)file;
    (void)module;
    if (!((char *)error)[0]) vsnprintf((char *)error, VL_IMAGE_ERROR_SIZE, format, arguments);
    return 1;
}

static int on_warning(TIFF *file, void *data, const char *module, const char *format, va_list arguments) {
    (void)file;
    (void)data;
    (void)module;
    (void)format;
    (void)arguments;
    return 1;
}

static TIFF *open_file(source *from, char *error) {
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options) return 0;
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, ALLOCATION_LIMIT);
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, error);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, 0);
    // "m" keeps libtiff from asking for a mapping.
    TIFF *file =
        TIFFClientOpenExt("picture", "rm", from, read_bytes, write_bytes, seek, close_nothing, size_of, 0, 0, options);
    TIFFOpenOptionsFree(options);
    return file;
}

// How pixels are stored.
typedef struct {
    uint32_t width, height;
    uint16_t photometric, bits, samples, compression;
    int colors;  // samples that make the colour: 1, 3 or 4
    int planes;  // 1, or `samples` if each has rows of its own
    int premultiplied;
    const uint16_t *palette[3];
} layout;

static const char *read_layout(TIFF *file, layout *to) {
    uint16_t format = SAMPLEFORMAT_UINT, config = PLANARCONFIG_CONTIG, extras = 0;
    uint16_t *kinds = 0, *red = 0, *green = 0, *blue = 0;
    memset(to, 0, sizeof *to);
    TIFFGetField(file, TIFFTAG_IMAGEWIDTH, &to->width);
    TIFFGetField(file, TIFFTAG_IMAGELENGTH, &to->height);
    TIFFGetFieldDefaulted(file, TIFFTAG_BITSPERSAMPLE, &to->bits);
    TIFFGetFieldDefaulted(file, TIFFTAG_SAMPLESPERPIXEL, &to->samples);
    TIFFGetFieldDefaulted(file, TIFFTAG_COMPRESSION, &to->compression);
    TIFFGetFieldDefaulted(file, TIFFTAG_SAMPLEFORMAT, &format);
    TIFFGetFieldDefaulted(file, TIFFTAG_PLANARCONFIG, &config);
    TIFFGetFieldDefaulted(file, TIFFTAG_EXTRASAMPLES, &extras, &kinds);
    if (!TIFFGetField(file, TIFFTAG_PHOTOMETRIC, &to->photometric)) to->photometric = PHOTOMETRIC_MINISWHITE;
    switch (to->compression) {
        case COMPRESSION_NONE:
        case COMPRESSION_CCITTRLE:
        case COMPRESSION_CCITTFAX3:
        case COMPRESSION_CCITTFAX4:
        case COMPRESSION_LZW:
        case COMPRESSION_JPEG:
        case COMPRESSION_ADOBE_DEFLATE:
        case COMPRESSION_DEFLATE:
        case COMPRESSION_PACKBITS:
        case COMPRESSION_ZSTD: break;
        // The others are rare, and their decoders the least tested.
        default: return "a TIFF compression that is not supported";
    }
    switch (to->photometric) {
        case PHOTOMETRIC_MINISWHITE:
        case PHOTOMETRIC_MINISBLACK:
        case PHOTOMETRIC_PALETTE: to->colors = 1; break;
        case PHOTOMETRIC_RGB:
        case PHOTOMETRIC_YCBCR: to->colors = 3; break;
        case PHOTOMETRIC_SEPARATED: to->colors = 4; break;
        default: return "a TIFF colour space that is not supported";
    }
    const int is_small = to->bits == 1 || to->bits == 2 || to->bits == 4;
    const int is_deep = to->bits == 16 && to->photometric != PHOTOMETRIC_PALETTE;
    if (format != SAMPLEFORMAT_UINT || !(to->bits == 8 || is_deep || (is_small && to->samples == 1)))
        return "TIFF samples of a kind that is not supported";
    if (to->samples < to->colors || to->samples > 8) return "a TIFF whose samples do not fit its colours";
    if (to->photometric == PHOTOMETRIC_PALETTE) {
        if (!TIFFGetField(file, TIFFTAG_COLORMAP, &red, &green, &blue)) return "a TIFF without its palette";
        to->palette[0] = red;
        to->palette[1] = green;
        to->palette[2] = blue;
    }
    to->planes = config == PLANARCONFIG_SEPARATE && to->samples > 1 ? to->samples : 1;
    to->premultiplied = to->colors != 4 && extras > 0 && kinds[0] == EXTRASAMPLE_ASSOCALPHA &&
                        to->samples > to->colors && to->photometric != PHOTOMETRIC_PALETTE;
    return 0;
}

// The sample at a place of a row; libtiff gives 16 bits in the machine's order and small ones from the high bits on.
static inline unsigned sample(const uint8_t *row, int64_t place, int bits) {
    if (bits == 8) return row[place];
    if (bits == 16) {
        uint16_t value;
        memcpy(&value, row + 2 * place, 2);
        return value;
    }
    const int per_byte = 8 / bits;
    return row[place / per_byte] >> ((per_byte - 1 - place % per_byte) * bits) & ((1u << bits) - 1);
}

// Pixels of one row to RGB as Pillow's convert("RGB"); `rows` has a row for each plane.
static void convert_row(uint8_t *out, uint8_t *const *rows, int64_t pixels, const layout *from) {
    const int step = from->planes == 1 ? from->samples : 1;
    const int bits = from->bits, high = bits == 16 ? 8 : 0;
    for (int64_t x = 0; x < pixels; x++, out += 3) {
        unsigned values[5] = {0};
        const int count = from->colors + (from->premultiplied ? 1 : 0);
        for (int i = 0; i < count; i++)
            values[i] = from->planes == 1 ? sample(rows[0], x * step + i, bits) : sample(rows[i], x, bits);
        if (from->photometric == PHOTOMETRIC_PALETTE) {
            for (int c = 0; c < 3; c++) out[c] = (uint8_t)(from->palette[c][values[0]] >> 8);
            continue;
        }
        if (from->colors == 1) {
            unsigned gray = values[0];
            if (bits == 16) {
                // Pillow keeps 16-bit grey and clips it later; white as zero is no matter to it then.
                gray = gray > 255 ? 255 : gray;
            } else {
                gray = gray * 255 / ((1u << bits) - 1);
                if (from->photometric == PHOTOMETRIC_MINISWHITE) gray = 255 - gray;
            }
            values[0] = values[1] = values[2] = gray;
        } else if (from->colors == 4) {
            vl_mix_cmyk(out, values[0] >> high, values[1] >> high, values[2] >> high, values[3] >> high);
            continue;
        }
        for (int c = 0; c < 3; c++) {
            unsigned value = from->colors == 1 ? values[0] : values[c] >> high;
            if (from->premultiplied) {
                const unsigned alpha = values[from->colors] >> high;
                value = alpha == 0 ? 0 : value * 255 / alpha;
                if (value > 255) value = 255;
            }
            out[c] = (uint8_t)value;
        }
    }
}

// Rows one after the other: no more than a row is kept. Planes that lie apart cannot be read so.
static const char *read_rows(TIFF *file, const layout *from, uint8_t *rgb) {
    const uint64_t needed = ((uint64_t)from->width * from->samples * from->bits + 7) / 8;
    const uint64_t size = TIFFScanlineSize64(file);
    if (size < needed || size > BLOCK_LIMIT) return "TIFF rows of an unexpected size";
    uint8_t *row = (uint8_t *)calloc(size, 1);
    if (!row) return "no memory for a TIFF row";
    const char *fault = 0;
    for (uint32_t y = 0; y < from->height && !fault; y++) {
        if (TIFFReadScanline(file, row, y, 0) < 0) fault = "damaged TIFF data";
        else convert_row(rgb + (uint64_t)y * from->width * 3, &row, from->width, from);
    }
    free(row);
    return fault;
}

// Tiles, and strips whose planes lie apart.
static const char *read_blocks(TIFF *file, const layout *from, uint8_t *rgb) {
    uint32_t width = from->width, height = 0;
    const int is_tiled = TIFFIsTiled(file);
    if (is_tiled) {
        TIFFGetField(file, TIFFTAG_TILEWIDTH, &width);
        TIFFGetField(file, TIFFTAG_TILELENGTH, &height);
    } else {
        TIFFGetFieldDefaulted(file, TIFFTAG_ROWSPERSTRIP, &height);
        if (height > from->height) height = from->height;
    }
    if (!width || !height) return "TIFF tiles without pixels";
    const uint64_t row_bytes = is_tiled ? TIFFTileRowSize64(file) : TIFFScanlineSize64(file);
    const uint64_t size = is_tiled ? TIFFTileSize64(file) : TIFFVStripSize64(file, height);
    const uint64_t needed = ((uint64_t)width * (from->planes == 1 ? from->samples : 1) * from->bits + 7) / 8;
    if (row_bytes < needed || size > BLOCK_LIMIT || size / row_bytes < height || size * from->planes > BLOCK_LIMIT)
        return "TIFF tiles of an unexpected size";
    uint8_t *blocks = (uint8_t *)calloc(size, (size_t)from->planes);
    if (!blocks) return "no memory for TIFF tiles";
    const char *fault = 0;
    for (uint32_t top = 0; top < from->height && !fault; top += height) {
        const uint32_t rows = from->height - top < height ? from->height - top : height;
        for (uint32_t left = 0; left < from->width && !fault; left += width) {
            const uint32_t columns = from->width - left < width ? from->width - left : width;
            for (int plane = 0; plane < from->planes && !fault; plane++) {
                uint8_t *block = blocks + size * (uint64_t)plane;
                const uint16_t of = (uint16_t)plane;
                const tmsize_t got =
                    is_tiled ? TIFFReadEncodedTile(file, TIFFComputeTile(file, left, top, 0, of), block, (tmsize_t)size)
                             : TIFFReadEncodedStrip(file, TIFFComputeStrip(file, top, of), block, (tmsize_t)size);
                if (got < 0 || (uint64_t)got < row_bytes * (rows - 1) + needed) fault = "damaged TIFF data";
            }
            for (uint32_t y = 0; y < rows && !fault; y++) {
                uint8_t *lines[8] = {0};
                for (int plane = 0; plane < from->planes; plane++)
                    lines[plane] = blocks + size * (uint64_t)plane + row_bytes * y;
                convert_row(rgb + ((uint64_t)(top + y) * from->width + left) * 3, lines, columns, from);
            }
        }
    }
    free(blocks);
    return fault;
}

// Luminance and colour differences, often at different sizes: libtiff's own conversion, as in Pillow.
static const char *read_by_libtiff(TIFF *file, const layout *from, uint8_t *rgb) {
    static char reason[] = "TIFF data that libtiff cannot turn into RGB";
    char text[1024] = "";
    TIFFRGBAImage image;
    const uint64_t pixels = (uint64_t)from->width * from->height;
    if ((TIFFIsTiled(file) ? TIFFTileSize64(file) : TIFFStripSize64(file)) > BLOCK_LIMIT) return reason;
    if (!TIFFRGBAImageOK(file, text) || !TIFFRGBAImageBegin(&image, file, 1, text)) return reason;
    uint32_t *raster = (uint32_t *)calloc(pixels, 4);
    image.orientation = ORIENTATION_TOPLEFT;
    image.req_orientation = ORIENTATION_TOPLEFT;
    const int failed = !raster || !TIFFRGBAImageGet(&image, raster, from->width, from->height);
    TIFFRGBAImageEnd(&image);
    for (uint64_t i = 0; !failed && i < pixels; i++) {
        rgb[3 * i] = (uint8_t)TIFFGetR(raster[i]);
        rgb[3 * i + 1] = (uint8_t)TIFFGetG(raster[i]);
        rgb[3 * i + 2] = (uint8_t)TIFFGetB(raster[i]);
    }
    free(raster);
    return failed ? reason : 0;
}

static const char *read_pixels(TIFF *file, const layout *from, uint8_t *rgb) {
    if (from->photometric == PHOTOMETRIC_YCBCR) {
        if (from->bits != 8 || from->samples != 3) return "TIFF samples of a kind that is not supported";
        if (from->compression != COMPRESSION_JPEG || from->planes != 1) return read_by_libtiff(file, from, rgb);
        TIFFSetField(file, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    }
    return TIFFIsTiled(file) || from->planes > 1 ? read_blocks(file, from, rgb) : read_rows(file, from, rgb);
}

int vl_tiff_read(const uint8_t *bytes, size_t size, vl_image_info *result, uint8_t *rgb, char *error) {
    source from = {bytes, size, 0, 0};
    layout found;
    TIFF *file = open_file(&from, error);
    if (!file) return error[0] ? 1 : vl_codec_fail(error, "a damaged TIFF header");
    const char *fault = read_layout(file, &found);
    // libtiff goes on without what it cannot read: a palette that is cut off would give shades of grey.
    if (from.ran_out) fault = "the file ends early";
    if (!fault && !rgb) {
        uint16_t orientation = 1;
        TIFFGetFieldDefaulted(file, TIFFTAG_ORIENTATION, &orientation);
        result->width = found.width;
        result->height = found.height;
        result->orientation = orientation >= 1 && orientation <= 8 ? orientation : 1;
    } else if (!fault) {
        if (found.width != result->width || found.height != result->height) fault = "two sizes in one TIFF";
        else fault = read_pixels(file, &found, rgb);
    }
    TIFFClose(file);
    // libtiff's own word, where there is one, says more.
    return !fault ? 0 : error[0] ? 1 : vl_codec_fail(error, fault);
}
