/* The text of a configuration file. */
#ifndef CONFIG_FILE_H
#define CONFIG_FILE_H

#include <stddef.h>

/* To be freed; NULL if it cannot be read or is no text, with the reason in `why`. */
char *config_file_read(const char *path, char *why, size_t why_size);

#endif
