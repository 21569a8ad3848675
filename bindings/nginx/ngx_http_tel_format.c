
/*
 * log_format's language. What nginx makes of a log_format is private to it and
 * changes between its versions, so the arguments are compiled here again.
 */


#include "ngx_http_tel_line.h"


static ngx_int_t ngx_http_tel_format_compile(ngx_conf_t *cf,
    ngx_http_tel_format_t *format);
static ngx_int_t ngx_http_tel_format_part(ngx_conf_t *cf, ngx_str_t *format,
    ngx_array_t *ops, ngx_str_t *part, ngx_http_tel_value_t *escaped);
static ngx_int_t ngx_http_tel_format_variable(ngx_conf_t *cf,
    ngx_array_t *ops, ngx_str_t *name, ngx_http_tel_value_t *escaped);
static ngx_http_tel_op_t *ngx_http_tel_format_value(ngx_array_t *ops);
static ngx_http_tel_op_t *ngx_http_tel_format_push(ngx_array_t *ops);


static ngx_str_t  ngx_http_tel_combined = ngx_string("combined");

static ngx_str_t  ngx_http_tel_combined_format =
    ngx_string("$remote_addr - $remote_user [$time_local] "
               "\"$request\" $status $body_bytes_sent "
               "\"$http_referer\" \"$http_user_agent\"");


ngx_http_tel_format_t *
ngx_http_tel_format_add(ngx_conf_t *cf, ngx_array_t *formats, ngx_str_t *name,
    ngx_str_t *args, ngx_uint_t n)
{
    ngx_str_t              *copies;
    ngx_http_tel_format_t  *format, **slot;

    format = ngx_pcalloc(cf->pool, sizeof(ngx_http_tel_format_t));
    if (format == NULL) {
        return NULL;
    }

    format->name = *name;

    if (ngx_array_init(&format->args, cf->pool, n, sizeof(ngx_str_t))
        != NGX_OK)
    {
        return NULL;
    }

    copies = ngx_array_push_n(&format->args, n);
    slot = ngx_array_push(formats);

    if (copies == NULL || slot == NULL) {
        return NULL;
    }

    ngx_memcpy(copies, args, n * sizeof(ngx_str_t));
    *slot = format;

    return format;
}


ngx_http_tel_format_t *
ngx_http_tel_format_find(ngx_conf_t *cf, ngx_array_t *formats, ngx_str_t *name)
{
    ngx_uint_t               i;
    ngx_http_tel_format_t   *format, **known;

    format = NULL;
    known = formats->elts;

    for (i = 0; i < formats->nelts; i++) {
        /* access_log finds formats without regard to case */
        if (known[i]->name.len == name->len
            && ngx_strncasecmp(known[i]->name.data, name->data, name->len)
               == 0)
        {
            format = known[i];
            break;
        }
    }

    if (format == NULL
        && name->len == ngx_http_tel_combined.len
        && ngx_strncasecmp(name->data, ngx_http_tel_combined.data, name->len)
           == 0)
    {
        format = ngx_http_tel_format_add(cf, formats, &ngx_http_tel_combined,
                                         &ngx_http_tel_combined_format, 1);
        if (format == NULL) {
            return NULL;
        }
    }

    if (format == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown log format \"%V\"", name);
        return NULL;
    }

    if (format->ops.first == NULL
        && ngx_http_tel_format_compile(cf, format) != NGX_OK)
    {
        return NULL;
    }

    return format;
}


void
ngx_http_tel_formats_resolve(ngx_cycle_t *cycle, ngx_array_t *formats)
{
    ngx_uint_t                   i;
    ngx_http_variable_t         *v;
    ngx_http_tel_op_t           *op;
    ngx_http_tel_format_t      **format;
    ngx_http_core_main_conf_t   *cmcf;

    cmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_core_module);
    v = cmcf->variables.elts;

    format = formats->elts;

    for (i = 0; i < formats->nelts; i++) {
        for (op = format[i]->ops.first; op < format[i]->ops.last; op++) {

            if (op->is_variable) {
                op->get = v[op->index].get_handler;
                op->of.data = v[op->index].data;
                op->no_cacheable =
                           (v[op->index].flags & NGX_HTTP_VAR_NOCACHEABLE) != 0;
            }
        }
    }
}


