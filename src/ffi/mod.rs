//! The C interface: every `extern "C"` function, and nothing else of the library's doing.
//!
//! Pointers are checked here, panics stop here, and results become codes here; `c_char` goes no further.
//!
//! What is written on the functions is the manual that a C user reads in `include/tel.h`: what makes a call sound is said
//! there in C's terms (which pointers may be NULL, and how far they reach).

#![allow(clippy::missing_safety_doc)]

mod boundary;

use crate::error::{tel_error, Error};
use crate::front::Front;
use crate::log::Log;
use crate::process::Wiped;
use crate::producer::{check_config, Producer};
use crate::stats::tel_stats;
pub use boundary::tel_options;
use boundary::{bytes, code, copy_out, guarded, text, write_error, HostLog};
use std::ffi::{c_char, c_int};
use std::mem::size_of;
use std::path::Path;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Version of this interface: raised by one when something is added to it. `tel_abi_version` returns the library's.
pub const TEL_ABI_VERSION: u32 = 1;

/// A producer. Made by `tel_producer_new`, freed by `tel_producer_free`; may be used by any number of threads at once.
#[allow(non_camel_case_types)]
// Out of cbindgen's sight, so that it is opaque in the header.
#[cfg_attr(all(), repr(transparent))]
pub struct tel_producer {
    front: Wiped<Front>,
}

impl tel_producer {
    /// Of a new producer.
    fn of(producer: Producer) -> *mut tel_producer {
        let made = Box::into_raw(Box::new(producer));
        // SAFETY: just made.
        let front = unsafe { &*made }.front();
        if let Some(front) = front.get() {
            front.handle.store(made.cast(), Ordering::Release);
        }
        ptr::from_ref(front).cast_mut().cast()
    }

    /// All of it; `TEL_ERR_FORKED` if it is the parent process's.
    fn producer(&self) -> Result<&Producer, tel_error> {
        let front = self.front.get().ok_or(tel_error::TEL_ERR_FORKED)?;
        // SAFETY: stored by `of`, and there until `tel_producer_free`, in which nobody uses the handle any more.
        unsafe { front.handle.load(Ordering::Acquire).cast::<Producer>().as_ref() }.ok_or(tel_error::TEL_ERR_INTERNAL)
    }
}

/// Starts a producer.
///
/// `config`: the configuration, as JSON text that ends in NUL. `options`: may be NULL. `errstr`: where the reason of a
/// failure goes, cut to `errstr_size` bytes and always ended with NUL; may be NULL with a size of 0.
///
/// Returns the producer, to be freed with `tel_producer_free`; NULL if the configuration is wrong, or memory or threads
/// are not to be had. A client list or a broker that is not there (yet) is no failure.
///
/// Thread-safe. In a process that forks, call it in the process that submits.
#[no_mangle]
pub unsafe extern "C" fn tel_producer_new(
    config: *const c_char,
    options: *const tel_options,
    errstr: *mut c_char,
    errstr_size: usize,
) -> *mut tel_producer {
    // SAFETY: the caller's pointers, as documented.
    let result = guarded(Err(Error::plain(tel_error::TEL_ERR_INTERNAL)), || unsafe {
        let config = text(config, "config")?;
        let log = HostLog::from_options(options)?.unwrap_or_else(Log::stderr);
        Producer::new(config, log)
    });
    // SAFETY: as above.
    unsafe { write_error(errstr, errstr_size, result.as_ref().err()) };
    match result {
        Ok(producer) => tel_producer::of(producer),
        Err(_) => ptr::null_mut(),
    }
}

/// Says what `tel_producer_new` would say of this configuration, starting nothing and connecting nowhere.
///
/// Returns `TEL_OK`, or `TEL_ERR_CONFIG` with the reason in `errstr` (as in `tel_producer_new`), or `TEL_ERR_INVALID`.
/// Thread-safe.
#[no_mangle]
pub unsafe extern "C" fn tel_config_check(config: *const c_char, errstr: *mut c_char, errstr_size: usize) -> c_int {
    // SAFETY: the caller's pointers, as documented.
    let result =
        guarded(Err(Error::plain(tel_error::TEL_ERR_INTERNAL)), || unsafe { check_config(text(config, "config")?) });
    // SAFETY: as above.
    unsafe { write_error(errstr, errstr_size, result.as_ref().err()) };
    code(result.map_err(|error| error.kind()))
}

