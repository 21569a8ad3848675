//! What can go wrong, and the fixed numbers that C sees.

use std::ffi::CStr;
use std::fmt;

/// The result codes of the C interface. The numbers are fixed for ever; new ones are appended.
#[repr(C)]
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum tel_error {
    /// Done.
    TEL_OK = 0,
    /// A pointer is NULL that may not be, or a size is impossible. Nothing was done.
    TEL_ERR_INVALID = 1,
    /// The queue has no room: the line is dropped, and counted `dropped_full`.
    TEL_ERR_FULL = 2,
    /// The line is longer than `queue.max_line_bytes`: it is dropped, and counted `dropped_too_long`.
    TEL_ERR_TOO_LONG = 3,
    /// The producer belongs to the process that this one was forked from. Make one here.
    TEL_ERR_FORKED = 4,
    /// The producer is closed, or closing.
    TEL_ERR_CLOSED = 5,
    /// The configuration is wrong; the text names the key.
    TEL_ERR_CONFIG = 6,
    /// The client list is not one; the list before it stays.
    TEL_ERR_CLIENTS = 7,
    /// The operating system refused; the text has its reason.
    TEL_ERR_IO = 8,
    /// Time ran out before all lines were accounted for.
    TEL_ERR_TIMEOUT = 9,
    /// A defect in this library. It was contained; please report it.
    TEL_ERR_INTERNAL = 10,
}

impl tel_error {
    /// A short description.
    pub fn describe(self) -> &'static CStr {
        match self {
            tel_error::TEL_OK => c"success",
            tel_error::TEL_ERR_INVALID => c"invalid argument",
            tel_error::TEL_ERR_FULL => c"queue full: the line was dropped and counted",
            tel_error::TEL_ERR_TOO_LONG => c"line longer than queue.max_line_bytes: dropped and counted",
            tel_error::TEL_ERR_FORKED => c"the producer belongs to the parent process: make one after fork",
            tel_error::TEL_ERR_CLOSED => c"the producer is closed",
            tel_error::TEL_ERR_CONFIG => c"wrong configuration",
            tel_error::TEL_ERR_CLIENTS => c"not a valid client list: the list before it stays",
            tel_error::TEL_ERR_IO => c"the operating system refused",
            tel_error::TEL_ERR_TIMEOUT => c"time ran out",
            tel_error::TEL_ERR_INTERNAL => c"internal error: please report it",
        }
    }

    /// The code with this number, if there is one.
    pub fn from_number(number: i32) -> Option<tel_error> {
        use tel_error::*;
        [
            TEL_OK,
            TEL_ERR_INVALID,
            TEL_ERR_FULL,
            TEL_ERR_TOO_LONG,
            TEL_ERR_FORKED,
            TEL_ERR_CLOSED,
            TEL_ERR_CONFIG,
            TEL_ERR_CLIENTS,
            TEL_ERR_IO,
            TEL_ERR_TIMEOUT,
            TEL_ERR_INTERNAL,
        ]
        .into_iter()
        .find(|code| *code as i32 == number)
    }
}

/// An error of this library: what kind, and a text that names the thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: tel_error,
    text: String,
}

impl Error {
    /// An error of `kind` with its own text.
    pub fn new(kind: tel_error, text: impl Into<String>) -> Error {
        Error { kind, text: text.into() }
    }

    /// A wrong configuration.
    pub fn config(text: impl Into<String>) -> Error {
        Error::new(tel_error::TEL_ERR_CONFIG, text)
    }

    /// A text that is not a client list.
    pub fn clients(text: impl Into<String>) -> Error {
        Error::new(tel_error::TEL_ERR_CLIENTS, text)
    }

    /// A refusal by the operating system: `what` was tried.
    pub fn io(what: impl fmt::Display, why: &std::io::Error) -> Error {
        Error::new(tel_error::TEL_ERR_IO, format!("{what}: {why}"))
    }

    /// An error that its code says all about.
    pub fn plain(kind: tel_error) -> Error {
        Error::new(kind, kind.describe().to_string_lossy())
    }

    /// Its code.
    pub fn kind(&self) -> tel_error {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for Error {}

/// The result of most functions here.
pub type Result<T, E = Error> = std::result::Result<T, E>;
