//! How the memory is cut; full, closed, and counted.

use super::*;

#[test]
fn full_is_refused_and_counted_and_drained() {
    let mut bench = Bench::new(3, 4);
    let mut affinity = bench.thread(1);
    for round in 0..3 * sized(10, 2) as u64 {
        let lines: Vec<_> = (0..12).map(|line| format!("{round} {line}")).collect();
        for line in &lines {
            assert_eq!(bench.push(&mut affinity, line.as_bytes()), Ok(()));
        }
        assert_eq!(bench.used(), [4, 4, 4]);
        let mut other = bench.thread(2);
        assert_eq!(bench.push(&mut affinity, b"no"), Err(PushError::Full));
        assert_eq!(bench.push(&mut other, b""), Err(PushError::Full));
        let pushed = Pushed { submitted: 14 * (round + 1), waiting: 12, full: 2 * (round + 1), too_long: 0 };
        assert_eq!(bench.pushed(), pushed);
        assert_eq!(bench.drain_texts(), lines);
        assert_eq!(bench.used(), [0, 0, 0]);
        assert_eq!(bench.pushed(), Pushed { waiting: 0, ..pushed });
    }
}

#[test]
fn a_long_line_is_refused_where_a_short_one_fits() {
    let mut bench = Bench::new(2, 4);
    let mut affinity = bench.thread(0);
    let (three, two) = (filler(3, 3 * CELL_BYTES - LINK_BYTES), filler(2, 2 * CELL_BYTES - LINK_BYTES));
    assert_eq!(bench.push(&mut affinity, &three), Ok(()));
    assert_eq!(bench.push(&mut affinity, &three), Ok(()));
    assert_eq!(bench.push(&mut affinity, &two), Err(PushError::Full));
    assert_eq!(bench.push(&mut affinity, b"short"), Ok(()));
    assert_eq!(bench.push(&mut affinity, &two), Err(PushError::Full));
    assert_eq!(bench.used(), [3, 4]);
    assert_eq!(bench.drain(), [(None, three.clone()), (None, three), (None, b"short".to_vec())]);
}

#[test]
fn a_closed_queue_takes_nothing_counts_nothing_and_gives_all() {
    let mut bench = Bench::new(2, 4);
    let mut affinity = bench.thread(0);
    let mut stalled = bench.thread(1);
    assert_eq!(bench.push(&mut affinity, b"in"), Ok(()));
    let half = bench.stall(1, &mut stalled, b"late");
    bench.queue.close();
    for seat in 0..2 {
        let mut affinity = bench.thread(seat);
        assert_eq!(bench.push(&mut affinity, b"out"), Err(PushError::Closed));
        assert_eq!(bench.push(&mut affinity, &[0; 1000]), Err(PushError::Closed));
    }
    assert_eq!(bench.pushed(), Pushed { submitted: 2, waiting: 2, ..Pushed::default() });
    assert_eq!(bench.drain_texts(), ["in"]);
    assert_eq!(bench.consumer.unfinished(), 1);
    bench.queue.close();
    bench.finish(half);
    assert_eq!(bench.drain_texts(), ["late"]);
    assert_eq!(bench.consumer.unfinished(), 0);
    assert_eq!(bench.pushed(), Pushed { submitted: 2, ..Pushed::default() });
}

#[test]
fn a_full_queue_that_is_closed_says_closed() {
    let bench = Bench::new(1, 1);
    let mut affinity = bench.thread(0);
    assert_eq!(bench.push(&mut affinity, b"in"), Ok(()));
    assert_eq!(bench.push(&mut affinity, b"full"), Err(PushError::Full));
    bench.queue.close();
    assert_eq!(bench.push(&mut affinity, b"closed"), Err(PushError::Closed));
    assert_eq!(bench.pushed(), Pushed { submitted: 2, waiting: 1, full: 1, too_long: 0 });
}

/// Positions have 40 bits and the tail's line count 23; the sums are made of 64.
#[test]
fn counts_and_positions_wrap() {
    const POSITIONS: u64 = 1 << 40;
    const COUNTS: u64 = 1 << 23;
    for before in (0..8).step_by(sized(1, 5)) {
        for lines in [COUNTS - 3, 5 * COUNTS - 1, (1 << 40) + COUNTS / 2] {
            let mut bench = Bench::new(2, 8).beginning_at(POSITIONS - before, lines);
            let mut affinity = bench.thread(0);
            let mut expected = VecDeque::new();
            let mut out = Vec::new();
            let mut half = None;
            for line in 0..40 {
                if line == 6 {
                    // A gap across the wrap.
                    half = Some(bench.stall(1, &mut bench.thread(1), b"stalled"));
                }
                let text = format!("{line}{}", "-".repeat(line * 3 % 100));
                bench.push_to(line / 3 % 2, &mut affinity, None, text.as_bytes());
                expected.push_back(text);
                let waiting = expected.len() as u64 + u64::from(half.is_some());
                let total = 2 * lines + 1 + line as u64 + u64::from(line >= 6);
                assert_eq!(bench.pushed(), Pushed { submitted: total, waiting, ..Pushed::default() });
                if line % 3 == 2 {
                    out = bench.drain_texts();
                    assert_eq!(out, expected.drain(..).collect::<Vec<_>>());
                }
                if line == 10 {
                    bench.finish(half.take().unwrap());
                    assert!(bench.drain_texts().contains(&"stalled".to_owned()));
                    expected.clear();
                }
            }
            assert!(!out.is_empty());
            assert_eq!(bench.drain_texts(), Vec::from(expected));
            assert_eq!(bench.consumer.taken().iter().sum::<u64>(), 2 * lines + 41);
            assert_eq!(bench.used(), [0, 0]);
        }
    }
}

