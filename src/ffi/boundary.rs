//! What crosses the C boundary: pointers to slices, errors to text, panics to codes.

use super::tel_options;
use crate::error::{tel_error, Error, Result};
use crate::log::{Level, Log};
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::mem::offset_of;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Runs `body`; a panic in it, which only a defect can cause, becomes `on_panic`.
#[inline]
pub fn guarded<R>(on_panic: R, body: impl FnOnce() -> R) -> R {
    // Asserted: what a panic may have left half-done is behind atomics and locks that stand it.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(on_panic)
}

/// The code of a result.
#[inline]
pub fn code(result: Result<(), tel_error>) -> c_int {
    match result {
        Ok(()) => tel_error::TEL_OK as c_int,
        Err(error) => error as c_int,
    }
}

/// The bytes at `start`; `None` if it is NULL or the length cannot be one.
///
/// # Safety
/// `start` is NULL or points to `len` bytes that stay unchanged for as long as the slice is used.
#[inline]
pub unsafe fn bytes<'a>(start: *const c_char, len: usize) -> Option<&'a [u8]> {
    if start.is_null() || len > isize::MAX as usize {
        return None;
    }
    // SAFETY: by the caller's word, and not NULL.
    Some(unsafe { std::slice::from_raw_parts(start.cast(), len) })
}

/// The text at `start`, called `name` in errors.
///
/// # Errors
/// `TEL_ERR_INVALID` if it is NULL, `TEL_ERR_CONFIG` if it is not UTF-8.
///
/// # Safety
/// `start` is NULL or points to a text ending in NUL that stays unchanged for as long as it is used.
pub unsafe fn text<'a>(start: *const c_char, name: &str) -> Result<&'a str> {
    if start.is_null() {
        return Err(Error::new(tel_error::TEL_ERR_INVALID, format!("{name} is NULL")));
    }
    // SAFETY: by the caller's word, and not NULL.
    let text = unsafe { CStr::from_ptr(start) };
    text.to_str().map_err(|_| Error::config(format!("{name} is not UTF-8")))
}

/// Writes the error's text, or nothing, to the caller's buffer.
///
/// # Safety
/// `errstr` is NULL or points to `size` bytes.
pub unsafe fn write_error(errstr: *mut c_char, size: usize, error: Option<&Error>) {
    let text = error.map(Error::to_string).unwrap_or_default();
    // SAFETY: by the caller's word.
    unsafe { copy_out(errstr, size, &text) };
}

/// Copies as much of `text` as there is room for, whole characters only, and ends it with NUL.
///
/// # Safety
/// `buffer` is NULL or points to `size` bytes.
pub unsafe fn copy_out(buffer: *mut c_char, size: usize, text: &str) {
    if buffer.is_null() || size == 0 {
        return;
    }
    let mut length = text.len().min(size - 1);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    // SAFETY: `length` + 1 bytes fit, by the caller's word.
    unsafe {
        std::ptr::copy_nonoverlapping(text.as_ptr(), buffer.cast::<u8>(), length);
        *buffer.add(length) = 0;
    }
}

/// The host's log function and what it wants with each call.
pub struct HostLog {
    function: unsafe extern "C" fn(c_int, *const c_char, *mut c_void),
    opaque: *mut c_void,
}

// SAFETY: the pointer is only passed back to the host, whose function takes calls from any thread, as documented.
unsafe impl Send for HostLog {}
// SAFETY: as above.
unsafe impl Sync for HostLog {}

impl HostLog {
    /// The log of these options; `None` if they have no function.
    ///
    /// # Errors
    /// `TEL_ERR_INVALID` if their size is impossible.
    ///
    /// # Safety
    /// `options` is NULL or points to as many bytes as its `size` says.
    pub unsafe fn from_options(options: *const tel_options) -> Result<Option<Log>> {
        if options.is_null() {
            return Ok(None);
        }
        // SAFETY: `size` is the first field, in every version.
        let size = unsafe { (*options).size };
        if size < size_of::<usize>() {
            return Err(Error::new(tel_error::TEL_ERR_INVALID, "options.size: must be sizeof(tel_options)"));
        }
        let covers = |offset: usize| size >= offset + size_of::<*mut c_void>();
        // SAFETY: each field is read only if the caller's structure has it.
        let (function, opaque) = unsafe {
            (
                if covers(offset_of!(tel_options, log)) { (*options).log } else { None },
                if covers(offset_of!(tel_options, opaque)) { (*options).opaque } else { std::ptr::null_mut() },
            )
        };
        Ok(function.map(|function| {
            let host = HostLog { function, opaque };
            Log::new(Box::new(move |level, message| host.call(level, message)))
        }))
    }

    fn call(&self, level: Level, message: &str) {
        // A NUL inside would hide the rest.
        let message = CString::new(message.replace('\0', "\\0")).unwrap_or_default();
        // SAFETY: the host's function, called as documented.
        unsafe { (self.function)(level as c_int, message.as_ptr(), self.opaque) };
    }
}

/// `tel_version`'s text.
pub const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
    Ok(version) => version,
    Err(_) => c"",
};

/// `tel_strerror`'s text for a code.
pub fn description(code: c_int) -> &'static CStr {
    tel_error::from_number(code).map_or(c"unknown result code", tel_error::describe)
}
