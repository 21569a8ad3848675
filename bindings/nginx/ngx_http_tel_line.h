
#ifndef _NGX_HTTP_TEL_LINE_H_INCLUDED_
#define _NGX_HTTP_TEL_LINE_H_INCLUDED_


#include "ngx_http_tel_module.h"


/*
 * Writes to p, where there is room for op->len; NULL if a value may take more
 * than there is up to end.
 */
typedef u_char *(*ngx_http_tel_op_pt)(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);

struct ngx_http_tel_op_s {
    ngx_http_tel_op_pt          write;   /* NULL: escape_default */

    union {
        u_char                 *text;
        uintptr_t               data;    /* for get */
    } of;

    ngx_http_get_variable_pt    get;     /* once all variables are known */
    uint32_t                    index;   /* of the variable */

    uint32_t                    len;     /* at most; a variable: for a byte */
    unsigned                    is_text:1;
    unsigned                    is_variable:1;
    unsigned                    no_cacheable:1;
    u_char                      before_len;
    u_char                      before[NGX_HTTP_TEL_TEXT];
};


typedef struct {
    ngx_str_t                   name;
    ngx_http_tel_op_pt          write;
    uint32_t                    len;
} ngx_http_tel_value_t;


/* Writes as a write function does, for those that have none. */
u_char *ngx_http_tel_escape_default(ngx_http_request_t *r, u_char *p,
    u_char *end, ngx_http_tel_op_t *op);

void ngx_http_tel_op_text(ngx_http_tel_op_t *op, u_char *text, size_t len);

/* A variable, as "default", "json" or "none" escape; else NULL. */
ngx_http_tel_value_t *ngx_http_tel_value_escaped(u_char *name);

/* For a name that logs give a meaning of its own; NULL if this is not one. */
ngx_http_tel_value_t *ngx_http_tel_value_of_log(ngx_str_t *name);


#endif /* _NGX_HTTP_TEL_LINE_H_INCLUDED_ */
