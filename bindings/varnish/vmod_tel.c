/*
 * The VCL surface: objects, and the line that is written when a request has ended.
 *
 * varnishd's own objects are read (the request's log buffer and account), so this needs the varnishd it was built for;
 * "$ABI strict" has varnishd check that.
 */
#include <stdlib.h>
#include <string.h>

#include "cache/cache.h"
#include "VSC_tel.h"
#include "vcc_if.h"

#include "compile.h"
#include "format.h"
#include "line.h"
#include "producers.h"
#include "record.h"

/* Room that is left to the request itself: a line must not be what overflows its workspace. */
#define WORKSPACE_LEFT 1024
/* Longer lines are written to the workspace: that is two calls more. */
#define LINE_USUAL 1024
/* varnishd's own part of a task's private data takes less. */
#define WORKSPACE_PRIVATE 128

struct vmod_tel_producer {
	unsigned magic;
#define VMOD_TEL_PRODUCER_MAGIC 0x7e1a0001
	struct producer *producer;
};

struct vmod_tel_access_log {
	unsigned magic;
#define VMOD_TEL_ACCESS_LOG_MAGIC 0x7e1a0002
	struct producer *producer;
	struct format *format;
	bool esi;
};

/* The line that a request has been asked for, with what it takes to write it. */
struct pending {
	unsigned magic;
#define PENDING_MAGIC 0x7e1a0003
	unsigned client_len;	/* 0: taken back */
	unsigned wid;		/* the log's, and where it ended, when the line was asked for */
	const uint32_t *logged;
	struct producer *producer;
	const struct format *format;
	char client[];
};

/*
 * varnishd's own, of no installed header. Nothing is in use yet while the manager has a new worker load the VCLs that
 * there are, be it the first worker or one after a crash: refusing then ends the worker, for good.
 */
extern struct vcl *vcl_active __attribute__((weak));

static bool
worker_is_starting(void)
{
	return (&vcl_active != NULL && vcl_active == NULL);
}

static struct producer *
acquire(VRT_CTX, const char *object, const char *path)
{
	char why[512];
	struct producer *p;

	if (path == NULL || *path == '\0') {
		VRT_fail(ctx, "tel: %s: the configuration file has no name", object);
		return (NULL);
	}
	p = producer_acquire(path, worker_is_starting(), why, sizeof why);
	if (p == NULL)
		VRT_fail(ctx, "tel: %s: %s: %s", object, path, why);
	return (p);
}

VCL_VOID
vmod_producer__init(VRT_CTX, struct vmod_tel_producer **object, const char *name, VCL_STRING path)
{
	struct producer *p = acquire(ctx, name, path);

	if (p == NULL)
		return;
	ALLOC_OBJ(*object, VMOD_TEL_PRODUCER_MAGIC);
	AN(*object);
	(*object)->producer = p;
}

VCL_VOID
vmod_producer__fini(struct vmod_tel_producer **object)
{
	struct vmod_tel_producer *o;

	TAKE_OBJ_NOTNULL(o, object, VMOD_TEL_PRODUCER_MAGIC);
	producer_release(o->producer);
	FREE_OBJ(o);
}

VCL_VOID
vmod_producer_submit(VRT_CTX, struct vmod_tel_producer *o, VCL_STRING line)
{
	tel_producer *tel;

	(void)ctx;
	CHECK_OBJ_NOTNULL(o, VMOD_TEL_PRODUCER_MAGIC);
	if (line == NULL)
		line = "";
	tel = producer_tel(o->producer);
	if (tel == NULL)
		COUNT(o->producer, unavailable);
	else
		producer_count_other(o->producer, tel_submit(tel, line, strlen(line)));
}

VCL_VOID
vmod_producer_submit_for(VRT_CTX, struct vmod_tel_producer *o, VCL_STRING client, VCL_STRING text)
{
	tel_producer *tel;

	(void)ctx;
	CHECK_OBJ_NOTNULL(o, VMOD_TEL_PRODUCER_MAGIC);
	if (client == NULL)
		client = "";
	if (text == NULL)
		text = "";
	tel = producer_tel(o->producer);
	if (tel == NULL)
		COUNT(o->producer, unavailable);
	else
		producer_count_other(o->producer, tel_submit_for(tel, client, strlen(client), text, strlen(text)));
}

