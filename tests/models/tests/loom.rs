//! Every interleaving, and every value the memory model lets a load see, of the queue on tiny rings.
//!
//! A line is two bytes, the pushing thread and its sequence number, so that a line without a link takes one cell and so
//! does one with it. Threads that move find themselves moved by rings of one or two cells.
#![cfg(loom)]

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use std::sync::Arc;
use tel_models::queue::{Consumer, Layout, PushError, Queue, Visit};

const MAX_LINE: usize = 40;

/// Explores `model`, with at most `preemptions` switches away from a thread that could have gone on: most bugs need one
/// or two, and the number of interleavings grows steeply with it.
fn check(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    if builder.preemption_bound.is_none() {
        builder.preemption_bound = Some(preemptions);
    }
    builder.check(model);
}

fn queue(shards: usize, cells: usize) -> (Arc<Queue>, Consumer) {
    let queue = Arc::new(Queue::new(Layout { shards, cells }, MAX_LINE).unwrap());
    let consumer = Consumer::new(Arc::clone(&queue));
    (queue, consumer)
}

/// What a thread did: how many lines the queue took, and how many it refused as full.
#[derive(Default)]
struct Tally {
    accepted: Vec<u8>,
    full: u64,
    closed: u64,
}

/// Pushes `lines` lines as thread `name`, which starts at shard `seat`.
fn produce(queue: &Queue, name: u8, seat: u32, lines: u8) -> Tally {
    let mut affinity = queue.affinity(seat);
    let mut tally = Tally::default();
    for sequence in 0..lines {
        match queue.push_from(&mut affinity, None, &[name, sequence]) {
            Ok(()) => tally.accepted.push(sequence),
            Err(PushError::Full) => tally.full += 1,
            Err(PushError::Closed) => tally.closed += 1,
            Err(PushError::TooLong) => unreachable!("two bytes"),
        }
    }
    tally
}

fn spawn(queue: &Arc<Queue>, name: u8, seat: u32, lines: u8) -> thread::JoinHandle<Tally> {
    let queue = Arc::clone(queue);
    thread::spawn(move || produce(&queue, name, seat, lines))
}

/// Takes what is there and appends it to `seen`.
fn drain(consumer: &mut Consumer, seen: &mut Vec<(u8, u8)>) {
    consumer.look();
    let drain = consumer.drain(&mut |line| {
        assert_eq!((line.client, line.text.len()), (None, 2), "a torn line");
        seen.push((line.text[0], line.text[1]));
        Visit::Taken
    });
    assert!(!drain.stopped);
}

/// Every accepted line was seen once, in its thread's order, and the counters say so too.
fn settle(queue: &Queue, consumer: &Consumer, seen: &[(u8, u8)], tallies: &[(u8, Tally)]) {
    for (name, tally) in tallies {
        let of_thread: Vec<u8> = seen.iter().filter(|(thread, _)| thread == name).map(|(_, line)| *line).collect();
        assert_eq!(of_thread, tally.accepted, "lines of thread {name}; all: {seen:?}");
    }
    let accepted: usize = tallies.iter().map(|(_, tally)| tally.accepted.len()).sum();
    let full: u64 = tallies.iter().map(|(_, tally)| tally.full).sum();
    assert_eq!(seen.len(), accepted);
    let pushed = queue.pushed(consumer.taken());
    assert_eq!((pushed.submitted, pushed.waiting, pushed.full), (accepted as u64 + full, 0, full));
}

/// Two threads, two lines each, of which every one fills a shard: each push is a move to the other shard, with a link.
#[test]
fn every_push_moves() {
    check(2, || {
        let (queue, mut consumer) = queue(2, 1);
        let (one, two) = (spawn(&queue, 1, 0, 2), spawn(&queue, 2, 1, 2));
        let mut seen = Vec::new();
        drain(&mut consumer, &mut seen);
        drain(&mut consumer, &mut seen);
        let tallies = [(1, one.join().unwrap()), (2, two.join().unwrap())];
        drain(&mut consumer, &mut seen);
        settle(&queue, &consumer, &seen, &tallies);
    });
}

/// Both threads begin in one shard of two cells: they contend, leave gaps for each other, and the later lines move on.
#[test]
fn two_threads_in_one_shard() {
    check(3, || {
        let (queue, mut consumer) = queue(2, 2);
        let (one, two) = (spawn(&queue, 1, 0, 2), spawn(&queue, 2, 0, 2));
        let mut seen = Vec::new();
        drain(&mut consumer, &mut seen);
        let tallies = [(1, one.join().unwrap()), (2, two.join().unwrap())];
        assert_eq!((tallies[0].1.full, tallies[1].1.full), (0, 0), "there was room for all");
        drain(&mut consumer, &mut seen);
        settle(&queue, &consumer, &seen, &tallies);
    });
}

