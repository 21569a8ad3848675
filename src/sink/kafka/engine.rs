//! librdkafka, wrapped so that what is left above is safe: one client, its topics, hand-over and reports.

use crate::config::kafka::is_secret;
use crate::config::KafkaConfig;
use crate::error::{Error, Result};
use crate::log::{Level, Log};
use rdkafka::bindings as ffi;
use rdkafka::config::{ClientConfig, NativeClientConfig};
use rdkafka::error::KafkaError;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaMessage, RDKafkaRespErr, RDKafkaType};
use std::collections::HashMap;
use std::ffi::{c_char, c_void, CStr, CString};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::Arc;

/// What a report says of a line that was not written.
pub struct LineReport {
    /// The number its batch was handed over under.
    pub batch: u32,
    /// Where the line's value is, as it was handed over.
    pub value: *const u8,
    /// Bytes of the value.
    pub bytes: usize,
    /// Why it was not written.
    pub error: RDKafkaErrorCode,
}

/// Lines of one batch that were written, reported one after the other: nearly always all that a request had of it.
#[derive(Clone, Copy, Default)]
pub struct Written {
    /// The number their batch was handed over under.
    pub batch: u32,
    pub lines: u32,
    /// Bytes of their values.
    pub bytes: u64,
}

/// What the engine has to say.
pub enum Event {
    /// Lines were written.
    Written(Written),
    /// A line was not.
    Failed(LineReport),
    /// No broker can be reached, and why the last one could not.
    Unreachable(String),
}

/// One client of librdkafka. Its threads end with it.
pub struct Engine {
    client: *mut ffi::rd_kafka_t,
    topics: HashMap<Arc<str>, Topic>,
    queue: *mut ffi::rd_kafka_queue_t,
    partitions: Vec<Arc<AtomicI32>>,
    log: Log,
    config: Arc<KafkaConfig>,
    scratch: Vec<RDKafkaMessage>,
    /// The last error of a connection.
    connection_error: String,
}

// SAFETY: librdkafka's handles may be used from any thread (its INTRODUCTION.md); `Engine` has one owner at a time, and
// the scratch messages are used within one call.
unsafe impl Send for Engine {}

struct Topic {
    handle: *mut ffi::rd_kafka_topic_t,
    /// Number of partitions; 0 until the engine's first look at the topic's metadata.
    partitions: Arc<AtomicI32>,
    hand_overs: u32,
    /// Turns with batches that are not reported, and how many these are.
    under_way: Vec<(u32, u32)>,
}

/// One in so many hand-overs of a topic asks the engine for the number of partitions again: they may grow.
const LOOK_EVERY: u32 = 64;
/// No partition chosen: the engine asks `choose_partition` for each line.
const UNASSIGNED: i32 = -1;

impl Engine {
    /// A client of `config`, talking to `servers` (none: it connects nowhere).
    ///
    /// # Errors
    /// `Setting` for a property the engine does not take, `Start` with its text if it does not start with all of them.
    pub fn new(config: &Arc<KafkaConfig>, servers: Option<&str>, log: &Log) -> Result<Engine, Refusal> {
        let mut client_config = ClientConfig::new();
        client_config.extend(config.properties.iter().map(|(name, value)| (name.clone(), value.clone())));
        client_config.remove("bootstrap.servers");
        if let Some(servers) = servers {
            client_config.set("bootstrap.servers", servers);
        }
        client_config.set("allow.auto.create.topics", "false").set("log.queue", "true");
        let native = native_config(config, &client_config)?;
        let mut why = [0 as c_char; 512];
        // SAFETY: a configuration not yet given to a client: reports and errors come as events on the main queue, and the
        // resolver is a function of this library. The text has the size that is told.
        let client = unsafe {
            rd_kafka_conf_set_resolve_cb(native.ptr(), resolve);
            ffi::rd_kafka_conf_set_events(native.ptr(), ffi::RD_KAFKA_EVENT_DR | ffi::RD_KAFKA_EVENT_ERROR);
            ffi::rd_kafka_new(RDKafkaType::RD_KAFKA_PRODUCER, native.ptr(), why.as_mut_ptr(), why.len())
        };
        if client.is_null() {
            // The configuration was not taken, and is freed with `native`.
            // SAFETY: ended with NUL by librdkafka.
            let why = unsafe { CStr::from_ptr(why.as_ptr()) }.to_string_lossy();
            return Err(Refusal::Start(config.secrets.redact(&why)));
        }
        // It is the client's now.
        std::mem::forget(native);
        // SAFETY: the client lives; without a queue of ours its log goes to the main queue. The reference to that is given
        // back in `drop`.
        let queue = unsafe {
            ffi::rd_kafka_set_log_queue(client, ptr::null_mut());
            ffi::rd_kafka_queue_get_main(client)
        };
        Ok(Engine {
            client,
            topics: HashMap::new(),
            queue,
            partitions: Vec::new(),
            log: log.clone(),
            config: Arc::clone(config),
            scratch: Vec::new(),
            connection_error: String::new(),
        })
    }

