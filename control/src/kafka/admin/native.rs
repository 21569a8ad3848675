//! One client of librdkafka and its requests, wrapped for the files beside this one.
//!
//! A request gets a queue of its own, on which its answer comes: requests of several threads do not meet. librdkafka answers every
//! request within the time that its options name, if need be with "timed out"; waiting has a limit beyond that all the same.

use crate::error::{Error, Result};
use crate::kafka::{error_of, setup_error};
use rdkafka::bindings as ffi;
use rdkafka::config::ClientConfig;
use rdkafka::types::RDKafkaType;
use std::ffi::{c_char, c_int, CStr, CString};
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What librdkafka may take beyond a request's own time to say that it timed out.
const GRACE: Duration = Duration::from_secs(5);
/// RD_KAFKA_RESP_ERR__TIMED_OUT.
const TIMED_OUT: c_int = -185;

/// librdkafka's functions whose results are numbers from the broker, declared with plain integers: a newer broker may send what
/// the enumerations of the binding do not have.
#[allow(clashing_extern_declarations)]
pub(super) mod codes {
    use super::{c_char, c_int, ffi};
    extern "C" {
        pub fn rd_kafka_event_error(event: *mut ffi::rd_kafka_event_t) -> c_int;
        pub fn rd_kafka_error_code(error: *const ffi::rd_kafka_error_t) -> c_int;
        pub fn rd_kafka_topic_result_error(result: *const ffi::rd_kafka_topic_result_t) -> c_int;
        pub fn rd_kafka_ConfigResource_error(resource: *const ffi::rd_kafka_ConfigResource_t) -> c_int;
        pub fn rd_kafka_ConfigEntry_source(entry: *const ffi::rd_kafka_ConfigEntry_t) -> c_int;
        pub fn rd_kafka_err2str(code: c_int) -> *const c_char;
    }
}

/// What Kafka or librdkafka answered that is not what was asked for.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub code: i32,
    pub text: String,
}

impl Failure {
    /// The error for `what` was being done, which needs `right`.
    pub fn error(&self, what: impl fmt::Display, right: &str) -> Error {
        error_of(what, right, self.code, &self.text)
    }
}

/// A client: it connects when it is first asked for something. Its threads end with it.
pub(super) struct Client {
    handle: NonNull<ffi::rd_kafka_t>,
    main: NonNull<ffi::rd_kafka_queue_t>,
    /// The last error of a connection: the reason behind a request that timed out.
    trouble: Mutex<String>,
    /// The last request got no answer: Kafka may be away.
    is_silent: AtomicBool,
}

// SAFETY: librdkafka's handles may be used from any thread, by several at once (its INTRODUCTION.md).
unsafe impl Send for Client {}
// SAFETY: as above.
unsafe impl Sync for Client {}

/// The answer to a request; what was read from it lives no longer.
pub(super) struct Event(NonNull<ffi::rd_kafka_event_t>);

impl Event {
    pub fn ptr(&self) -> *mut ffi::rd_kafka_event_t {
        self.0.as_ptr()
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event is this value's own.
        unsafe { ffi::rd_kafka_event_destroy(self.0.as_ptr()) }
    }
}

/// What a request asks for besides its own arguments.
pub(super) struct Ask {
    pub api: ffi::rd_kafka_admin_op_t,
    /// For the whole request.
    pub timeout: Duration,
    /// Which operations this client may do on what is described.
    pub rights: bool,
}

impl Client {
    /// # Errors
    /// `Invalid` for a property that librdkafka does not take, such as a certificate that is not there.
    pub fn new(config: &ClientConfig) -> Result<Client> {
        let mut config = config.clone();
        config.set("log.queue", "true");
        let native = config.create_native_config().map_err(setup_error)?;
        let mut why = [0 as c_char; 512];
        // SAFETY: a configuration not yet given to a client; the text has the size that is told.
        let handle = unsafe {
            ffi::rd_kafka_conf_set_events(native.ptr(), ffi::RD_KAFKA_EVENT_ERROR);
            ffi::rd_kafka_new(RDKafkaType::RD_KAFKA_PRODUCER, native.ptr(), why.as_mut_ptr(), why.len())
        };
        let Some(handle) = NonNull::new(handle) else {
            // SAFETY: ended with NUL by librdkafka. The configuration was not taken, and is freed with `native`.
            let why = unsafe { CStr::from_ptr(why.as_ptr()) }.to_string_lossy();
            return Err(Error::invalid(format!("kafka: {}", why.trim_end())));
        };
        // The client's now.
        std::mem::forget(native);
        // SAFETY: the client lives; without a queue of ours its log goes to the main queue, whose reference is given back in `drop`.
        let main = unsafe {
            ffi::rd_kafka_set_log_queue(handle.as_ptr(), ptr::null_mut());
            ffi::rd_kafka_queue_get_main(handle.as_ptr())
        };
        match NonNull::new(main) {
            Some(main) => {
                Ok(Client { handle, main, trouble: Mutex::new(String::new()), is_silent: AtomicBool::new(false) })
            }
            None => Err(Error::unavailable("kafka: librdkafka has no queue")),
        }
    }

