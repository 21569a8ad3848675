
/*
 * The counters of all workers. Each worker has its own producers, and writes
 * their counters into a slot of shared memory once a second; what a worker
 * counted that has ended is added to the past, so that sums never go back.
 */


#include "ngx_http_tel_module.h"


#define NGX_HTTP_TEL_PUBLISH  1000

/* Workers at a time, those included that a reload has left to finish. */
#define NGX_HTTP_TEL_SLOTS    256

/* A producer takes 50 kB of it when it is first named. */
#define NGX_HTTP_TEL_ZONE     (1024 * 1024)


struct ngx_http_tel_total_s {
    ngx_http_tel_total_t       *next;
    ngx_str_t                   name;
    tel_stats                   past;
    uint64_t                    unavailable;
    ngx_http_tel_slot_t         slots[NGX_HTTP_TEL_SLOTS];
};


static ngx_int_t ngx_http_tel_total_init_zone(ngx_shm_zone_t *zone,
    void *data);
static ngx_http_tel_total_t *ngx_http_tel_total_find(ngx_slab_pool_t *shpool,
    ngx_str_t *name);
static ngx_http_tel_total_t *ngx_http_tel_total_add(ngx_slab_pool_t *shpool,
    ngx_str_t *name, ngx_http_tel_main_conf_t *tmcf,
    ngx_http_tel_main_conf_t *before);
static ngx_int_t ngx_http_tel_total_forget(ngx_slab_pool_t *shpool,
    ngx_http_tel_main_conf_t *tmcf, ngx_http_tel_main_conf_t *before);
static ngx_uint_t ngx_http_tel_total_named(ngx_http_tel_total_t *total,
    ngx_http_tel_main_conf_t *tmcf);
static ngx_uint_t ngx_http_tel_total_written(ngx_http_tel_total_t *total);
static void ngx_http_tel_publish(ngx_event_t *ev);
static void ngx_http_tel_publish_all(ngx_http_tel_main_conf_t *tmcf);
static void ngx_http_tel_reap(ngx_http_tel_total_t *total);
static void ngx_http_tel_fold(ngx_http_tel_total_t *total,
    ngx_http_tel_slot_t *slot);
static void ngx_http_tel_add(tel_stats *sum, tel_stats *stats,
    ngx_uint_t first);


