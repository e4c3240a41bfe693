#include <webp/decode.h>n#include <webp/demux.h>