/// Submits one line, `"<client id> <log line>"`, of `len` bytes; it need not end in NUL. One trailing `\n` or `\r\n` is
/// taken off.
///
/// The line is copied. The call never blocks, and after a thread's first call makes no allocation, lock or system call.
/// The lines that one thread submits for one client keep their order.
///
/// Returns `TEL_OK`; `TEL_ERR_FULL` or `TEL_ERR_TOO_LONG`: the line is dropped and counted; `TEL_ERR_INVALID` (`p` or
/// `line` is NULL), `TEL_ERR_FORKED` or `TEL_ERR_CLOSED`: nothing was submitted. The result may be ignored. Whether the
/// client is known, and whether the line has one, is found out later, and counted. Thread-safe.
#[no_mangle]
pub unsafe extern "C" fn tel_submit(p: *mut tel_producer, line: *const c_char, len: usize) -> c_int {
    // SAFETY: the caller's pointers, as documented. Nothing in the usual case can panic.
    unsafe {
        if let (Some(front), false) = (front(p), line.is_null()) {
            if front.submit_home(None, line.cast(), len) {
                return tel_error::TEL_OK as c_int;
            }
        }
        submit_anywhere(p, line, len)
    }
}

/// `tel_submit` of whatever is not the usual line.
#[cold]
unsafe extern "C" fn submit_anywhere(p: *mut tel_producer, line: *const c_char, len: usize) -> c_int {
    // SAFETY: the caller's pointers, as documented.
    guarded(tel_error::TEL_ERR_INTERNAL as c_int, || unsafe {
        match (p.as_ref(), bytes(line, len)) {
            (Some(p), Some(line)) => code(p.producer().and_then(|p| p.submit(line))),
            _ => tel_error::TEL_ERR_INVALID as c_int,
        }
    })
}

/// Submits one line of which the client is given apart, by the host's own configuration, so that no text in a request
/// can forge it: all of `line` is the log line. Otherwise as `tel_submit`.
#[no_mangle]
pub unsafe extern "C" fn tel_submit_for(
    p: *mut tel_producer,
    client: *const c_char,
    client_len: usize,
    line: *const c_char,
    len: usize,
) -> c_int {
    // SAFETY: the caller's pointers, as documented.
    let (p, client, line) = unsafe { (p.as_ref(), bytes(client, client_len), bytes(line, len)) };
    let (Some(p), Some(client), Some(line)) = (p, client, line) else { return tel_error::TEL_ERR_INVALID as c_int };
    // SAFETY: a line as long as it says.
    if p.front.get().is_some_and(|front| unsafe { front.submit_home(Some(client), line.as_ptr(), line.len()) }) {
        return tel_error::TEL_OK as c_int;
    }
    submit_anywhere_for(p, client, line)
}

/// `tel_submit_for` of a line that is not the usual one.
#[cold]
fn submit_anywhere_for(p: &tel_producer, client: &[u8], line: &[u8]) -> c_int {
    guarded(tel_error::TEL_ERR_INTERNAL as c_int, || code(p.producer().and_then(|p| p.submit_for(client, line))))
}

/// Returns 1 if lines of this client are wanted now, 0 if not (or if an argument is NULL, or the producer is the parent
/// process's): a host need not format what nobody reads. Wait-free. Thread-safe.
#[no_mangle]
pub unsafe extern "C" fn tel_wants(p: *const tel_producer, client: *const c_char, client_len: usize) -> c_int {
    // SAFETY: the caller's pointers, as documented.
    let (front, client) = unsafe { (front(p), bytes(client, client_len)) };
    let (Some(front), Some(client)) = (front, client) else { return 0 };
    match front.wanted.has(client) {
        Some(found) => c_int::from(found),
        // SAFETY: not NULL, or there would be no front.
        None => wants_now(unsafe { &*p }, client),
    }
}

