
/*
 * The default escaping of log_format: \xXX for what is not printable ASCII,
 * and for quotes and backslashes.
 */


#include "ngx_http_tel_line.h"


static ngx_uint_t ngx_http_tel_escape_any(uint64_t word);


u_char *
ngx_http_tel_escape(u_char *p, u_char *s, size_t len)
{
    u_char         *last, ch;
    size_t          n;
    uint64_t        word;

    static u_char   hex[] = "0123456789ABCDEF";

    last = s + len;

    for ( ;; ) {

        while ((size_t) (last - s) >= sizeof(uint64_t)) {
            ngx_memcpy(&word, s, sizeof(uint64_t));

            if (ngx_http_tel_escape_any(word)) {
                break;
            }

            p = ngx_cpymem(p, &word, sizeof(uint64_t));
            s += sizeof(uint64_t);
        }

        /* up to the next one that may be without any */

        for (n = ngx_min((size_t) (last - s), sizeof(uint64_t)); n; n--) {
            ch = *s++;

            if (ch >= 0x20 && ch < 0x7f && ch != '"' && ch != '\\') {
                *p++ = ch;
                continue;
            }

            *p++ = '\\';
            *p++ = 'x';
            *p++ = hex[ch >> 4];
            *p++ = hex[ch & 0xf];
        }

        if (s == last) {
            return p;
        }
    }
}


/*
 * Whether one of eight bytes has to be escaped. A byte that is below 0x20, or
 * zero after the exclusive or, borrows, and the highest bit of its place is
 * set; one of another place can be set so only if there is such a byte.
 */

static ngx_uint_t
ngx_http_tel_escape_any(uint64_t word)
{
    uint64_t  del, quote, backslash;

    static const uint64_t  ones = 0x0101010101010101;

    del = word ^ (ones * 0x7f);
    quote = word ^ (ones * '"');
    backslash = word ^ (ones * '\\');

    return ((word
             | (word - ones * 0x20)
             | (del - ones)
             | (quote - ones)
             | (backslash - ones))
            & (ones * 0x80)) != 0;
}
