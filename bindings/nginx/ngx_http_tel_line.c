
/*
 * A line, written in one go: what is written here is, byte for byte, what
 * nginx's access_log writes.
 */


#include "ngx_http_tel_line.h"


/* A line that may become longer takes memory of its request. */
#define NGX_HTTP_TEL_LINE  16384

/* Room for a number, whatever it is; and for one, a point and another one. */
#define NGX_HTTP_TEL_NUMBER   NGX_INT64_LEN
#define NGX_HTTP_TEL_SECONDS  (2 * NGX_HTTP_TEL_NUMBER + 1)

/* nginx's cached times are never of another length: a copy is no call. */
#define NGX_HTTP_TEL_TIME_LOCAL    (sizeof("28/Sep/1970:12:00:00 +0600") - 1)
#define NGX_HTTP_TEL_TIME_ISO8601  (sizeof("1970-09-28T12:00:00+06:00") - 1)


/* NULL if the line is longer than that. */
static u_char *ngx_http_tel_line_write(ngx_http_request_t *r,
    ngx_http_tel_ops_t *ops, u_char *p, u_char *end);
static u_char *ngx_http_tel_number(u_char *p, uint64_t n, size_t digits);
static u_char *ngx_http_tel_seconds(u_char *p, time_t sec, ngx_msec_t msec);

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


/*
 * The names that mean something of their own in a log: they are read when the
 * line is written, where the variables of the same names may have been cached
 * early in the request.
 */

static ngx_http_tel_value_t  ngx_http_tel_log_values[] = {
    { ngx_string("pipe"), ngx_http_tel_pipe, 1 },
    { ngx_string("time_local"), ngx_http_tel_time_local,
      NGX_HTTP_TEL_TIME_LOCAL },
    { ngx_string("time_iso8601"), ngx_http_tel_time_iso8601,
      NGX_HTTP_TEL_TIME_ISO8601 },
    { ngx_string("msec"), ngx_http_tel_msec, NGX_HTTP_TEL_SECONDS },
    { ngx_string("request_time"), ngx_http_tel_request_time,
      NGX_HTTP_TEL_SECONDS },
    { ngx_string("status"), ngx_http_tel_status_code, NGX_HTTP_TEL_NUMBER },
    { ngx_string("bytes_sent"), ngx_http_tel_bytes_sent,
      NGX_HTTP_TEL_NUMBER },
    { ngx_string("body_bytes_sent"), ngx_http_tel_body_bytes_sent,
      NGX_HTTP_TEL_NUMBER },
    { ngx_string("request_length"), ngx_http_tel_request_length,
      NGX_HTTP_TEL_NUMBER },
    { ngx_null_string, NULL, 0 }
};


/* A worker writes one line at a time. */
static u_char  ngx_http_tel_buffer[NGX_HTTP_TEL_LINE];


void
ngx_http_tel_op_text(ngx_http_tel_op_t *op, u_char *text, size_t len)
{
    op->write = ngx_http_tel_text;
    op->of.text = text;
    op->len = len;
    op->is_text = 1;
}


ngx_http_tel_value_t *
ngx_http_tel_value_of_log(ngx_str_t *name)
{
    ngx_http_tel_value_t  *known;

    for (known = ngx_http_tel_log_values; known->name.len; known++) {
        if (known->name.len == name->len
            && ngx_strncmp(known->name.data, name->data, name->len) == 0)
        {
            return known;
        }
    }

    return NULL;
}


ngx_int_t
ngx_http_tel_line(ngx_http_request_t *r, ngx_http_tel_ops_t *ops,
    ngx_str_t *line)
{
    u_char  *buf, *p;
    size_t   size;

    buf = ngx_http_tel_buffer;
    size = NGX_HTTP_TEL_LINE;

    for ( ;; ) {
        p = ngx_http_tel_line_write(r, ops, buf, buf + size - 1);

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
ngx_http_tel_line_write(ngx_http_request_t *r, ngx_http_tel_ops_t *ops,
    u_char *p, u_char *end)
{
    ngx_http_tel_op_t  *op;

    for (op = ops->first; op < ops->last; op++) {

        if ((size_t) (end - p) < sizeof(op->before) + op->len) {
            return NULL;
        }

        ngx_memcpy(p, op->before, sizeof(op->before));
        p += op->before_len;

        /*
         * a call that is known needs no guess of where it leads: requests leave
         * little to guess by
         */

        p = op->write ? op->write(r, p, end, op)
                      : ngx_http_tel_escape_default(r, p, end, op);

        if (p == NULL) {
            return NULL;
        }
    }

    if ((size_t) (end - p) < sizeof(ops->after)) {
        return NULL;
    }

    ngx_memcpy(p, ops->after, sizeof(ops->after));

    return p + ops->after_len;
}


static u_char *
ngx_http_tel_text(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    return ngx_cpymem(p, op->of.text, op->len);
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
                      NGX_HTTP_TEL_TIME_LOCAL);
}


static u_char *
ngx_http_tel_time_iso8601(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    return ngx_cpymem(p, ngx_cached_http_log_iso8601.data,
                      NGX_HTTP_TEL_TIME_ISO8601);
}


static u_char *
ngx_http_tel_msec(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return ngx_http_tel_seconds(p, tp->sec, tp->msec);
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

    return ngx_http_tel_seconds(p, ms / 1000, ms % 1000);
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

    return ngx_http_tel_number(p, status, 3);
}


static u_char *
ngx_http_tel_bytes_sent(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    return ngx_http_tel_number(p, r->connection->sent, 1);
}


static u_char *
ngx_http_tel_body_bytes_sent(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    off_t  sent;

    sent = r->connection->sent - (off_t) r->header_size;

    return ngx_http_tel_number(p, ngx_max(sent, 0), 1);
}


static u_char *
ngx_http_tel_request_length(ngx_http_request_t *r, u_char *p, u_char *end,
    ngx_http_tel_op_t *op)
{
    return ngx_http_tel_number(p, r->request_length, 1);
}


/*
 * In decimal, with zeros in front of fewer digits; without printf's cost. What
 * is copied is as long as a number may be, where there is room for that.
 */

static u_char *
ngx_http_tel_number(u_char *p, uint64_t n, size_t digits)
{
    u_char  text[2 * NGX_HTTP_TEL_NUMBER], *end, *d;

    end = text + NGX_HTTP_TEL_NUMBER;
    d = end;

    do {
        *--d = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    while ((size_t) (end - d) < digits) {
        *--d = '0';
    }

    ngx_memcpy(p, d, NGX_HTTP_TEL_NUMBER);

    return p + (end - d);
}


static u_char *
ngx_http_tel_seconds(u_char *p, time_t sec, ngx_msec_t msec)
{
    p = ngx_http_tel_number(p, sec, 1);
    *p++ = '.';

    return ngx_http_tel_number(p, msec, 3);
}