    /// Whether the topic was used before.
    pub fn knows(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    /// Whether nothing of another turn is under way to the partition that this turn goes to.
    ///
    /// An idempotent producer has one request for a partition under way at a time. As long as more lines wait for it to be
    /// answered, librdkafka 2.12's thread for the broker does not sleep: `rd_kafka_toppar_producer_serve` asks to be
    /// called again at once, and then finds that it may not send.
    pub fn is_free(&self, topic: &str, turn: u32) -> bool {
        let Some(topic) = self.topics.get(topic) else { return true };
        // Until their number is known, all turns may go to the same one.
        let partitions = topic.partitions.load(Ordering::Relaxed).max(1);
        topic
            .under_way
            .iter()
            .all(|(other, _)| *other == turn || chosen(*other, partitions) != chosen(turn, partitions))
    }

    /// A batch that was handed over is reported as a whole.
    pub fn is_reported(&mut self, topic: &str, turn: u32) {
        let Some(topic) = self.topics.get_mut(topic) else { return };
        if let Some(at) = topic.under_way.iter().position(|(other, _)| *other == turn) {
            topic.under_way[at].1 -= 1;
            if topic.under_way[at].1 == 0 {
                topic.under_way.swap_remove(at);
            }
        }
    }

    /// Hands over `values`, which stay where they are until each was reported; all go to one partition, the `turn`th
    /// modulo their number. `refused` gets the report of each that the engine did not take.
    ///
    /// # Safety
    /// Every value stays unchanged in memory until it is reported, or refused here, or the engine was dropped.
    pub unsafe fn hand_over<'a>(
        &mut self,
        topic: &Arc<str>,
        batch: u32,
        turn: u32,
        values: impl Iterator<Item = &'a [u8]>,
        mut refused: impl FnMut(LineReport),
    ) {
        let opaque = opaque_of(batch, turn);
        self.scratch.clear();
        self.scratch.extend(values.map(|value| message(value, opaque)));
        let Some(topic) = self.topic(topic) else {
            let error = RDKafkaErrorCode::InvalidTopic;
            self.scratch.iter().for_each(|message| refused(line_report(message, error)));
            return;
        };
        let known = topic.partitions.load(Ordering::Relaxed);
        let look = topic.hand_overs % LOOK_EVERY == 0;
        topic.hand_overs = topic.hand_overs.wrapping_add(1);
        match topic.under_way.iter_mut().find(|(other, _)| *other == turn) {
            Some((_, batches)) => *batches += 1,
            None => topic.under_way.push((turn, 1)),
        }
        let partition = if known > 0 && !look { chosen(turn, known) } else { UNASSIGNED };
        let handle = topic.handle;
        // SAFETY: the handle lives as long as the engine; the messages are a valid array, which the call reads and
        // whose `err` fields it writes; without flags the payload is neither copied nor freed, and the caller keeps it.
        let taken = unsafe {
            ffi::rd_kafka_produce_batch(handle, partition, 0, self.scratch.as_mut_ptr(), self.scratch.len() as i32)
        };
        if taken as usize != self.scratch.len() {
            self.scratch.iter().filter_map(|message| Some(line_report(message, error_of(message)?))).for_each(refused);
        }
    }

