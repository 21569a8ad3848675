//! Clients spread over several sinks of one kind, as many as they need: for an engine whose cost grows faster than the
//! number of its topics.
//!
//! A client belongs to the shard that took its first batch, for as long as that shard lives: its batches keep their
//! order. A shard is opened when no other has a place left for a client *with lines*, so clients that are only listed
//! cost nothing, and is ended when it has had nothing to do for a while; its clients find a place again with their
//! next batch, when all that went before has come to its end. There is always a first shard, which knows how the brokers
//! are even when there is nothing to send: it stays, or is replaced if it has become as large as they may.

use super::{Ended, Sink};
use crate::batch::Batch;
use std::time::{Duration, Instant};

/// A shard that has had nothing to do for so long is ended.
const QUIET: Duration = Duration::from_secs(30);
/// No shard, in the table of clients.
const NOWHERE: u32 = u32::MAX;

/// Several sinks as one.
pub struct Shards<S> {
    /// Makes one more.
    open: Box<dyn FnMut() -> S + Send>,
    shards: Vec<Option<Shard<S>>>,
    clients_per_shard: usize,
    /// Each client's shard, by the client's slot.
    places: Vec<u32>,
    quiet: Duration,
}

struct Shard<S> {
    sink: S,
    /// Clients that have a place here.
    clients: usize,
    /// Batches that have not come to their end.
    batches: usize,
    /// When the last batch did.
    quiet_since: Instant,
}

impl<S> Shard<S> {
    fn new(sink: S) -> Shard<S> {
        Shard { sink, clients: 0, batches: 0, quiet_since: Instant::now() }
    }
}

impl<S: Sink> Shards<S> {
    /// `first`, and what `open` makes for every further `clients_per_shard` clients.
    pub fn new(first: S, clients_per_shard: usize, open: impl FnMut() -> S + Send + 'static) -> Shards<S> {
        Shards {
            open: Box::new(open),
            shards: vec![Some(Shard::new(first))],
            clients_per_shard: clients_per_shard.max(1),
            places: Vec::new(),
            quiet: QUIET,
        }
    }

    /// The shard of the client with this slot: a place is found for a client that has none.
    fn shard_of(&mut self, slot: usize) -> Option<&mut Shard<S>> {
        if self.places.len() <= slot {
            self.places.resize(slot + 1, NOWHERE);
        }
        if self.places[slot] == NOWHERE {
            let number = self.with_a_place_left();
            if let Some(Some(shard)) = self.shards.get_mut(number) {
                shard.clients += 1;
                self.places[slot] = number as u32;
            }
        }
        self.shards.get_mut(self.places[slot] as usize)?.as_mut()
    }

    fn with_a_place_left(&mut self) -> usize {
        let most = self.clients_per_shard;
        let has_place = |shard: &Option<Shard<S>>| shard.as_ref().is_some_and(|shard| shard.clients < most);
        if let Some(number) = self.shards.iter().position(has_place) {
            return number;
        }
        let shard = Some(Shard::new((self.open)()));
        match self.shards.iter().position(Option::is_none) {
            Some(number) => {
                self.shards[number] = shard;
                number
            }
            None => {
                self.shards.push(shard);
                self.shards.len() - 1
            }
        }
    }

    fn each(&mut self) -> impl Iterator<Item = &mut Shard<S>> {
        self.shards.iter_mut().flatten()
    }

    /// The sinks that are open.
    #[cfg(test)]
    pub fn sinks(&self) -> impl Iterator<Item = &S> {
        self.shards.iter().flatten().map(|shard| &shard.sink)
    }

