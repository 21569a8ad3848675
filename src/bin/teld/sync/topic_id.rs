//! Asks the brokers for a topic's id: a topic that was made anew has another one.
//!
//! The acknowledgements' client asks. On the reader's connection a request would wait behind the one for records, which the
//! brokers hold back as long as there are none.

use super::acks::Sender;
use rdkafka::bindings as ffi;
use rdkafka::producer::Producer;
use rdkafka::types::RDKafkaRespErr;
use std::ffi::{c_void, CStr, CString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;

/// Asks, and hears the answers.
pub struct Asker {
    queue: *mut ffi::rd_kafka_queue_t,
    name: CString,
    /// Lives longer than its queue.
    client: Arc<Sender>,
    /// Written to when there is an answer.
    _wake: Arc<OwnedFd>,
}

impl Asker {
    /// Each answer makes `wake`, an eventfd, readable.
    ///
    /// # Errors
    /// The name is none of a topic.
    pub fn new(client: Arc<Sender>, topic: &str, wake: &Arc<OwnedFd>) -> Result<Asker, String> {
        let name = CString::new(topic).map_err(|_| "a topic's name holds a NUL byte".to_owned())?;
        let one = 1_u64;
        // SAFETY: the client lives; its queue is given back in `drop`. What is written to the descriptor is copied; the
        // descriptor is open as long as something is written to it.
        let queue = unsafe {
            let queue = ffi::rd_kafka_queue_new(client.client().native_ptr());
            ffi::rd_kafka_queue_io_event_enable(queue, wake.as_raw_fd(), ptr::from_ref(&one).cast::<c_void>(), 8);
            queue
        };
        Ok(Asker { queue, name, client, _wake: Arc::clone(wake) })
    }

    /// Asks. If no broker answers, that is an answer after ten seconds.
    pub fn ask(&self) {
        let mut names = [self.name.as_ptr()];
        // SAFETY: the client lives, the names are copied, the queue is the client's own.
        unsafe {
            let topics = ffi::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
            ffi::rd_kafka_DescribeTopics(self.client.client().native_ptr(), topics, ptr::null(), self.queue);
            ffi::rd_kafka_TopicCollection_destroy(topics);
        }
    }

    /// The next answer, if there is one: the id, or why it is not known.
    pub fn answer(&self) -> Option<Result<String, String>> {
        loop {
            // SAFETY: the queue is this one's; a returned event is destroyed below.
            let event = unsafe { ffi::rd_kafka_queue_poll(self.queue, 0) };
            if event.is_null() {
                return None;
            }
            // SAFETY: `event` is valid until it is destroyed.
            let answer = unsafe {
                let is_answer = ffi::rd_kafka_event_type(event) == ffi::RD_KAFKA_EVENT_DESCRIBETOPICS_RESULT;
                let answer = is_answer.then(|| topic_id(event));
                ffi::rd_kafka_event_destroy(event);
                answer
            };
            if answer.is_some() {
                return answer;
            }
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        // SAFETY: made once and released once, before the client. An answer that is still to come is dropped by librdkafka.
        unsafe {
            ffi::rd_kafka_queue_io_event_enable(self.queue, -1, ptr::null(), 0);
            ffi::rd_kafka_queue_destroy(self.queue);
        }
    }
}

/// # Safety
/// `event` is a valid answer to a request for topics.
unsafe fn topic_id(event: *mut ffi::rd_kafka_event_t) -> Result<String, String> {
    // SAFETY: a valid event; what it holds lives as long as it does, and texts are ended with NUL.
    unsafe {
        if ffi::rd_kafka_event_error(event) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(CStr::from_ptr(ffi::rd_kafka_event_error_string(event)).to_string_lossy().into_owned());
        }
        let mut count = 0;
        let topics =
            ffi::rd_kafka_DescribeTopics_result_topics(ffi::rd_kafka_event_DescribeTopics_result(event), &mut count);
        if topics.is_null() || count == 0 {
            return Err("the brokers do not tell of it".into());
        }
        let topic = *topics;
        let error = ffi::rd_kafka_TopicDescription_error(topic);
        if !error.is_null() && ffi::rd_kafka_error_code(error) != RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(CStr::from_ptr(ffi::rd_kafka_error_string(error)).to_string_lossy().into_owned());
        }
        let id = ffi::rd_kafka_Uuid_base64str(ffi::rd_kafka_TopicDescription_topic_id(topic));
        if id.is_null() {
            return Err("the brokers do not tell its id".into());
        }
        // As Kafka itself writes it.
        Ok(CStr::from_ptr(id).to_string_lossy().replace('+', "-").replace('/', "_"))
    }
}
