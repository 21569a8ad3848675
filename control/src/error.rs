//! What can go wrong, in words for the one who asked.

use std::fmt;

/// Whose move it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for is wrong; asking again changes nothing.
    Invalid,
    /// What is asked about is not there.
    NotFound,
    /// It contradicts what is there.
    Conflict,
    /// Kafka, the database or the file system did not do it; trying again may help.
    Unavailable,
}

/// A kind and a text that names the thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Whose move it is.
    pub kind: Kind,
    /// For the one who asked; holds no secret.
    pub text: String,
}

/// What most functions here return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// What was asked for is wrong.
    pub fn invalid(text: impl fmt::Display) -> Error {
        Error { kind: Kind::Invalid, text: text.to_string() }
    }

    /// It is not there.
    pub fn not_found(text: impl fmt::Display) -> Error {
        Error { kind: Kind::NotFound, text: text.to_string() }
    }

    /// It contradicts what is there.
    pub fn conflict(text: impl fmt::Display) -> Error {
        Error { kind: Kind::Conflict, text: text.to_string() }
    }

    /// Something needed does not work now.
    pub fn unavailable(text: impl fmt::Display) -> Error {
        Error { kind: Kind::Unavailable, text: text.to_string() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Error {}
