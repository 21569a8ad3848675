//! Many threads at once.

use super::*;

fn storm(threads: usize, lines: usize, shards: usize, cells: usize, max_line: usize) {
    seated_storm(|_| true, threads, lines, shards, cells, max_line);
}

/// `threads` threads push `lines` lines each while one consumer drains, and one reader adds up the counters. Half of the
/// threads try the usual way first, as hosts do.
fn seated_storm(
    is_seated: impl Fn(usize) -> bool,
    threads: usize,
    lines: usize,
    shards: usize,
    cells: usize,
    max_line: usize,
) {
    let queue = Arc::new(Queue::new(Layout { shards, cells }, max_line).unwrap());
    let all = Arc::new(Barrier::new(threads));
    let mut consumer = Consumer::new(Arc::clone(&queue));
    let taken = Arc::new(Mutex::new(consumer.taken().to_vec()));
    let over = Arc::new(AtomicBool::new(false));

    let producers: Vec<_> = (0..threads)
        .map(|thread| {
            let (queue, all, seated) = (Arc::clone(&queue), Arc::clone(&all), is_seated(thread));
            thread::spawn(move || {
                let seats = queue.seats();
                if seated {
                    assert!(seats.seats_it(queue.id));
                }
                all.wait();
                if !seated {
                    seats.crowd_out();
                    assert!(!seats.seats_it(queue.id));
                }
                let mut full = 0;
                for sequence in 0..lines {
                    let (client, text) = numbered(thread, sequence, max_line);
                    loop {
                        // SAFETY: a line as long as it says.
                        let usual = thread / 2 % 2 == 0
                            && unsafe {
                                Queue::push_home(&seats, client.as_deref(), text.as_ptr(), text.len(), |_| true)
                            };
                        if usual {
                            break;
                        }
                        match queue.push(client.as_deref(), &text) {
                            Ok(()) => break,
                            Err(PushError::Full) => full += 1,
                            Err(why) => panic!("{why:?}"),
                        }
                        thread::yield_now();
                    }
                    if sequence % 64 == 0 {
                        thread::yield_now();
                    }
                }
                full
            })
        })
        .collect();

    let reader = {
        let (queue, taken, over) = (Arc::clone(&queue), Arc::clone(&taken), Arc::clone(&over));
        thread::spawn(move || {
            let mut last = Pushed::default();
            while !over.load(Ordering::Relaxed) {
                let taken = taken.lock().unwrap().clone();
                let pushed = queue.pushed(&taken);
                let sum: u64 = taken.iter().sum();
                assert!(
                    pushed.submitted >= sum + pushed.waiting + pushed.full + pushed.too_long,
                    "{pushed:?}, {taken:?}"
                );
                // No more can have been taken meanwhile than was pushed in all.
                assert!(pushed.waiting <= (threads * lines) as u64, "{pushed:?}");
                assert!(pushed.submitted >= last.submitted && pushed.full >= last.full, "{pushed:?} after {last:?}");
                last = pushed;
                thread::yield_now();
            }
        })
    };

    let mut next = vec![0; threads];
    let mut random = Random::new(threads as u64);
    let mut left = threads * lines;
    while left > 0 {
        let room = if random.one_in(3) { random.below(20) } else { usize::MAX };
        let mut visited = 0;
        consumer.look();
        let drain = consumer.drain(&mut |line| {
            let (thread, sequence) = number_of(line);
            assert_eq!(sequence, next[thread], "the order of thread {thread}");
            assert_eq!(own(line), numbered(thread, sequence, max_line));
            if visited == room {
                return Visit::Stop;
            }
            visited += 1;
            next[thread] += 1;
            Visit::Taken
        });
        assert_eq!((drain.lines, drain.stopped), (visited as u64, visited == room && drain.stopped));
        left -= visited;
        taken.lock().unwrap().copy_from_slice(consumer.taken());
        if visited == 0 {
            thread::yield_now();
        }
    }
    let full: u64 = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
    over.store(true, Ordering::Relaxed);
    reader.join().unwrap();
    consumer.look();
    assert_eq!(consumer.drain(&mut |_| panic!("one line too many")), Drain { lines: 0, stopped: false });
    let all = (threads * lines) as u64;
    assert_eq!(queue.pushed(consumer.taken()), Pushed { submitted: all + full, waiting: 0, full, too_long: 0 });
    assert!(queue.shards.iter().all(|shard| shard.used() == 0));
}

/// Rings that hold a few lines: the threads move all the time, and every ring goes round thousands of times.
#[test]
fn threads_on_tiny_rings() {
    storm(sized(8, 3), sized(20_000, 12), 3, 4, 2 * CELL_BYTES);
}

#[test]
fn threads_on_rings_of_one_line() {
    storm(sized(8, 3), sized(5_000, 10), 4, 1, 48);
}

#[test]
fn many_threads_on_tiny_rings() {
    storm(sized(64, 5), sized(2_000, 6), 5, 8, 3 * CELL_BYTES);
}

#[test]
fn threads_with_a_shard_for_each() {
    storm(sized(16, 3), sized(10_000, 8), sized(16, 4), sized(64, 16), 5 * CELL_BYTES);
}

#[test]
fn every_other_thread_without_a_seat() {
    seated_storm(|thread| thread % 2 == 0, sized(16, 4), sized(5_000, 10), 3, 4, 2 * CELL_BYTES);
}

#[test]
fn threads_in_one_shard() {
    storm(sized(16, 3), sized(5_000, 10), 1, 16, 3 * CELL_BYTES);
}

/// A line is refused as full only for want of room, not because other threads were pushing, or the consumer was giving
/// cells back, at the same moment.
#[test]
fn contention_refuses_no_line_while_there_is_room() {
    for shards in [1, 1, 2, 3] {
        let (threads, lines) = (sized(16, 3), sized(4_000, 20));
        let cells = (threads * lines).next_power_of_two();
        let queue = Arc::new(Queue::new(Layout { shards, cells }, 40).unwrap());
        let mut consumer = Consumer::new(Arc::clone(&queue));
        let producers: Vec<_> = (0..threads)
            .map(|_| {
                let queue = Arc::clone(&queue);
                thread::spawn(move || (0..lines).filter(|_| queue.push(None, b"line").is_err()).count())
            })
            .collect();
        let mut drain = |taken: &mut usize| {
            consumer.look();
            *taken += consumer.drain(&mut |_| Visit::Taken).lines as usize;
        };
        let mut taken = 0;
        while !producers.iter().all(thread::JoinHandle::is_finished) {
            drain(&mut taken);
            thread::yield_now();
        }
        let refused: usize = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
        assert_eq!(refused, 0, "of {} lines, with {shards} shards", threads * lines);
        drain(&mut taken);
        assert_eq!(taken, threads * lines);
    }
}
