/*
 * The peer of tel.access_log: the same line, for a request that vcl_recv answers, with snprintf when the task ends. It knows one
 * format, escapes nothing, takes what VCL says for what was sent, and throws the line away.
 */
#include "config.h"

#include <stdio.h>
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

static const struct vmod_priv_methods methods[1] = {{
	.magic = VMOD_PRIV_METHODS_MAGIC,
	.type = "by_hand",
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
	task->methods = methods;
}
