
/*
 * tel_producer, tel_log, and a look at log_format as it passes.
 */


#include "ngx_http_tel_module.h"


static ngx_http_tel_producer_t *ngx_http_tel_find_producer(
    ngx_http_tel_main_conf_t *tmcf, ngx_str_t *name);
static ngx_int_t ngx_http_tel_compile_client(ngx_conf_t *cf,
    ngx_http_tel_log_t *log, ngx_str_t *value);
static ngx_http_complex_value_t *ngx_http_tel_compile(ngx_conf_t *cf,
    ngx_str_t *value);


extern ngx_module_t  ngx_http_log_module;


/* Notes a log_format, once the log module has found nothing wrong with it. */

char *
ngx_http_tel_log_format(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tel_main_conf_t *tmcf = conf;

    char           *rv;
    ngx_str_t      *value;
    ngx_command_t  *own;

    own = ngx_http_log_module.commands;

    while (own->name.len != cmd->name.len
           || ngx_strncmp(own->name.data, cmd->name.data, own->name.len) != 0)
    {
        own++;
    }

    rv = own->set(cf, own,
                  ngx_http_conf_get_module_main_conf(cf, ngx_http_log_module));

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    value = cf->args->elts;

    if (ngx_http_tel_format_add(cf, &tmcf->formats, &value[1], &value[2],
                                cf->args->nelts - 2)
        == NULL)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_tel_add_producer(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tel_main_conf_t *tmcf = conf;

    ngx_str_t                 *value;
    ngx_uint_t                 i;
    ngx_http_tel_producer_t   *tp, **slot;

    value = cf->args->elts;

    if (ngx_http_tel_find_producer(tmcf, &value[1]) != NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate tel_producer \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    /* it stands in labels and as a key, where nothing has to be escaped so */

    for (i = 0; i < value[1].len; i++) {
        if (!isalnum(value[1].data[i])
            && ngx_strchr("._-", value[1].data[i]) == NULL)
        {
            break;
        }
    }

    if (value[1].len == 0 || i != value[1].len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name of a tel_producer \"%V\": "
                           "it may have A-Z a-z 0-9 . _ -", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (value[2].len <= 7 || ngx_strncmp(value[2].data, "config=", 7) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\", "
                           "tel_producer takes a name and config=FILE",
                           &value[2]);
        return NGX_CONF_ERROR;
    }

    tp = ngx_pcalloc(cf->pool, sizeof(ngx_http_tel_producer_t));
    slot = ngx_array_push(&tmcf->producers);

    if (tp == NULL || slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = tp;

    tp->name = value[1];
    tp->file.data = value[2].data + 7;
    tp->file.len = value[2].len - 7;

    if (ngx_conf_full_name(cf->cycle, &tp->file, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return ngx_http_tel_producer_read(cf, tp);
}


char *
ngx_http_tel_add_log(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_tel_loc_conf_t *tlcf = conf;

    ngx_str_t                 *value, s;
    ngx_uint_t                 i;
    ngx_http_tel_log_t        *log;
    ngx_http_tel_format_t     *format;
    ngx_http_tel_main_conf_t  *tmcf;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        tlcf->off = 1;

        if (cf->args->nelts == 2) {
            return NGX_CONF_OK;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts < 4) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tel_log takes a producer, a format and client=, "
                           "or \"off\"");
        return NGX_CONF_ERROR;
    }

    if (tlcf->logs == NULL) {
        tlcf->logs = ngx_array_create(cf->pool, 2, sizeof(ngx_http_tel_log_t));
        if (tlcf->logs == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    log = ngx_array_push(tlcf->logs);
    if (log == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(log, sizeof(ngx_http_tel_log_t));

    tmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tel_module);

    log->producer = ngx_http_tel_find_producer(tmcf, &value[1]);

    if (log->producer == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown tel_producer \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    log->producer->used = 1;

    format = ngx_http_tel_format_find(cf, &tmcf->formats, &value[2]);

    if (format == NULL) {
        return NGX_CONF_ERROR;
    }

    log->ops = format->ops;

    for (i = 3; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "client=", 7) == 0
            && value[i].len > 7 && log->client == NULL)
        {
            s.len = value[i].len - 7;
            s.data = value[i].data + 7;

            if (ngx_http_tel_compile_client(cf, log, &s) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "if=", 3) == 0 && log->filter == NULL) {
            s.len = value[i].len - 3;
            s.data = value[i].data + 3;

            log->filter = ngx_http_tel_compile(cf, &s);

            if (log->filter == NULL) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[i]);
        return NGX_CONF_ERROR;
    }

    if (log->client == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tel_log needs client=, which says whose lines "
                           "these are");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_http_tel_producer_t *
ngx_http_tel_find_producer(ngx_http_tel_main_conf_t *tmcf, ngx_str_t *name)
{
    ngx_uint_t                 i;
    ngx_http_tel_producer_t  **tp;

    tp = tmcf->producers.elts;

    for (i = 0; i < tmcf->producers.nelts; i++) {
        if (tp[i]->name.len == name->len
            && ngx_strncmp(tp[i]->name.data, name->data, name->len) == 0)
        {
            return tp[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_tel_compile_client(ngx_conf_t *cf, ngx_http_tel_log_t *log,
    ngx_str_t *value)
{
    u_char     *p;
    ngx_str_t   name;

    log->index = NGX_ERROR;

    log->client = ngx_http_tel_compile(cf, value);
    if (log->client == NULL) {
        return NGX_ERROR;
    }

    /*
     * one variable and nothing else can be read without a copy; $1 is none
     * but a part of the last regex's match, whatever text follows it
     */

    if (value->data[0] != '$'
        || (value->data[1] >= '1' && value->data[1] <= '9'))
    {
        return NGX_OK;
    }

    name.data = value->data + 1;
    name.len = value->len - 1;

    if (name.len > 2 && name.data[0] == '{'
        && name.data[name.len - 1] == '}')
    {
        name.data++;
        name.len -= 2;
    }

    for (p = name.data; p < name.data + name.len; p++) {
        if (!isalnum(*p) && *p != '_') {
            return NGX_OK;
        }
    }

    log->index = ngx_http_get_variable_index(cf, &name);

    return log->index == NGX_ERROR ? NGX_ERROR : NGX_OK;
}


static ngx_http_complex_value_t *
ngx_http_tel_compile(ngx_conf_t *cf, ngx_str_t *value)
{
    ngx_http_compile_complex_value_t   ccv;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = value;
    ccv.complex_value = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));

    if (ccv.complex_value == NULL
        || ngx_http_compile_complex_value(&ccv) != NGX_OK)
    {
        return NULL;
    }

    return ccv.complex_value;
}
