
/*
 * The tel_status handler: the counters of all workers together, as JSON or as
 * Prometheus text. The JSON also has, from libtel, the whole picture of the
 * worker that answers, each client's counters too.
 */


#include "ngx_http_tel_module.h"


#define NGX_HTTP_TEL_STATUS_JSON        0
#define NGX_HTTP_TEL_STATUS_PROMETHEUS  1


/* What is written of a counter once, and for a producer, its name apart. */
#define NGX_HTTP_TEL_STATUS_COUNTER     128

/* Those of tel_stats, the module's own two, and what stands around them. */
#define NGX_HTTP_TEL_STATUS_COUNTERS                                          \
    (sizeof(tel_stats) / sizeof(uint64_t) + 4)


typedef struct {
    ngx_http_tel_producer_t    *producer;
    ngx_uint_t                  workers;
    tel_stats                   stats;
    uint64_t                    unavailable;
    ngx_str_t                   worker;     /* libtel's own JSON */
} ngx_http_tel_report_t;


static ngx_int_t ngx_http_tel_status_json(ngx_http_request_t *r);
static ngx_int_t ngx_http_tel_status_prometheus(ngx_http_request_t *r);
static ngx_int_t ngx_http_tel_status_answer(ngx_http_request_t *r,
    ngx_uint_t form);
static ngx_int_t ngx_http_tel_status_worker(ngx_http_request_t *r,
    ngx_http_tel_report_t *report);
static u_char *ngx_http_tel_status_write_json(u_char *p,
    ngx_http_tel_report_t *report, ngx_uint_t n);
static u_char *ngx_http_tel_status_write_prometheus(u_char *p,
    ngx_http_tel_report_t *report, ngx_uint_t n);
static u_char *ngx_http_tel_status_name(u_char *p, ngx_str_t *name,
    ngx_http_tel_kind_e kind);
static u_char *ngx_http_tel_status_type(u_char *p, ngx_str_t *name,
    ngx_http_tel_kind_e kind);
static u_char *ngx_http_tel_status_sample(u_char *p, ngx_str_t *name,
    ngx_http_tel_kind_e kind, ngx_str_t *producer, uint64_t value);


static ngx_str_t  ngx_http_tel_status_unavailable = ngx_string("unavailable");
static ngx_str_t  ngx_http_tel_status_workers = ngx_string("workers");


