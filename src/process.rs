//! What concerns the whole process: forks, signals, exit.

use std::io;
use std::mem::size_of;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError, Weak};

/// Tells the process that made it from those forked off it, by one load, and keeps something that those do not see.
///
/// Pages that the kernel wipes in a forked child (`MADV_WIPEONFORK`, Linux 4.14): `getpid` would be a system call, and a
/// `pthread_atfork` handler is not run by every way to fork.
pub struct ForkGuard<T = ()> {
    wiped: NonNull<Wiped<T>>,
}

/// Something that is there in the process that made it, and not in those forked off it.
#[repr(C)]
pub struct Wiped<T> {
    /// 0 in a forked child, as all else is.
    is_there: AtomicU64,
    kept: T,
}

impl<T> Wiped<T> {
    /// It; `None` in a forked child.
    #[inline(always)]
    pub fn get(&self) -> Option<&T> {
        (self.is_there.load(Ordering::Relaxed) != 0).then_some(&self.kept)
    }
}

// SAFETY: owns what it keeps; the word beside that is only ever read after it was set up.
unsafe impl<T: Send> Send for ForkGuard<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for ForkGuard<T> {}

impl<T> ForkGuard<T> {
    /// A guard of this process that keeps `kept`.
    ///
    /// # Errors
    /// The system's; also if the kernel cannot wipe pages on fork.
    pub fn new(kept: T) -> io::Result<ForkGuard<T>> {
        // SAFETY: a new anonymous mapping; no existing memory is touched.
        let mapped = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Wiped<T>>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        let Some(wiped) = NonNull::new(mapped.cast::<Wiped<T>>()).filter(|_| mapped != libc::MAP_FAILED) else {
            return Err(io::Error::last_os_error());
        };
        // SAFETY: the mapping just made.
        let wipes = unsafe { libc::madvise(mapped, size_of::<Wiped<T>>(), libc::MADV_WIPEONFORK) } == 0;
        let error = io::Error::last_os_error();
        // SAFETY: the mapping just made: aligned to a page, large enough, and nobody else's.
        unsafe { wiped.write(Wiped { is_there: AtomicU64::new(1), kept }) };
        let guard = ForkGuard { wiped };
        if wipes {
            Ok(guard)
        } else {
            Err(error)
        }
    }

    /// What it keeps, where it lies.
    pub fn wiped(&self) -> &Wiped<T> {
        // SAFETY: mapped and set up as long as the guard lives; wiped or not, it can be looked at.
        unsafe { self.wiped.as_ref() }
    }

    /// What it keeps; `None` in a child of the process that made the guard.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        self.wiped().get()
    }

    /// Whether this process is a child of the one that made the guard.
    #[inline]
    pub fn is_forked(&self) -> bool {
        self.get().is_none()
    }
}

impl<T> Drop for ForkGuard<T> {
    fn drop(&mut self) {
        let is_there = !self.is_forked();
        // SAFETY: made by `new` and dropped once, here: what it keeps, unless that was wiped, and the whole mapping.
        unsafe {
            if is_there {
                self.wiped.drop_in_place();
            }
            libc::munmap(self.wiped.as_ptr().cast(), size_of::<Wiped<T>>());
        }
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
    let made = Box::into_raw(Box::new(Registry { guard: ForkGuard::new(())?, open: Mutex::new(Vec::new()) }));
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
