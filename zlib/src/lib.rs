//! The zlib functions that librdkafka calls, on ISA-L's igzip and on zlib-rs.
//!
//! gzip is three quarters of what a line costs with stock zlib. igzip (Intel's storage library, also for AMD and ARM)
//! writes the same format several times faster and a little larger; zlib-rs takes the levels at which size counts more.
//! Which level is whose stands in [`is_igzips`].
//!
//! The names are *hidden*: libtel.so neither exports them nor is bound to a host's own zlib. Rust cannot define a symbol
//! that other objects see and the library does not export, so each is one jump in assembly.

mod igzip;

use igzip::Igzip;
use libz_rs_sys::{z_stream, Z_BUF_ERROR, Z_DEFAULT_COMPRESSION, Z_FINISH, Z_MEM_ERROR, Z_NO_FLUSH, Z_OK};
use libz_rs_sys::{Z_STREAM_END, Z_STREAM_ERROR};
use std::ffi::{c_char, c_int, c_ulong, c_void};
use std::ptr;

#[cfg(target_arch = "x86_64")]
macro_rules! jump {
    () => {
        "jmp {function}"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! jump {
    () => {
        "b {function}"
    };
}

macro_rules! hidden {
    ($($name:ident = $function:path),* $(,)?) => {
        $(core::arch::global_asm!(
            ".text",
            concat!(".globl ", stringify!($name)),
            concat!(".hidden ", stringify!($name)),
            concat!(".type ", stringify!($name), ", @function"),
            concat!(stringify!($name), ":"),
            jump!(),
            function = sym $function,
        );)*
    };
}

hidden!(
    deflateInit2_ = deflate_init,
    deflate = deflate,
    deflateBound = deflate_bound,
    deflateEnd = deflate_end,
    inflate = libz_rs_sys::inflate,
    inflateInit2_ = libz_rs_sys::inflateInit2_,
    inflateEnd = libz_rs_sys::inflateEnd,
    inflateGetHeader = libz_rs_sys::inflateGetHeader,
    crc32 = libz_rs_sys::crc32,
    zlibVersion = libz_rs_sys::zlibVersion,
);

/// Its address in a stream's `opaque`, which is for whoever allocates the stream's state, says that igzip does.
static IGZIP: u8 = 0;

/// `windowBits` of a gzip stream with the largest window: what librdkafka asks for.
const GZIP_WINDOW: c_int = 15 + 16;

/// Levels 1 and 2 of gzip, and the default. Level 0 (stored) and 3 to 9 are zlib-rs's, as are formats other than gzip.
fn is_igzips(level: c_int, window_bits: c_int) -> Option<u32> {
    match level {
        _ if window_bits != GZIP_WINDOW => None,
        Z_DEFAULT_COMPRESSION | 1 => Some(1),
        2 => Some(2),
        _ => None,
    }
}

fn is_igzip(stream: &z_stream) -> bool {
    ptr::eq(stream.opaque.cast(), &raw const IGZIP)
}

/// zlib's deflateInit2.
///
/// # Safety
/// As zlib's: `stream` is a stream of its caller, `version` a string.
#[allow(clippy::too_many_arguments)]
unsafe extern "C" fn deflate_init(
    stream: *mut z_stream,
    level: c_int,
    method: c_int,
    window_bits: c_int,
    memory_level: c_int,
    strategy: c_int,
    version: *const c_char,
    stream_size: c_int,
) -> c_int {
    // SAFETY: zlib's contract.
    let Some(own) = (unsafe { stream.as_mut() }) else { return Z_STREAM_ERROR };
    let Some(level) = is_igzips(level, window_bits) else {
        // SAFETY: zlib's contract, passed on.
        return unsafe {
            let (memory, size) = (memory_level, stream_size);
            libz_rs_sys::deflateInit2_(stream, level, method, window_bits, memory, strategy, version, size)
        };
    };
    let Some(igzip) = Igzip::begin(level) else { return Z_MEM_ERROR };
    own.state = Box::into_raw(igzip).cast();
    own.opaque = (&raw const IGZIP).cast_mut().cast::<c_void>();
    (own.total_in, own.total_out) = (0, 0);
    own.msg = ptr::null_mut();
    Z_OK
}

/// zlib's deflateBound: no output is longer.
///
/// # Safety
/// As zlib's: `stream` was initialised.
unsafe extern "C" fn deflate_bound(stream: *mut z_stream, length: c_ulong) -> c_ulong {
    // SAFETY: zlib's contract.
    match unsafe { stream.as_ref() } {
        Some(own) if is_igzip(own) => igzip::bound(length),
        // SAFETY: zlib's contract, passed on.
        _ => unsafe { libz_rs_sys::deflateBound(stream, length) },
    }
}

/// zlib's deflate, with `Z_NO_FLUSH` or `Z_FINISH`.
///
/// # Safety
/// As zlib's: `stream` was initialised, and refers to `avail_in` readable and `avail_out` writable bytes.
unsafe extern "C" fn deflate(stream: *mut z_stream, flush: c_int) -> c_int {
    // SAFETY: zlib's contract.
    let own = match unsafe { stream.as_mut() } {
        Some(own) if is_igzip(own) => own,
        // SAFETY: zlib's contract, passed on.
        _ => return unsafe { libz_rs_sys::deflate(stream, flush) },
    };
    if !matches!(flush, Z_NO_FLUSH | Z_FINISH) || own.state.is_null() {
        return Z_STREAM_ERROR;
    }
    // SAFETY: made by `deflate_init` and alive until `deflate_end`.
    let igzip = unsafe { &mut *own.state.cast::<Igzip>() };
    let input = match own.avail_in {
        0 => &[][..],
        // SAFETY: zlib's contract on the stream's pointers.
        length => unsafe { std::slice::from_raw_parts(own.next_in, length as usize) },
    };
    // SAFETY: zlib's contract on the stream's pointers.
    let step = unsafe { igzip.step(input, own.next_out, own.avail_out, flush == Z_FINISH) };
    let Some(step) = step else { return Z_STREAM_ERROR };
    // SAFETY: not more than was available.
    unsafe {
        own.next_in = own.next_in.add(step.read as usize);
        own.next_out = own.next_out.add(step.written as usize);
    }
    own.avail_in -= step.read;
    own.avail_out -= step.written;
    own.total_in += c_ulong::from(step.read);
    own.total_out += c_ulong::from(step.written);
    match flush {
        Z_FINISH if step.ended => Z_STREAM_END,
        Z_FINISH if own.avail_out == 0 => Z_BUF_ERROR,
        _ => Z_OK,
    }
}

/// zlib's deflateEnd.
///
/// # Safety
/// As zlib's: `stream` was initialised.
unsafe extern "C" fn deflate_end(stream: *mut z_stream) -> c_int {
    // SAFETY: zlib's contract.
    let own = match unsafe { stream.as_mut() } {
        Some(own) if is_igzip(own) => own,
        // SAFETY: zlib's contract, passed on.
        _ => return unsafe { libz_rs_sys::deflateEnd(stream) },
    };
    let state = std::mem::replace(&mut own.state, ptr::null_mut()).cast::<Igzip>();
    own.opaque = ptr::null_mut();
    if state.is_null() {
        return Z_STREAM_ERROR;
    }
    // SAFETY: made by `Box::into_raw` in `deflate_init`, and taken back once: the stream has forgotten it.
    Igzip::end(unsafe { Box::from_raw(state) });
    Z_OK
}

#[cfg(test)]
mod tests;