    fn topic(&mut self, name: &Arc<str>) -> Option<&mut Topic> {
        if !self.topics.contains_key(name) {
            let c_name = CString::new(&**name).ok()?;
            let partitions = Arc::new(AtomicI32::new(0));
            // SAFETY: the client lives. The configuration is the topic's from `rd_kafka_topic_new` on. What its opaque
            // points to is kept in `self.partitions` until the client is gone.
            let handle = unsafe {
                let config = ffi::rd_kafka_default_topic_conf_dup(self.client);
                ffi::rd_kafka_topic_conf_set_opaque(config, Arc::as_ptr(&partitions) as *mut c_void);
                ffi::rd_kafka_topic_conf_set_partitioner_cb(config, Some(choose_partition));
                ffi::rd_kafka_topic_new(self.client, c_name.as_ptr(), config)
            };
            if handle.is_null() {
                return None;
            }
            self.partitions.push(Arc::clone(&partitions));
            self.topics.insert(Arc::clone(name), Topic { handle, partitions, hand_overs: 0, under_way: Vec::new() });
        }
        self.topics.get_mut(name)
    }

    /// Reads what has come: a report for each line, errors, and messages for the log. Does not wait.
    pub fn poll(&mut self, mut tell: impl FnMut(Event)) {
        /// Events read at a time; each may hold thousands of reports.
        const EVENTS: usize = 1000;
        for _ in 0..EVENTS {
            // SAFETY: the queue is this engine's; a returned event is destroyed below.
            let event = unsafe { ffi::rd_kafka_queue_poll(self.queue, 0) };
            if event.is_null() {
                break;
            }
            // SAFETY: `event` is valid until it is destroyed; the messages of a report are valid as long as it is.
            unsafe {
                match ffi::rd_kafka_event_type(event) {
                    ffi::RD_KAFKA_EVENT_DR => {
                        let next = || ffi::rd_kafka_event_message_next(event).as_ref();
                        read_reports(std::iter::from_fn(next), &mut tell);
                    }
                    ffi::RD_KAFKA_EVENT_LOG => self.pass_on_log(event),
                    ffi::RD_KAFKA_EVENT_ERROR => {
                        if let Some(why) = self.pass_on_error(event) {
                            tell(Event::Unreachable(why));
                        }
                    }
                    _ => {}
                }
                ffi::rd_kafka_event_destroy(event);
            }
        }
    }

    /// # Safety
    /// `event` is a valid log event.
    unsafe fn pass_on_log(&self, event: *mut ffi::rd_kafka_event_t) {
        let (mut facility, mut text, mut level): (*const c_char, *const c_char, i32) = (ptr::null(), ptr::null(), 0);
        // SAFETY: a valid event; the texts live as long as it does.
        unsafe {
            if ffi::rd_kafka_event_log(event, &mut facility, &mut text, &mut level) == 0 && !text.is_null() {
                let text = CStr::from_ptr(text).to_string_lossy();
                let text = self.config.secrets.redact(text.trim());
                // A failed connection comes as an error, too, and is said there.
                let said_elsewhere = !facility.is_null() && CStr::from_ptr(facility) == c"FAIL";
                let level = if said_elsewhere { Level::Debug } else { Level::from_syslog(level) };
                self.log.say(level, "librdkafka", format_args!("librdkafka: {text}"));
            }
        }
    }