/// `tel_wants` while the list is replaced, or after the close.
#[cold]
fn wants_now(p: &tel_producer, client: &[u8]) -> c_int {
    guarded(0, || c_int::from(p.producer().is_ok_and(|p| p.wants(client))))
}

/// What threads look at first; `None` if `p` is NULL or the parent process's.
///
/// # Safety
/// `p` is NULL or a living producer.
#[inline(always)]
unsafe fn front<'a>(p: *const tel_producer) -> Option<&'a Front> {
    // SAFETY: by the caller's word.
    unsafe { p.as_ref() }.and_then(|p| p.front.get())
}

/// Reads the client list again and swaps it whole; lines already under way stay so. `path`: the file, or NULL for the
/// configured one. Any revision is taken. The configured file is watched again from then on, if it was not.
///
/// Returns `TEL_OK`; or `TEL_ERR_IO`, `TEL_ERR_CLIENTS`, `TEL_ERR_INVALID` (no file is configured), with the reason in
/// `errstr` (as in `tel_producer_new`), and the list before stays. Blocks for as long as reading takes. Thread-safe.
#[no_mangle]
pub unsafe extern "C" fn tel_reload_clients(
    p: *mut tel_producer,
    path: *const c_char,
    errstr: *mut c_char,
    errstr_size: usize,
) -> c_int {
    // SAFETY: the caller's pointers, as documented.
    let result = guarded(Err(Error::plain(tel_error::TEL_ERR_INTERNAL)), || unsafe {
        let p = p.as_ref().ok_or_else(|| Error::new(tel_error::TEL_ERR_INVALID, "p is NULL"))?;
        let path = if path.is_null() { None } else { Some(Path::new(text(path, "path")?)) };
        p.producer().map_err(Error::plain)?.reload_clients(path)
    });
    // SAFETY: as above.
    unsafe { write_error(errstr, errstr_size, result.as_ref().err()) };
    code(result.map_err(|error| error.kind()))
}

/// Takes the client list from memory: `len` bytes of JSON, not kept. The configured file is left alone until the next
/// `tel_reload_clients`. Otherwise as that.
#[no_mangle]
pub unsafe extern "C" fn tel_set_clients(
    p: *mut tel_producer,
    json: *const c_char,
    len: usize,
    errstr: *mut c_char,
    errstr_size: usize,
) -> c_int {
    // SAFETY: the caller's pointers, as documented.
    let result = guarded(Err(Error::plain(tel_error::TEL_ERR_INTERNAL)), || unsafe {
        match (p.as_ref(), bytes(json, len)) {
            (Some(p), Some(json)) => p.producer().map_err(Error::plain)?.set_clients(json),
            (None, _) => Err(Error::new(tel_error::TEL_ERR_INVALID, "p is NULL")),
            (_, None) => Err(Error::new(tel_error::TEL_ERR_INVALID, "json is NULL")),
        }
    });
    // SAFETY: as above.
    unsafe { write_error(errstr, errstr_size, result.as_ref().err()) };
    code(result.map_err(|error| error.kind()))
}

/// Waits until all that was submitted before the call is delivered, spooled, failed or dropped. `timeout_ms` < 0: no
/// limit. The batching time is cut short.
///
/// Returns `TEL_OK`, `TEL_ERR_TIMEOUT`, `TEL_ERR_INVALID` or `TEL_ERR_FORKED`. Thread-safe.
#[no_mangle]
pub unsafe extern "C" fn tel_flush(p: *mut tel_producer, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's pointer, as documented.
    guarded(tel_error::TEL_ERR_INTERNAL as c_int, || match unsafe { p.as_ref() } {
        Some(p) => code(p.producer().and_then(|p| p.flush(timeout(timeout_ms)))),
        None => tel_error::TEL_ERR_INVALID as c_int,
    })
}

