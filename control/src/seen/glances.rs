//! Consumers that look into topics for whoever asks: few, and used again.

use crate::error::{Error, Result};
use crate::kafka::glance::Glance;
use crate::kafka::Connection;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Looks into topics at once; each has a consumer with a connection to every broker.
const AT_ONCE: usize = 4;

/// Those that look, and those that wait to be used again.
pub(crate) struct Glances {
    idle: Mutex<Vec<Glance>>,
    passes: Arc<Semaphore>,
}

impl Default for Glances {
    fn default() -> Glances {
        Glances { idle: Mutex::default(), passes: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Glances {
    /// Waits for its turn; to be kept as long as it is looked.
    ///
    /// # Errors
    /// `Unavailable` if too many look at once.
    pub async fn pass(&self, deadline: Instant) -> Result<OwnedSemaphorePermit> {
        let pass = Arc::clone(&self.passes).acquire_owned();
        match tokio::time::timeout_at(deadline.into(), pass).await {
            Ok(Ok(pass)) => Ok(pass),
            _ => Err(Error::unavailable("too many look at lines at once; try again")),
        }
    }

    /// Looks, in a thread that may wait.
    ///
    /// # Errors
    /// Those of `look`, and of starting a consumer.
    pub fn with<T>(&self, connection: &Connection, look: impl FnOnce(&Glance) -> Result<T>) -> Result<T> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let glance = match idle {
            Some(glance) => glance,
            None => Glance::open(connection)?,
        };
        let seen = look(&glance);
        if seen.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(glance);
        }
        seen
    }
}
