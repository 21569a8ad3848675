
#ifndef _NGX_HTTP_TEL_LINE_H_INCLUDED_
#define _NGX_HTTP_TEL_LINE_H_INCLUDED_


#include "ngx_http_tel_module.h"


/*
 * Writes to p, where there is room for op->len; NULL if a value may take more
 * than there is up to end.
 */
typedef u_char *(*ngx_http_tel_op_pt)(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);

/* Two of them fit a cache line. */
#define NGX_HTTP_TEL_BEFORE  10

struct ngx_http_tel_op_s {
    ngx_http_tel_op_pt          write;

    union {
        u_char                 *text;
        ngx_uint_t              index;   /* of a variable */
    } of;

    uint32_t                    len;     /* at most; a variable: for a byte */
    u_char                      kind;
    u_char                      before_len;
    u_char                      before[NGX_HTTP_TEL_BEFORE];  /* text, too */
};

#define NGX_HTTP_TEL_OWN       0         /* read of the request itself */
#define NGX_HTTP_TEL_TEXT      1
#define NGX_HTTP_TEL_VARIABLE  2


typedef struct {
    ngx_str_t                   name;
    ngx_http_tel_op_pt          write;
    uint32_t                    len;
} ngx_http_tel_value_t;


void ngx_http_tel_op_text(ngx_http_tel_op_t *op, u_char *text, size_t len);

/* At most four times as long. */
u_char *ngx_http_tel_escape(u_char *p, u_char *s, size_t len);

/* A variable, as "default", "json" or "none" escape; else NULL. */
ngx_http_tel_value_t *ngx_http_tel_value_escaped(u_char *name);

/* For a name that logs give a meaning of its own; NULL if this is not one. */
ngx_http_tel_value_t *ngx_http_tel_value_of_log(ngx_str_t *name);


#endif /* _NGX_HTTP_TEL_LINE_H_INCLUDED_ */