char *
ngx_http_tel_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *clcf;

    value = cf->args->elts;
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (cf->args->nelts == 1 || ngx_strcmp(value[1].data, "json") == 0) {
        clcf->handler = ngx_http_tel_status_json;

    } else if (ngx_strcmp(value[1].data, "prometheus") == 0) {
        clcf->handler = ngx_http_tel_status_prometheus;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\": "
                           "tel_status takes json or prometheus", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* ?format=prometheus or ?format=json in a request goes first. */

static ngx_int_t
ngx_http_tel_status_json(ngx_http_request_t *r)
{
    return ngx_http_tel_status_answer(r, NGX_HTTP_TEL_STATUS_JSON);
}


static ngx_int_t
ngx_http_tel_status_prometheus(ngx_http_request_t *r)
{
    return ngx_http_tel_status_answer(r, NGX_HTTP_TEL_STATUS_PROMETHEUS);
}


static ngx_int_t
ngx_http_tel_status_answer(ngx_http_request_t *r, ngx_uint_t form)
{
    size_t                      size;
    ngx_int_t                   rc;
    ngx_buf_t                  *b;
    ngx_str_t                   asked;
    ngx_uint_t                  i, n;
    ngx_chain_t                 out;
    ngx_http_tel_report_t      *report;
    ngx_http_tel_producer_t   **tp;
    ngx_http_tel_main_conf_t   *tmcf;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_arg(r, (u_char *) "format", 6, &asked) == NGX_OK) {

        if (asked.len == 4 && ngx_strncmp(asked.data, "json", 4) == 0) {
            form = NGX_HTTP_TEL_STATUS_JSON;

        } else if (asked.len == 10
                   && ngx_strncmp(asked.data, "prometheus", 10) == 0)
        {
            form = NGX_HTTP_TEL_STATUS_PROMETHEUS;

        } else {
            return NGX_HTTP_BAD_REQUEST;
        }
    }

    tmcf = ngx_http_get_module_main_conf(r, ngx_http_tel_module);
    tp = tmcf->producers.elts;

    report = ngx_pcalloc(r->pool, (tmcf->producers.nelts + 1)
                                  * sizeof(ngx_http_tel_report_t));
    if (report == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    n = 0;
    size = NGX_HTTP_TEL_STATUS_COUNTERS * NGX_HTTP_TEL_STATUS_COUNTER;

    for (i = 0; i < tmcf->producers.nelts; i++) {

        if (!tp[i]->used) {
            continue;
        }

        report[n].producer = tp[i];
        report[n].workers = ngx_http_tel_total_read(tmcf, tp[i],
                                                    &report[n].stats,
                                                    &report[n].unavailable);

        if (form == NGX_HTTP_TEL_STATUS_JSON
            && ngx_http_tel_status_worker(r, &report[n]) != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        size += NGX_HTTP_TEL_STATUS_COUNTERS
                * (NGX_HTTP_TEL_STATUS_COUNTER + tp[i]->name.len)
                + report[n].worker.len;
        n++;
    }

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (form == NGX_HTTP_TEL_STATUS_JSON) {
        b->last = ngx_http_tel_status_write_json(b->last, report, n);
        ngx_str_set(&r->headers_out.content_type, "application/json");

    } else {
        b->last = ngx_http_tel_status_write_prometheus(b->last, report, n);
        ngx_str_set(&r->headers_out.content_type,
                    "text/plain; version=0.0.4");
    }

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_tel_status_worker(ngx_http_request_t *r,
    ngx_http_tel_report_t *report)
{
    size_t         size, len;
    tel_producer  *p;

    p = report->producer->handle;

    if (p == NULL) {
        ngx_str_set(&report->worker, "null");
        return NGX_OK;
    }

    /* it may have grown when it is asked for again */

    len = tel_stats_json(p, NULL, 0);

    do {
        size = len + len / 8 + 1;

        report->worker.data = ngx_pnalloc(r->pool, size);
        if (report->worker.data == NULL) {
            return NGX_ERROR;
        }

        len = tel_stats_json(p, (char *) report->worker.data, size);

    } while (len >= size);

    report->worker.len = len;

    return NGX_OK;
}


static u_char *
ngx_http_tel_status_write_json(u_char *p, ngx_http_tel_report_t *report,
    ngx_uint_t n)
{
    ngx_uint_t               i;
    ngx_http_tel_counter_t  *c;

    p = ngx_sprintf(p, "{\"worker_pid\":%P,\"producers\":{", ngx_pid);

    for (i = 0; i < n; i++) {

        p = ngx_sprintf(p, "%s\"%V\":{\"workers\":%ui,\"unavailable\":%uL,"
                        "\"total\":{", i ? "," : "",
                        &report[i].producer->name, report[i].workers,
                        report[i].unavailable);

        for (c = ngx_http_tel_counters; c->name.len; c++) {
            p = ngx_sprintf(p, "%s\"%V\":%uL",
                            c == ngx_http_tel_counters ? "" : ",", &c->name,
                            ngx_http_tel_counter(&report[i].stats, c));
        }

        p = ngx_sprintf(p, "},\"worker\":%V}", &report[i].worker);
    }

    return ngx_cpymem(p, "}}\n", 3);
}


static u_char *
ngx_http_tel_status_write_prometheus(u_char *p, ngx_http_tel_report_t *report,
    ngx_uint_t n)
{
    ngx_uint_t               i;
    ngx_http_tel_counter_t  *c;

    /* the samples of one name have to stand together */

    for (c = ngx_http_tel_counters; c->name.len; c++) {

        p = ngx_http_tel_status_type(p, &c->name, c->kind);

        for (i = 0; i < n; i++) {
            p = ngx_http_tel_status_sample(p, &c->name, c->kind,
                                  &report[i].producer->name,
                                  ngx_http_tel_counter(&report[i].stats, c));
        }
    }

    p = ngx_http_tel_status_type(p, &ngx_http_tel_status_unavailable,
                                 NGX_HTTP_TEL_LINES);

    for (i = 0; i < n; i++) {
        p = ngx_http_tel_status_sample(p, &ngx_http_tel_status_unavailable,
                                       NGX_HTTP_TEL_LINES,
                                       &report[i].producer->name,
                                       report[i].unavailable);
    }

    p = ngx_http_tel_status_type(p, &ngx_http_tel_status_workers,
                                 NGX_HTTP_TEL_LARGEST);

    for (i = 0; i < n; i++) {
        p = ngx_http_tel_status_sample(p, &ngx_http_tel_status_workers,
                                       NGX_HTTP_TEL_LARGEST,
                                       &report[i].producer->name,
                                       report[i].workers);
    }

    return p;
}


static u_char *
ngx_http_tel_status_name(u_char *p, ngx_str_t *name, ngx_http_tel_kind_e kind)
{
    return ngx_sprintf(p, "tel_%s%V%s",
                       kind == NGX_HTTP_TEL_LINES
                       || kind == NGX_HTTP_TEL_GAUGE ? "lines_" : "", name,
                       kind == NGX_HTTP_TEL_LINES
                       || kind == NGX_HTTP_TEL_COUNTER ? "_total" : "");
}


static u_char *
ngx_http_tel_status_type(u_char *p, ngx_str_t *name, ngx_http_tel_kind_e kind)
{
    p = ngx_cpymem(p, "# TYPE ", 7);
    p = ngx_http_tel_status_name(p, name, kind);

    return ngx_sprintf(p, " %s\n", kind == NGX_HTTP_TEL_LINES
                                   || kind == NGX_HTTP_TEL_COUNTER
                                   ? "counter" : "gauge");
}


static u_char *
ngx_http_tel_status_sample(u_char *p, ngx_str_t *name,
    ngx_http_tel_kind_e kind, ngx_str_t *producer, uint64_t value)
{
    p = ngx_http_tel_status_name(p, name, kind);

    return ngx_sprintf(p, "{producer=\"%V\"} %uL\n", producer, value);
}