    /// Why no broker can be reached, if that is what the event says; everything else is for the log.
    ///
    /// # Safety
    /// `event` is a valid error event.
    unsafe fn pass_on_error(&mut self, event: *mut ffi::rd_kafka_event_t) -> Option<String> {
        // SAFETY: a valid event; its text lives as long as it does.
        let (code, text) = unsafe {
            let code: RDKafkaErrorCode = ffi::rd_kafka_event_error(event).into();
            (code, CStr::from_ptr(ffi::rd_kafka_event_error_string(event)).to_string_lossy().into_owned())
        };
        let text = self.config.secrets.redact(text.trim());
        match code {
            RDKafkaErrorCode::AllBrokersDown => {
                let why = std::mem::take(&mut self.connection_error);
                return Some(if why.is_empty() { text } else { why });
            }
            // One broker of several may be away; that all are is told apart.
            RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve => self.connection_error = text,
            RDKafkaErrorCode::SSL | RDKafkaErrorCode::Authentication => {
                self.log.say(Level::Error, "refused", format_args!("kafka: {text}"));
                self.connection_error = text;
            }
            _ => self.log.say(Level::Warning, "kafka", format_args!("kafka: {text} ({code:?})")),
        }
        None
    }

    /// The error after which this client takes nothing more, if there was one.
    pub fn fatal_error(&self) -> Option<String> {
        let mut text = [0 as c_char; 512];
        // SAFETY: the client lives; the text has the size that is told, and is ended with NUL.
        let (code, text) = unsafe {
            let code = ffi::rd_kafka_fatal_error(self.client, text.as_mut_ptr(), text.len());
            (code, CStr::from_ptr(text.as_ptr()).to_string_lossy())
        };
        let code: RDKafkaErrorCode = match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => return None,
            code => code.into(),
        };
        Some(format!("{code:?}: {}", self.config.secrets.redact(&text)))
    }

    /// Asks for a report on every line now, queued or on its way. Does not wait for them.
    pub fn purge(&self) {
        /// RD_KAFKA_PURGE_F_QUEUE | _INFLIGHT | _NON_BLOCKING (rdkafka.h).
        const QUEUE_INFLIGHT_NON_BLOCKING: i32 = 1 | 2 | 4;
        // SAFETY: the client lives.
        unsafe { ffi::rd_kafka_purge(self.client, QUEUE_INFLIGHT_NON_BLOCKING) };
    }

    /// Makes the client fail as Kafka may.
    #[cfg(test)]
    pub fn fail_fatally(&self) {
        let text = c"a test's own";
        let code = RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        // SAFETY: the client lives; the text is copied.
        unsafe { ffi::rd_kafka_test_fatal_error(self.client, code, text.as_ptr()) };
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: each handle was made once and is released once, the client last: that waits for its threads, so that
        // nothing refers to `partitions` any more when they are dropped.
        unsafe {
            for topic in self.topics.values() {
                ffi::rd_kafka_topic_destroy(topic.handle);
            }
            ffi::rd_kafka_queue_destroy(self.queue);
            ffi::rd_kafka_destroy(self.client);
        }
    }
}

/// Why there is no engine.
pub enum Refusal {
    /// A property is not one, or its value is not.
    Setting(Error),
    /// It does not start; its own text.
    Start(String),
}

fn native_config(config: &KafkaConfig, client_config: &ClientConfig) -> Result<NativeClientConfig, Refusal> {
    client_config.create_native_config().map_err(|error| {
        Refusal::Setting(match error {
            KafkaError::ClientConfig(_, text, name, _) => {
                let key = config.key(&name);
                let text = if is_secret(&name) { "the engine does not take this value".into() } else { text };
                // Some of its texts end with a newline.
                Error::config(format!("{key}: {}", config.secrets.redact(text.trim_end())))
            }
            other => Error::config(format!("kafka: {}", config.secrets.redact(&other.to_string()))),
        })
    })
}

fn message(value: &[u8], opaque: *mut c_void) -> RDKafkaMessage {
    RDKafkaMessage {
        err: RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR,
        rkt: ptr::null_mut(),
        partition: 0,
        payload: value.as_ptr() as *mut c_void,
        len: value.len(),
        key: ptr::null_mut(),
        key_len: 0,
        offset: 0,
        _private: opaque,
    }
}