    /// Makes one request and waits for its answer.
    ///
    /// # Safety
    /// `request` hands its three arguments to the one call of librdkafka that `ask.api` names, and keeps none.
    pub unsafe fn call(
        &self,
        ask: &Ask,
        request: impl FnOnce(*mut ffi::rd_kafka_t, *const ffi::rd_kafka_AdminOptions_t, *mut ffi::rd_kafka_queue_t),
    ) -> std::result::Result<Event, Failure> {
        self.listen();
        if self.is_silent.load(Ordering::Relaxed) && !self.answers(ask.timeout) {
            self.listen();
            return Err(self.timed_out("no broker answers"));
        }
        // SAFETY: the client lives as long as `self`. Options and queue are made here and released here, once: librdkafka copies
        // the options, and keeps the queue itself until it has answered.
        let event = unsafe {
            let options = self.options(ask)?;
            let queue = ffi::rd_kafka_queue_new(self.handle.as_ptr());
            request(self.handle.as_ptr(), options, queue);
            let event = ffi::rd_kafka_queue_poll(queue, milliseconds(ask.timeout + GRACE));
            ffi::rd_kafka_queue_destroy(queue);
            ffi::rd_kafka_AdminOptions_destroy(options);
            NonNull::new(event).map(Event)
        };
        self.listen();
        let Some(event) = event else {
            self.is_silent.store(true, Ordering::Relaxed);
            return Err(self.timed_out("no answer"));
        };
        // SAFETY: the event lives; its text lives as long as it does.
        let (code, text) = unsafe {
            (codes::rd_kafka_event_error(event.ptr()), string(ffi::rd_kafka_event_error_string(event.ptr())))
        };
        self.is_silent.store(code == TIMED_OUT, Ordering::Relaxed);
        match code {
            0 => Ok(event),
            TIMED_OUT => Err(self.timed_out(&text)),
            code => Err(Failure { code, text }),
        }
    }

    /// Whether a broker answers within that time.
    ///
    /// An admin request that waits for brokers that are away keeps librdkafka's threads busy (each look at a broker's state is
    /// followed by the next: a third of a processor); the plain question for brokers sleeps until a connection changes.
    fn answers(&self, within: Duration) -> bool {
        let mut metadata = ptr::null();
        // SAFETY: the client lives as long as `self`; what is returned is released once.
        unsafe {
            let handle = self.handle.as_ptr();
            let error = ffi::rd_kafka_metadata(handle, 0, ptr::null_mut(), &mut metadata, milliseconds(within));
            if !metadata.is_null() {
                ffi::rd_kafka_metadata_destroy(metadata);
            }
            error == ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        }
    }

    /// # Safety
    /// The caller releases the options.
    unsafe fn options(&self, ask: &Ask) -> std::result::Result<*mut ffi::rd_kafka_AdminOptions_t, Failure> {
        let mut why = [0 as c_char; 256];
        let timeout = milliseconds(ask.timeout);
        // SAFETY: the client lives, and the options until they are released; texts have the size that is told.
        unsafe {
            let options = ffi::rd_kafka_AdminOptions_new(self.handle.as_ptr(), ask.api);
            let set = ffi::rd_kafka_AdminOptions_set_request_timeout(options, timeout, why.as_mut_ptr(), why.len());
            if set != ffi::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                ffi::rd_kafka_AdminOptions_destroy(options);
                return Err(Failure { code: set as i32, text: string(why.as_ptr()) });
            }
            use ffi::rd_kafka_admin_op_t::{
                RD_KAFKA_ADMIN_OP_CREATEPARTITIONS, RD_KAFKA_ADMIN_OP_CREATETOPICS, RD_KAFKA_ADMIN_OP_DELETETOPICS,
            };
            if matches!(
                ask.api,
                RD_KAFKA_ADMIN_OP_CREATETOPICS | RD_KAFKA_ADMIN_OP_DELETETOPICS | RD_KAFKA_ADMIN_OP_CREATEPARTITIONS
            ) {
                // The controller's own limit is below the request's, so that its answer is heard.
                let timeout = (timeout / 2).max(1);
                ffi::rd_kafka_AdminOptions_set_operation_timeout(options, timeout, why.as_mut_ptr(), why.len());
            }
            if ask.rights {
                let error = ffi::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
                if !error.is_null() {
                    ffi::rd_kafka_error_destroy(error);
                }
            }
            Ok(options)
        }
    }

    /// Reads what has come on the main queue: errors of connections are kept, the log is not.
    fn listen(&self) {
        /// Events read at a time.
        const EVENTS: usize = 1000;
        for _ in 0..EVENTS {
            // SAFETY: the queue lives as long as `self`.
            let event = unsafe { ffi::rd_kafka_queue_poll(self.main.as_ptr(), 0) };
            let Some(event) = NonNull::new(event).map(Event) else { break };
            // SAFETY: the event lives; its text lives as long as it does.
            unsafe {
                if ffi::rd_kafka_event_type(event.ptr()) == ffi::RD_KAFKA_EVENT_ERROR {
                    let text = string(ffi::rd_kafka_event_error_string(event.ptr()));
                    // That all are down is a consequence; the connections' own errors have the reason.
                    if !text.contains("brokers are down") {
                        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = text;
                    }
                }
            }
        }
    }

    fn timed_out(&self, text: &str) -> Failure {
        let trouble = std::mem::take(&mut *self.trouble.lock().unwrap_or_else(PoisonError::into_inner));
        let text = if trouble.is_empty() { text.to_owned() } else { format!("{text} ({trouble})") };
        Failure { code: TIMED_OUT, text }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // SAFETY: each was made once and is released once, the client last: that waits for its threads.
        unsafe {
            ffi::rd_kafka_queue_destroy(self.main.as_ptr());
            ffi::rd_kafka_destroy(self.handle.as_ptr());
        }
    }
}