    /// Ends the shards that have had nothing to do for a while.
    fn end_the_quiet(&mut self) {
        let now = Instant::now();
        for (number, place) in self.shards.iter_mut().enumerate() {
            let is_quiet = |shard: &mut Shard<S>| {
                shard.batches == 0
                    && (number > 0 || shard.clients == self.clients_per_shard)
                    && now.saturating_duration_since(shard.quiet_since) >= self.quiet
            };
            if let Some(shard) = place.take_if(is_quiet) {
                shard.sink.retire();
                if number == 0 {
                    *place = Some(Shard::new((self.open)()));
                }
                for place in self.places.iter_mut().filter(|place| **place == number as u32) {
                    *place = NOWHERE;
                }
            }
        }
    }
}

impl<S: Sink> Sink for Shards<S> {
    fn send(&mut self, batch: Batch) -> Result<(), Batch> {
        let Some(shard) = self.shard_of(batch.account.slot) else { return Err(batch) };
        shard.sink.send(batch)?;
        shard.batches += 1;
        Ok(())
    }

    fn poll(&mut self, ended: &mut Vec<Ended>) {
        for shard in self.each() {
            let before = ended.len();
            shard.sink.poll(ended);
            if ended.len() > before {
                shard.batches = shard.batches.saturating_sub(ended.len() - before);
                shard.quiet_since = Instant::now();
            }
        }
        self.end_the_quiet();
    }

    fn begin_give_up(&mut self) {
        self.each().for_each(|shard| shard.sink.begin_give_up());
    }

    fn give_up(&mut self, ended: &mut Vec<Ended>) {
        self.begin_give_up();
        self.each().for_each(|shard| shard.sink.give_up(ended));
    }

    fn begin_close(&mut self) {
        self.each().for_each(|shard| shard.sink.begin_close());
    }

    fn close(&mut self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        self.begin_close();
        // All of them, also after one that did not end: each has its last word to say.
        let mut all = true;
        for shard in self.each() {
            all &= shard.sink.close(deadline.saturating_duration_since(Instant::now()));
        }
        all
    }

