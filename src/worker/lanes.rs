//! Each client's batches on their way to the sink, and each client's fair part of what all of them share.
//!
//! Memory and the engine's places are shared by dynamic thresholds (A. K. Choudhury and E. L. Hahne, "Dynamic queue
//! length thresholds for shared-memory packet switches", 1998): a client may hold no more than is still free. One
//! stuck client ends up with half, two with a third each, and there is always something left for the others.

use super::epochs::Epochs;
use crate::batch::Batch;
use crate::config::Config;
use crate::pool::{Pool, UNIT};
use crate::route::{Account, Route};
use crate::sink::kafka::ENGINE_BYTES_PER_LINE;
use crate::sink::Ended;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The largest chunk asked for, unless one line needs more.
const LARGEST_CHUNK: usize = 64 << 10;
/// What a line takes of a request beside its own bytes, at the most: RD_KAFKAP_MESSAGE_V2_MAX_OVERHEAD of librdkafka 2.12.
const FRAME: usize = 36;
/// A client is stuck when lines were handed over for it and none of them ended for so long, and for four times as long as
/// others' take now, while others' did that were handed over later. An outage of all is nobody's own, and neither is a
/// slow broker or a machine with too much to do: nothing is dropped for them.
const STUCK: Duration = Duration::from_secs(5);
/// A batch that is delivered so long after its hand-over tells that an outage has ended.
const OUTAGE: Duration = Duration::from_millis(2500);
/// A batch handed over so much later than a stuck client's, and delivered, tells that the trouble is that client's own:
/// one broker may be slower than another, but not by so much.
const OVERTAKEN: Duration = Duration::from_millis(50);
/// A removed client's lines are handed over within this time of the change, or not at all. One second is promised; the
/// change may be seen a tenth of it later.
const WITHDRAWN: Duration = Duration::from_millis(800);

/// Whether there is room for a line, and if not, why.
pub enum Room<'a> {
    /// There is, at the end of this lane's open batch.
    Here(&'a mut Lane),
    /// The client's `sample` leaves it out.
    SampledOut,
    /// The client's `max_lines_per_second` leaves it out.
    OverRate,
    /// The client is stuck, and its part of the memory full.
    Stuck,
    /// Not now.
    None,
}

/// One client's way to the sink.
pub struct Lane {
    account: Arc<Account>,
    /// The batch that lines are appended to.
    open: Option<Batch>,
    /// Batches to be handed over, in order.
    waiting: VecDeque<Batch>,
    /// Of `waiting` and `open`.
    unsent_bytes: usize,
    /// Memory of all its batches, those in the sink included, with the engine's cost of their lines.
    held_bytes: usize,
    /// Lines in the sink.
    sent_lines: usize,
    /// When lines were first handed over, or last ended.
    progress: Instant,
    /// The next chunk's size: what the last batching time needed.
    chunk: usize,
    turn: u32,
    is_ready: bool,
    /// The sink takes no more of this client's before it has ended some: until then lines are gathered.
    is_held: bool,
    withdrawn: Option<Instant>,
    limits: Limits,
}

/// What was handed over of a lane for one request.
#[derive(Default)]
struct Request {
    lines: usize,
    bytes: usize,
}

impl Request {
    fn is_full_for(&self, batch: &Batch, most_lines: usize, most_bytes: usize) -> bool {
        let with = self.with(batch);
        self.lines > 0 && (with.lines > most_lines || with.bytes > most_bytes)
    }

    fn with(&self, batch: &Batch) -> Request {
        let lines = batch.lines() as usize;
        Request { lines: self.lines + lines, bytes: self.bytes + batch.value_bytes() + lines * FRAME }
    }
}

/// What a client's `sample` and `max_lines_per_second` have let through.
#[derive(Clone, Copy)]
struct Limits {
    /// Parts of a line owed to the sample.
    sampled: f64,
    /// Lines that may be sent now: a bucket that holds one second's.
    tokens: f64,
    filled: Instant,
}

/// All lanes.
pub struct Lanes {
    pool: Pool,
    lanes: Vec<Option<Box<Lane>>>,
    /// Slots of lanes with an open batch.
    open: Vec<usize>,
    /// Slots of lanes with batches to be handed over.
    ready: VecDeque<usize>,
    bytes: usize,
    batch_lines: usize,
    batch_bytes: usize,
    /// Within a request's bytes, too.
    largest_chunk: usize,
    most_sent_lines: usize,
    /// Lines of all batches.
    lines: usize,
    /// Lines in the sink.
    sent_lines: usize,
    /// Chunk bytes of batches that could be handed over: those of lanes that are held do not count.
    unsent_bytes: usize,
    /// The latest hand-over of a batch that was delivered.
    delivered_hand_over: Option<Instant>,
    /// How long a delivery takes now: the longest of the last ones, forgotten by and by.
    delivery_time: Duration,
    /// When the last outage ended: everyone has the time to move again from there on.
    flowing_since: Instant,
}

