/*
 * The peers of tel.access_log. Both know one format, escape nothing, ask no list, and throw the line away.
 *
 * log: the same line, for a request that vcl_recv answers, with snprintf when the task ends. It takes what VCL says for what was sent.
 * least: what is left when a line from the log's records has to do with as little as can be. The line is hardly one.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cache/cache.h"
#include "vcc_if.h"

struct pending {
	const char *client;
	const char *remote;
	const char *host;
	const char *referer;
	const char *agent;
};

static const char *
header(const struct http *http, hdr_t name, const char *otherwise)
{
	const char *value;

	return (http_GetHdr(http, name, &value) ? value : otherwise);
}

static void v_matchproto_(vmod_priv_fini_f)
write_line(VRT_CTX, void *priv)
{
	const struct pending *p = priv;
	const struct req *req = ctx->req;
	const time_t second = (time_t)req->t_first;
	char line[1024], start[64];
	struct tm tm;

	(void)strftime(start, sizeof start, "[%d/%b/%Y:%T %z]", localtime_r(&second, &tm));
	(void)snprintf(line, sizeof line, "%s %s - - %s \"%s http://%s%s %s\" %u %ju \"%s\" \"%s\"", p->client, p->remote, start,
	    req->http->hd[HTTP_HDR_METHOD].b, p->host, req->http->hd[HTTP_HDR_URL].b, req->http->hd[HTTP_HDR_PROTO].b,
	    req->err_code, (uintmax_t)req->acct.resp_bodybytes, p->referer, p->agent);
	/* As if somebody read it: the compiler may not leave it out. */
	__asm__ volatile ("" :: "r"(line) : "memory");
}

static const struct vmod_priv_methods log_methods[1] = {{
	.magic = VMOD_PRIV_METHODS_MAGIC,
	.type = "by_hand_log",
	.fini = write_line,
}};

VCL_VOID
vmod_log(VRT_CTX, struct vmod_priv *task, VCL_STRING client)
{
	struct pending *p = WS_Alloc(ctx->ws, sizeof *p);

	if (p == NULL)
		return;
	p->client = client;
	p->remote = SES_Get_String_Attr(ctx->sp, SA_CLIENT_IP);
	p->host = header(ctx->http_req, H_Host, "localhost");
	p->referer = header(ctx->http_req, H_Referer, "-");
	p->agent = header(ctx->http_req, H_User_Agent, "-");
	task->priv = p;
	task->methods = log_methods;
}

enum value { CLIENT, REMOTE, START, METHOD, HOST, URL, PROTOCOL, STATUS, REFERER, AGENT, VALUES };

struct text {
	const char *b;
	size_t len;
};

static void
take(struct text *t, const char *b, const char *e)
{
	*t = (struct text){ b, (size_t)(e - b) };
}

static void
take_word(struct text *t, const char *b, const char *e)
{
	const char *end = b;

	while (end < e && *end != ' ')
		end++;
	take(t, b, end);
}

/*
 * In the case that the bench's visitors write them in: comparisons that need no call. They may go beyond a short header, as other
 * records are behind it.
 */
static void
take_header(struct text values[VALUES], const char *b, const char *e)
{
	if (memcmp(b, "Referer:", 8) == 0)
		take(&values[REFERER], b + 9, e);
	else if (memcmp(b, "User-Agent:", 11) == 0)
		take(&values[AGENT], b + 12, e);
	else if (memcmp(b, "Host:", 5) == 0)
		take(&values[HOST], b + 6, e);
}

/* One way through the records, and a copy of each value, the time as the log has it. */
static void v_matchproto_(vmod_priv_fini_f)
copy_line(VRT_CTX, void *priv)
{
	const struct vsl_log *log = ctx->req->vsl;
	struct text values[VALUES] = { [CLIENT] = { priv, strlen(priv) } };
	char line[1024], *p = line;

	for (const uint32_t *record = log->wlb; record < log->wlp; record = VSL_NEXT(record)) {
		const char *b = VSL_CDATA(record), *e = b + VSL_LEN(record) - 1;

		switch ((int)VSL_TAG(record)) {
		case SLT_ReqStart: take_word(&values[REMOTE], b, e); break;
		case SLT_ReqMethod: take(&values[METHOD], b, e); break;
		case SLT_ReqURL: take(&values[URL], b, e); break;
		case SLT_ReqProtocol: take(&values[PROTOCOL], b, e); break;
		case SLT_RespStatus: take(&values[STATUS], b, e); break;
		case SLT_ReqHeader: take_header(values, b, e); break;
		case SLT_Timestamp:
			if (memcmp(b, "Start: ", 7) == 0)
				take(&values[START], b + 7, b + 24);
			break;
		default: break;
		}
	}
	for (int i = 0; i < VALUES; i++) {
		if (values[i].b == NULL || values[i].len >= (size_t)(line + sizeof line - p))
			continue;
		memcpy(p, values[i].b, values[i].len);
		p += values[i].len;
		*p++ = ' ';
	}
	__asm__ volatile ("" :: "r"(line) : "memory");
}

static const struct vmod_priv_methods least_methods[1] = {{
	.magic = VMOD_PRIV_METHODS_MAGIC,
	.type = "by_hand_least",
	.fini = copy_line,
}};

VCL_VOID
vmod_least(VRT_CTX, struct vmod_priv *task, VCL_STRING client)
{
	task->priv = TRUST_ME(client);
	task->methods = least_methods;
}
