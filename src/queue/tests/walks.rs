//! Random walks of simulated threads, against a model of what is to be expected.

use super::*;

/// A line that was claimed.
struct Claimed {
    thread: usize,
    sequence: usize,
    line: Owned,
    start: u64,
    published: bool,
    /// Must be taken by a drain that is not stopped.
    due: bool,
    taken: bool,
}

/// Simulated threads, and what is to be expected of the queue. One real thread does all, step by step.
struct World {
    random: Random,
    queue: Arc<Queue>,
    cells: usize,
    max_line: usize,
    threads: Vec<Simulated>,
    /// Of each shard, in the order of positions, the taken ones in front left out.
    claimed: Vec<VecDeque<Claimed>>,
    /// Of each shard, where the next claim begins.
    tails: Vec<u64>,
    /// Of each shard, cells not given back.
    used: Vec<usize>,
    pushes: u64,
    taken: u64,
    full: u64,
    too_long: u64,
}

struct Simulated {
    affinity: Affinity,
    claims: usize,
    seen: usize,
    half: Option<Half>,
}

impl World {
    fn cells_of(&self, thread: usize, shard: usize, length: usize) -> usize {
        let link = if self.link_for(thread, shard).is_some() { LINK_BYTES } else { 0 };
        shard::cells_of(length + link)
    }

    fn link_for(&self, thread: usize, shard: usize) -> Option<Link> {
        self.threads[thread].affinity.link_for(&self.queue.shards, shard)
    }

    /// Notes a claim that the queue granted.
    fn note(&mut self, shard: usize, thread: usize, cells: usize, line: Owned, published: bool) {
        let sequence = self.threads[thread].claims;
        self.threads[thread].claims += 1;
        self.pushes += 1;
        let start = self.tails[shard];
        self.claimed[shard].push_back(Claimed { thread, sequence, line, start, published, due: false, taken: false });
        self.tails[shard] = shard::advance(start, cells);
        self.used[shard] += cells;
    }

    /// One step of one thread.
    fn step(&mut self) {
        let thread = self.random.below(self.threads.len());
        if let Some(half) = self.threads[thread].half.take() {
            if self.random.one_in(3) {
                let sequence = self.threads[thread].claims - 1;
                self.queue.shards[half.shard].finish(half.stalled);
                let claimed =
                    self.claimed[half.shard].iter_mut().find(|line| (line.thread, line.sequence) == (thread, sequence));
                claimed.unwrap().published = true;
            } else {
                self.threads[thread].half = Some(half);
            }
            return;
        }
        let sequence = self.threads[thread].claims;
        let longest = if self.random.one_in(2) { self.max_line } else { self.max_line.min(40) };
        let line = numbered(thread, sequence + self.random.below(3) * 0x10_0000, longest);
        let (line, length) = (line.clone(), line.0.as_ref().map_or(0, Vec::len) + line.1.len());
        match self.random.below(8) {
            0 => {
                let client = line.0.as_deref();
                let text = filler(1, self.max_line + 1 - client.map_or(0, |client| client.len() + 1));
                assert_eq!(
                    self.queue.push_from(&mut self.threads[thread].affinity, client, &text),
                    Err(PushError::TooLong)
                );
                self.too_long += 1;
            }
            // As the product does it.
            1..=4 => {
                let first = self.threads[thread].affinity.shard();
                let room = (first..self.queue.shards()).chain(0..first).find_map(|shard| {
                    let cells = self.cells_of(thread, shard, length);
                    (self.used[shard] + cells <= self.cells).then_some((shard, cells))
                });
                let pushed = self.queue.push_from(&mut self.threads[thread].affinity, line.0.as_deref(), &line.1);
                match room {
                    Some((shard, cells)) => {
                        assert_eq!(pushed, Ok(()));
                        assert_eq!(self.threads[thread].affinity.shard(), shard);
                        self.note(shard, thread, cells, line, true);
                    }
                    None => {
                        assert_eq!(pushed, Err(PushError::Full));
                        self.full += 1;
                    }
                }
            }
            // In two steps, and to whatever shard.
            _ => {
                let shard = self.random.below(self.queue.shards());
                let line = (None, [line.1, line.0.unwrap_or_default()].concat());
                let cells = self.cells_of(thread, shard, length);
                let link = self.link_for(thread, shard);
                let room = self.used[shard] + cells <= self.cells;
                match self.queue.shards[shard].claim_only(&line.1, link) {
                    Ok(stalled) => {
                        assert!(room, "shard {shard} granted {cells} cells beside {}", self.used[shard]);
                        self.threads[thread].affinity.moved_to(shard);
                        self.threads[thread].half = Some(Half { shard, stalled });
                        self.note(shard, thread, cells, line, false);
                        assert_eq!(self.tails[shard], self.queue.shards[shard].end());
                    }
                    Err(Claim::Full) => {
                        assert!(!room, "shard {shard} refused {cells} cells beside {}", self.used[shard])
                    }
                    Err(_) => panic!("nothing else can happen to a lone thread"),
                }
            }
        }
    }

