//! A sink that keeps what it is sent and ends batches when told to: for tests of the worker.

use super::{Ended, Sink};
use crate::batch::Batch;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the test sees and steers.
#[derive(Default)]
pub struct Desk {
    /// Batches taken and not yet ended.
    pub held: Vec<Batch>,
    /// Every line delivered: topic, value.
    pub delivered: Vec<(String, Vec<u8>)>,
    /// Nothing is taken.
    pub busy: bool,
    /// While a topic's batches are held, those of another turn are not taken.
    pub one_turn: bool,
    /// Batches of these topics are held for ever, others end at the next poll.
    pub stuck: Vec<String>,
    /// Batches of these topics fail.
    pub failing: Vec<String>,
    /// Number of batches taken.
    pub batches: usize,
    /// How often the worker has asked for those that have ended.
    pub polls: usize,
    /// What each turn of a topic had.
    pub turns: HashMap<(String, u32), Turn>,
}

/// Lines of one turn, and their bytes.
#[derive(Debug, Default)]
pub struct Turn {
    pub lines: u32,
    pub bytes: usize,
}

/// The sink; its desk is shared with the test.
pub struct MemorySink(pub Arc<Mutex<Desk>>);

impl Desk {
    fn end(&mut self, batch: Batch, ended: &mut Vec<Ended>, fails: bool) {
        let lines = batch.lines();
        let delivered = if fails { 0 } else { lines };
        if !fails {
            let topic = batch.topic.to_string();
            self.delivered.extend(batch.iter().map(|line| (topic.clone(), batch.value(line).to_vec())));
        }
        let delivered_bytes = if fails { 0 } else { batch.value_bytes() as u64 };
        ended.push(Ended { batch, delivered, delivered_bytes, failed: lines - delivered });
    }
}

impl Sink for MemorySink {
    fn send(&mut self, batch: Batch) -> Result<(), Batch> {
        let mut desk = self.0.lock().unwrap();
        let is_other_turn = |held: &Batch| held.topic == batch.topic && held.turn != batch.turn;
        if desk.busy || (desk.one_turn && desk.held.iter().any(is_other_turn)) {
            return Err(batch);
        }
        desk.batches += 1;
        let turn = desk.turns.entry((batch.topic.to_string(), batch.turn)).or_default();
        turn.lines += batch.lines();
        turn.bytes += batch.value_bytes();
        desk.held.push(batch);
        Ok(())
    }

    fn poll(&mut self, ended: &mut Vec<Ended>) {
        let mut desk = self.0.lock().unwrap();
        desk.polls += 1;
        for batch in std::mem::take(&mut desk.held) {
            if desk.stuck.iter().any(|topic| **topic == *batch.topic) {
                desk.held.push(batch);
            } else {
                let fails = desk.failing.iter().any(|topic| **topic == *batch.topic);
                desk.end(batch, ended, fails);
            }
        }
    }

    fn give_up(&mut self, ended: &mut Vec<Ended>) {
        let mut desk = self.0.lock().unwrap();
        for batch in std::mem::take(&mut desk.held) {
            desk.end(batch, ended, true);
        }
    }

    fn close(&mut self, _timeout: Duration) -> bool {
        true
    }
}
