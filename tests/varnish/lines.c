/*
 * Lines of made-up logs at the edge of their memory, under the address sanitizer: the log's buffer has no more behind its last
 * record than bytes.h says, and neither has the line's. In any room a line is whole, or there is none; and it is the same wherever in
 * the log it was asked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache/cache.h"

#include "compile.h"
#include "format.h"
#include "line.h"
#include "record.h"

#define LOGS 4000
#define WID 7
#define WORDS 32768
#define LINE_MAX_BYTES 65536

static const char *const formats[] = {
	"%h %l %u %t \"%r\" %s %b \"%{Referer}i\" \"%{User-agent}i\"",
	"%b %D %H %I %m %O %q %T %U %{Varnish:vxid}x %{ms}T %{usec}t %{msec_frac}t %{%d/%b}t",
	"a text that is longer than a step takes %{VCL_Log:key}x %{VSL:Timestamp:Process[2]}x %{VSL:ReqAcct}x %{VSL:ReqAcct[5]}x",
	"%{X-A-Header-With-A-Long-Name}i|%{a}i|%{VSL:ReqHeader:Host}x|%{Varnish:handling}x|%{Varnish:time_firstbyte}x|%{}i",
};
#define FORMATS (sizeof formats / sizeof *formats)

static uint32_t words[WORDS];
static uint32_t *end;
static size_t begins[WORDS / 3];
static size_t records;

static void
record(unsigned tag, const char *text)
{
	size_t len = strlen(text) + 1;

	begins[records++] = (size_t)(end - words);
	end[0] = (uint32_t)(tag << 24 | len);
	end[1] = WID;
	memcpy(end + 2, text, len);
	end += 2 + (len + 3) / 4;
}

/* Printable for the most part, of a length from none to many times 16. */
static const char *
text(void)
{
	static char made[300];
	int len = rand() % 8 == 0 ? rand() % 280 : rand() % 40;

	for (int i = 0; i < len; i++) {
		int kind = rand() % 40;

		made[i] = (char)(kind == 0 ? '"' : kind == 1 ? '\\' : kind == 2 ? 1 + rand() % 255 : kind == 3 ? ' ' : ' ' + rand() % 95);
	}
	made[len] = '\0';
	return (made);
}

static void
record_of(unsigned tag, const char *before)
{
	char made[400];

	(void)snprintf(made, sizeof made, "%s%s", before, text());
	record(tag, made);
}

static void
make_log(void)
{
	static const char *const headers[] = { "Host: ", "host:http://", "User-Agent: ", "Referer:   ", "Authorization: Basic ", "a:",
	    "X-A-Header-With-A-Long-Name: ", "X-A-Header-With-A-Long-Nam", "", ":" };

	end = words;
	records = 0;
	record(SLT_Begin, "req 3 rxreq");
	record(SLT_Timestamp, rand() % 20 == 0 ? "Start: 12.5 0 0" : "Start: 1795856590.353898 0.000000 0.000000");
	record(SLT_ReqStart, "127.0.0.1 46426 a0");
	record(SLT_ReqMethod, "GET");
	record_of(SLT_ReqURL, rand() % 2 ? "/?" : "/");
	for (int n = rand() % 9; n > 0; n--)
		record_of(SLT_ReqHeader, headers[rand() % (int)(sizeof headers / sizeof *headers)]);
	record(SLT_VCL_call, rand() % 2 ? "HIT" : "PASS");
	/* More than wait for the first half at times, and as many that nothing asks for. */
	for (int n = rand() % 4 == 0 ? rand() % 160 : 1; n > 0; n--) {
		record_of(SLT_VCL_Log, n % 3 == 0 ? "other: " : "key: ");
		record(SLT_RespHeader, "Age: 1");
	}
	record(SLT_Timestamp, "Process: 1795856590.353998 0.000100 0.000100");
	record_of(SLT_RespStatus, "");
	/* The last one is not always of a length that fills its words. */
	record_of(rand() % 2 ? SLT_ReqHeader : SLT_ReqProtocol, rand() % 2 ? "a: " : "");
}

/* The length of the line in this room; -1 if there is none. */
static long
write_line(const struct format *f, struct req *req, const uint32_t *midst, char *line, size_t room)
{
	struct span *slots = malloc(f->n_slots * sizeof *slots);
	struct late_records *late = malloc(sizeof *late);
	struct writer w = writer_of(line, room + SLACK);
	bool written = records_read(f, req, midst, late, slots) && line_write(f, slots, WID, &w);

	free(slots);
	free(late);
	return (written && !w.full ? w.p - line : -1);
}

static void
check(const struct format *f, struct req *req)
{
	char *whole = malloc(LINE_MAX_BYTES + SLACK);
	long len = write_line(f, req, NULL, whole, LINE_MAX_BYTES);
	size_t room = len < 0 ? 0 : (size_t)(rand() % 2 ? len : rand() % (len + 2));
	char *line = malloc(room + SLACK);
	size_t asked = (size_t)rand() % (records + 1);
	const uint32_t *midst = asked == records ? req->vsl->wlp : req->vsl->wlb + begins[asked];
	long got = write_line(f, req, midst, line, room);

	if (got != (len < 0 || (size_t)len > room ? -1 : len) || (got > 0 && memcmp(line, whole, (size_t)got) != 0)) {
		(void)fprintf(stderr, "lines: a line of %ld bytes, asked for after %zu records, is one of %ld in a room of %zu\n", len, asked, got, room);
		exit(1);
	}
	free(line);
	free(whole);
}

int
main(void)
{
	struct format *f[FORMATS];
	char why[256];

	for (size_t i = 0; i < FORMATS; i++)
		if ((f[i] = format_compile(formats[i], why, sizeof why)) == NULL) {
			(void)fprintf(stderr, "lines: %s\n", why);
			return (1);
		}
	for (unsigned n = 0; n < LOGS; n++) {
		struct req *req = calloc(1, sizeof *req);
		uint32_t *buffer;

		srand(n);
		make_log();
		/* What varnishd has behind a full buffer is the workspace, and not even that where it has room left. */
		buffer = malloc((size_t)(end - words) * 4 + SLACK);
		memcpy(buffer, words, (size_t)(end - words) * 4);
		req->vsl->wlb = buffer;
		req->vsl->wlp = req->vsl->wle = buffer + (end - words);
		req->ws->s = (char *)req->vsl->wle;
		req->ws->e = req->ws->s + SLACK;
		req->vsl->wid = WID;
		req->acct.req_hdrbytes = (uint64_t)rand();
		req->res_mode = rand() % 10 == 0 ? RES_PIPE : 0;
		for (size_t i = 0; i < FORMATS; i++)
			check(f[i], req);
		free(buffer);
		free(req);
	}
	for (size_t i = 0; i < FORMATS; i++)
		format_free(f[i]);
	(void)printf("lines: %zu of %d made-up logs, each whole or none in any room\n", LOGS * FORMATS, LOGS);
	return (0);
}