/// Tells of the messages of a report, those that were written together.
fn read_reports<'m>(messages: impl Iterator<Item = &'m RDKafkaMessage>, tell: &mut impl FnMut(Event)) {
    let mut written = Written::default();
    for message in messages {
        let batch = batch_of(message);
        let error = error_of(message);
        if error.is_some() || batch != written.batch {
            if written.lines > 0 {
                tell(Event::Written(written));
            }
            written = Written { batch, lines: 0, bytes: 0 };
        }
        match error {
            None => {
                written.lines += 1;
                written.bytes += message.len as u64;
            }
            Some(error) => tell(Event::Failed(line_report(message, error))),
        }
    }
    if written.lines > 0 {
        tell(Event::Written(written));
    }
}

fn batch_of(message: &RDKafkaMessage) -> u32 {
    message._private as usize as u32
}

fn error_of(message: &RDKafkaMessage) -> Option<RDKafkaErrorCode> {
    let failed = message.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;
    failed.then(|| message.err.into())
}

fn line_report(message: &RDKafkaMessage, error: RDKafkaErrorCode) -> LineReport {
    LineReport { batch: batch_of(message), value: message.payload.cast_const().cast(), bytes: message.len, error }
}

/// What travels with each line: the batch's number in the lower half, its turn in the upper. Never followed.
fn opaque_of(batch: u32, turn: u32) -> *mut c_void {
    ((turn as usize) << 32 | batch as usize) as *mut c_void
}

fn chosen(turn: u32, partitions: i32) -> i32 {
    (turn % partitions.max(1) as u32) as i32
}

/// librdkafka's question for the partition of a line that has none, from whichever of its threads: the answer goes by
/// the batch's turn, and the number of partitions is noted for the batches to come.
///
/// # Safety
/// Called by librdkafka with the opaque given to the topic.
unsafe extern "C" fn choose_partition(
    _topic: *const ffi::rd_kafka_topic_t,
    _key: *const c_void,
    _key_len: usize,
    partitions: i32,
    topic_opaque: *mut c_void,
    line_opaque: *mut c_void,
) -> i32 {
    // SAFETY: points to the topic's counter, which lives until the client has ended its threads.
    unsafe { &*topic_opaque.cast::<AtomicI32>() }.store(partitions, Ordering::Relaxed);
    chosen((line_opaque as usize >> 32) as u32, partitions)
}

// Missing from rdkafka-sys's bindings; rdkafka.h of librdkafka 2.12.
extern "C" {
    fn rd_kafka_conf_set_resolve_cb(config: *mut ffi::rd_kafka_conf_t, resolve: Resolve);
}

type Resolve = unsafe extern "C" fn(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    result: *mut *mut libc::addrinfo,
    opaque: *mut c_void,
) -> i32;

/// getaddrinfo for librdkafka, but an address in numbers is read as one. librdkafka's own look-up asks for AI_ADDRCONFIG,
/// for which glibc takes a lock that a fork at the wrong moment leaves locked in the child for ever.
///
/// # Safety
/// Called by librdkafka, as its header describes: with neither node nor service it frees `result`.
unsafe extern "C" fn resolve(
    node: *const c_char,
    service: *const c_char,
    hints: *const libc::addrinfo,
    result: *mut *mut libc::addrinfo,
    _opaque: *mut c_void,
) -> i32 {
    // SAFETY: librdkafka's arguments are those of getaddrinfo, or a result of it to be freed.
    unsafe {
        if node.is_null() && service.is_null() {
            libc::freeaddrinfo(*result);
            return 0;
        }
        let mut numeric = *hints;
        numeric.ai_flags = (numeric.ai_flags & !libc::AI_ADDRCONFIG) | libc::AI_NUMERICHOST;
        match libc::getaddrinfo(node, service, &numeric, result) {
            libc::EAI_NONAME => libc::getaddrinfo(node, service, hints, result),
            other => other,
        }
    }
}
