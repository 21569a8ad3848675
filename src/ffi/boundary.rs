//! What crosses the C boundary: pointers to slices, errors to text, panics to codes.

use crate::error::{tel_error, Error, Result};
use crate::log::{Level, Log};
use std::ffi::{c_char, c_int, c_void, CStr, CString};
use std::mem::offset_of;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Options of `tel_producer_new` that are no configuration. Set `size` to `sizeof(tel_options)` and the rest to 0
/// first: fields are only ever appended, and the library reads no more than `size` says.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy)]
pub struct tel_options {
    /// `sizeof(tel_options)`.
    pub size: usize,
    /// Called with what the library has to say; `level` is syslog's, 3 (error) to 7 (debug). The message ends when the
    /// call returns. Called from the library's threads, and from a thread that is in `tel_producer_new` or reloads
    /// clients, possibly from several at once; never after `tel_producer_close` has returned. It must not call
    /// `tel_producer_close` or `tel_producer_free`. NULL: standard error.
    pub log: Option<unsafe extern "C" fn(level: c_int, message: *const c_char, opaque: *mut c_void)>,
    /// Passed on to `log`.
    pub opaque: *mut c_void,
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::MaybeUninit;
    use std::ptr;

    #[test]
    fn what_is_null_or_impossible_is_no_slice_and_no_text() {
        let line = c"c1 x".as_ptr();
        // SAFETY: NULL, or a valid text.
        unsafe {
            assert!(bytes(ptr::null(), 0).is_none() && bytes(line, usize::MAX).is_none());
            assert_eq!((bytes(line, 4), bytes(line, 0)), (Some(&b"c1 x"[..]), Some(&b""[..])));
            assert_eq!(text(ptr::null(), "config").unwrap_err().kind(), tel_error::TEL_ERR_INVALID);
            assert_eq!(text(c"\xff".as_ptr(), "config").unwrap_err().kind(), tel_error::TEL_ERR_CONFIG);
            assert_eq!(text(line, "config"), Ok("c1 x"));
            copy_out(ptr::null_mut(), 0, "nowhere");
            write_error(ptr::null_mut(), 0, Some(&Error::plain(tel_error::TEL_ERR_IO)));
        }
    }

    #[test]
    fn the_host_s_log_gets_the_message_and_its_own_pointer() {
        unsafe extern "C" fn log(level: c_int, message: *const c_char, opaque: *mut c_void) {
            // SAFETY: as the library documents, and the test passes a `String`.
            let (message, heard) = unsafe { (CStr::from_ptr(message), &mut *opaque.cast::<String>()) };
            *heard = format!("{level} {}", message.to_string_lossy());
        }
        let mut heard = String::new();
        let options =
            tel_options { size: size_of::<tel_options>(), log: Some(log), opaque: ptr::from_mut(&mut heard).cast() };
        // SAFETY: valid options.
        let log = unsafe { HostLog::from_options(&options) }.unwrap().unwrap();
        log.say(Level::Warning, "test", format_args!("a\0b"));
        log.close(std::time::Duration::ZERO);
        log.say(Level::Error, "test", format_args!("not after a close"));
        assert_eq!(heard, "4 a\\0b");
    }

    #[test]
    fn texts_are_cut_between_characters() {
        let mut buffer = [7 as c_char; 8];
        // SAFETY: within the buffer.
        unsafe { copy_out(buffer.as_mut_ptr(), 3, "aöö") };
        // SAFETY: ended with NUL.
        assert_eq!(unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_str(), Ok("a"));
        assert_eq!(buffer[4..], [7; 4]);
    }

    #[test]
    fn options_are_read_as_far_as_they_reach() {
        let mut options = MaybeUninit::<tel_options>::uninit();
        // SAFETY: only `size` is initialised, and said to be all there is.
        unsafe {
            (&raw mut (*options.as_mut_ptr()).size).write(size_of::<usize>());
            assert!(HostLog::from_options(options.as_ptr()).unwrap().is_none());
            (&raw mut (*options.as_mut_ptr()).size).write(1);
            assert_eq!(HostLog::from_options(options.as_ptr()).err().unwrap().kind(), tel_error::TEL_ERR_INVALID);
            assert!(HostLog::from_options(ptr::null()).unwrap().is_none());
        }
    }

    #[test]
    fn a_panic_becomes_a_code() {
        let quiet = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let code = guarded(tel_error::TEL_ERR_INTERNAL as c_int, || panic!("a defect"));
        std::panic::set_hook(quiet);
        assert_eq!(code, tel_error::TEL_ERR_INTERNAL as c_int);
    }
}
