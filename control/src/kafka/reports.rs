//! What became of the records that a producer was given.

use rdkafka::client::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;
use std::sync::{Mutex, PoisonError};

/// A producer's context that keeps what it is told.
#[derive(Default)]
pub(super) struct Reports(Mutex<Report>);

/// What became of some records.
#[derive(Default)]
pub(super) struct Report {
    /// The highest offset that one was written at.
    pub last: Option<i64>,
    /// The first error.
    pub error: Option<KafkaError>,
}

impl Reports {
    /// What has come since this was last asked for.
    pub fn take(&self) -> Report {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut report = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => report.last = report.last.max(Some(message.offset())),
            Err((error, _)) => {
                report.error.get_or_insert_with(|| error.clone());
            }
        }
    }
}