/// Objects of librdkafka that a request is made of, released with this.
pub(super) struct Owned<T> {
    items: Vec<*mut T>,
    release: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// `release` is librdkafka's function for what [`Owned::push`] gets.
    pub fn new(release: unsafe extern "C" fn(*mut T)) -> Owned<T> {
        Owned { items: Vec::new(), release }
    }

    /// Takes an object. Null, librdkafka's "no", is an error with the text of `why`.
    ///
    /// # Safety
    /// `item` is null or an object that nothing else releases; `why` is ended with NUL.
    pub unsafe fn push(&mut self, item: *mut T, what: &str, why: &[c_char]) -> Result<*mut T> {
        if item.is_null() {
            // SAFETY: the caller's promise.
            let why = unsafe { string(why.as_ptr()) };
            return Err(Error::invalid(format!("{what}: {}", if why.is_empty() { "is not valid" } else { &why })));
        }
        self.items.push(item);
        Ok(item)
    }

    pub fn as_mut_ptr(&mut self) -> *mut *mut T {
        self.items.as_mut_ptr()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        for item in &self.items {
            // SAFETY: each is this value's own, and of the kind that `release` takes.
            unsafe { (self.release)(*item) }
        }
    }
}

/// The elements of an array that librdkafka returned; nulls are left out.
///
/// # Safety
/// `array` is null or has `count` elements that live as long as `'a`.
pub(super) unsafe fn elements<'a, T: 'a>(array: *mut *const T, count: usize) -> impl Iterator<Item = *const T> + 'a {
    // SAFETY: the caller's promise.
    let elements = if array.is_null() { &[][..] } else { unsafe { std::slice::from_raw_parts(array, count) } };
    elements.iter().copied().filter(|element| !element.is_null())
}

/// A copy of a text of librdkafka's; null is empty.
///
/// # Safety
/// `text` is null or ended with NUL.
pub(super) unsafe fn string(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// What the error says; `None` if it is none.
///
/// # Safety
/// `error` is null or a valid error.
pub(super) unsafe fn failure(error: *const ffi::rd_kafka_error_t) -> Option<Failure> {
    if error.is_null() {
        return None;
    }
    // SAFETY: the caller's promise; the text lives as long as the error.
    let (code, mut text) = unsafe { (codes::rd_kafka_error_code(error), string(ffi::rd_kafka_error_string(error))) };
    // A broker may send a number alone.
    if text.trim_end().ends_with(':') {
        // SAFETY: librdkafka has a static text for every number.
        text = format!("{} {}", text.trim_end(), unsafe { string(codes::rd_kafka_err2str(code)) });
    }
    (code != 0).then_some(Failure { code, text })
}

/// What the code and its text say; `None` if the code is none.
///
/// # Safety
/// `text` is null or ended with NUL.
pub(super) unsafe fn failure_of(code: c_int, text: *const c_char) -> Option<Failure> {
    if code == 0 {
        return None;
    }
    // SAFETY: the caller's promise; librdkafka has a static text for every number.
    let text = unsafe { string(if text.is_null() { codes::rd_kafka_err2str(code) } else { text }) };
    Some(Failure { code, text })
}

/// For librdkafka; a NUL inside is `Invalid`.
pub(super) fn c_string(what: &str, text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid(format!("{what} {}: has a NUL inside", text.escape_debug())))
}

fn milliseconds(time: Duration) -> c_int {
    c_int::try_from(time.as_millis()).unwrap_or(c_int::MAX).clamp(1, 3_600_000)
}
