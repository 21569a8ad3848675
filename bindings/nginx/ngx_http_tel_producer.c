
/*
 * A producer's life in a worker. It is made after the fork, for its threads
 * would not survive one, and closed before the worker exits.
 */


#include "ngx_http_tel_module.h"
#include <ngx_channel.h>
#include <pthread.h>


/* Failing costs a worker's time: one try in so many seconds. */
#define NGX_HTTP_TEL_RETRY       30

/*
 * On TERM nginx kills a worker after 1.5 s; on QUIT, which is a reload too,
 * it waits. A TERM that comes meanwhile is noticed between the turns. Closing
 * what has been flushed takes a moment, too.
 */
#define NGX_HTTP_TEL_TERMINATE   900
#define NGX_HTTP_TEL_QUIT        10000
#define NGX_HTTP_TEL_TURN        50
#define NGX_HTTP_TEL_CLOSE       100

/* A file longer than that is no configuration. */
#define NGX_HTTP_TEL_CONFIG      (1024 * 1024)


/* One producer's end. */
typedef struct {
    ngx_http_tel_producer_t   *producer;
    pthread_t                  thread;
    int                        timeout;
    int                        rc;
    unsigned                   flushed:1;
    unsigned                   apart:1;      /* closed in the thread */
} ngx_http_tel_end_t;


static void ngx_http_tel_flush(ngx_http_tel_end_t *end, ngx_uint_t n,
    ngx_msec_t began);
static void ngx_http_tel_close(ngx_http_tel_end_t *end, ngx_uint_t n,
    ngx_msec_t began);
static void *ngx_http_tel_close_one(void *data);
static ngx_msec_int_t ngx_http_tel_left(ngx_msec_t began);
static void ngx_http_tel_look_for_terminate(void);


char *
ngx_http_tel_producer_read(ngx_conf_t *cf, ngx_http_tel_producer_t *tp)
{
    char              why[512], *reason;
    off_t             size;
    u_char           *p;
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_err_t         err;
    ngx_file_info_t   info;

    /* the open of a pipe that nobody writes to would otherwise not return */

    fd = ngx_open_file(tp->file.data, NGX_FILE_RDONLY|NGX_FILE_NONBLOCK,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", &tp->file);
        return NGX_CONF_ERROR;
    }

    p = NULL;
    n = NGX_ERROR;
    reason = "cannot be read";

    if (ngx_fd_info(fd, &info) == NGX_FILE_ERROR) {
        err = ngx_errno;
        goto failed;
    }

    size = ngx_file_size(&info);

    if (!ngx_is_file(&info)) {
        err = 0;
        reason = "is no regular file";
        goto failed;
    }

    if (size > NGX_HTTP_TEL_CONFIG) {
        err = 0;
        reason = "is longer than 1 MiB";
        goto failed;
    }

    p = ngx_pnalloc(cf->pool, size + 1);
    if (p == NULL) {
        err = NGX_ENOMEM;
        goto failed;
    }

    n = ngx_read_fd(fd, p, size);
    err = ngx_errno;

failed:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, cf->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &tp->file);
    }

    if (n < 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, err,
                           "tel_producer \"%V\": \"%V\" %s",
                           &tp->name, &tp->file, reason);
        return NGX_CONF_ERROR;
    }

    p[n] = '\0';

    if (ngx_strlen(p) != (size_t) n) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tel_producer \"%V\": \"%V\" has a NUL inside",
                           &tp->name, &tp->file);
        return NGX_CONF_ERROR;
    }

    tp->config = (char *) p;

    if (tel_config_check(tp->config, why, sizeof(why)) != TEL_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "tel_producer \"%V\": \"%V\": %s",
                           &tp->name, &tp->file, why);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


void
ngx_http_tel_producer_start(ngx_cycle_t *cycle, ngx_http_tel_producer_t *tp)
{
    char         why[512];
    tel_options  options;

    tp->retry = ngx_time() + NGX_HTTP_TEL_RETRY;

    if (ngx_http_tel_messages_open(cycle) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "tel_producer \"%V\" cannot be started without a "
                      "connection for its messages; its lines are dropped, "
                      "and it is tried again in %d s",
                      &tp->name, NGX_HTTP_TEL_RETRY);
        return;
    }

    ngx_memzero(&options, sizeof(tel_options));

    options.size = sizeof(tel_options);
    options.log = ngx_http_tel_message;
    options.opaque = tp;

    tp->handle = tel_producer_new(tp->config, &options, why, sizeof(why));

    if (tp->handle == NULL) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "tel_producer \"%V\" cannot be started: %s; its lines "
                      "are dropped, and it is tried again in %d s",
                      &tp->name, why, NGX_HTTP_TEL_RETRY);
    }
}


