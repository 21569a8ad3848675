//! What concerns the whole process: forks, signals, exit.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError, Weak};

/// Tells the process that made it from those forked off it, by one load.
///
/// A page that the kernel wipes in a forked child (`MADV_WIPEONFORK`, Linux 4.14): `getpid` would be a system call, and a
/// `pthread_atfork` handler is not run by every way to fork.
pub struct ForkGuard {
    page: NonNull<AtomicU64>,
}

// SAFETY: the page is only ever read after it was set up.
unsafe impl Send for ForkGuard {}
// SAFETY: as above.
unsafe impl Sync for ForkGuard {}

const PAGE: usize = 4096;

impl ForkGuard {
    /// A guard of this process, around a number that is not 0.
    ///
    /// # Errors
    /// The system's; also if the kernel cannot wipe pages on fork.
    pub fn new(number: u64) -> io::Result<ForkGuard> {
        // SAFETY: a new anonymous mapping; no existing memory is touched.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let Some(start) = NonNull::new(page.cast::<AtomicU64>()).filter(|_| page != libc::MAP_FAILED) else {
            return Err(io::Error::last_os_error());
        };
        let guard = ForkGuard { page: start };
        // SAFETY: the mapping just made.
        if unsafe { libc::madvise(page, PAGE, libc::MADV_WIPEONFORK) } != 0 {
            return Err(io::Error::last_os_error());
        }
        guard.word().store(number, Ordering::Relaxed);
        Ok(guard)
    }

    #[inline]
    fn word(&self) -> &AtomicU64 {
        // SAFETY: the page is mapped as long as the guard lives.
        unsafe { self.page.as_ref() }
    }

    /// The number; 0 in a child of the process that made the guard.
    #[inline]
    pub fn number(&self) -> u64 {
        self.word().load(Ordering::Relaxed)
    }

    /// Whether this process is a child of the one that made the guard.
    #[inline]
    pub fn is_forked(&self) -> bool {
        self.number() == 0
    }
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        // SAFETY: the whole mapping made by `new`.
        unsafe { libc::munmap(self.page.as_ptr().cast(), PAGE) };
    }
}

/// Runs `start` with all signals blocked, so that threads it starts inherit that: a host's signals are handled by the
/// host's threads.
pub fn with_signals_blocked<R>(start: impl FnOnce() -> R) -> R {
    // SAFETY: plain data, filled by the calls below.
    let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: both sets are valid for the calls; only this thread's mask changes.
    let blocked = unsafe {
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before) == 0
    };
    let result = start();
    if blocked {
        // SAFETY: `before` was filled by the call above.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut()) };
    }
    result
}

/// Something to be closed when the process exits.
pub trait CloseAtExit: Send + Sync {
    /// Closes it, within its own deadline.
    fn close_at_exit(&self);
}

/// What is to be closed, and of which process.
struct Registry {
    guard: ForkGuard,
    open: Mutex<Vec<Weak<dyn CloseAtExit>>>,
}

/// Replaced, not changed, by a forked child: its lock may have been held when the child was forked.
static REGISTRY: AtomicPtr<Registry> = AtomicPtr::new(std::ptr::null_mut());

/// This process's registry. It lives until the process ends.
fn registry() -> io::Result<&'static Registry> {
    let current = REGISTRY.load(Ordering::Acquire);
    // SAFETY: either null or made below and never freed.
    if let Some(registry) = unsafe { current.as_ref() }.filter(|registry| !registry.guard.is_forked()) {
        return Ok(registry);
    }
    let made = Box::into_raw(Box::new(Registry { guard: ForkGuard::new(1)?, open: Mutex::new(Vec::new()) }));
    match REGISTRY.compare_exchange(current, made, Ordering::AcqRel, Ordering::Acquire) {
        // SAFETY: just made, and published for ever.
        Ok(_) => Ok(unsafe { &*made }),
        Err(winner) => {
            // SAFETY: `made` was not published, and is freed once.
            drop(unsafe { Box::from_raw(made) });
            // SAFETY: published for ever by another thread.
            Ok(unsafe { &*winner })
        }
    }
}

/// Sets up the process's exit. To be called before the engine is first used.
pub fn prepare_exit() {
    static EXIT_HANDLER: Once = Once::new();
    EXIT_HANDLER.call_once(|| {
        // OpenSSL's own exit handler would free what our flush at exit still needs: initialised this way it has none.
        openssl_sys::init();
        // SAFETY: the handler is a function of this library, which is never unloaded.
        unsafe { libc::atexit(at_exit) };
    });
}

/// Has `open` closed when the process exits, unless it is gone by then.
///
/// # Errors
/// The system's.
pub fn close_at_exit(open: Weak<dyn CloseAtExit>) -> io::Result<()> {
    let mut all = registry()?.open.lock().unwrap_or_else(PoisonError::into_inner);
    all.retain(|known| known.strong_count() > 0);
    all.push(open);
    Ok(())
}

extern "C" fn at_exit() {
    // A panic here would abort a process that is on its way out.
    let _ = std::panic::catch_unwind(|| {
        let current = REGISTRY.load(Ordering::Acquire);
        // SAFETY: either null or never freed.
        let Some(registry) = (unsafe { current.as_ref() }) else { return };
        // A forked child leaves its parent's producers alone.
        if registry.guard.is_forked() {
            return;
        }
        let open = std::mem::take(&mut *registry.open.lock().unwrap_or_else(PoisonError::into_inner));
        std::thread::scope(|scope| {
            for producer in open.iter().filter_map(Weak::upgrade) {
                // Side by side, so that several deadlines do not add up. If no thread is to be had, one by one.
                let spawned = std::thread::Builder::new().spawn_scoped(scope, {
                    let producer = producer.clone();
                    move || producer.close_at_exit()
                });
                if spawned.is_err() {
                    producer.close_at_exit();
                }
            }
        });
    });
}