impl Lanes {
    pub fn new(pool: Pool, config: &Config, now: Instant) -> Lanes {
        Lanes {
            pool,
            lanes: Vec::new(),
            open: Vec::new(),
            ready: VecDeque::new(),
            bytes: config.batches_bytes,
            batch_lines: config.kafka.batch_lines,
            batch_bytes: config.kafka.batch_bytes,
            largest_chunk: LARGEST_CHUNK.min(1 << config.kafka.batch_bytes.max(UNIT).ilog2()),
            most_sent_lines: config.kafka.max_messages,
            lines: 0,
            sent_lines: 0,
            unsent_bytes: 0,
            delivered_hand_over: None,
            delivery_time: Duration::ZERO,
            flowing_since: now,
        }
    }

    /// No line waits for the batching time to be over.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Clients with lines that wait for the batching time to be over.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// Lines in the sink.
    pub fn sent_lines(&self) -> usize {
        self.sent_lines
    }

    /// So much waits that it should be handed over before its time.
    pub fn is_crowded(&self) -> bool {
        self.unsent_bytes > self.bytes / 4
    }

    fn used(&self) -> usize {
        self.pool.used() + self.lines * ENGINE_BYTES_PER_LINE
    }

    /// Finds room of `bytes` for a line of `route`'s client.
    #[inline]
    pub fn room<'a>(&'a mut self, route: &Route, bytes: usize, now: Instant, epochs: &mut Epochs) -> Room<'a> {
        let slot = route.account.slot;
        if self.lanes.get(slot).is_none_or(Option::is_none) {
            self.add_lane(route, now);
        }
        let used = self.used();
        let Some(Some(lane)) = self.lanes.get_mut(slot) else { return Room::None };
        let before = lane.limits;
        if route.client.sample < 1.0 && !lane.limits.sample(route.client.sample) {
            return Room::SampledOut;
        }
        if route.client.max_lines_per_second.is_some_and(|rate| !lane.limits.spend(rate, now)) {
            return Room::OverRate;
        }
        let fits = lane.open.as_ref().is_some_and(|batch| {
            batch.room_left() >= bytes
                && (batch.lines() as usize) < self.batch_lines
                && (Arc::ptr_eq(&batch.topic, &route.client.topic) || batch.topic == route.client.topic)
        });
        if fits && used + ENGINE_BYTES_PER_LINE <= self.bytes {
            self.lines += 1;
        } else if !self.open_batch(route, bytes, now, epochs) {
            return self.no_room(slot, before, now);
        }
        match self.lanes.get_mut(slot) {
            Some(Some(lane)) => {
                lane.held_bytes += ENGINE_BYTES_PER_LINE;
                Room::Here(lane)
            }
            _ => Room::None,
        }
    }

    #[cold]
    fn add_lane(&mut self, route: &Route, now: Instant) {
        let slot = route.account.slot;
        if self.lanes.len() <= slot {
            self.lanes.resize_with(slot + 1, || None);
        }
        self.lanes[slot] = Some(Box::new(Lane {
            account: Arc::clone(&route.account),
            open: None,
            waiting: VecDeque::new(),
            unsent_bytes: 0,
            held_bytes: 0,
            sent_lines: 0,
            progress: now,
            chunk: UNIT,
            turn: 0,
            is_ready: false,
            is_held: false,
            withdrawn: None,
            limits: Limits {
                sampled: 0.0,
                tokens: route.client.max_lines_per_second.unwrap_or(0.0).max(1.0),
                filled: now,
            },
        }));
    }

    /// Opens a batch with room for a line of `bytes`, and counts the line. False if there is no memory for it.
    fn open_batch(&mut self, route: &Route, bytes: usize, now: Instant, epochs: &mut Epochs) -> bool {
        let slot = route.account.slot;
        let used = self.used();
        let Some(Some(lane)) = self.lanes.get_mut(slot) else { return false };
        let wanted = lane.chunk.max(bytes);
        let cost = |bytes| Pool::size_for(bytes) + ENGINE_BYTES_PER_LINE;
        // The threshold: what it holds, and what is free. The first batch is always let through.
        let fair =
            |cost| used + cost <= self.bytes && (lane.held_bytes == 0 || lane.held_bytes + cost <= self.bytes - used);
        let size = [wanted, bytes].into_iter().find(|size| fair(cost(*size)));
        let Some(chunk) = size.and_then(|size| self.pool.take(size).or_else(|| self.pool.take(bytes))) else {
            return false;
        };
        let size = chunk.len();
        match lane.open.take() {
            Some(full) => lane.waiting.push_back(full),
            None if lane.is_held => {}
            None => self.open.push(slot),
        }
        lane.open = Some(Batch::new(
            Arc::clone(&lane.account),
            Arc::clone(&route.client.topic),
            chunk,
            epochs.batch_opened(now),
        ));
        lane.chunk = (2 * lane.chunk).min(self.largest_chunk);
        lane.held_bytes += size;
        lane.unsent_bytes += size;
        self.lines += 1;
        if !lane.is_held {
            self.unsent_bytes += size;
            if lane.unsent_bytes > self.batch_bytes || lane.waiting_lines() >= self.batch_lines {
                lane.make_ready(&mut self.ready);
            }
        }
        true
    }

    /// No room for a line of this client: is it the client, or everybody?
    fn no_room(&mut self, slot: usize, before: Limits, now: Instant) -> Room<'_> {
        let Some(Some(lane)) = self.lanes.get_mut(slot) else { return Room::None };
        lane.limits = before;
        let since = lane.progress.max(self.flowing_since);
        let stands_still = lane.sent_lines > 0 && now.saturating_duration_since(since) > STUCK + 4 * self.delivery_time;
        let overtaken = self.delivered_hand_over.is_some_and(|other| other > lane.progress + OVERTAKEN);
        if stands_still && overtaken {
            Room::Stuck
        } else {
            Room::None
        }
    }

    /// All open batches are to be handed over, but for those of lanes that are held: these grow until then.
    pub fn release(&mut self) {
        for slot in self.open.drain(..) {
            let Some(Some(lane)) = self.lanes.get_mut(slot) else { continue };
            if lane.is_held {
                continue;
            }
            lane.close_open();
            lane.chunk = Pool::size_for(lane.waiting_bytes().min(self.largest_chunk));
            lane.make_ready(&mut self.ready);
        }
    }

    /// Hands over what is ready, as far as `send` takes it, in turns of as much as one request carries for a partition. A
    /// lane with its part of the engine's places waits, and so does one whose turn `send` does not take.
    pub fn hand_over(
        &mut self,
        now: Instant,
        mut send: impl FnMut(Batch) -> Result<(), Batch>,
        ended: &mut Vec<Ended>,
    ) {
        for _ in 0..self.ready.len() {
            let Some(slot) = self.ready.pop_front() else { break };
            let Some(Some(lane)) = self.lanes.get_mut(slot) else { continue };
            lane.is_ready = false;
            let too_late = lane.withdrawn.is_some_and(|since| now.saturating_duration_since(since) > WITHDRAWN);
            let mut turn = Request::default();
            while let Some(batch) = lane.waiting.pop_front() {
                let (lines, bytes) = (batch.lines() as usize, batch.chunk_bytes());
                if !too_late {
                    let free = self.most_sent_lines.saturating_sub(self.sent_lines);
                    let fair = lane.sent_lines == 0 || lane.sent_lines + lines <= free;
                    if turn.is_full_for(&batch, self.batch_lines, self.batch_bytes) {
                        lane.turn = lane.turn.wrapping_add(1);
                        turn = Request::default();
                    }
                    let with_it = turn.with(&batch);
                    let sent = if fair { send(lane.addressed(batch, now)) } else { Err(batch) };
                    if let Err(batch) = sent {
                        lane.waiting.push_front(batch);
                        break;
                    }
                    turn = with_it;
                    if lane.sent_lines == 0 {
                        lane.progress = now;
                    }
                } else {
                    ended.push(Ended { failed: batch.lines(), delivered: 0, delivered_bytes: 0, batch });
                }
                lane.sent_lines += lines;
                lane.unsent_bytes -= bytes;
                self.sent_lines += lines;
                self.unsent_bytes -= bytes;
            }
            if turn.lines > 0 {
                lane.turn = lane.turn.wrapping_add(1);
            }
            if lane.waiting.is_empty() {
                continue;
            }
            if lane.sent_lines > 0 && lane.withdrawn.is_none() {
                lane.is_held = true;
                self.unsent_bytes -= lane.unsent_bytes;
            } else {
                lane.make_ready(&mut self.ready);
            }
        }
    }

    /// A batch has come back from the sink.
    pub fn take_back(&mut self, batch: Batch, delivered: bool, now: Instant) {
        let lines = batch.lines() as usize;
        if let (true, Some(handed_over)) = (delivered, batch.handed_over) {
            let took = now.saturating_duration_since(handed_over);
            if took > OUTAGE {
                self.flowing_since = now;
            }
            self.delivery_time = took.max(self.delivery_time * 31 / 32);
            self.delivered_hand_over = self.delivered_hand_over.max(Some(handed_over));
        }
        if let Some(Some(lane)) = self.lanes.get_mut(batch.account.slot) {
            lane.progress = now;
            lane.sent_lines -= lines;
            lane.held_bytes -= batch.chunk_bytes() + lines * ENGINE_BYTES_PER_LINE;
            self.unsent_bytes += lane.let_go(&mut self.ready);
        }
        self.sent_lines -= lines;
        self.lines -= lines;
        self.pool.give_back(batch.into_chunk());
    }

    /// The client table has changed. True if lines wait for clients that are no longer in it.
    pub fn note_withdrawals(&mut self, now: Instant) -> bool {
        let mut any = false;
        for lane in self.lanes.iter_mut().flatten() {
            lane.withdrawn = if lane.account.is_withdrawn() { lane.withdrawn.or(Some(now)) } else { None };
            if lane.withdrawn.is_some() {
                self.unsent_bytes += lane.let_go(&mut self.ready);
                any |= lane.open.is_some();
            }
        }
        any
    }

    /// Ends what was not handed over as failed.
    pub fn give_up(&mut self, ended: &mut Vec<Ended>) {
        self.release();
        // Handed to nobody: booked as if the sink had taken and failed it.
        self.ready.clear();
        for lane in self.lanes.iter_mut().flatten() {
            (lane.is_ready, lane.is_held) = (false, false);
            lane.close_open();
            for batch in lane.waiting.drain(..) {
                lane.sent_lines += batch.lines() as usize;
                self.sent_lines += batch.lines() as usize;
                ended.push(Ended { failed: batch.lines(), delivered: 0, delivered_bytes: 0, batch });
            }
            lane.unsent_bytes = 0;
        }
        self.unsent_bytes = 0;
    }

    /// Leaves the memory to an abandoned engine, for ever.
    pub fn leak(&mut self) {
        self.pool.leak();
    }
}

