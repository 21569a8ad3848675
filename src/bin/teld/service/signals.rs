//! Signals as events: a thread waits for them, and no handler interrupts anything.

use std::sync::mpsc::Sender;

/// What an operator asks by signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// TERM or INT: drain and end.
    End,
    /// HUP: read inputs and client list again.
    Reload,
}

/// Sends signals to `events` from now on. To be called before any thread is started: threads inherit the mask.
pub fn watch<E: From<Signal> + Send + 'static>(events: Sender<E>) -> std::io::Result<()> {
    let set = {
        // SAFETY: plain data, filled by the calls below; the mask is this thread's, and its children's.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut set);
            for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
                libc::sigaddset(&mut set, signal);
            }
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
            set
        }
    };
    let wait = move || loop {
        let mut signal = 0;
        // SAFETY: a valid set, and a place for the answer.
        let failed = unsafe { libc::sigwait(&set, &mut signal) } != 0;
        let event = if signal == libc::SIGHUP { Signal::Reload } else { Signal::End };
        if failed || events.send(event.into()).is_err() {
            return;
        }
    };
    std::thread::Builder::new().name("teld-signals".into()).spawn(wait).map(drop)
}