static ngx_int_t
ngx_http_tel_format_compile(ngx_conf_t *cf, ngx_http_tel_format_t *format)
{
    size_t                 size;
    ngx_str_t             *arg;
    ngx_uint_t             i;
    ngx_array_t            ops;
    ngx_http_tel_op_t     *op;
    ngx_http_tel_value_t  *escaped;

    if (ngx_array_init(&ops, cf->temp_pool, 16, sizeof(ngx_http_tel_op_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    arg = format->args.elts;
    escaped = ngx_http_tel_value_escaped((u_char *) "default");
    i = 0;

    if (format->args.nelts && ngx_strncmp(arg[0].data, "escape=", 7) == 0) {

        escaped = ngx_http_tel_value_escaped(arg[0].data + 7);

        if (escaped == NULL) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "unknown \"%V\" in log format \"%V\"",
                               &arg[0], &format->name);
            return NGX_ERROR;
        }

        i++;
    }

    for ( /* void */ ; i < format->args.nelts; i++) {
        if (ngx_http_tel_format_part(cf, &format->name, &ops, &arg[i], escaped)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ops.nelts > 1) {
        op = ops.elts;
        op += ops.nelts - 1;

        if (op->is_text && op->len <= sizeof(format->ops.after)) {
            ngx_memcpy(format->ops.after, op->of.text, op->len);
            format->ops.after_len = op->len;
            ops.nelts--;
        }
    }

    /* each request reads all of them: in as few cache lines as there can be */

    size = ops.nelts * sizeof(ngx_http_tel_op_t);

    format->ops.first = ngx_pmemalign(cf->pool, size, ngx_cacheline_size);
    if (format->ops.first == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(format->ops.first, ops.elts, size);
    format->ops.last = format->ops.first + ops.nelts;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tel_format_part(ngx_conf_t *cf, ngx_str_t *format, ngx_array_t *ops,
    ngx_str_t *part, ngx_http_tel_value_t *escaped)
{
    u_char             *p, *end, *text;
    ngx_str_t           name;
    ngx_uint_t          bracket;
    ngx_http_tel_op_t  *op;

    p = part->data;
    end = p + part->len;

    while (p < end) {

        if (*p != '$') {
            op = ngx_http_tel_format_push(ops);
            if (op == NULL) {
                return NGX_ERROR;
            }

            text = p;

            while (p < end && *p != '$') {
                p++;
            }

            ngx_http_tel_op_text(op, text, p - text);
            continue;
        }

        p++;
        bracket = (p < end && *p == '{');
        p += bracket;
        name.data = p;

        while (p < end
               && ((*p >= 'A' && *p <= 'Z')
                   || (*p >= 'a' && *p <= 'z')
                   || (*p >= '0' && *p <= '9')
                   || *p == '_'))
        {
            p++;
        }

        name.len = p - name.data;

        if (name.len == 0 || (bracket && (p == end || *p != '}'))) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid variable in log format \"%V\"",
                               format);
            return NGX_ERROR;
        }

        p += bracket;

        if (ngx_http_tel_format_variable(cf, ops, &name, escaped) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tel_format_variable(ngx_conf_t *cf, ngx_array_t *ops,
    ngx_str_t *name, ngx_http_tel_value_t *escaped)
{
    ngx_int_t              index;
    ngx_http_tel_op_t     *op;
    ngx_http_tel_value_t  *value;

    op = ngx_http_tel_format_value(ops);
    if (op == NULL) {
        return NGX_ERROR;
    }

    value = ngx_http_tel_value_of_log(name);

    if (value == NULL) {
        value = escaped;

        index = ngx_http_get_variable_index(cf, name);
        if (index == NGX_ERROR) {
            return NGX_ERROR;
        }

        op->is_variable = 1;
        op->index = index;
    }

    op->write = value->write;
    op->len = value->len;

    return NGX_OK;
}


/* One for a value: a short text in front of it becomes a part of it. */

static ngx_http_tel_op_t *
ngx_http_tel_format_value(ngx_array_t *ops)
{
    ngx_http_tel_op_t  *op;

    if (ops->nelts) {
        op = ops->elts;
        op += ops->nelts - 1;

        if (op->is_text && op->len <= sizeof(op->before)) {
            ngx_memcpy(op->before, op->of.text, op->len);
            op->before_len = op->len;
            op->is_text = 0;
            return op;
        }
    }

    return ngx_http_tel_format_push(ops);
}


static ngx_http_tel_op_t *
ngx_http_tel_format_push(ngx_array_t *ops)
{
    ngx_http_tel_op_t  *op;

    op = ngx_array_push(ops);

    if (op != NULL) {
        ngx_memzero(op, sizeof(ngx_http_tel_op_t));
    }

    return op;
}