impl Lane {
    /// Appends the line that room was found for.
    #[inline]
    pub fn append(&mut self, value: &[u8], to_escape: usize) {
        if let Some(batch) = &mut self.open {
            let appended = batch.append(value, to_escape);
            debug_assert!(appended, "room was found for the line");
        }
    }

    fn close_open(&mut self) {
        self.waiting.extend(self.open.take());
    }

    /// Hands over what was gathered while it was held. Returns the bytes of it, none if it was not.
    fn let_go(&mut self, ready: &mut VecDeque<usize>) -> usize {
        if !std::mem::take(&mut self.is_held) {
            return 0;
        }
        self.close_open();
        self.make_ready(ready);
        self.unsent_bytes
    }

    /// What its waiting batches need of their chunks.
    fn waiting_bytes(&self) -> usize {
        self.waiting.iter().map(Batch::used_bytes).sum()
    }

    fn waiting_lines(&self) -> usize {
        self.waiting.iter().map(|batch| batch.lines() as usize).sum()
    }

    fn make_ready(&mut self, ready: &mut VecDeque<usize>) {
        if !self.is_ready && !self.waiting.is_empty() {
            self.is_ready = true;
            ready.push_back(self.account.slot);
        }
    }

    fn addressed(&self, mut batch: Batch, now: Instant) -> Batch {
        batch.turn = self.turn;
        batch.handed_over = Some(now);
        batch
    }
}

impl Limits {
    /// Whether this line is in the sample: every line adds its share, every whole line is sent.
    fn sample(&mut self, share: f64) -> bool {
        self.sampled += share;
        let sent = self.sampled >= 1.0;
        if sent {
            self.sampled -= 1.0;
        }
        sent
    }

    /// Whether this line is within the rate: a token bucket that holds one second's lines.
    fn spend(&mut self, rate: f64, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        if rate > 0.0 {
            self.tokens = (self.tokens + passed * rate).min(rate.max(1.0));
        } else {
            self.tokens = 0.0;
        }
        self.filled = now;
        let within = self.tokens >= 1.0;
        if within {
            self.tokens -= 1.0;
        }
        within
    }
}
