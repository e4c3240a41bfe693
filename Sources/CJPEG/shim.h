#include <stdio.h>n#include <jpeglib.h>n#include <jerror.h>
