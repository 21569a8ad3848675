/*
 * tel.h: submit access-log lines in-process; each client's lines are delivered to its own Kafka topic.
 *
 * Generated from src/ffi by cbindgen (`make header`); do not edit.
 *
 * Conventions
 *   Threads    Every function may be called from any thread at any time, unless it says otherwise, but none
 *              from a signal handler.
 *   Blocking   tel_submit, tel_submit_for and tel_wants never wait. Statistics take locks held for microseconds.
 *              Everything else may take as long as it says.
 *   Ownership  What you pass in is yours, and is not used after the call. What is returned as const is not freed.
 *   Errors     Results are TEL_OK (0) or a code of enum tel_error; their numbers never change. Where there is an
 *              errstr, it names the thing that is wrong.
 *   Fork       A producer works in the process that made it. In a forked child every call on it returns
 *              TEL_ERR_FORKED (or 0) and touches nothing; the child may make its own.
 *   Exit       At exit() what is left is flushed for up to `exit_timeout_ms`.
 *   Growth     tel_options and tel_stats only ever grow at their end; both are passed with their size.
 */

#ifndef TEL_H
#define TEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Version of this interface: raised by one when something is added to it. `tel_abi_version` returns the library's.
 */
#define TEL_ABI_VERSION 1

/**
 * The result codes of the C interface. The numbers are fixed for ever; new ones are appended.
 */
typedef enum tel_error {
  /**
   * Done.
   */
  TEL_OK = 0,
  /**
   * A pointer is NULL that may not be, or a size is impossible. Nothing was done.
   */
  TEL_ERR_INVALID = 1,
  /**
   * The queue has no room: the line is dropped, and counted `dropped_full`.
   */
  TEL_ERR_FULL = 2,
  /**
   * The line is longer than `queue.max_line_bytes`: it is dropped, and counted `dropped_too_long`.
   */
  TEL_ERR_TOO_LONG = 3,
  /**
   * The producer belongs to the process that this one was forked from. Make one here.
   */
  TEL_ERR_FORKED = 4,
  /**
   * The producer is closed, or closing.
   */
  TEL_ERR_CLOSED = 5,
  /**
   * The configuration is wrong; the text names the key.
   */
  TEL_ERR_CONFIG = 6,
  /**
   * The client list is not one; the list before it stays.
   */
  TEL_ERR_CLIENTS = 7,
  /**
   * The operating system refused; the text has its reason.
   */
  TEL_ERR_IO = 8,
  /**
   * Time ran out before all lines were accounted for.
   */
  TEL_ERR_TIMEOUT = 9,
  /**
   * A defect in this library. It was contained; please report it.
   */
  TEL_ERR_INTERNAL = 10,
} tel_error;

/**
 * A producer. Made by `tel_producer_new`, freed by `tel_producer_free`; may be used by any number of threads at once.
 */
typedef struct tel_producer tel_producer;

/**
 * Options of `tel_producer_new` that are no configuration. Set `size` to `sizeof(tel_options)` and the rest to 0
 * first: fields are only ever appended, and the library reads no more than `size` says.
 */
typedef struct tel_options {
  /**
   * `sizeof(tel_options)`.
   */
  size_t size;
  /**
   * Called with what the library has to say; `level` is syslog's, 3 (error) to 7 (debug). The message ends when the
   * call returns. Called from the library's threads, and from a thread that is in `tel_producer_new` or reloads
   * clients, possibly from several at once; never after `tel_producer_close` has returned. It must not call
   * `tel_producer_close` or `tel_producer_free`. NULL: standard error.
   */
  void (*log)(int level, const char *message, void *opaque);
  /**
   * Passed on to `log`.
   */
  void *opaque;
} tel_options;

/**
 * Where every submitted line is. `tel_get_stats` fills as much of it as the caller's size covers; fields are only ever
 * appended.
 *
 * `submitted + recovered = delivered + failed + dropped_full + dropped_too_long + dropped_rate + dropped_spool +
 * sampled_out + unknown_client + malformed + spooled + in_flight`: exact when nothing moves, as after a flush or close.
 * While lines move, the left side is never the smaller.
 */