tel_producer *
ngx_http_tel_producer_handle(ngx_http_tel_producer_t *tp)
{
    if (tp->handle == NULL && ngx_time() >= tp->retry) {
        ngx_http_tel_producer_start((ngx_cycle_t *) ngx_cycle, tp);
    }

    return tp->handle;
}


void
ngx_http_tel_producers_stop(ngx_cycle_t *cycle, ngx_array_t *producers)
{
    ngx_uint_t                 i, n;
    ngx_msec_t                 began;
    ngx_http_tel_end_t        *end;
    ngx_http_tel_producer_t  **tp;

    tp = producers->elts;

    ngx_time_update();
    began = ngx_current_msec;

    end = ngx_pcalloc(cycle->pool, (producers->nelts + 1)
                                   * sizeof(ngx_http_tel_end_t));
    if (end == NULL) {
        return;
    }

    n = 0;

    for (i = 0; i < producers->nelts; i++) {
        if (tp[i]->handle) {
            end[n++].producer = tp[i];
        }
    }

    ngx_http_tel_flush(end, n, began);
    ngx_http_tel_close(end, n, began);

    for (i = 0; i < n; i++) {
        if (end[i].rc != TEL_OK && !end[i].flushed) {
            ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                          "tel_producer \"%V\" gave lines up at exit: %s",
                          &end[i].producer->name, tel_strerror(end[i].rc));
        }
    }

    ngx_http_tel_messages_drain(cycle->log);
}


/* In turns, so that one whose brokers are silent takes no other's time. */

static void
ngx_http_tel_flush(ngx_http_tel_end_t *end, ngx_uint_t n, ngx_msec_t began)
{
    ngx_uint_t      i, more;
    ngx_msec_int_t  left, turn;

    turn = NGX_HTTP_TEL_TURN / (n + 1) + 1;

    do {
        more = 0;
        left = ngx_http_tel_left(began);

        for (i = 0; i < n; i++) {

            if (end[i].flushed) {
                continue;
            }

            if (tel_flush(end[i].producer->handle,
                          (int) ngx_min(left, turn))
                == TEL_ERR_TIMEOUT)
            {
                more = 1;

            } else {
                end[i].flushed = 1;
            }
        }

    } while (more && left > 0);
}


/*
 * A close may take 100 ms beyond its time: of several producers one after the
 * other that would be more than nginx grants.
 */

static void
ngx_http_tel_close(ngx_http_tel_end_t *end, ngx_uint_t n, ngx_msec_t began)
{
    sigset_t    all, before;
    ngx_uint_t  i;

    /* the host's signals are for the host's thread */

    sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);

    for (i = 0; i < n; i++) {
        end[i].timeout = (int) ngx_max(ngx_http_tel_left(began),
                                       NGX_HTTP_TEL_CLOSE);

        if (i + 1 < n
            && pthread_create(&end[i].thread, NULL, ngx_http_tel_close_one,
                              &end[i])
               == 0)
        {
            end[i].apart = 1;
        }
    }

    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);

    for (i = 0; i < n; i++) {
        if (!end[i].apart) {
            (void) ngx_http_tel_close_one(&end[i]);
        }
    }

    for (i = 0; i < n; i++) {
        if (end[i].apart) {
            (void) pthread_join(end[i].thread, NULL);
        }
    }
}


static void *
ngx_http_tel_close_one(void *data)
{
    ngx_http_tel_end_t  *end = data;

    end->rc = tel_producer_close(end->producer->handle, end->timeout);

    return NULL;
}


void
ngx_http_tel_producers_free(ngx_array_t *producers)
{
    ngx_uint_t                 i;
    ngx_http_tel_producer_t  **tp;

    tp = producers->elts;

    for (i = 0; i < producers->nelts; i++) {
        tel_producer_free(tp[i]->handle);
        tp[i]->handle = NULL;
    }
}


/* What is left of the time to stop, in milliseconds, never negative. */

static ngx_msec_int_t
ngx_http_tel_left(ngx_msec_t began)
{
    ngx_msec_int_t  left;

    ngx_time_update();
    ngx_http_tel_look_for_terminate();

    left = (ngx_terminate ? NGX_HTTP_TEL_TERMINATE : NGX_HTTP_TEL_QUIT)
           - (ngx_msec_int_t) (ngx_current_msec - began);

    return ngx_max(left, 0);
}


/*
 * The master tells its workers through their channels, which the event loop
 * would read.
 */

static void
ngx_http_tel_look_for_terminate(void)
{
    ngx_channel_t  ch;

    if (ngx_process != NGX_PROCESS_WORKER) {
        return;
    }

    while (recv(ngx_channel, &ch, sizeof(ngx_channel_t), MSG_DONTWAIT)
           == sizeof(ngx_channel_t))
    {
        if (ch.command == NGX_CMD_TERMINATE) {
            ngx_terminate = 1;
        }
    }
}
