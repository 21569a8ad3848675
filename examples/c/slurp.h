/* slurp.h - a whole file in memory, for both examples. */
#ifndef SLURP_H
#define SLURP_H

#include <stdio.h>
#include <stdlib.h>

/* The content of path with a NUL after it (which len, if asked for, leaves out). NULL, with errno set, if it cannot
 * be had. The caller frees it. */
static inline char *slurp(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *text = NULL;
    size_t used = 0, room = 0, got;
    do {
        if (room - used < 2) {
            room = room ? room * 2 : 65536;
            char *larger = (char *)realloc(text, room);
            if (!larger) {
                free(text);
                fclose(file);
                return NULL;
            }
            text = larger;
        }
        got = fread(text + used, 1, room - used - 1, file);
        used += got;
    } while (got > 0);
    const int failed = ferror(file);
    fclose(file);
    if (failed) {
        free(text);
        return NULL;
    }
    text[used] = '\0';
    if (len)
        *len = used;
    return text;
}

#endif