    fn visit(&mut self, line: Line<'_>, room: &mut usize) -> Visit {
        let (thread, sequence) = number_of(line);
        let sequence = sequence % 0x10_0000;
        let at = |shard: &VecDeque<Claimed>| {
            shard.iter().position(|line| (line.thread, line.sequence) == (thread, sequence))
        };
        let found = self.claimed.iter().enumerate().find_map(|(shard, lines)| Some((shard, at(lines)?)));
        let (shard, place) =
            found.unwrap_or_else(|| panic!("line {sequence} of thread {thread} is not there to be taken"));
        let claimed = &mut self.claimed[shard][place];
        assert!(claimed.published && !claimed.taken, "line {sequence} of thread {thread} comes too soon, or twice");
        assert_eq!(own(line), claimed.line);
        assert_eq!(sequence, self.threads[thread].seen, "the order of thread {thread}");
        if *room == 0 {
            return Visit::Stop;
        }
        *room -= 1;
        claimed.taken = true;
        self.threads[thread].seen += 1;
        self.taken += 1;
        Visit::Taken
    }

    /// What the queue must be like after a drain.
    fn settle(&mut self, drain: Drain) {
        for shard in 0..self.claimed.len() {
            let lines = &mut self.claimed[shard];
            while lines.front().is_some_and(|line| line.taken) {
                lines.pop_front();
            }
            // Everything before the first line that is left was given back, and nothing else.
            let head = lines.front().map_or(self.tails[shard], |line| line.start);
            self.used[shard] = shard::distance(head, self.tails[shard]) as usize;
            assert_eq!(self.queue.shards[shard].used(), self.used[shard], "cells of shard {shard}");
            for line in lines.iter_mut() {
                assert!(
                    drain.stopped || line.taken || !line.due,
                    "line {} of thread {} was left",
                    line.sequence,
                    line.thread
                );
                line.due = false;
            }
        }
    }

    fn check(&self, consumer: &Consumer, before: u64) {
        let pushed = Pushed {
            submitted: before + self.pushes + self.full + self.too_long,
            waiting: self.pushes - self.taken,
            full: self.full,
            too_long: self.too_long,
        };
        assert_eq!(self.queue.pushed(consumer.taken()), pushed);
        assert_eq!(consumer.taken().iter().sum::<u64>(), before + self.taken);
    }
}

/// Says which walk it was.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the failing seed is {}", self.0);
        }
    }
}

fn walk(seed: u64, steps: usize) {
    let _told = Seed(seed);
    let mut random = Random::new(seed);
    let shards = 1 + random.below(5);
    let cells = 1 << random.below(6);
    let max_line = (cells * CELL_BYTES - LINK_BYTES).min(48 + random.below(300));
    let position = (1u64 << 40).wrapping_sub(random.next() % 100) & ((1 << 40) - 1);
    let lines = (1 << 23) * (random.next() % 3) + (1 << 23) - random.next() % 100;
    let bench = Bench::with_max_line(shards, cells, max_line).beginning_at(position, lines);
    let Bench { queue, mut consumer } = bench;
    let threads: Vec<_> = (0..1 + random.below(10))
        .map(|_| Simulated { affinity: queue.affinity(random.below(8) as u32), claims: 0, seen: 0, half: None })
        .collect();
    let mut world = World {
        queue,
        cells,
        max_line,
        threads,
        claimed: (0..shards).map(|_| VecDeque::new()).collect(),
        tails: vec![position; shards],
        used: vec![0; shards],
        pushes: 0,
        taken: 0,
        full: 0,
        too_long: 0,
        random,
    };
    let before = lines * shards as u64;
    // How much of the walk is draining differs from walk to walk, and so does how often the drain is stopped.
    let (drains, stops, meddling) = (2 + world.random.below(20), 1 + world.random.below(4), 1 + world.random.below(8));

    let drain = |world: &mut World, consumer: &mut Consumer, mut room: usize, meddling: usize| {
        for line in world.claimed.iter_mut().flatten() {
            // Claimed before the look, and there before the drain.
            line.due &= line.published;
        }
        let drain = consumer.drain(&mut |line| {
            // Threads go on while the consumer is at work.
            while meddling > 0 && world.random.one_in(meddling + 1) {
                world.step();
            }
            world.visit(line, &mut room)
        });
        world.settle(drain);
    };
    for _ in 0..steps {
        if world.random.one_in(drains) {
            if !world.random.one_in(8) {
                consumer.look();
                world.claimed.iter_mut().flatten().for_each(|line| line.due = true);
                while world.random.one_in(2) {
                    world.step();
                }
            }
            let room = if world.random.one_in(stops) { world.random.below(10) } else { usize::MAX };
            drain(&mut world, &mut consumer, room, meddling);
        } else {
            world.step();
        }
        world.check(&consumer, before);
    }
    // In the end everybody finishes, and everything comes out.
    for thread in 0..world.threads.len() {
        if let Some(half) = world.threads[thread].half.take() {
            world.queue.shards[half.shard].finish(half.stalled);
        }
    }
    for line in world.claimed.iter_mut().flatten() {
        (line.published, line.due) = (true, true);
    }
    consumer.look();
    drain(&mut world, &mut consumer, usize::MAX, 0);
    world.check(&consumer, before);
    assert_eq!((world.taken, &world.used), (world.pushes, &vec![0; shards]));
}

#[test]
fn random_walks_agree_with_the_model() {
    for seed in 0..sized(6_000, 4) as u64 {
        walk(seed, sized(400, 50));
    }
}