/// A thread whose lines in its old shard lie behind another thread's gap moves on; its order is kept all the same.
#[test]
fn moves_away_from_behind_a_gap() {
    check(3, || {
        let (queue, mut consumer) = queue(2, 2);
        let mut seen = Vec::new();
        // Shard 0: thread 2's line, maybe still a gap, and the first of thread 1; its others go to shard 1.
        let two = spawn(&queue, 2, 0, 1);
        let one = spawn(&queue, 1, 0, 3);
        drain(&mut consumer, &mut seen);
        let tallies = [(1, one.join().unwrap()), (2, two.join().unwrap())];
        drain(&mut consumer, &mut seen);
        settle(&queue, &consumer, &seen, &tallies);
    });
}

/// Lines of two threads in turn in one shard: gaps come and go between them, and nobody moves.
#[test]
fn gaps_among_the_lines_of_one_thread() {
    check(3, || {
        let (queue, mut consumer) = queue(1, 4);
        let (one, two) = (spawn(&queue, 1, 0, 2), spawn(&queue, 2, 0, 1));
        let mut seen = Vec::new();
        drain(&mut consumer, &mut seen);
        drain(&mut consumer, &mut seen);
        let tallies = [(1, one.join().unwrap()), (2, two.join().unwrap())];
        assert_eq!((tallies[0].1.full, tallies[1].1.full), (0, 0), "there was room for all");
        drain(&mut consumer, &mut seen);
        settle(&queue, &consumer, &seen, &tallies);
    });
}

/// A link leads behind two lines of another thread, and maybe behind the tail that was seen there: when they are taken for
/// its sake, they are taken in order.
#[test]
fn another_s_lines_before_a_link() {
    check(3, || {
        let (queue, mut consumer) = queue(2, 4);
        // A line of ours and two of each thread: one of the five has to go to shard 1.
        let zero = produce(&queue, 0, 0, 1);
        let (one, two) = (spawn(&queue, 1, 0, 2), spawn(&queue, 2, 0, 2));
        let mut seen = Vec::new();
        drain(&mut consumer, &mut seen);
        let tallies = [(0, zero), (1, one.join().unwrap()), (2, two.join().unwrap())];
        drain(&mut consumer, &mut seen);
        settle(&queue, &consumer, &seen, &tallies);
    });
}

/// One cell, used again and again: the producer may write to it only after the consumer has read it, and the consumer
/// may not take an old mark for a new one.
#[test]
fn a_cell_is_used_again() {
    check(5, || {
        let (queue, mut consumer) = queue(1, 1);
        let one = spawn(&queue, 1, 0, 3);
        let mut seen = Vec::new();
        for _ in 0..3 {
            drain(&mut consumer, &mut seen);
        }
        let tallies = [(1, one.join().unwrap())];
        drain(&mut consumer, &mut seen);
        settle(&queue, &consumer, &seen, &tallies);
    });
}

/// The same with two producers of one line that lies across the ring's end, where the copy is in two parts.
#[test]
fn wrapped_cells_are_used_again() {
    check(3, || {
        let queue = Arc::new(Queue::new(Layout { shards: 1, cells: 2 }, 128).unwrap());
        let mut consumer = Consumer::new(Arc::clone(&queue));
        let mut seen = Vec::new();
        produce(&queue, 0, 0, 1);
        drain(&mut consumer, &mut seen);
        let threads: Vec<_> = [1u8, 2]
            .map(|name| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.push_from(&mut queue.affinity(0), None, &[name; 65]).is_ok())
            })
            .into_iter()
            .collect();
        let mut taken = 0;
        let mut take = |consumer: &mut Consumer| {
            consumer.look();
            consumer.drain(&mut |line| {
                assert!(line.text == [1; 65] || line.text == [2; 65], "a torn line: {:?}", line.text);
                taken += 1;
                Visit::Taken
            });
        };
        take(&mut consumer);
        take(&mut consumer);
        let accepted = threads.into_iter().map(|thread| thread.join().unwrap()).filter(|accepted| *accepted).count();
        take(&mut consumer);
        assert_eq!(taken, accepted);
    });
}

/// A thread that finds no room for a long line has seen a new head; what it leaves of that to another, whose line is short,
/// must be as good as having seen it.
#[test]
fn the_head_that_another_thread_found() {
    check(3, || {
        let queue = Arc::new(Queue::new(Layout { shards: 1, cells: 2 }, 112).unwrap());
        let mut consumer = Consumer::new(Arc::clone(&queue));
        produce(&queue, 0, 0, 2);
        let threads = [80, 2].map(|length| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push_from(&mut queue.affinity(0), None, &vec![7; length]).is_ok())
        });
        let mut taken = 0;
        let mut take = |consumer: &mut Consumer, room: usize| {
            consumer.look();
            consumer.drain(&mut |_| {
                if taken == room {
                    return Visit::Stop;
                }
                taken += 1;
                Visit::Taken
            });
        };
        take(&mut consumer, 1);
        let accepted = threads.into_iter().map(|thread| thread.join().unwrap()).filter(|accepted| *accepted).count();
        take(&mut consumer, usize::MAX);
        assert_eq!(taken, 2 + accepted);
    });
}

