//! librdkafka's consumer of one partition, wrapped so that what is left above is safe. It has no group, so it needs no
//! right on one and keeps nothing with the brokers: rdkafka's own consumers read nothing without a group, so the few calls
//! that do are made here.

use super::kafka;
use rdkafka::bindings as ffi;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr, RDKafkaType};
use std::ffi::{c_char, c_void, CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;
use tel::{Level, Log};

/// The list's one partition.
const PARTITION: i32 = 0;

/// What the consumer's properties are, beside those of the connection.
const PROPERTIES: [(&str, &str); 9] = [
    // What a transaction has left undone is not part of the list.
    ("isolation.level", "read_committed"),
    ("enable.partition.eof", "true"),
    // Nothing is to begin elsewhere in silence: the list would miss what lies between.
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    // The end is seen when an answer has nothing more, which the broker holds back for so long.
    ("fetch.wait.max.ms", "500"),
    ("fetch.error.backoff.ms", "200"),
    ("fetch.queue.backoff.ms", "20"),
    ("allow.auto.create.topics", "false"),
];

/// What the reader has to say.
pub enum Event<'a> {
    /// A record, in order.
    Record { offset: i64, key: &'a [u8], value: Option<&'a [u8]> },
    /// There is nothing more now; the next record has this offset, or a higher one.
    End(i64),
    /// The topic's id, or why it is not known.
    TopicId(Result<String, String>),
    /// The partition cannot be read on, and why.
    Lost(String),
    /// No broker can be reached, and why the last one could not.
    Unreachable(String),
}

/// One consumer. Its threads end with it.
pub struct Reader {
    client: *mut ffi::rd_kafka_t,
    queue: *mut ffi::rd_kafka_queue_t,
    topic: *mut ffi::rd_kafka_topic_t,
    name: CString,
    has_begun: bool,
    kafka: Arc<tel::Config>,
    log: Log,
    /// The last error of a connection.
    connection_error: String,
    /// Written to when there are events; closed after the client.
    _wake: Arc<OwnedFd>,
}

impl Reader {
    /// A consumer that has not begun. Each event makes `wake`, an eventfd, readable.
    ///
    /// # Errors
    /// Why librdkafka does not start: TLS files that cannot be used, threads that are not to be had.
    pub fn new(kafka: &Arc<tel::Config>, topic: &str, wake: &Arc<OwnedFd>, log: &Log) -> Result<Reader, String> {
        let redacted = |text: &str| kafka.kafka.secrets.redact(text.trim());
        let mut config = kafka::connection(kafka);
        config.extend(PROPERTIES.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        config.set("log.queue", "true");
        let native = config.create_native_config().map_err(|error| redacted(&error.to_string()))?;
        let name = CString::new(topic).map_err(|_| "a topic's name holds a NUL byte".to_owned())?;
        let mut why = [0 as c_char; 512];
        // SAFETY: a configuration not yet given to a client; the text has the size that is told.
        let client = unsafe {
            ffi::rd_kafka_conf_set_events(native.ptr(), ffi::RD_KAFKA_EVENT_ERROR);
            ffi::rd_kafka_new(RDKafkaType::RD_KAFKA_CONSUMER, native.ptr(), why.as_mut_ptr(), why.len())
        };
        if client.is_null() {
            // The configuration was not taken, and is freed with `native`.
            // SAFETY: ended with NUL by librdkafka.
            return Err(redacted(&unsafe { CStr::from_ptr(why.as_ptr()) }.to_string_lossy()));
        }
        // It is the client's now.
        std::mem::forget(native);
        let one = 1_u64;
        // SAFETY: the client lives; the reference to its queue and the topic are given back in `drop`. What is written to
        // the descriptor is copied; the descriptor is open as long as the client lives.
        let (queue, topic) = unsafe {
            ffi::rd_kafka_set_log_queue(client, ptr::null_mut());
            let queue = ffi::rd_kafka_queue_get_main(client);
            ffi::rd_kafka_queue_io_event_enable(queue, wake.as_raw_fd(), ptr::from_ref(&one).cast::<c_void>(), 8);
            (queue, ffi::rd_kafka_topic_new(client, name.as_ptr(), ptr::null_mut()))
        };
        let reader = Reader {
            client,
            queue,
            topic,
            name,
            has_begun: false,
            kafka: Arc::clone(kafka),
            log: log.clone(),
            connection_error: String::new(),
            _wake: Arc::clone(wake),
        };
        if reader.topic.is_null() {
            return Err("the engine does not take the topic's name".into());
        }
        Ok(reader)
    }

    /// Where the partition begins and ends now. Waits for the brokers' answer.
    ///
    /// # Errors
    /// There is none in time, or the brokers refuse.
    pub fn ask_ends(&self, patience: Duration) -> Result<(i64, i64), String> {
        let (mut low, mut high) = (0, 0);
        let patience = patience.as_millis() as i32;
        // SAFETY: the client lives; both numbers outlive the call.
        let error = unsafe {
            ffi::rd_kafka_query_watermark_offsets(
                self.client,
                self.name.as_ptr(),
                PARTITION,
                &mut low,
                &mut high,
                patience,
            )
        };
        match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR => Ok((low, high)),
            error => Err(format!("its end is not known: {}", RDKafkaErrorCode::from(error))),
        }
    }