    fn trouble(&self) -> String {
        let troubles: Vec<String> = self.shards.iter().flatten().map(|shard| shard.sink.trouble()).collect();
        let troubled = troubles.iter().filter(|trouble| !trouble.is_empty()).count();
        match troubles.iter().find(|trouble| !trouble.is_empty()) {
            None => String::new(),
            Some(trouble) if troubled == troubles.len() => trouble.clone(),
            Some(trouble) => format!("{troubled} of {} engines: {trouble}", troubles.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;
    use crate::route::Account;
    use crate::sink::memory::{Desk, MemorySink};
    use std::sync::{Arc, Mutex};

    /// Desks of all sinks opened so far, the first one's first.
    type Desks = Arc<Mutex<Vec<Arc<Mutex<Desk>>>>>;

    fn shards(clients_per_shard: usize) -> (Shards<MemorySink>, Desks) {
        let desks = Desks::default();
        let all = Arc::clone(&desks);
        let open = move || {
            let desk = Arc::<Mutex<Desk>>::default();
            all.lock().unwrap().push(Arc::clone(&desk));
            MemorySink(desk)
        };
        (Shards::new(open(), clients_per_shard, open), desks)
    }

    fn batch(pool: &mut Pool, client: usize) -> Batch {
        let account = Account::of(&format!("c{client}"), client);
        let mut batch = Batch::new(account, format!("c{client}").into(), pool.take(64).unwrap(), 0);
        assert!(batch.append(b"a line", 0));
        batch
    }

    fn topics(desks: &Desks, shard: usize) -> Vec<String> {
        let desk = Arc::clone(&desks.lock().unwrap()[shard]);
        let desk = desk.lock().unwrap();
        desk.delivered.iter().map(|(topic, _)| topic.clone()).collect()
    }

    #[test]
    fn a_shard_is_opened_when_clients_with_lines_need_it_and_each_stays_where_it_is() {
        let mut pool = Pool::new(1 << 20, 0).unwrap();
        let (mut shards, desks) = shards(2);
        let mut ended = Vec::new();
        shards.quiet = Duration::from_secs(3600);
        // Slots far apart: what counts is who has lines.
        for client in [900, 5, 900, 70, 5, 31, 900, 8] {
            assert!(shards.send(batch(&mut pool, client)).is_ok());
            shards.poll(&mut ended);
        }
        assert_eq!(desks.lock().unwrap().len(), 3);
        assert_eq!(topics(&desks, 0), ["c900", "c5", "c900", "c5", "c900"]);
        assert_eq!((topics(&desks, 1), topics(&desks, 2)), (vec!["c70".into(), "c31".into()], vec!["c8".to_owned()]));
        assert_eq!(ended.len(), 8);
    }

    #[test]
    fn a_quiet_shard_is_ended_and_its_clients_find_a_place_again() {
        let mut pool = Pool::new(1 << 20, 0).unwrap();
        let (mut shards, desks) = shards(1);
        shards.quiet = Duration::ZERO;
        let mut ended = Vec::new();
        let set_stuck = |shard: usize, topics: &[&str]| {
            let desk = Arc::clone(&desks.lock().unwrap()[shard]);
            desk.lock().unwrap().stuck = topics.iter().map(|topic| topic.to_string()).collect();
        };
        set_stuck(0, &["c0"]);
        for client in 0..3 {
            assert!(shards.send(batch(&mut pool, client)).is_ok());
        }
        set_stuck(1, &["c1"]);
        shards.poll(&mut ended);
        // The third had no more to do, the others still have.
        let open: Vec<bool> = shards.shards.iter().map(Option::is_some).collect();
        assert_eq!((open, ended.len()), (vec![true, true, false], 1));
        assert!(shards.send(batch(&mut pool, 2)).is_ok() && shards.send(batch(&mut pool, 1)).is_ok());
        set_stuck(1, &[]);
        shards.poll(&mut ended);
        assert_eq!(desks.lock().unwrap().len(), 4, "one more was opened for the third client alone");
        assert_eq!((topics(&desks, 1), topics(&desks, 3)), (vec!["c1".to_owned(); 2], vec!["c2".to_owned()]));
        // In the place of the first, which is full, there is another.
        set_stuck(0, &[]);
        shards.poll(&mut ended);
        assert_eq!((desks.lock().unwrap().len(), shards.sinks().count(), ended.len()), (5, 1, 5));
        assert!(shards.send(batch(&mut pool, 1)).is_ok());
        shards.poll(&mut ended);
        assert_eq!((topics(&desks, 0), topics(&desks, 4)), (vec!["c0".to_owned()], vec!["c1".to_owned()]));
    }

    #[test]
    fn a_first_shard_with_places_left_stays_however_quiet_it_is() {
        let mut pool = Pool::new(1 << 20, 0).unwrap();
        let (mut shards, desks) = shards(2);
        shards.quiet = Duration::ZERO;
        for _ in 0..3 {
            assert!(shards.send(batch(&mut pool, 7)).is_ok());
            shards.poll(&mut Vec::new());
        }
        let opened = desks.lock().unwrap().len();
        assert_eq!((opened, topics(&desks, 0).len()), (1, 3));
    }

    #[test]
    fn a_busy_shard_holds_up_its_own_clients_only() {
        let mut pool = Pool::new(1 << 20, 0).unwrap();
        let (mut shards, desks) = shards(1);
        let mut ended = Vec::new();
        desks.lock().unwrap()[0].lock().unwrap().busy = true;
        let back = shards.send(batch(&mut pool, 0)).unwrap_err();
        assert!(shards.send(batch(&mut pool, 1)).is_ok());
        shards.poll(&mut ended);
        desks.lock().unwrap()[0].lock().unwrap().busy = false;
        assert!(shards.send(back).is_ok());
        shards.give_up(&mut ended);
        assert_eq!((topics(&desks, 0), topics(&desks, 1)), (Vec::new(), vec!["c1".to_owned()]));
        assert_eq!(ended.iter().map(|ended| (ended.delivered, ended.failed)).collect::<Vec<_>>(), [(1, 0), (0, 1)]);
    }
}