/// A line is pushed wholly or not at all when the queue is closed under it; after that nothing goes in.
#[test]
fn close_against_push() {
    check(3, || {
        let (queue, mut consumer) = queue(2, 1);
        let (one, two) = (spawn(&queue, 1, 0, 2), spawn(&queue, 2, 1, 1));
        queue.close();
        assert_eq!(queue.push_from(&mut queue.affinity(0), None, b"ab"), Err(PushError::Closed));
        assert_eq!(queue.push_from(&mut queue.affinity(1), None, &[0; 99]), Err(PushError::Closed));
        let mut seen = Vec::new();
        drain(&mut consumer, &mut seen);
        // What was claimed by now is all there will ever be.
        let claimed = seen.len() as u64 + consumer.unfinished();
        let tallies = [(1, one.join().unwrap()), (2, two.join().unwrap())];
        drain(&mut consumer, &mut seen);
        assert_eq!((seen.len() as u64, consumer.unfinished()), (claimed, 0));
        settle(&queue, &consumer, &seen, &tallies);
        let closed: u64 = tallies.iter().map(|(_, tally)| tally.closed).sum();
        let all: u64 = tallies.iter().map(|(_, tally)| tally.accepted.len() as u64 + tally.full).sum();
        assert_eq!(all + closed, 3, "a line was neither taken nor refused");
    });
}

/// A reader of the counters beside everything else: no term is ever larger than the total that contains it.
#[test]
fn counters_while_lines_move() {
    check(3, || {
        let (queue, mut consumer) = queue(1, 1);
        let pusher = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let tally = produce(&queue, 1, 0, 2);
                assert_eq!(queue.push_from(&mut queue.affinity(0), None, &[0; 99]), Err(PushError::TooLong));
                tally
            })
        };
        let taken = Arc::new(AtomicU64::new(0));
        let reader = {
            let (queue, taken) = (Arc::clone(&queue), Arc::clone(&taken));
            thread::spawn(move || {
                let taken = taken.load(Ordering::Acquire);
                let pushed = queue.pushed(&[taken]);
                assert!(pushed.waiting <= 2, "{pushed:?}: more waits than was pushed");
                assert!(
                    pushed.submitted >= taken + pushed.waiting + pushed.full + pushed.too_long,
                    "{pushed:?}, {taken} taken"
                );
                assert!(pushed.submitted <= 3, "{pushed:?}");
            })
        };
        let mut seen = Vec::new();
        drain(&mut consumer, &mut seen);
        taken.store(consumer.taken()[0], Ordering::Release);
        reader.join().unwrap();
        let tally = pusher.join().unwrap();
        drain(&mut consumer, &mut seen);
        let pushed = queue.pushed(consumer.taken());
        assert_eq!((pushed.submitted, pushed.full, pushed.too_long), (3, tally.full, 1));
        assert_eq!((pushed.waiting, seen.len()), (0, tally.accepted.len()));
    });
}

/// What a thread wrote before its push is visible to whoever looks and is then given the line: a client table chosen
/// between `look` and `drain` is no older than the line. Also for lines that only a link brings in, of whatever thread.
fn no_older_than_the_line(preemptions: usize, cells: usize, seats: [u32; 2], lines: [u8; 2]) {
    check(preemptions, move || {
        let (queue, mut consumer) = queue(2, cells);
        let tables = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let threads = [0, 1].map(|name| {
            let (queue, tables) = (Arc::clone(&queue), Arc::clone(&tables));
            thread::spawn(move || {
                tables[name].store(1, Ordering::Relaxed);
                produce(&queue, name as u8, seats[name], lines[name]);
            })
        });
        consumer.look();
        let chosen = [0, 1].map(|name| tables[name].load(Ordering::Relaxed));
        consumer.drain(&mut |line| {
            assert_eq!(chosen[usize::from(line.text[0])], 1, "a line from after the table was chosen");
            Visit::Taken
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn the_world_is_no_older_than_a_linked_line() {
    no_older_than_the_line(3, 1, [0, 1], [2, 1]);
}

#[test]
fn the_world_is_no_older_than_another_s_line_before_a_link() {
    no_older_than_the_line(3, 2, [0, 0], [2, 1]);
}

/// A visitor without room leaves the rest for the next drain.
#[test]
fn a_stopped_drain_loses_nothing() {
    check(3, || {
        let (queue, mut consumer) = queue(2, 2);
        let (one, two) = (spawn(&queue, 1, 0, 2), spawn(&queue, 2, 0, 1));
        let mut seen = Vec::new();
        for room in [0, 1] {
            let full = seen.len() + room;
            consumer.look();
            consumer.drain(&mut |line| {
                if seen.len() == full {
                    return Visit::Stop;
                }
                seen.push((line.text[0], line.text[1]));
                Visit::Taken
            });
        }
        let tallies = [(1, one.join().unwrap()), (2, two.join().unwrap())];
        drain(&mut consumer, &mut seen);
        settle(&queue, &consumer, &seen, &tallies);
    });
}
