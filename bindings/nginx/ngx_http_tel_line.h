
#ifndef _NGX_HTTP_TEL_LINE_H_INCLUDED_
#define _NGX_HTTP_TEL_LINE_H_INCLUDED_


#include "ngx_http_tel_module.h"


typedef struct ngx_http_tel_op_s  ngx_http_tel_op_t;

/* Writes to p; NULL if a value may take more than there is up to end. */
typedef u_char *(*ngx_http_tel_op_pt)(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);

struct ngx_http_tel_op_s {
    ngx_http_tel_op_pt          write;
    size_t                      len;     /* at most; a variable: for a byte */
    u_char                     *text;
    ngx_int_t                   index;   /* of a variable; else NGX_ERROR */
};


void ngx_http_tel_op_text(ngx_http_tel_op_t *op, u_char *text, size_t len);

/* At most four times as long. */
u_char *ngx_http_tel_escape(u_char *p, u_char *s, size_t len);

/* For "default", "json" or "none"; NULL if it is none of them. */
ngx_http_tel_op_t *ngx_http_tel_op_escape(u_char *name);

/* For a name that logs give a meaning of its own; NULL if this is not one. */
ngx_http_tel_op_t *ngx_http_tel_op_log(ngx_str_t *name);


#endif /* _NGX_HTTP_TEL_LINE_H_INCLUDED_ */
