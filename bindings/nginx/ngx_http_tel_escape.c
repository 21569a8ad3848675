
/*
 * The default escaping of log_format: \xXX for what is not printable ASCII,
 * and for quotes and backslashes.
 */


#include "ngx_http_tel_line.h"


/* The compilers' own vectors: a comparison gives 0xff where it holds. */
typedef u_char  ngx_http_tel_bytes_t  __attribute__((vector_size(16)));


static ngx_uint_t ngx_http_tel_escape_short(u_char *p, u_char *s, size_t len);
static ngx_http_tel_bytes_t ngx_http_tel_escape_which(
    ngx_http_tel_bytes_t bytes);
static ngx_uint_t ngx_http_tel_escape_any(ngx_http_tel_bytes_t which);
static u_char *ngx_http_tel_escape_each(u_char *p, u_char *s, size_t len);


/*
 * Few values have something to escape: they are copied while they are looked
 * at, with one branch for all they hold, as a request leaves little of what
 * branches did in the processor. One that has something is written again.
 */

u_char *
ngx_http_tel_escape(u_char *p, u_char *s, size_t len)
{
    size_t                n, last;
    ngx_http_tel_bytes_t  bytes, which;

    if (len < sizeof(bytes)) {
        return ngx_http_tel_escape_short(p, s, len)
               ? p + len : ngx_http_tel_escape_each(p, s, len);
    }

    last = len - sizeof(bytes);

    /* the last sixteen, which the others may share bytes with */

    ngx_memcpy(&bytes, s + last, sizeof(bytes));
    ngx_memcpy(p + last, &bytes, sizeof(bytes));
    which = ngx_http_tel_escape_which(bytes);

    for (n = 0; n < last; n += sizeof(bytes)) {
        ngx_memcpy(&bytes, s + n, sizeof(bytes));
        ngx_memcpy(p + n, &bytes, sizeof(bytes));
        which |= ngx_http_tel_escape_which(bytes);
    }

    return ngx_http_tel_escape_any(which)
           ? ngx_http_tel_escape_each(p, s, len) : p + len;
}


/* Fewer than sixteen bytes; 0 if that is not how they are to be written. */

static ngx_uint_t
ngx_http_tel_escape_short(u_char *p, u_char *s, size_t len)
{
    uint32_t              quarter[2];
    uint64_t              half[2];
    ngx_http_tel_bytes_t  bytes;

    if (len >= sizeof(uint64_t)) {
        ngx_memcpy(&half[0], s, sizeof(uint64_t));
        ngx_memcpy(&half[1], s + len - sizeof(uint64_t), sizeof(uint64_t));
        ngx_memcpy(p, &half[0], sizeof(uint64_t));
        ngx_memcpy(p + len - sizeof(uint64_t), &half[1], sizeof(uint64_t));

    } else if (len >= sizeof(uint32_t)) {
        ngx_memcpy(&quarter[0], s, sizeof(uint32_t));
        ngx_memcpy(&quarter[1], s + len - sizeof(uint32_t), sizeof(uint32_t));
        ngx_memcpy(p, &quarter[0], sizeof(uint32_t));
        ngx_memcpy(p + len - sizeof(uint32_t), &quarter[1], sizeof(uint32_t));

        ngx_memcpy(&half[0], quarter, sizeof(uint64_t));
        half[1] = half[0];

    } else {
        return len == 0;
    }

    ngx_memcpy(&bytes, half, sizeof(bytes));

    return !ngx_http_tel_escape_any(ngx_http_tel_escape_which(bytes));
}


static ngx_http_tel_bytes_t
ngx_http_tel_escape_which(ngx_http_tel_bytes_t bytes)
{
    return (ngx_http_tel_bytes_t) ((bytes - 0x20 > 0x7e - 0x20)
                                   | (bytes == '"') | (bytes == '\\'));
}


static ngx_uint_t
ngx_http_tel_escape_any(ngx_http_tel_bytes_t which)
{
    uint64_t  halves[2];

    ngx_memcpy(halves, &which, sizeof(halves));

    return (halves[0] | halves[1]) != 0;
}


static u_char *
ngx_http_tel_escape_each(u_char *p, u_char *s, size_t len)
{
    u_char         *last, ch;

    static u_char   hex[] = "0123456789ABCDEF";

    for (last = s + len; s < last; s++) {
        ch = *s;

        if (ch >= 0x20 && ch < 0x7f && ch != '"' && ch != '\\') {
            *p++ = ch;
            continue;
        }

        *p++ = '\\';
        *p++ = 'x';
        *p++ = hex[ch >> 4];
        *p++ = hex[ch & 0xf];
    }

    return p;
}
