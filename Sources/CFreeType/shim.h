#include <ft2build.h>n#include FT_FREETYPE_H
