
/*
 * ngx_http_tel_module: access-log lines, each client's to its own Kafka topic,
 * through libtel inside the worker.
 *
 *   ngx_http_tel_module.c    the module, and the log phase
 *   ngx_http_tel_directive.c tel_producer, tel_log, and log_format in passing
 *   ngx_http_tel_format.c    log_format's language
 *   ngx_http_tel_line.c      a line, written as access_log writes it
 *   ngx_http_tel_escape.c    variables in it, escaped as log_format says
 *   ngx_http_tel_producer.c  a producer's life in a worker
 *   ngx_http_tel_message.c   what libtel has to say, into error_log
 *   ngx_http_tel_total.c     the counters of all workers, in shared memory
 *   ngx_http_tel_status.c    the tel_status handler
 */


#ifndef _NGX_HTTP_TEL_MODULE_H_INCLUDED_
#define _NGX_HTTP_TEL_MODULE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <tel.h>


/* One worker's part in a producer's totals, in shared memory. */
typedef struct {
    ngx_pid_t                  pid;          /* 0: nobody's */
    tel_stats                  stats;
    uint64_t                   unavailable;
} ngx_http_tel_slot_t;

typedef struct ngx_http_tel_total_s  ngx_http_tel_total_t;


typedef enum {
    NGX_HTTP_TEL_LINES = 0,                  /* counter, of lines */
    NGX_HTTP_TEL_COUNTER,                    /* counter, of something else */
    NGX_HTTP_TEL_GAUGE,                      /* of lines: a sum of workers */
    NGX_HTTP_TEL_LATEST,                     /* the largest of all time */
    NGX_HTTP_TEL_LARGEST,                    /* of the workers there are */
    NGX_HTTP_TEL_SMALLEST
} ngx_http_tel_kind_e;

typedef struct {
    ngx_str_t                  name;
    size_t                     offset;       /* in tel_stats */
    ngx_http_tel_kind_e        kind;
} ngx_http_tel_counter_t;


typedef struct {
    ngx_str_t                  name;
    ngx_str_t                  file;
    char                      *config;       /* what is in the file */

    tel_producer              *handle;       /* NULL if it cannot be made */
    time_t                     retry;        /* not to be tried before */
    uint64_t                   unavailable;  /* lines without a handle */

    ngx_http_tel_total_t      *total;        /* NULL: there is no room */
    ngx_http_tel_slot_t       *slot;         /* this worker's, if any */

    unsigned                   used:1;       /* by a tel_log */
} ngx_http_tel_producer_t;


typedef struct ngx_http_tel_op_s  ngx_http_tel_op_t;

/* A format's own text in front of a value, or at its end; longer: an op. */
#define NGX_HTTP_TEL_TEXT  14

typedef struct {
    ngx_http_tel_op_t         *first;
    ngx_http_tel_op_t         *last;         /* behind the last one */
    u_char                     after[NGX_HTTP_TEL_TEXT];
    u_char                     after_len;
} ngx_http_tel_ops_t;

typedef struct {
    ngx_str_t                  name;
    ngx_array_t                args;         /* log_format's, after the name */
    ngx_http_tel_ops_t         ops;          /* none until it is used */
} ngx_http_tel_format_t;


typedef struct {
    ngx_array_t                producers;    /* ngx_http_tel_producer_t * */
    ngx_array_t                formats;      /* ngx_http_tel_format_t * */
    ngx_shm_zone_t            *zone;
    ngx_event_t                publish;
} ngx_http_tel_main_conf_t;


typedef struct {
    ngx_http_tel_producer_t   *producer;
    ngx_http_tel_ops_t         ops;       /* of its format */
    ngx_http_complex_value_t  *client;
    ngx_int_t                  index;     /* of a client that is a variable */
    ngx_http_complex_value_t  *filter;
} ngx_http_tel_log_t;


typedef struct {
    ngx_array_t               *logs;      /* ngx_http_tel_log_t */
    ngx_uint_t                 off;       /* unsigned  off:1 */
} ngx_http_tel_loc_conf_t;


extern ngx_module_t  ngx_http_tel_module;


char *ngx_http_tel_log_format(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_tel_add_producer(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_tel_add_log(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


/* A format's arguments are known to be correct: nginx has compiled them. */
ngx_http_tel_format_t *ngx_http_tel_format_add(ngx_conf_t *cf,
    ngx_array_t *formats, ngx_str_t *name, ngx_str_t *args, ngx_uint_t n);
ngx_http_tel_format_t *ngx_http_tel_format_find(ngx_conf_t *cf,
    ngx_array_t *formats, ngx_str_t *name);

/* What nginx knows of variables only once it has read its configuration. */
void ngx_http_tel_formats_resolve(ngx_cycle_t *cycle, ngx_array_t *formats);

/* NGX_OK; the line is valid until the next call, or the request's end. */
ngx_int_t ngx_http_tel_line(ngx_http_request_t *r, ngx_http_tel_ops_t *ops,
    ngx_str_t *line);

char *ngx_http_tel_producer_read(ngx_conf_t *cf, ngx_http_tel_producer_t *tp);
void ngx_http_tel_producer_start(ngx_cycle_t *cycle,
    ngx_http_tel_producer_t *tp);
void ngx_http_tel_producers_stop(ngx_cycle_t *cycle, ngx_array_t *producers);
void ngx_http_tel_producers_free(ngx_array_t *producers);

/* For tel_options; works once the messages are open. */
ngx_int_t ngx_http_tel_messages_open(ngx_cycle_t *cycle);
void ngx_http_tel_messages_drain(ngx_log_t *log);
void ngx_http_tel_message(int level, const char *message, void *opaque);

/* The handle, made now if it is missing and it is time to try again. */
tel_producer *ngx_http_tel_producer_handle(ngx_http_tel_producer_t *tp);

/* All fields of tel_stats, up to one without a name. */
extern ngx_http_tel_counter_t  ngx_http_tel_counters[];

#define ngx_http_tel_counter(stats, counter)                                  \
    (*(uint64_t *) ((u_char *) (stats) + (counter)->offset))

ngx_int_t ngx_http_tel_total_zone(ngx_conf_t *cf,
    ngx_http_tel_main_conf_t *tmcf);
void ngx_http_tel_total_start(ngx_cycle_t *cycle,
    ngx_http_tel_main_conf_t *tmcf);
void ngx_http_tel_total_stop(ngx_http_tel_main_conf_t *tmcf);

/*
 * What all workers have counted, the ended ones too, or this one alone if the
 * producer has no total; returns the number of those that have not ended.
 */
ngx_uint_t ngx_http_tel_total_read(ngx_http_tel_main_conf_t *tmcf,
    ngx_http_tel_producer_t *tp, tel_stats *stats, uint64_t *unavailable);

char *ngx_http_tel_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _NGX_HTTP_TEL_MODULE_H_INCLUDED_ */
