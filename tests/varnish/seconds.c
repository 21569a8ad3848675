/* One second's text under many threads, in different seconds: each has the text of its own. Under the thread sanitizer. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "record.h"
#include "second.h"
#include "writer.h"

#define THREADS 4
#define ROUNDS 20000
#define FIRST 1700000000

static struct second shared = { .format = "[%d/%b/%Y:%T %z]" };

static void *
write_seconds(void *seed)
{
	unsigned random = (unsigned)(uintptr_t)seed;

	for (unsigned n = 0; n < ROUNDS; n++) {
		/* Most are of the same second, as in life. */
		time_t second = FIRST + (rand_r(&random) % 8 == 0 ? rand_r(&random) % 3 : 0);
		char stamp[64], got[SECOND_TEXT_BYTES + SLACK], expected[SECOND_TEXT_BYTES];
		struct writer w = writer_of(got, sizeof got);
		struct span span = { stamp, stamp + snprintf(stamp, sizeof stamp, "%lld.%06d", (long long)second, rand_r(&random) % 1000000) };
		struct tm tm;
		size_t len = strftime(expected, sizeof expected, shared.format, localtime_r(&second, &tm));

		if (!second_write(&shared, &span, &w) || (size_t)(w.p - got) != len || memcmp(got, expected, len) != 0) {
			(void)fprintf(stderr, "%s: %.*s in place of %s\n", stamp, (int)(w.p - got), got, expected);
			exit(1);
		}
	}
	return (NULL);
}

int
main(void)
{
	pthread_t threads[THREADS];

	for (uintptr_t n = 0; n < THREADS; n++)
		if (pthread_create(&threads[n], NULL, write_seconds, (void *)(n + 1)) != 0)
			return (1);
	for (unsigned n = 0; n < THREADS; n++)
		(void)pthread_join(threads[n], NULL);
	(void)printf("seconds: %d texts by %d threads, each its own\n", THREADS * ROUNDS, THREADS);
	return (0);
}
