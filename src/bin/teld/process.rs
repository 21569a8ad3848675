//! What the standard library leaves out: a child that ends with its parent, and an end without ceremony.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// The child is killed when the thread that starts it ends, however teld ends: no orphan is left, not even one that does
/// not listen. What it could still say nobody would read.
///
/// The signal is bound to the thread (prctl(2), PR_SET_PDEATHSIG): it must live as long as the child is wanted.
///
/// The child takes signals: it would inherit that teld's threads block those that `service::signals` waits for.
pub fn end_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only system calls are made; the set is plain data, filled by the call.
    unsafe {
        command.pre_exec(move || {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            // It may have ended before the signal was arranged.
            if rustix::process::getppid().is_none_or(|now| now.as_raw_nonzero().get() as u32 != parent) {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            Ok(())
        });
    }
}

/// Ends the process now: no exit handler runs, so that nothing waits. Children end by
/// [`end_with_parent`].
pub fn leave(status: u8) -> ! {
    // SAFETY: ends the process; memory and threads go with it.
    unsafe { libc::_exit(i32::from(status)) }
}