#define ngx_http_tel_field(field, kind)                                       \
    { ngx_string(#field), offsetof(tel_stats, field), NGX_HTTP_TEL_ ## kind }

ngx_http_tel_counter_t  ngx_http_tel_counters[] = {
    ngx_http_tel_field(submitted, LINES),
    ngx_http_tel_field(recovered, LINES),
    ngx_http_tel_field(delivered, LINES),
    ngx_http_tel_field(failed, LINES),
    ngx_http_tel_field(dropped_full, LINES),
    ngx_http_tel_field(dropped_too_long, LINES),
    ngx_http_tel_field(dropped_rate, LINES),
    ngx_http_tel_field(dropped_spool, LINES),
    ngx_http_tel_field(sampled_out, LINES),
    ngx_http_tel_field(unknown_client, LINES),
    ngx_http_tel_field(malformed, LINES),
    ngx_http_tel_field(spooled, GAUGE),
    ngx_http_tel_field(in_flight, GAUGE),
    ngx_http_tel_field(sanitized, LINES),
    ngx_http_tel_field(bytes_submitted, COUNTER),
    ngx_http_tel_field(bytes_delivered, COUNTER),
    ngx_http_tel_field(oldest_undelivered_ms, LARGEST),
    ngx_http_tel_field(last_delivery_unix_ms, LATEST),
    ngx_http_tel_field(clients, LARGEST),
    ngx_http_tel_field(clients_rejected, LARGEST),
    ngx_http_tel_field(clients_revision, SMALLEST),
    { ngx_null_string, 0, NGX_HTTP_TEL_LINES }
};


ngx_int_t
ngx_http_tel_total_zone(ngx_conf_t *cf, ngx_http_tel_main_conf_t *tmcf)
{
    ngx_str_t  name = ngx_string("ngx_http_tel_module");

    tmcf->zone = ngx_shared_memory_add(cf, &name, NGX_HTTP_TEL_ZONE,
                                       &ngx_http_tel_module);
    if (tmcf->zone == NULL) {
        return NGX_ERROR;
    }

    tmcf->zone->init = ngx_http_tel_total_init_zone;
    tmcf->zone->data = tmcf;

    return NGX_OK;
}


/*
 * The zone outlives reloads, and its totals the names they were counted by, as
 * long as there is room. A producer for which there is none works as others
 * do: statistics are no reason to refuse a configuration.
 */

static ngx_int_t
ngx_http_tel_total_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_http_tel_main_conf_t *before = data;

    ngx_uint_t                 i;
    ngx_slab_pool_t           *shpool;
    ngx_http_tel_main_conf_t  *tmcf;
    ngx_http_tel_producer_t  **tp;

    tmcf = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;
    tp = tmcf->producers.elts;

    /* what there is no room for is said below, by name */
    shpool->log_nomem = 0;

    for (i = 0; i < tmcf->producers.nelts; i++) {

        if (!tp[i]->used) {
            continue;
        }

        tp[i]->total = ngx_http_tel_total_find(shpool, &tp[i]->name);

        if (tp[i]->total == NULL) {
            tp[i]->total = ngx_http_tel_total_add(shpool, &tp[i]->name, tmcf,
                                                  before);
        }

        if (tp[i]->total == NULL) {
            ngx_log_error(NGX_LOG_WARN, zone->shm.log, 0,
                          "too many tel_producers: tel_status shows of \"%V\" "
                          "what the worker that answers has counted",
                          &tp[i]->name);
        }
    }

    return NGX_OK;
}


static ngx_http_tel_total_t *
ngx_http_tel_total_find(ngx_slab_pool_t *shpool, ngx_str_t *name)
{
    ngx_http_tel_total_t  *total;

    for (total = shpool->data; total; total = total->next) {
        if (total->name.len == name->len
            && ngx_strncmp(total->name.data, name->data, name->len) == 0)
        {
            return total;
        }
    }

    return NULL;
}


/* NULL if there is no room, not even that of a name that has gone. */

static ngx_http_tel_total_t *
ngx_http_tel_total_add(ngx_slab_pool_t *shpool, ngx_str_t *name,
    ngx_http_tel_main_conf_t *tmcf, ngx_http_tel_main_conf_t *before)
{
    ngx_http_tel_total_t  *total;

    do {
        total = ngx_slab_calloc(shpool, sizeof(ngx_http_tel_total_t)
                                        + name->len);

    } while (total == NULL
             && ngx_http_tel_total_forget(shpool, tmcf, before) == NGX_OK);

    if (total == NULL) {
        return NULL;
    }

    total->name.data = (u_char *) (total + 1);
    total->name.len = name->len;
    ngx_memcpy(total->name.data, name->data, name->len);

    total->next = shpool->data;
    shpool->data = total;

    return total;
}


/*
 * Frees the oldest total that neither configuration names and no worker of an
 * earlier one writes to; NGX_DECLINED if there is none. The configuration
 * before stays in use if the new one fails. The list is the master's alone.
 */

static ngx_int_t
ngx_http_tel_total_forget(ngx_slab_pool_t *shpool,
    ngx_http_tel_main_conf_t *tmcf, ngx_http_tel_main_conf_t *before)
{
    ngx_http_tel_total_t  *total, *previous, *oldest, *before_oldest;

    previous = NULL;
    oldest = NULL;
    before_oldest = NULL;

    ngx_shmtx_lock(&shpool->mutex);

    for (total = shpool->data; total; total = total->next) {

        if (!ngx_http_tel_total_named(total, tmcf)
            && !ngx_http_tel_total_named(total, before)
            && !ngx_http_tel_total_written(total))
        {
            oldest = total;
            before_oldest = previous;
        }

        previous = total;
    }

    if (oldest) {
        if (before_oldest) {
            before_oldest->next = oldest->next;

        } else {
            shpool->data = oldest->next;
        }

        ngx_slab_free_locked(shpool, oldest);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return oldest ? NGX_OK : NGX_DECLINED;
}


static ngx_uint_t
ngx_http_tel_total_named(ngx_http_tel_total_t *total,
    ngx_http_tel_main_conf_t *tmcf)
{
    ngx_uint_t                 i;
    ngx_http_tel_producer_t  **tp;

    if (tmcf == NULL) {
        return 0;
    }

    tp = tmcf->producers.elts;

    for (i = 0; i < tmcf->producers.nelts; i++) {
        if (tp[i]->used
            && tp[i]->name.len == total->name.len
            && ngx_strncmp(tp[i]->name.data, total->name.data,
                           total->name.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_tel_total_written(ngx_http_tel_total_t *total)
{
    ngx_uint_t  n;

    ngx_http_tel_reap(total);

    for (n = 0; n < NGX_HTTP_TEL_SLOTS; n++) {
        if (total->slots[n].pid) {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_tel_total_start(ngx_cycle_t *cycle, ngx_http_tel_main_conf_t *tmcf)
{
    ngx_uint_t                 i, n, used, full;
    ngx_slab_pool_t           *shpool;
    ngx_http_tel_producer_t  **tp;

    if (tmcf->zone == NULL) {
        return;
    }

    used = 0;
    full = 0;

    shpool = (ngx_slab_pool_t *) tmcf->zone->shm.addr;
    tp = tmcf->producers.elts;

    ngx_shmtx_lock(&shpool->mutex);

    for (i = 0; i < tmcf->producers.nelts; i++) {

        if (!tp[i]->used) {
            continue;
        }

        used = 1;

        if (tp[i]->total == NULL) {
            continue;
        }

        ngx_http_tel_reap(tp[i]->total);

        for (n = 0; n < NGX_HTTP_TEL_SLOTS; n++) {
            if (tp[i]->total->slots[n].pid == 0) {
                tp[i]->slot = &tp[i]->total->slots[n];
                ngx_memzero(tp[i]->slot, sizeof(ngx_http_tel_slot_t));
                tp[i]->slot->pid = ngx_pid;
                break;
            }
        }

        if (tp[i]->slot == NULL) {
            full = 1;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    if (full) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "more than %d workers: tel_status does not count all",
                      NGX_HTTP_TEL_SLOTS);
    }

    if (!used) {
        return;
    }

    tmcf->publish.handler = ngx_http_tel_publish;
    tmcf->publish.data = tmcf;
    tmcf->publish.log = cycle->log;
    /* a worker that is to quit does not wait for it */
    tmcf->publish.cancelable = 1;

    ngx_add_timer(&tmcf->publish, NGX_HTTP_TEL_PUBLISH);
}


void
ngx_http_tel_total_stop(ngx_http_tel_main_conf_t *tmcf)
{
    ngx_uint_t                 i;
    ngx_slab_pool_t           *shpool;
    ngx_http_tel_producer_t  **tp;

    if (!tmcf->publish.timer_set) {
        return;
    }

    ngx_http_tel_publish_all(tmcf);

    shpool = (ngx_slab_pool_t *) tmcf->zone->shm.addr;
    tp = tmcf->producers.elts;

    ngx_shmtx_lock(&shpool->mutex);

    for (i = 0; i < tmcf->producers.nelts; i++) {
        if (tp[i]->slot) {
            ngx_http_tel_fold(tp[i]->total, tp[i]->slot);
            tp[i]->slot = NULL;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


ngx_uint_t
ngx_http_tel_total_read(ngx_http_tel_main_conf_t *tmcf,
    ngx_http_tel_producer_t *tp, tel_stats *stats, uint64_t *unavailable)
{
    ngx_uint_t              n, workers;
    ngx_slab_pool_t        *shpool;
    ngx_http_tel_total_t   *total;

    total = tp->total;

    /*
     * A worker that is to end, and for which there was no slot, does not keep
     * its configuration's totals in being.
     */

    if (total == NULL || (tp->slot == NULL && ngx_exiting)) {
        ngx_memzero(stats, sizeof(tel_stats));

        if (tp->handle) {
            (void) tel_get_stats(tp->handle, stats, sizeof(tel_stats));
        }

        *unavailable = tp->unavailable;

        return 1;
    }

    ngx_http_tel_publish_all(tmcf);

    shpool = (ngx_slab_pool_t *) tmcf->zone->shm.addr;
    workers = 0;

    ngx_shmtx_lock(&shpool->mutex);

    ngx_http_tel_reap(total);

    *stats = total->past;
    *unavailable = total->unavailable;

    for (n = 0; n < NGX_HTTP_TEL_SLOTS; n++) {
        if (total->slots[n].pid) {
            ngx_http_tel_add(stats, &total->slots[n].stats, workers == 0);
            *unavailable += total->slots[n].unavailable;
            workers++;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return workers;
}


static void
ngx_http_tel_publish(ngx_event_t *ev)
{
    ngx_http_tel_publish_all(ev->data);

    ngx_add_timer(ev, NGX_HTTP_TEL_PUBLISH);
}


static void
ngx_http_tel_publish_all(ngx_http_tel_main_conf_t *tmcf)
{
    tel_stats                  stats;
    ngx_uint_t                 i;
    ngx_slab_pool_t           *shpool;
    ngx_http_tel_producer_t  **tp;

    shpool = (ngx_slab_pool_t *) tmcf->zone->shm.addr;
    tp = tmcf->producers.elts;

    for (i = 0; i < tmcf->producers.nelts; i++) {

        if (tp[i]->slot == NULL) {
            continue;
        }

        ngx_memzero(&stats, sizeof(tel_stats));

        if (tp[i]->handle) {
            (void) tel_get_stats(tp[i]->handle, &stats, sizeof(tel_stats));
        }

        ngx_shmtx_lock(&shpool->mutex);

        tp[i]->slot->stats = stats;
        tp[i]->slot->unavailable = tp[i]->unavailable;

        ngx_shmtx_unlock(&shpool->mutex);
    }
}


/* The slots of workers that were killed; nginx frees a lock they held. */

static void
ngx_http_tel_reap(ngx_http_tel_total_t *total)
{
    ngx_uint_t            n;
    ngx_http_tel_slot_t  *slot;

    for (n = 0; n < NGX_HTTP_TEL_SLOTS; n++) {
        slot = &total->slots[n];

        if (slot->pid && slot->pid != ngx_pid
            && kill(slot->pid, 0) == -1 && ngx_errno == NGX_ESRCH)
        {
            ngx_http_tel_fold(total, slot);
        }
    }
}


static void
ngx_http_tel_fold(ngx_http_tel_total_t *total, ngx_http_tel_slot_t *slot)
{
    ngx_http_tel_counter_t  *c;

    /* what was under way when a worker was killed has got lost with it */

    slot->stats.failed += slot->stats.in_flight;

    for (c = ngx_http_tel_counters; c->name.len; c++) {
        if (c->kind > NGX_HTTP_TEL_COUNTER && c->kind != NGX_HTTP_TEL_LATEST) {
            ngx_http_tel_counter(&slot->stats, c) = 0;
        }
    }

    ngx_http_tel_add(&total->past, &slot->stats, 0);
    total->unavailable += slot->unavailable;

    slot->pid = 0;
}


static void
ngx_http_tel_add(tel_stats *sum, tel_stats *stats, ngx_uint_t first)
{
    uint64_t                *to, from;
    ngx_http_tel_counter_t  *c;

    for (c = ngx_http_tel_counters; c->name.len; c++) {
        to = &ngx_http_tel_counter(sum, c);
        from = ngx_http_tel_counter(stats, c);

        switch (c->kind) {

        case NGX_HTTP_TEL_LATEST:
        case NGX_HTTP_TEL_LARGEST:
            *to = ngx_max(*to, from);
            break;

        case NGX_HTTP_TEL_SMALLEST:
            *to = first ? from : ngx_min(*to, from);
            break;

        default:
            *to += from;
        }
    }
}
