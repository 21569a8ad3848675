//! Threads that move from shard to shard, or use several queues.

use super::*;

/// The consumer comes to the lower shard first, so that a thread moving downwards is seen out of order without a link.
#[test]
fn a_thread_that_moves_is_seen_in_order() {
    let mut bench = Bench::new(4, 16);
    let mut affinity = bench.thread(3);
    let shards = [3, 2, 2, 3, 1, 0, 3, 0, 2, 1, 1, 0, 3];
    let lines: Vec<_> = (0..shards.len()).map(|line| format!("{line}")).collect();
    for (line, shard) in lines.iter().zip(shards) {
        bench.push_to(shard, &mut affinity, None, line.as_bytes());
    }
    assert_eq!(bench.drain_texts(), lines);
}

#[test]
fn a_thread_going_round_and_round_is_seen_in_order() {
    for shards in [2, 3, 7, sized(64, 8)] {
        for step in [1, shards - 1] {
            let mut bench = Bench::new(shards, 8);
            let mut affinity = bench.thread(0);
            let lines: Vec<_> = (0..7 * shards).map(|line| format!("{line}")).collect();
            for (number, line) in lines.iter().enumerate() {
                bench.push_to(number * step % shards, &mut affinity, None, line.as_bytes());
            }
            assert_eq!(bench.drain_texts(), lines);
            assert_eq!(bench.used(), vec![0; shards]);
        }
    }
}

/// Two threads that cross: each one's link leads into the other's shard, behind the line that the other came from.
#[test]
fn links_that_cross_are_no_circle() {
    let mut bench = Bench::new(2, 32);
    let (mut one, mut two) = (bench.thread(0), bench.thread(1));
    let mut expected = [Vec::new(), Vec::new()];
    for line in 0..20 {
        for (name, affinity) in [&mut one, &mut two].into_iter().enumerate() {
            let text = format!("{name}{line}");
            bench.push_to((line + name) % 2, affinity, None, text.as_bytes());
            expected[name].push(text);
        }
    }
    let lines = bench.drain_texts();
    assert_eq!(lines.len(), 40);
    for (name, expected) in ["0", "1"].into_iter().zip(expected) {
        assert_eq!(lines.iter().filter(|line| line.starts_with(name)).cloned().collect::<Vec<_>>(), expected);
    }
}

/// The thread's old line was a gap when the consumer came by, and other gaps lie around it that stay.
#[test]
fn a_thread_that_moves_from_among_gaps_is_seen_in_order() {
    for down in [false, true] {
        let (old, new) = if down { (1, 0) } else { (0, 1) };
        let mut bench = Bench::new(2, 32);
        let mut affinity = bench.thread(0);
        let first = bench.stall(old, &mut bench.thread(0), b"never 1");
        bench.push_to(old, &mut affinity, None, b"0");
        let second = bench.stall(old, &mut bench.thread(0), b"never 2");
        let half = bench.stall(old, &mut affinity, b"1");
        let third = bench.stall(old, &mut bench.thread(0), b"never 3");
        assert_eq!(bench.drain_texts(), ["0"]);
        bench.finish(half);
        bench.push_to(new, &mut affinity, None, b"2");
        bench.push_to(new, &mut affinity, None, b"3");
        bench.push_to(old, &mut affinity, None, b"4");
        assert_eq!(bench.drain_texts(), ["1", "2", "3", "4"]);
        for half in [third, first, second] {
            bench.finish(half);
        }
        assert_eq!(bench.drain_texts(), ["never 1", "never 2", "never 3"]);
        assert_eq!(bench.used(), [0, 0]);
    }
}

/// A linked line that was itself a gap brings its link along when it is done.
#[test]
fn a_gap_may_hide_a_link() {
    let mut bench = Bench::new(2, 16);
    let mut affinity = bench.thread(1);
    let stalled = bench.stall(1, &mut bench.thread(0), b"other");
    bench.push_to(1, &mut affinity, None, b"0");
    let half = bench.stall(0, &mut affinity, b"1");
    assert_eq!(bench.drain_texts(), ["0"]);
    bench.finish(half);
    bench.push_to(1, &mut affinity, None, b"2");
    bench.finish(stalled);
    let lines = bench.drain_texts();
    let own: Vec<_> = lines.iter().filter(|line| *line != "other").collect();
    assert_eq!(own, ["1", "2"]);
    assert_eq!(lines.len(), 3);
}