VCL_BOOL
vmod_producer_wants(VRT_CTX, struct vmod_tel_producer *o, VCL_STRING client)
{
	(void)ctx;
	CHECK_OBJ_NOTNULL(o, VMOD_TEL_PRODUCER_MAGIC);
	return (client != NULL && tel_wants(producer_tel(o->producer), client, strlen(client)) == 1);
}

VCL_VOID
vmod_producer_reload(VRT_CTX, struct vmod_tel_producer *o)
{
	char why[512] = "there is no producer yet";
	tel_producer *tel;

	CHECK_OBJ_NOTNULL(o, VMOD_TEL_PRODUCER_MAGIC);
	tel = producer_tel(o->producer);
	if (tel != NULL && tel_reload_clients(tel, NULL, why, sizeof why) == TEL_OK)
		return;
	if (ctx->vsl != NULL)
		VSLb(ctx->vsl, SLT_Error, "tel: %s: reload: %s", producer_path(o->producer), why);
	else
		VSL(SLT_Error, 0, "tel: %s: reload: %s", producer_path(o->producer), why);
}

VCL_INT
vmod_producer_stat(VRT_CTX, struct vmod_tel_producer *o, VCL_STRING name)
{
	(void)ctx;
	CHECK_OBJ_NOTNULL(o, VMOD_TEL_PRODUCER_MAGIC);
	return (name == NULL ? -1 : producer_counter(o->producer, name));
}

VCL_VOID
vmod_access_log__init(VRT_CTX, struct vmod_tel_access_log **object, const char *name, VCL_STRING path,
    VCL_STRING text, VCL_BOOL esi)
{
	char why[512];
	struct format *format = format_compile(text == NULL ? "" : text, why, sizeof why);
	struct producer *p;

	if (format == NULL) {
		VRT_fail(ctx, "tel: %s: %s", name, why);
		return;
	}
	p = acquire(ctx, name, path);
	if (p == NULL) {
		format_free(format);
		return;
	}
	ALLOC_OBJ(*object, VMOD_TEL_ACCESS_LOG_MAGIC);
	AN(*object);
	(*object)->producer = p;
	(*object)->format = format;
	(*object)->esi = esi;
}

VCL_VOID
vmod_access_log__fini(struct vmod_tel_access_log **object)
{
	struct vmod_tel_access_log *o;

	TAKE_OBJ_NOTNULL(o, object, VMOD_TEL_ACCESS_LOG_MAGIC);
	producer_release(o->producer);
	format_free(o->format);
	FREE_OBJ(o);
}

static void
submit_line(const struct pending *p, tel_producer *tel, const char *line, struct writer *w)
{
	int result;

	/* Submit would take it for the line's own end: it is escaped here, into the slack if need be, as others are there. */
	if (unlikely(w->p > line && w->p[-1] == '\n')) {
		w->p[-1] = '\\';
		*w->p++ = 'n';
	}
	result = tel_submit_for(tel, p->client, p->client_len, line, (size_t)(w->p - line));
	if (likely(result == TEL_OK))
		return;
	COUNT(p->producer, log_refused);
	producer_count_other(p->producer, result);
}

/* In the request's workspace, which nobody needs any more. */
static void
write_long_line(const struct pending *p, struct req *req, tel_producer *tel, const struct span *slots)
{
	unsigned room = WS_ReserveAll(req->ws);
	struct writer w = { .full = true };

	if (room >= SLACK) {
		w = writer_of(WS_Reservation(req->ws), room);
		(void)line_write(p->format, slots, VXID(req->vsl->wid), &w);
	}
	if (w.full)
		COUNT(p->producer, log_lost_workspace);
	else
		submit_line(p, tel, WS_Reservation(req->ws), &w);
	WS_Release(req->ws, 0);
}