#[test]
fn a_layout_stays_within_its_bound_and_holds_the_longest_line() {
    let mut random = Random::new(0);
    for _ in 0..sized(20_000, 100) {
        let (byte_bits, line_bits) = (1 + random.below(34), 1 + random.below(20));
        let bytes = random.below(1 << byte_bits);
        let max_line = random.below(1 << line_bits);
        let wanted = random.below(300);
        let least = Layout::least_bytes(max_line);
        let told = format!("{bytes} bytes, lines of {max_line}, {wanted} shards wanted");
        let Some(layout) = Layout::new(bytes, max_line, wanted) else {
            assert!(bytes < least, "{told}: refused");
            continue;
        };
        assert!(bytes >= least, "{told}: {layout:?}");
        assert!(layout.shards * layout.cells * (CELL_BYTES + 4) <= bytes, "{told}: {layout:?}");
        assert!(layout.shards >= 1 && layout.cells.is_power_of_two() && layout.cells <= 1 << 22, "{told}: {layout:?}");
        assert!(layout.cells * CELL_BYTES >= max_line + LINK_BYTES, "{told}: {layout:?}");
        // Less than a ring is left over, and rings are no larger than they need be for the shards wanted.
        assert!(
            bytes - layout.shards * layout.cells * (CELL_BYTES + 4) < (layout.cells + 1) * (CELL_BYTES + 4),
            "{told}: {layout:?}"
        );
        let smallest = least == layout.cells * (CELL_BYTES + 4);
        assert!(layout.shards >= wanted || smallest, "{told}: {layout:?}");
        assert!(layout.shards <= 2 * wanted.max(1) || layout.cells == 1 << 22, "{told}: {layout:?}");
    }
}

#[test]
fn layouts_at_the_edges() {
    assert_eq!(Layout::least_bytes(0), 68);
    assert_eq!(Layout::least_bytes(48), 68);
    assert_eq!(Layout::least_bytes(49), 2 * 68);
    assert_eq!(Layout::new(67, 0, 1), None);
    assert_eq!(Layout::new(68, 0, 1), Some(Layout { shards: 1, cells: 1 }));
    assert_eq!(Layout::new(0, 1, 0), None);
    // A line's length has 22 bits.
    assert!(Layout::new(1 << 30, (1 << 22) - 1, 1).is_some());
    assert_eq!(Layout::new(1 << 30, 1 << 22, 1), None);
    assert_eq!(Layout::new(usize::MAX, usize::MAX, 1), None);
    assert_eq!(Layout::new(usize::MAX, 1 << 20, 1).map(|layout| layout.cells), Some(1 << 22));
    // The contract's defaults, with a shard for each of 16 processors.
    let layout = Layout::new(32 << 20, 16 << 10, 16).unwrap();
    assert!(layout.shards >= 16 && layout.cells >= 512, "{layout:?}");
}

fn pushed(queue: &Queue) -> Pushed {
    // Nothing is taken out.
    queue.pushed(&[0; 2])
}

#[test]
fn a_line_that_comes_back_is_counted_once() {
    let (cells, max_line) = (64, 1000);
    let queue = Queue::new(Layout { shards: 2, cells }, max_line).unwrap();
    let line = vec![b'x'; 900];
    let mut taken = 0;
    while queue.offer(Some(b"c"), &line).is_ok() {
        taken += 1;
    }
    assert_eq!(queue.offer(Some(b"c"), &line), Err(PushError::Full));
    assert_eq!((pushed(&queue).submitted, pushed(&queue).full), (taken, 0));
    assert_eq!(queue.push(Some(b"c"), &line), Err(PushError::Full));
    assert_eq!((pushed(&queue).submitted, pushed(&queue).full), (taken + 1, 1));
    assert_eq!(queue.offer(None, &[b'x'; 1001]), Err(PushError::TooLong));
    assert_eq!(pushed(&queue).too_long, 1);
}