/// A thread that stands still for long in the middle of a push has a link to a place that was drained, and used again, since.
#[test]
fn stale_links_ask_for_nothing() {
    for (old, new, expected) in [(0, 1, ["busy", "awake"]), (1, 0, ["awake", "busy"])] {
        let mut bench = Bench::new(3, 4);
        for laps in 0..sized(40, 6) {
            let mut sleeper = bench.thread(0);
            bench.push_to(old, &mut sleeper, None, b"asleep");
            assert_eq!(bench.drain_texts(), ["asleep"]);
            let half = bench.stall(new, &mut sleeper, b"awake");
            let mut busy = bench.thread(0);
            for _ in 0..laps {
                bench.push_to(old, &mut busy, None, b"busy");
                assert_eq!(bench.drain_texts(), ["busy"]);
            }
            // What lies in the old shard now is behind the link: it comes in its turn.
            bench.push_to(old, &mut busy, None, b"busy");
            bench.finish(half);
            assert_eq!(bench.drain_texts(), expected);
            assert_eq!(bench.used(), [0, 0, 0]);
        }
    }
}

/// A thread with a seat in each of several queues, and one that goes by its thread-local in all.
fn several(queues: usize, shards: usize, cells: usize) -> [Vec<Bench>; 2] {
    [true, false].map(|seated| {
        let benches: Vec<_> = (0..queues).map(|_| Bench::with_max_line(shards, cells, 40)).collect();
        for bench in &benches {
            if !seated {
                bench.queue.seats.crowd_out();
            }
            assert_eq!(bench.queue.seats.seats_it(bench.queue.id), seated);
        }
        benches
    })
}

#[test]
fn a_thread_keeps_its_order_in_several_queues() {
    several(8, 2, 2).into_iter().for_each(keeps_its_order);
}

fn keeps_its_order(mut benches: Vec<Bench>) {
    for round in 0..sized(50, 2) {
        let lines: Vec<_> = (0..4).map(|line| format!("{round} {line}")).collect();
        // Another thread's lines fill the lower shard, so that the first two go to the upper one; then they make way,
        // so that the others go to the lower one, where the consumer comes first.
        for bench in &benches {
            let mut other = bench.thread(0);
            for _ in 0..2 {
                bench.push_to(0, &mut other, None, b"other");
            }
        }
        for line in &lines[..2] {
            for bench in &benches {
                bench.queue.push(None, line.as_bytes()).unwrap();
            }
        }
        for bench in &mut benches {
            bench.consumer.look();
            let visit = &mut |line: Line<'_>| if line.text == b"other" { Visit::Taken } else { Visit::Stop };
            assert_eq!(bench.consumer.drain(visit), Drain { lines: 2, stopped: true });
        }
        for line in &lines[2..] {
            for bench in &benches {
                bench.queue.push(None, line.as_bytes()).unwrap();
            }
        }
        for bench in &mut benches {
            assert_eq!(bench.drain_texts(), lines);
        }
    }
}

#[test]
fn a_ninth_queue_loses_no_line() {
    several(12, 3, 4).into_iter().for_each(loses_no_line);
}

fn loses_no_line(mut benches: Vec<Bench>) {
    for round in 0..5 {
        for bench in &benches {
            bench.queue.push(Some(b"c83"), format!("{round}").as_bytes()).unwrap();
        }
    }
    for bench in &mut benches {
        let mut lines = bench.drain();
        lines.sort();
        let expected: Vec<_> = (0..5).map(|round| (Some(b"c83".to_vec()), format!("{round}").into_bytes())).collect();
        assert_eq!(lines, expected);
    }
}