static void
write_line(const struct pending *p, struct req *req)
{
	/* No larger than need be: the less of the stack, the more of it is still in the processor's cache. */
	struct span slots[p->format->n_slots];
	struct late_records late;
	char line[LINE_USUAL];
	struct writer w = writer_of(line, sizeof line);
	tel_producer *tel = producer_tel(p->producer);

	if (tel == NULL)
		COUNT(p->producer, unavailable);
	else if (!records_read(p->format, req, p->wid == req->vsl->wid ? p->logged : NULL, &late, slots) ||
	    !line_write(p->format, slots, VXID(req->vsl->wid), &w))
		COUNT(p->producer, log_lost_records);
	else if (unlikely(w.full))
		write_long_line(p, req, tel, slots);
	else
		submit_line(p, tel, line, &w);
}

/*
 * The task's end, or a rollback in the midst of it. While a request is worked on, its worker lends the request's log to
 * whoever has something to say; at the end it no longer does.
 */
static void v_matchproto_(vmod_priv_fini_f)
pending_fini(VRT_CTX, void *priv)
{
	const struct pending *p;

	CAST_OBJ_NOTNULL(p, priv, PENDING_MAGIC);
	CHECK_OBJ_NOTNULL(ctx->req, REQ_MAGIC);
	if (p->client_len == 0)
		return;
	if (ctx->req->wrk->vsl == NULL)
		write_line(p, ctx->req);
	else
		COUNT(p->producer, log_rolled_back);
}

static const struct vmod_priv_methods pending_methods[1] = {{
	.magic = VMOD_PRIV_METHODS_MAGIC,
	.type = "tel_pending",
	.fini = pending_fini,
}};

/*
 * Whether a task's private data and so many bytes can be had without taking room from others: an allocation that fails
 * would mark the workspace, and varnishd answers such a request with an error. The generated code of a PRIV_TASK argument
 * would fail the request, too: hence VRT_priv_task here.
 */
static bool
has_room_for(const struct ws *ws, size_t bytes)
{
	return (ws->r == NULL && (size_t)(ws->e - ws->f) >= bytes + WORKSPACE_PRIVATE + WORKSPACE_LEFT);
}

/* Of what is hardly ever longer than a few bytes, and nothing if there is none. */
static size_t
short_length(const char *text)
{
	size_t len = 0;

	if (text != NULL)
		for (; text[len] != '\0'; len++)
			NO_CALL;
	return (len);
}

VCL_VOID
vmod_access_log_log(VRT_CTX, struct vmod_tel_access_log *o, VCL_STRING client)
{
	size_t len = short_length(client);
	struct vmod_priv *task;
	struct pending *p;
	tel_producer *tel;
	bool is_wanted, has_room;

	CHECK_OBJ_NOTNULL(o, VMOD_TEL_ACCESS_LOG_MAGIC);
	if (ctx->req == NULL || (ctx->req->esi_level > 0 && !o->esi))
		return;
	tel = producer_tel(o->producer);
	/* Without a producer nobody knows who is wanted: counted at the end, once. */
	is_wanted = len > 0 && (tel == NULL || tel_wants(tel, client, len));
	has_room = has_room_for(ctx->ws, sizeof *p + len);
	task = is_wanted && has_room ? VRT_priv_task(ctx, o) : VRT_priv_task_get(ctx, o);
	p = task == NULL ? NULL : task->priv;
	if (is_wanted && p != NULL && p->client_len == len && memcmp(p->client, client, len) == 0)
		return;
	/* Whatever becomes of this call, the line is no longer that client's. */
	if (p != NULL)
		p->client_len = 0;
	if (!is_wanted)
		return;
	p = task != NULL && has_room ? WS_Alloc(ctx->ws, (unsigned)(sizeof *p + len)) : NULL;
	if (p == NULL) {
		COUNT(o->producer, log_lost_workspace);
		return;
	}
	INIT_OBJ(p, PENDING_MAGIC);
	p->producer = o->producer;
	p->format = o->format;
	p->wid = ctx->vsl->wid;
	p->logged = ctx->vsl->wlp;
	p->client_len = (unsigned)len;
	for (size_t i = 0; i < len; i++) {
		p->client[i] = client[i];
		NO_CALL;
	}
	task->priv = p;
	task->methods = pending_methods;
}
