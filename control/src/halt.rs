//! Places at which a test has the process stop, to kill it there. Release builds have none.

/// When the environment names this place, says so on standard output and stays here for ever.
#[cfg(debug_assertions)]
pub(crate) fn at(place: &str) {
    use std::io::Write;
    if std::env::var("TEL_CONTROL_HALT").is_ok_and(|wanted| wanted == place) {
        let _ = writeln!(std::io::stdout(), "\nhalted at {place}");
        loop {
            std::thread::park();
        }
    }
}

#[cfg(not(debug_assertions))]
pub(crate) fn at(_place: &str) {}