/// Reads the counters. `out_size`: `sizeof(tel_stats)` of the caller; of that, what this library does not know is zeroed.
///
/// Returns `TEL_OK`, `TEL_ERR_INVALID`, or `TEL_ERR_FORKED` (`out` is then zeroed). Thread-safe.
#[no_mangle]
pub unsafe extern "C" fn tel_get_stats(p: *const tel_producer, out: *mut tel_stats, out_size: usize) -> c_int {
    // SAFETY: the caller's pointers, as documented.
    guarded(tel_error::TEL_ERR_INTERNAL as c_int, || unsafe {
        let (Some(p), false) = (p.as_ref(), out.is_null()) else { return tel_error::TEL_ERR_INVALID as c_int };
        let stats = p.producer().and_then(Producer::stats);
        let known = size_of::<tel_stats>().min(out_size);
        ptr::write_bytes(out.cast::<u8>(), 0, out_size);
        if let Ok(stats) = &stats {
            ptr::copy_nonoverlapping(ptr::from_ref(stats).cast::<u8>(), out.cast::<u8>(), known);
        }
        code(stats.map(|_| ()))
    })
}

/// Writes the whole picture as JSON text, each client's counters too, cut to `size` bytes and always ended with NUL;
/// `buf` may be NULL with a size of 0.
///
/// Returns the length of the whole text without its NUL, as snprintf does: if it is not less than `size`, call again
/// with more. 0 if `p` is NULL or the parent process's. Thread-safe.
#[no_mangle]
pub unsafe extern "C" fn tel_stats_json(p: *const tel_producer, buf: *mut c_char, size: usize) -> usize {
    // SAFETY: the caller's pointers, as documented.
    guarded(0, || unsafe {
        let json = p.as_ref().and_then(|p| p.producer().ok()?.stats_json().ok()).unwrap_or_default();
        copy_out(buf, size, &json);
        json.len()
    })
}

/// Takes no more lines, flushes, and stops the threads: what is submitted from now on gets `TEL_ERR_CLOSED`. Returns
/// within `timeout_ms` + 100 ms whatever the brokers do; < 0: no limit. Statistics stay readable.
///
/// Returns `TEL_OK`; `TEL_ERR_TIMEOUT` if lines had to be given up, which are counted `failed`; `TEL_ERR_INVALID` or
/// `TEL_ERR_FORKED`. Closing again is allowed and has the same result. Thread-safe.
#[no_mangle]
pub unsafe extern "C" fn tel_producer_close(p: *mut tel_producer, timeout_ms: c_int) -> c_int {
    // SAFETY: the caller's pointer, as documented.
    guarded(tel_error::TEL_ERR_INTERNAL as c_int, || match unsafe { p.as_ref() } {
        Some(p) => code(p.producer().and_then(|p| p.close(timeout(timeout_ms)))),
        None => tel_error::TEL_ERR_INVALID as c_int,
    })
}

/// Frees a producer; closes it first, with `exit_timeout_ms`, if that was not done. NULL is allowed. In a forked child
/// nothing is touched. NOT to be called while another thread uses `p`.
#[no_mangle]
pub unsafe extern "C" fn tel_producer_free(p: *mut tel_producer) {
    guarded((), || {
        // SAFETY: NULL or made by `tel_producer_new`.
        let Some(front) = (unsafe { front(p) }) else { return };
        let producer = front.handle.swap(ptr::null_mut(), Ordering::AcqRel).cast::<Producer>();
        if !producer.is_null() {
            // SAFETY: made by `tel_producer_new`, freed once by the caller's word. The page goes with it.
            drop(unsafe { Box::from_raw(producer) });
        }
    });
}

/// A short description of a result code, never NULL and never freed. Thread-safe.
#[no_mangle]
pub extern "C" fn tel_strerror(code: c_int) -> *const c_char {
    boundary::description(code).as_ptr()
}

/// The library's version, `"0.1.0"`; never freed. Thread-safe.
#[no_mangle]
pub extern "C" fn tel_version() -> *const c_char {
    boundary::VERSION.as_ptr()
}

/// The library's `TEL_ABI_VERSION`: at least the header's that a program was compiled with, or something it needs may be
/// missing. Thread-safe.
#[no_mangle]
pub extern "C" fn tel_abi_version() -> u32 {
    TEL_ABI_VERSION
}

/// C's milliseconds, of which fewer than none mean no limit.
fn timeout(milliseconds: c_int) -> Option<Duration> {
    u64::try_from(milliseconds).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests;
