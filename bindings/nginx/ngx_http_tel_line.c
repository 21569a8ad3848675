
/*
 * A line, written in one go: what is written here is, byte for byte, what
 * nginx's access_log writes.
 */


#include "ngx_http_tel_line.h"


/* A line that may become longer takes memory of its request. */
#define NGX_HTTP_TEL_LINE  16384


typedef struct {
    ngx_str_t                   name;
    ngx_http_tel_op_t           op;
} ngx_http_tel_named_op_t;


/* NULL if the line is longer than that. */
static u_char *ngx_http_tel_line_write(ngx_http_request_t *r,
    ngx_http_tel_format_t *format, u_char *p, u_char *end);
static ngx_http_variable_value_t *ngx_http_tel_value(ngx_http_request_t *r,
    ngx_http_tel_op_t *op);

static u_char *ngx_http_tel_text(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_pipe(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_time_local(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_time_iso8601(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_msec(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_request_time(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_status_code(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_bytes_sent(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_body_bytes_sent(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_request_length(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_escape_default(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_escape_json(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);
static u_char *ngx_http_tel_escape_none(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);


/*
 * The names that mean something of their own in a log: they are read when the
 * line is written, where the variables of the same names may have been cached
 * early in the request.
 */

static ngx_http_tel_named_op_t  ngx_http_tel_log_ops[] = {
    { ngx_string("pipe"),
      { ngx_http_tel_pipe, 1, NULL, NGX_ERROR } },
    { ngx_string("time_local"),
      { ngx_http_tel_time_local, sizeof("28/Sep/1970:12:00:00 +0600") - 1,
        NULL, NGX_ERROR } },
    { ngx_string("time_iso8601"),
      { ngx_http_tel_time_iso8601, sizeof("1970-09-28T12:00:00+06:00") - 1,
        NULL, NGX_ERROR } },
    { ngx_string("msec"),
      { ngx_http_tel_msec, NGX_TIME_T_LEN + 4, NULL, NGX_ERROR } },
    { ngx_string("request_time"),
      { ngx_http_tel_request_time, NGX_TIME_T_LEN + 4, NULL, NGX_ERROR } },
    { ngx_string("status"),
      { ngx_http_tel_status_code, NGX_INT_T_LEN, NULL, NGX_ERROR } },
    { ngx_string("bytes_sent"),
      { ngx_http_tel_bytes_sent, NGX_OFF_T_LEN, NULL, NGX_ERROR } },
    { ngx_string("body_bytes_sent"),
      { ngx_http_tel_body_bytes_sent, NGX_OFF_T_LEN, NULL, NGX_ERROR } },
    { ngx_string("request_length"),
      { ngx_http_tel_request_length, NGX_OFF_T_LEN, NULL, NGX_ERROR } },
    { ngx_null_string, { NULL, 0, NULL, 0 } }
};


/* What a byte may become at most: \xXX, \u00XX, itself. */

static ngx_http_tel_named_op_t  ngx_http_tel_escape_ops[] = {
    { ngx_string("default"), { ngx_http_tel_escape_default, 4, NULL, 0 } },
    { ngx_string("json"), { ngx_http_tel_escape_json, 6, NULL, 0 } },
    { ngx_string("none"), { ngx_http_tel_escape_none, 1, NULL, 0 } },
    { ngx_null_string, { NULL, 0, NULL, 0 } }
};


/* A worker writes one line at a time. */
static u_char  ngx_http_tel_buffer[NGX_HTTP_TEL_LINE];


void
ngx_http_tel_op_text(ngx_http_tel_op_t *op, u_char *text, size_t len)
{
    op->write = ngx_http_tel_text;
    op->len = len;
    op->text = text;
    op->index = NGX_ERROR;
}


ngx_http_tel_op_t *
ngx_http_tel_op_escape(u_char *name)
{
    ngx_http_tel_named_op_t  *known;

    for (known = ngx_http_tel_escape_ops; known->name.len; known++) {
        if (ngx_strcmp(known->name.data, name) == 0) {
            return &known->op;
        }
    }

    return NULL;
}


ngx_http_tel_op_t *
ngx_http_tel_op_log(ngx_str_t *name)
{
    ngx_http_tel_named_op_t  *known;

    for (known = ngx_http_tel_log_ops; known->name.len; known++) {
        if (known->name.len == name->len
            && ngx_strncmp(known->name.data, name->data, name->len) == 0)
        {
            return &known->op;
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_tel_line(ngx_http_request_t *r, ngx_http_tel_format_t *format,
    ngx_str_t *line)
{
    u_char  *buf, *p;
    size_t   size;

    ngx_http_script_flush_no_cacheable_variables(r, format->flushes);

    buf = ngx_http_tel_buffer;
    size = NGX_HTTP_TEL_LINE;

    for ( ;; ) {
        p = ngx_http_tel_line_write(r, format, buf, buf + size - 1);

        if (p != NULL) {

            /*
             * libtel would take it for the line's own end: it is escaped
             * here, as others are there
             */

            if (p > buf && p[-1] == '\n') {
                p[-1] = '\\';
                *p++ = 'n';
            }

            line->data = buf;
            line->len = p - buf;
            return NGX_OK;
        }

        size *= 2;

        buf = ngx_pnalloc(r->pool, size);
        if (buf == NULL) {
            return NGX_ERROR;
        }
    }
}


static u_char *
ngx_http_tel_line_write(ngx_http_request_t *r, ngx_http_tel_format_t *format,
    u_char *p, u_char *end)
{
    ngx_uint_t          i;
    ngx_http_tel_op_t  *op;

    op = format->ops->elts;

    for (i = 0; i < format->ops->nelts; i++) {

        /* values have to be looked at to see how much they take */

        if (op[i].index == NGX_ERROR && (size_t) (end - p) < op[i].len) {
            return NULL;
        }

        p = op[i].write(r, p, end, &op[i]);

        if (p == NULL) {
            return NULL;
        }
    }

    return p;
}


static u_char *
ngx_http_tel_text(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    return ngx_cpymem(p, op->text, op->len);
}


static u_char *
ngx_http_tel_pipe(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    *p++ = r->pipeline ? 'p' : '.';

    return p;
}


static u_char *
ngx_http_tel_time_local(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    return ngx_cpymem(p, ngx_cached_http_log_time.data,
                      ngx_cached_http_log_time.len);
}


static u_char *
ngx_http_tel_time_iso8601(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    return ngx_cpymem(p, ngx_cached_http_log_iso8601.data,
                      ngx_cached_http_log_iso8601.len);
}


static u_char *
ngx_http_tel_msec(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return ngx_sprintf(p, "%T.%03M", tp->sec, tp->msec);
}


static u_char *
ngx_http_tel_request_time(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    ngx_time_t      *tp;
    ngx_msec_int_t   ms;

    tp = ngx_timeofday();

    ms = (ngx_msec_int_t) ((tp->sec - r->start_sec) * 1000
                           + (tp->msec - r->start_msec));
    ms = ngx_max(ms, 0);

    return ngx_sprintf(p, "%T.%03M", (time_t) ms / 1000, ms % 1000);
}


static u_char *
ngx_http_tel_status_code(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    ngx_uint_t  status;

    status = r->err_status ? r->err_status : r->headers_out.status;

    if (status == 0 && r->http_version == NGX_HTTP_VERSION_9) {
        status = 9;
    }

    return ngx_sprintf(p, "%03ui", status);
}


static u_char *
ngx_http_tel_bytes_sent(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    return ngx_sprintf(p, "%O", r->connection->sent);
}


static u_char *
ngx_http_tel_body_bytes_sent(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    off_t  sent;

    sent = r->connection->sent - (off_t) r->header_size;

    return ngx_sprintf(p, "%O", ngx_max(sent, 0));
}


static u_char *
ngx_http_tel_request_length(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    return ngx_sprintf(p, "%O", r->request_length);
}


static u_char *
ngx_http_tel_escape_default(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    ngx_http_variable_value_t  *vv;

    vv = ngx_http_tel_value(r, op);

    if (vv == NULL) {
        if (p == end) {
            return NULL;
        }

        *p++ = '-';
        return p;
    }

    if ((size_t) (end - p) / op->len < vv->len) {
        return NULL;
    }

    return ngx_http_tel_escape(p, vv->data, vv->len);
}


static u_char *
ngx_http_tel_escape_json(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    ngx_http_variable_value_t  *vv;

    vv = ngx_http_tel_value(r, op);

    if (vv == NULL || vv->len == 0) {
        return p;
    }

    if ((size_t) (end - p) / op->len < vv->len) {
        return NULL;
    }

    return (u_char *) ngx_escape_json(p, vv->data, vv->len);
}


static u_char *
ngx_http_tel_escape_none(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    ngx_http_variable_value_t  *vv;

    vv = ngx_http_tel_value(r, op);

    if (vv == NULL) {
        return p;
    }

    if ((size_t) (end - p) < vv->len) {
        return NULL;
    }

    return ngx_cpymem(p, vv->data, vv->len);
}


static ngx_http_variable_value_t *
ngx_http_tel_value(ngx_http_request_t *r, ngx_http_tel_op_t *op)
{
    ngx_http_variable_value_t  *vv;

    vv = ngx_http_get_indexed_variable(r, op->index);

    return (vv == NULL || vv->not_found) ? NULL : vv;
}