    /// Reads the partition from its beginning on.
    ///
    /// # Errors
    /// The engine does not.
    pub fn begin(&mut self) -> Result<(), String> {
        let beginning = i64::from(ffi::RD_KAFKA_OFFSET_BEGINNING);
        // SAFETY: topic and queue are the client's own, and live.
        let failed = unsafe { ffi::rd_kafka_consume_start_queue(self.topic, PARTITION, beginning, self.queue) } != 0;
        self.has_begun = !failed;
        if failed {
            return Err("the engine does not read the topic".into());
        }
        Ok(())
    }

    /// Reads what has come, at most so many events. Does not wait. Whether there may be more.
    pub fn poll(&mut self, most: usize, mut tell: impl FnMut(Event<'_>)) -> bool {
        for _ in 0..most {
            // SAFETY: the queue is this reader's; a returned event is destroyed below.
            let event = unsafe { ffi::rd_kafka_queue_poll(self.queue, 0) };
            if event.is_null() {
                return false;
            }
            // SAFETY: `event` is valid until it is destroyed, and so are its messages.
            unsafe {
                match ffi::rd_kafka_event_type(event) {
                    ffi::RD_KAFKA_EVENT_FETCH => {
                        while let Some(message) = ffi::rd_kafka_event_message_next(event).as_ref() {
                            tell(record(message));
                        }
                    }
                    ffi::RD_KAFKA_EVENT_ERROR => self.pass_on_error(event, &mut tell),
                    ffi::RD_KAFKA_EVENT_LOG => self.pass_on_log(event),
                    _ => {}
                }
                ffi::rd_kafka_event_destroy(event);
            }
        }
        true
    }

    /// # Safety
    /// `event` is a valid log event.
    unsafe fn pass_on_log(&self, event: *mut ffi::rd_kafka_event_t) {
        let (mut facility, mut text, mut level): (*const c_char, *const c_char, i32) = (ptr::null(), ptr::null(), 0);
        // SAFETY: a valid event; the texts live as long as it does.
        unsafe {
            if ffi::rd_kafka_event_log(event, &mut facility, &mut text, &mut level) == 0 && !text.is_null() {
                let text = CStr::from_ptr(text).to_string_lossy();
                let facility = if facility.is_null() { c"" } else { CStr::from_ptr(facility) };
                kafka::say(&self.log, &self.kafka, level, &facility.to_string_lossy(), &text);
            }
        }
    }

    /// # Safety
    /// `event` is a valid error event.
    unsafe fn pass_on_error(&mut self, event: *mut ffi::rd_kafka_event_t, tell: &mut impl FnMut(Event<'_>)) {
        // SAFETY: a valid event; its text lives as long as it does, what it says of the partition is destroyed here.
        let (code, text, offset) = unsafe {
            let code: RDKafkaErrorCode = ffi::rd_kafka_event_error(event).into();
            let text = CStr::from_ptr(ffi::rd_kafka_event_error_string(event)).to_string_lossy().into_owned();
            let partition = ffi::rd_kafka_event_topic_partition(event);
            let offset = partition.as_ref().map(|partition| partition.offset);
            if offset.is_some() {
                ffi::rd_kafka_topic_partition_destroy(partition);
            }
            (code, text, offset)
        };
        let text = self.kafka.kafka.secrets.redact(text.trim());
        match (code, offset) {
            (RDKafkaErrorCode::PartitionEOF, Some(offset)) => tell(Event::End(offset)),
            (RDKafkaErrorCode::AllBrokersDown, _) => {
                let why = &self.connection_error;
                tell(Event::Unreachable(if why.is_empty() { text } else { why.clone() }));
            }
            // One broker of several may be away; that all are is told apart.
            (RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve, _) => self.connection_error = text,
            (RDKafkaErrorCode::SSL | RDKafkaErrorCode::Authentication, _) => {
                self.log.say(Level::Error, "sync refused", format_args!("sync: {text}"));
                self.connection_error = text;
            }
            _ => tell(Event::Lost(text)),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // SAFETY: each handle was made once and is released once, the client last, which waits for its threads: nothing
        // writes to the descriptor afterwards.
        unsafe {
            if self.has_begun {
                ffi::rd_kafka_consume_stop(self.topic, PARTITION);
            }
            ffi::rd_kafka_queue_io_event_enable(self.queue, -1, ptr::null(), 0);
            if !self.topic.is_null() {
                ffi::rd_kafka_topic_destroy(self.topic);
            }
            ffi::rd_kafka_queue_destroy(self.queue);
            ffi::rd_kafka_destroy(self.client);
        }
    }
}

/// # Safety
/// The message is valid, and so is what it points to, for as long as the result is used.
unsafe fn record(message: &ffi::rd_kafka_message_t) -> Event<'_> {
    if message.err != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Event::Lost(RDKafkaErrorCode::from(message.err).to_string());
    }
    let bytes = |start: *mut c_void, count: usize| {
        // SAFETY: a message's key and payload have the sizes that stand beside them.
        (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start.cast::<u8>(), count) })
    };
    let key = bytes(message.key, message.key_len).unwrap_or_default();
    Event::Record { offset: message.offset, key, value: bytes(message.payload, message.len) }
}
