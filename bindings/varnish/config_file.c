#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_file.h"

/* Nobody writes so much by hand; what is longer is another file. */
#define CONFIG_BYTES_MAX (1024 * 1024)

/* Reads until the end or until `text` is full; -1 with errno otherwise. */
static ssize_t
read_all(int fd, char *text, size_t room)
{
	size_t len = 0;

	while (len < room) {
		ssize_t n = read(fd, text + len, room - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return (-1);
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return ((ssize_t)len);
}

static char *
read_text(int fd, char *why, size_t why_size)
{
	char *text = malloc(CONFIG_BYTES_MAX + 1), *exact;
	ssize_t len;

	if (text == NULL) {
		(void)snprintf(why, why_size, "out of memory");
		return (NULL);
	}
	len = read_all(fd, text, CONFIG_BYTES_MAX + 1);
	if (len < 0)
		(void)snprintf(why, why_size, "%s", strerror(errno));
	else if (len > CONFIG_BYTES_MAX)
		(void)snprintf(why, why_size, "is longer than %d bytes", CONFIG_BYTES_MAX);
	else if (memchr(text, '\0', (size_t)len) != NULL)
		(void)snprintf(why, why_size, "has a NUL byte");
	else {
		text[len] = '\0';
		exact = realloc(text, (size_t)len + 1);
		return (exact == NULL ? text : exact);
	}
	free(text);
	return (NULL);
}

char *
config_file_read(const char *path, char *why, size_t why_size)
{
	struct stat st;
	char *text = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	/* A pipe or a device could keep the CLI waiting. */
	if (fd < 0)
		(void)snprintf(why, why_size, "%s", strerror(errno));
	else if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		(void)snprintf(why, why_size, "is no regular file");
	else
		text = read_text(fd, why, why_size);
	if (fd >= 0)
		(void)close(fd);
	return (text);
}
