
/*
 * The module, and the log phase.
 */


#include "ngx_http_tel_module.h"


static ngx_int_t ngx_http_tel_log_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_tel_client(ngx_http_request_t *r,
    ngx_http_tel_log_t *log, ngx_str_t *client);

static void *ngx_http_tel_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_tel_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_tel_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_tel_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_tel_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_tel_init_process(ngx_cycle_t *cycle);
static void ngx_http_tel_exit_process(ngx_cycle_t *cycle);


static ngx_command_t  ngx_http_tel_commands[] = {

    { ngx_string("tel_producer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE2,
      ngx_http_tel_add_producer,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tel_log"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF
                        |NGX_HTTP_LMT_CONF|NGX_CONF_1MORE,
      ngx_http_tel_add_log,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("tel_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_tel_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    /* the log module's own; this module comes first, and hands it on */
    { ngx_string("log_format"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_tel_log_format,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_tel_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_tel_init,                     /* postconfiguration */

    ngx_http_tel_create_main_conf,         /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_tel_create_loc_conf,          /* create location configuration */
    ngx_http_tel_merge_loc_conf            /* merge location configuration */
};


ngx_module_t  ngx_http_tel_module = {
    NGX_MODULE_V1,
    &ngx_http_tel_module_ctx,              /* module context */
    ngx_http_tel_commands,                 /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_tel_init_module,              /* init module */
    ngx_http_tel_init_process,             /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_tel_exit_process,             /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_tel_log_handler(ngx_http_request_t *r)
{
    ngx_str_t                 client, line, condition;
    ngx_int_t                 rc;
    ngx_uint_t                i;
    tel_producer             *p;
    ngx_http_tel_log_t       *log;
    ngx_http_tel_loc_conf_t  *tlcf;

    tlcf = ngx_http_get_module_loc_conf(r, ngx_http_tel_module);

    if (tlcf->off || tlcf->logs == NULL) {
        return NGX_OK;
    }

    log = tlcf->logs->elts;

    for (i = 0; i < tlcf->logs->nelts; i++) {

        rc = ngx_http_tel_client(r, &log[i], &client);

        if (rc == NGX_ERROR) {
            log[i].producer->unavailable++;
        }

        if (rc != NGX_OK) {
            continue;
        }

        p = ngx_http_tel_producer_handle(log[i].producer);

        /* nothing is formatted for a client that does not have the service */

        if (p && !tel_wants(p, (char *) client.data, client.len)) {
            continue;
        }

        if (log[i].filter) {
            if (ngx_http_complex_value(r, log[i].filter, &condition)
                != NGX_OK)
            {
                log[i].producer->unavailable++;
                continue;
            }

            if (condition.len == 0
                || (condition.len == 1 && condition.data[0] == '0'))
            {
                continue;
            }
        }

        if (p == NULL
            || ngx_http_tel_line(r, &log[i].ops, &line) != NGX_OK)
        {
            log[i].producer->unavailable++;
            continue;
        }

        /* what is refused is counted there, and no matter of the visitor's */

        (void) tel_submit_for(p, (char *) client.data, client.len,
                              (char *) line.data, line.len);
    }

    return NGX_OK;
}


/* NGX_DECLINED if the request is nobody's, NGX_ERROR if that cannot be said. */

static ngx_int_t
ngx_http_tel_client(ngx_http_request_t *r, ngx_http_tel_log_t *log,
    ngx_str_t *client)
{
    ngx_http_variable_value_t  *vv;

    if (log->index != NGX_ERROR) {
        vv = ngx_http_get_flushed_variable(r, log->index);

        if (vv == NULL) {
            return NGX_ERROR;
        }

        if (vv->not_found) {
            return NGX_DECLINED;
        }

        client->data = vv->data;
        client->len = vv->len;

    } else if (log->client->lengths == NULL) {
        *client = log->client->value;

    } else if (ngx_http_complex_value(r, log->client, client) != NGX_OK) {
        return NGX_ERROR;
    }

    return client->len ? NGX_OK : NGX_DECLINED;
}


static void *
ngx_http_tel_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_tel_main_conf_t  *tmcf;

    tmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_tel_main_conf_t));
    if (tmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&tmcf->producers, cf->pool, 2, sizeof(void *)) != NGX_OK
        || ngx_array_init(&tmcf->formats, cf->pool, 4, sizeof(void *))
           != NGX_OK)
    {
        return NULL;
    }

    return tmcf;
}


static void *
ngx_http_tel_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_tel_loc_conf_t));
}


static char *
ngx_http_tel_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_tel_loc_conf_t *prev = parent;
    ngx_http_tel_loc_conf_t *conf = child;

    if (conf->logs == NULL && !conf->off) {
        conf->logs = prev->logs;
        conf->off = prev->off;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_tel_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_tel_main_conf_t   *tmcf;
    ngx_http_core_main_conf_t  *cmcf;

    tmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_tel_module);

    if (tmcf->producers.nelts == 0) {
        return NGX_OK;
    }

    if (ngx_http_tel_total_zone(cf, tmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_tel_log_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_tel_init_module(ngx_cycle_t *cycle)
{
    ngx_http_tel_main_conf_t  *tmcf;

    tmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tel_module);

    /* without an http block there is none */

    if (tmcf != NULL) {
        ngx_http_tel_formats_resolve(cycle, &tmcf->formats);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_tel_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                  i;
    ngx_http_tel_producer_t   **tp;
    ngx_http_tel_main_conf_t   *tmcf;

    tmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tel_module);

    /* the cache manager and loader serve no requests */

    if (tmcf == NULL
        || (ngx_process != NGX_PROCESS_WORKER
            && ngx_process != NGX_PROCESS_SINGLE))
    {
        return NGX_OK;
    }

    tp = tmcf->producers.elts;

    for (i = 0; i < tmcf->producers.nelts; i++) {
        if (tp[i]->used) {
            ngx_http_tel_producer_start(cycle, tp[i]);
        }
    }

    ngx_http_tel_total_start(cycle, tmcf);

    /* nothing that is wrong here keeps a worker from serving */

    return NGX_OK;
}


static void
ngx_http_tel_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_tel_main_conf_t  *tmcf;

    tmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_tel_module);

    if (tmcf == NULL) {
        return;
    }

    ngx_http_tel_producers_stop(cycle, &tmcf->producers);
    ngx_http_tel_total_stop(tmcf);
    ngx_http_tel_producers_free(&tmcf->producers);
}