typedef struct tel_stats {
  /**
   * Lines given to submit and not refused as INVALID, FORKED or CLOSED.
   */
  uint64_t submitted;
  /**
   * Lines taken over from an earlier process's spool.
   */
  uint64_t recovered;
  /**
   * Lines that Kafka has acknowledged.
   */
  uint64_t delivered;
  /**
   * Lines that Kafka gave up, or that a close gave up at its deadline.
   */
  uint64_t failed;
  /**
   * Lines dropped because the queue, or a stuck client's share of `batches.bytes`, was full.
   */
  uint64_t dropped_full;
  /**
   * Lines longer than `queue.max_line_bytes`.
   */
  uint64_t dropped_too_long;
  /**
   * Lines over their client's `max_lines_per_second`.
   */
  uint64_t dropped_rate;
  /**
   * Lines that the spool had no room for.
   */
  uint64_t dropped_spool;
  /**
   * Lines left out by their client's `sample`.
   */
  uint64_t sampled_out;
  /**
   * Lines of ids that are not in the client list.
   */
  uint64_t unknown_client;
  /**
   * Lines that are empty, have no space, or whose id is empty, too long or has a forbidden byte.
   */
  uint64_t malformed;
  /**
   * Gauge: lines in the spool.
   */
  uint64_t spooled;
  /**
   * Gauge: lines in the queue, in batches and in the engine.
   */
  uint64_t in_flight;
  /**
   * Lines that had a CR, LF or NUL inside, which was escaped.
   */
  uint64_t sanitized;
  /**
   * Bytes of the lines taken from the queue so far, ids included.
   */
  uint64_t bytes_submitted;
  /**
   * Bytes of the delivered lines' values.
   */
  uint64_t bytes_delivered;
  /**
   * Age of the oldest line not yet delivered, in milliseconds; 0 if there is none.
   */
  uint64_t oldest_undelivered_ms;
  /**
   * When a line was last delivered, in milliseconds since 1970; 0 if never.
   */
  uint64_t last_delivery_unix_ms;
  /**
   * Clients in the list.
   */
  uint64_t clients;
  /**
   * Entries of the list that were left out for what is in them.
   */
  uint64_t clients_rejected;
  /**
   * The list's own revision; 0 if it has none.
   */
  uint64_t clients_revision;
} tel_stats;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Starts a producer.
 *
 * `config`: the configuration, as JSON text that ends in NUL. `options`: may be NULL. `errstr`: where the reason of a
 * failure goes, cut to `errstr_size` bytes and always ended with NUL; may be NULL with a size of 0.
 *
 * Returns the producer, to be freed with `tel_producer_free`; NULL if the configuration is wrong, or memory or threads
 * are not to be had. A client list or a broker that is not there (yet) is no failure.
 *
 * Thread-safe. In a process that forks, call it in the process that submits.
 */
struct tel_producer *tel_producer_new(const char *config,
                                      const struct tel_options *options,
                                      char *errstr,
                                      size_t errstr_size);

/**
 * Says what `tel_producer_new` would say of this configuration, starting nothing and connecting nowhere.
 *
 * Returns `TEL_OK`, or `TEL_ERR_CONFIG` with the reason in `errstr` (as in `tel_producer_new`), or `TEL_ERR_INVALID`.
 * Thread-safe.
 */
int tel_config_check(const char *config,
                     char *errstr,
                     size_t errstr_size);

/**
 * Submits one line, `"<client id> <log line>"`, of `len` bytes; it need not end in NUL. One trailing `\n` or `\r\n` is
 * taken off.
 *
 * The line is copied. The call never blocks, and after a thread's first call makes no allocation, lock or system call.
 * The lines that one thread submits for one client keep their order.
 *
 * Returns `TEL_OK`; `TEL_ERR_FULL` or `TEL_ERR_TOO_LONG`: the line is dropped and counted; `TEL_ERR_INVALID` (`p` or
 * `line` is NULL), `TEL_ERR_FORKED` or `TEL_ERR_CLOSED`: nothing was submitted. The result may be ignored. Whether the
 * client is known, and whether the line has one, is found out later, and counted. Thread-safe.
 */
int tel_submit(struct tel_producer *p,
               const char *line,
               size_t len);

