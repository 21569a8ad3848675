
/*
 * What libtel has to say comes from its threads, where nginx's logs must not
 * be touched: a log may be a syslog, a memory buffer, or a file that is being
 * reopened. It goes through a socket into the event loop, and from there into
 * error_log. If the socket is full a message is lost, and nobody waits.
 */


#include "ngx_http_tel_module.h"
#include <ngx_channel.h>


/* A message with its level in front; nginx's own lines end at 2048. */
#define NGX_HTTP_TEL_MESSAGE  1900


static void ngx_http_tel_messages_read(ngx_event_t *ev);


/* Of this process: [0] is read in the event loop, [1] written by threads. */
static ngx_socket_t  ngx_http_tel_messages[2] = { -1, -1 };


ngx_int_t
ngx_http_tel_messages_open(ngx_cycle_t *cycle)
{
    if (ngx_http_tel_messages[0] != -1) {
        return NGX_OK;
    }

    if (socketpair(AF_UNIX, SOCK_SEQPACKET|SOCK_NONBLOCK|SOCK_CLOEXEC, 0,
                   ngx_http_tel_messages)
        == -1)
    {
        ngx_log_error(NGX_LOG_ALERT, cycle->log, ngx_errno,
                      "socketpair() for messages of libtel failed");
        return NGX_ERROR;
    }

    if (ngx_add_channel_event(cycle, ngx_http_tel_messages[0], NGX_READ_EVENT,
                              ngx_http_tel_messages_read)
        != NGX_OK)
    {
        ngx_close_channel(ngx_http_tel_messages, cycle->log);
        ngx_http_tel_messages[0] = -1;
        ngx_http_tel_messages[1] = -1;

        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_http_tel_message(int level, const char *message, void *opaque)
{
    ngx_http_tel_producer_t  *tp = opaque;

    u_char                    buf[NGX_HTTP_TEL_MESSAGE], *last;

    /* syslog's levels begin at 0, nginx's are one more */
    buf[0] = (u_char) (level + 1);

    last = ngx_snprintf(buf + 1, sizeof(buf) - 1, "tel_producer \"%V\": %s",
                        &tp->name, message);

    (void) send(ngx_http_tel_messages[1], buf, last - buf, MSG_NOSIGNAL);
}


static void
ngx_http_tel_messages_read(ngx_event_t *ev)
{
    ngx_http_tel_messages_drain(ev->log);
}


void
ngx_http_tel_messages_drain(ngx_log_t *log)
{
    u_char   buf[NGX_HTTP_TEL_MESSAGE];
    ssize_t  n;

    if (ngx_http_tel_messages[0] == -1) {
        return;
    }

    for ( ;; ) {
        n = recv(ngx_http_tel_messages[0], buf, sizeof(buf), 0);

        if (n <= 0) {
            return;
        }

        ngx_log_error((ngx_uint_t) buf[0], log, 0, "%*s",
                      (size_t) (n - 1), buf + 1);
    }
}
