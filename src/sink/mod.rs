//! Where batches go. The worker knows this interface and nothing of Kafka's.

pub mod embedded;
pub mod kafka;
#[cfg(test)]
pub mod memory;
pub mod shards;

use crate::batch::Batch;
use std::time::Duration;

/// Sends batches and says what became of them. Nothing here waits for the network.
pub trait Sink {
    /// Takes the batch, or gives it back when it cannot take one now; the same batch is then offered again later.
    ///
    /// # Errors
    /// The batch itself.
    fn send(&mut self, batch: Batch) -> Result<(), Batch>;

    /// Does what is due, and adds the batches that have come to their end.
    fn poll(&mut self, ended: &mut Vec<Ended>);

    /// Begins what `give_up` finishes, and does not wait: several sinks can give up in the time of one.
    fn begin_give_up(&mut self) {}

    /// Ends every batch now, those that nobody knows the fate of as failed. Nothing can be sent afterwards.
    fn give_up(&mut self, ended: &mut Vec<Ended>);

    /// Begins what `close` finishes, and does not wait.
    fn begin_close(&mut self) {}

    /// Lets go of everything, in at most `timeout`. False if something had to be abandoned, which is said in the log and
    /// may still read the batches' memory.
    fn close(&mut self, timeout: Duration) -> bool;

    /// Ends a sink that holds no batch, while others like it go on. Does not wait.
    fn retire(self)
    where
        Self: Sized,
    {
    }

    /// What an operator should know about it, in a few words; empty when all is well.
    fn trouble(&self) -> String {
        String::new()
    }
}

/// A batch that has come to its end.
pub struct Ended {
    /// The batch; its memory is free again.
    pub batch: Batch,
    /// Lines acknowledged.
    pub delivered: u32,
    /// Bytes of those.
    pub delivered_bytes: u64,
    /// Lines given up. `delivered` and `failed` are all of its lines.
    pub failed: u32,
}