/**
 * Submits one line of which the client is given apart, by the host's own configuration, so that no text in a request
 * can forge it: all of `line` is the log line. Otherwise as `tel_submit`.
 */
int tel_submit_for(struct tel_producer *p,
                   const char *client,
                   size_t client_len,
                   const char *line,
                   size_t len);

/**
 * Returns 1 if lines of this client are wanted now, 0 if not (or if an argument is NULL, or the producer is the parent
 * process's): a host need not format what nobody reads. Wait-free. Thread-safe.
 */
int tel_wants(const struct tel_producer *p,
              const char *client,
              size_t client_len);

/**
 * Reads the client list again and swaps it whole; lines already under way stay so. `path`: the file, or NULL for the
 * configured one. Any revision is taken. The configured file is watched again from then on, if it was not.
 *
 * Returns `TEL_OK`; or `TEL_ERR_IO`, `TEL_ERR_CLIENTS`, `TEL_ERR_INVALID` (no file is configured), with the reason in
 * `errstr` (as in `tel_producer_new`), and the list before stays. Blocks for as long as reading takes. Thread-safe.
 */
int tel_reload_clients(struct tel_producer *p,
                       const char *path,
                       char *errstr,
                       size_t errstr_size);

/**
 * Takes the client list from memory: `len` bytes of JSON, not kept. The configured file is left alone until the next
 * `tel_reload_clients`. Otherwise as that.
 */
int tel_set_clients(struct tel_producer *p,
                    const char *json,
                    size_t len,
                    char *errstr,
                    size_t errstr_size);

/**
 * Waits until all that was submitted before the call is delivered, spooled, failed or dropped. `timeout_ms` < 0: no
 * limit. The batching time is cut short.
 *
 * Returns `TEL_OK`, `TEL_ERR_TIMEOUT`, `TEL_ERR_INVALID` or `TEL_ERR_FORKED`. Thread-safe.
 */
int tel_flush(struct tel_producer *p,
              int timeout_ms);

/**
 * Reads the counters. `out_size`: `sizeof(tel_stats)` of the caller; of that, what this library does not know is zeroed.
 *
 * Returns `TEL_OK`, `TEL_ERR_INVALID`, or `TEL_ERR_FORKED` (`out` is then zeroed). Thread-safe.
 */
int tel_get_stats(const struct tel_producer *p,
                  struct tel_stats *out,
                  size_t out_size);

/**
 * Writes the whole picture as JSON text, each client's counters too, cut to `size` bytes and always ended with NUL;
 * `buf` may be NULL with a size of 0.
 *
 * Returns the length of the whole text without its NUL, as snprintf does: if it is not less than `size`, call again
 * with more. 0 if `p` is NULL or the parent process's. Thread-safe.
 */
size_t tel_stats_json(const struct tel_producer *p,
                      char *buf,
                      size_t size);

/**
 * Takes no more lines, flushes, and stops the threads: what is submitted from now on gets `TEL_ERR_CLOSED`. Returns
 * within `timeout_ms` + 100 ms whatever the brokers do; < 0: no limit. Statistics stay readable.
 *
 * Returns `TEL_OK`; `TEL_ERR_TIMEOUT` if lines had to be given up, which are counted `failed`; `TEL_ERR_INVALID` or
 * `TEL_ERR_FORKED`. Closing again is allowed and has the same result. Thread-safe.
 */
int tel_producer_close(struct tel_producer *p,
                       int timeout_ms);

/**
 * Frees a producer; closes it first, with `exit_timeout_ms`, if that was not done. NULL is allowed. In a forked child
 * nothing is touched. NOT to be called while another thread uses `p`.
 */
void tel_producer_free(struct tel_producer *p);

/**
 * A short description of a result code, never NULL and never freed. Thread-safe.
 */
const char *tel_strerror(int code);

/**
 * The library's version, `"0.1.0"`; never freed. Thread-safe.
 */
const char *tel_version(void);

/**
 * The library's `TEL_ABI_VERSION`: at least the header's that a program was compiled with, or something it needs may be
 * missing. Thread-safe.
 */
uint32_t tel_abi_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TEL_H */
