//! The queue against what it promises. They run under miri and the thread sanitizer too (`tests/models/run`), and are
//! smaller there.

use super::shard::{Claim, Stalled, LINK_BYTES};
use super::*;
use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread;

/// `full` where a step costs nanoseconds, `miri` where it costs microseconds.
const fn sized(full: usize, miri: usize) -> usize {
    if cfg!(miri) {
        miri
    } else {
        full
    }
}

/// xorshift64*: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random((seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }
}

/// Bytes that tell their place: whatever is cut, shifted or torn differs.
fn filler(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|at| (seed.wrapping_mul(31) + at * 7 + at / 64) as u8).collect()
}

type Owned = (Option<Vec<u8>>, Vec<u8>);

fn own(line: Line<'_>) -> Owned {
    (line.client.map(<[u8]>::to_vec), line.text.to_vec())
}

/// A queue with its consumer, and threads that exist only as their affinities.
struct Bench {
    queue: Arc<Queue>,
    consumer: Consumer,
}

impl Bench {
    /// With the longest line that its rings can hold.
    fn new(shards: usize, cells: usize) -> Bench {
        Bench::with_max_line(shards, cells, cells * CELL_BYTES - LINK_BYTES)
    }

    fn with_max_line(shards: usize, cells: usize, max_line: usize) -> Bench {
        let queue = Arc::new(Queue::new(Layout { shards, cells }, max_line).unwrap());
        Bench { consumer: Consumer::new(Arc::clone(&queue)), queue }
    }

    /// A queue through which `lines` lines went already, in each shard, up to cell `position`.
    fn beginning_at(mut self, position: u64, lines: u64) -> Bench {
        self.queue.shards.iter().for_each(|shard| shard.begin_at(position, lines));
        self.consumer.begin_at(position, lines);
        self
    }

    fn thread(&self, seat: u32) -> Affinity {
        self.queue.affinity(seat)
    }

    fn push(&self, affinity: &mut Affinity, line: &[u8]) -> Result<(), PushError> {
        self.queue.push_from(affinity, None, line)
    }

    /// Pushes to a shard of our choice, as a thread that finds the ones before it full.
    fn push_to(&self, shard: usize, affinity: &mut Affinity, client: Option<&[u8]>, line: &[u8]) {
        match self.queue.shards[shard].push(client, line, affinity.link_for(shard)) {
            Claim::Done(end) => affinity.moved_to(&self.queue.shards, shard, end),
            Claim::Full | Claim::Contended | Claim::Closed => panic!("no room in shard {shard}"),
        }
    }

    /// A push that stands still with its line claimed.
    fn stall(&self, shard: usize, affinity: &mut Affinity, line: &[u8]) -> Half {
        let claimed = self.queue.shards[shard].claim_only(line, affinity.link_for(shard));
        let (stalled, end) = claimed.ok().unwrap_or_else(|| panic!("no room in shard {shard}"));
        affinity.moved_to(&self.queue.shards, shard, end);
        Half { shard, stalled }
    }

    fn finish(&self, half: Half) {
        self.queue.shards[half.shard].finish(half.stalled);
    }

    fn drain(&mut self) -> Vec<Owned> {
        let mut lines = Vec::new();
        self.consumer.look();
        let drain = self.consumer.drain(&mut |line| {
            lines.push(own(line));
            Visit::Taken
        });
        assert_eq!(drain, Drain { lines: lines.len() as u64, stopped: false });
        lines
    }

    /// The texts of lines without a client.
    fn drain_texts(&mut self) -> Vec<String> {
        self.drain().into_iter().map(|(_, text)| String::from_utf8(text).unwrap()).collect()
    }

    fn used(&self) -> Vec<usize> {
        self.queue.shards.iter().map(Shard::used).collect()
    }

    fn pushed(&self) -> Pushed {
        self.queue.pushed(self.consumer.taken())
    }
}

struct Half {
    shard: usize,
    stalled: Stalled,
}

/// All orders of `0..count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut orders = vec![vec![]];
    for next in 0..count {
        orders = orders
            .iter()
            .flat_map(|order: &Vec<usize>| {
                (0..=order.len()).map(move |at| {
                    let mut longer = order.clone();
                    longer.insert(at, next);
                    longer
                })
            })
            .collect();
    }
    orders
}

// ---- One line

#[test]
fn every_length_comes_out_as_it_went_in() {
    let clients = [None, Some(0), Some(1), Some(64), Some(128), Some(129), Some(130), Some(200)];
    // Alternating between two shards, every line but the first has a link; staying in one, none has.
    for shards in [1, 2] {
        let mut bench = Bench::new(2, 16);
        let mut affinity = bench.thread(0);
        let mut pushes = 0;
        for length in (0..=5 * CELL_BYTES + 3).step_by(sized(1, 71)) {
            for client in clients {
                let client = client.map(|length| filler(length, length));
                let text = filler(length, length);
                bench.push_to(pushes % shards, &mut affinity, client.as_deref(), &text);
                // One byte more than an id may have, so that a cut id is never a valid one.
                let kept = client.map(|id| id[..id.len().min(128 + 1)].to_vec());
                assert_eq!(bench.drain(), [(kept, text)], "length {length}");
                assert_eq!(bench.used(), [0, 0]);
                pushes += 1;
            }
        }
        assert_eq!(bench.pushed(), Pushed { submitted: pushes as u64, ..Pushed::default() });
    }
}

#[test]
fn lines_wrap_at_the_end_of_the_ring() {
    let cells = 4;
    for start in 0..cells as u64 {
        for length in (0..=cells * CELL_BYTES).step_by(sized(1, 51)) {
            for linked in [false, true] {
                if linked && length + LINK_BYTES > cells * CELL_BYTES {
                    continue;
                }
                let mut bench = Bench::with_max_line(2, cells, cells * CELL_BYTES).beginning_at(start, 0);
                let mut affinity = bench.thread(0);
                let mut expected = Vec::new();
                if linked {
                    bench.push_to(0, &mut affinity, None, b"before");
                    expected.push((None, b"before".to_vec()));
                }
                let (client, text) =
                    (filler(3, (length / 2).min(CLIENT_KEPT)), filler(length, length - (length / 2).min(CLIENT_KEPT)));
                bench.push_to(1, &mut affinity, Some(&client), &text);
                expected.push((Some(client), text));
                assert_eq!(bench.drain(), expected, "{length} bytes from cell {start}");
            }
        }
    }
}

#[test]
fn the_longest_line_fits_and_one_byte_more_does_not() {
    for max_line in [1, 2, 47, 48, 49, 63, 64, 65, 112, 200, 300] {
        let layout = Layout::new(Layout::least_bytes(max_line), max_line, 1).unwrap();
        let queue = Arc::new(Queue::new(layout, max_line).unwrap());
        let mut bench = Bench { consumer: Consumer::new(Arc::clone(&queue)), queue };
        let mut affinity = bench.thread(0);
        let (fits, too_long) = (filler(1, max_line), filler(1, max_line + 1));
        assert_eq!(bench.push(&mut affinity, &too_long), Err(PushError::TooLong));
        assert_eq!(bench.push(&mut affinity, &fits), Ok(()));
        assert_eq!(bench.drain(), [(None, fits.clone())]);

        // A client given apart counts with the space that would follow it, and before it is cut.
        let (client, text) = fits.split_at(max_line / 2);
        let text = &text[1..];
        assert_eq!(bench.queue.push_from(&mut affinity, Some(client), text), Ok(()));
        let kept = &client[..client.len().min(CLIENT_KEPT)];
        assert_eq!(bench.drain(), [(Some(kept.to_vec()), text.to_vec())]);
        let longer = filler(2, text.len() + 1);
        assert_eq!(bench.queue.push_from(&mut affinity, Some(client), &longer), Err(PushError::TooLong));
        assert_eq!(bench.queue.push_from(&mut affinity, Some(&too_long), b""), Err(PushError::TooLong));
        assert_eq!(bench.pushed(), Pushed { submitted: 5, too_long: 3, ..Pushed::default() });
    }
}

#[test]
fn the_longest_line_fits_with_a_link() {
    for max_line in [48, 112, 200] {
        let least = Layout::least_bytes(max_line);
        let layout = Layout::new(2 * least, max_line, 2).unwrap();
        let queue = Arc::new(Queue::new(layout, max_line).unwrap());
        let mut bench = Bench { consumer: Consumer::new(Arc::clone(&queue)), queue };
        let mut affinity = bench.thread(0);
        let line = filler(9, max_line);
        assert_eq!(layout.shards, 2);
        for _ in 0..2 {
            // The first fills its shard so far that the second has to move.
            assert_eq!(bench.push(&mut affinity, &line), Ok(()));
        }
        assert_eq!(bench.push(&mut affinity, &line), Err(PushError::Full));
        assert_eq!(bench.drain(), [(None, line.clone()), (None, line)]);
    }
}

// ---- Full, closed, counted

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

// ---- The layout

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
    assert_eq!(Layout::new(usize::MAX, 1 << 20, 1).map(|layout| layout.cells), Some(1 << 22));
    // The contract's defaults, with a shard for each of 16 processors.
    let layout = Layout::new(32 << 20, 16 << 10, 16).unwrap();
    assert!(layout.shards >= 16 && layout.cells >= 512, "{layout:?}");
}

// ---- The visitor

#[test]
fn a_visitor_that_stops_gets_the_line_again() {
    for linked in [false, true] {
        let mut bench = Bench::new(2, 16);
        let mut affinity = bench.thread(0);
        let lines: Vec<_> = (0..10).map(|line| format!("line {line}")).collect();
        for (number, line) in lines.iter().enumerate() {
            let shard = if linked { 1 - number % 2 } else { 0 };
            bench.push_to(shard, &mut affinity, None, line.as_bytes());
        }
        let mut seen = Vec::new();
        for room in (0..4).cycle() {
            let before = seen.len();
            bench.consumer.look();
            let drain = bench.consumer.drain(&mut |line| {
                assert_eq!(line.text, lines[seen.len()].as_bytes());
                if seen.len() == before + room {
                    return Visit::Stop;
                }
                seen.push(own(line));
                Visit::Taken
            });
            assert_eq!(drain.lines, (seen.len() - before) as u64);
            assert_eq!(drain.stopped, seen.len() < lines.len());
            assert_eq!(bench.pushed(), Pushed { submitted: 10, waiting: 10 - seen.len() as u64, ..Pushed::default() });
            if !drain.stopped {
                break;
            }
        }
        assert_eq!(bench.used(), [0, 0]);
    }
}

#[test]
fn a_drain_goes_no_further_than_the_look() {
    let mut bench = Bench::new(2, 8);
    let mut affinity = bench.thread(0);
    bench.push_to(1, &mut affinity, None, b"1");
    bench.consumer.look();
    bench.push_to(1, &mut affinity, None, b"2");
    bench.push_to(0, &mut affinity, None, b"3");
    let queue = Arc::clone(&bench.queue);
    let mut seen = Vec::new();
    bench.consumer.drain(&mut |line| {
        // A thread pushes while the visitor is at work.
        queue.push_from(&mut queue.affinity(0), None, b"4").unwrap();
        seen.push(line.text.to_vec());
        Visit::Taken
    });
    assert_eq!(seen, [b"1"]);
    assert_eq!(
        bench.consumer.drain(&mut |_| panic!("without a look there is nothing new")),
        Drain { lines: 0, stopped: false }
    );
    let rest = bench.drain_texts();
    assert_eq!(rest, ["2", "3", "4"]);
}

#[test]
fn cells_are_given_back_while_a_long_drain_goes_on() {
    let cells = sized(2048, 1024);
    let mut bench = Bench::new(1, cells);
    let mut affinity = bench.thread(0);
    for _ in 0..cells {
        bench.push(&mut affinity, b"line").unwrap();
    }
    bench.consumer.look();
    let queue = Arc::clone(&bench.queue);
    let (mut visited, mut again) = (0, 0);
    bench.consumer.drain(&mut |_| {
        visited += 1;
        if visited == 1 {
            assert_eq!(queue.push_from(&mut affinity, None, b"more"), Err(PushError::Full));
        } else if visited > cells / 2 {
            again += usize::from(queue.push_from(&mut affinity, None, b"more").is_ok());
        }
        Visit::Taken
    });
    assert_eq!(visited, cells);
    assert!(again > cells / 4, "{again}");
    assert_eq!(bench.drain().len(), again);
}

// ---- Threads that stand still between claim and mark

#[test]
fn a_stalled_claim_hides_its_own_line_only() {
    let mut bench = Bench::new(2, 16);
    let (mut stalled, mut before, mut behind) = (bench.thread(0), bench.thread(0), bench.thread(0));
    bench.push_to(0, &mut stalled, None, b"s0");
    bench.push_to(0, &mut before, None, b"a0");
    let half = bench.stall(0, &mut stalled, &filler(1, 3 * CELL_BYTES));
    for line in 1..4 {
        bench.push_to(0, &mut before, None, format!("a{line}").as_bytes());
        bench.push_to(0, &mut behind, None, format!("b{line}").as_bytes());
    }
    bench.push_to(1, &mut behind, None, b"b4");
    assert_eq!(bench.drain_texts(), ["s0", "a0", "a1", "b1", "a2", "b2", "a3", "b3", "b4"]);
    assert_eq!(bench.pushed().waiting, 1);
    // Its cells and all behind them stay occupied.
    assert_eq!(bench.used(), [9, 0]);
    bench.push_to(0, &mut before, None, b"a4");
    assert_eq!(bench.drain_texts(), ["a4"]);
    bench.finish(half);
    assert_eq!(bench.drain(), [(None, filler(1, 3 * CELL_BYTES))]);
    assert_eq!(bench.used(), [0, 0]);
    bench.push_to(0, &mut stalled, None, b"s2");
    assert_eq!(bench.drain_texts(), ["s2"]);
}

/// Several claims side by side, of one to three cells, ended in every order, from every place in the ring.
#[test]
fn adjacent_stalled_claims_end_in_every_order() {
    let (count, cells) = (sized(4, 3), 16);
    for start in (0..cells).step_by(sized(1, 13)) {
        for order in orders(count) {
            for drain_between in [true, false] {
                let mut bench = Bench::new(1, cells).beginning_at(start as u64, 0);
                let mut halves: Vec<_> = (0..count)
                    .map(|number| {
                        let text = filler(number, number % 3 * CELL_BYTES + 5);
                        Some((bench.stall(0, &mut bench.thread(0), &text), (None, text)))
                    })
                    .collect();
                let mut other = bench.thread(0);
                bench.push_to(0, &mut other, None, b"behind");
                assert_eq!(bench.drain_texts(), ["behind"]);
                let occupied = bench.used()[0];
                let mut lines: Vec<Option<Owned>> = vec![None; count];
                for &number in &order {
                    let (half, line) = halves[number].take().unwrap();
                    bench.finish(half);
                    if drain_between {
                        assert_eq!(bench.drain(), [line], "{order:?} from {start}");
                        if halves[0].is_some() {
                            assert_eq!(bench.used(), [occupied], "the first claim holds all behind it");
                        }
                    } else {
                        lines[number] = Some(line);
                    }
                }
                let expected: Vec<_> = lines.into_iter().flatten().collect();
                assert_eq!(bench.drain(), expected, "{order:?} from {start}");
                assert_eq!(bench.used(), [0]);
                // The ring is whole again.
                for _ in 0..cells {
                    bench.push(&mut other, b"x").unwrap();
                }
                assert_eq!(bench.drain().len(), cells);
            }
        }
    }
}

#[test]
fn a_visitor_that_stops_in_a_gap_gets_the_line_again() {
    let mut bench = Bench::new(1, 16);
    let halves: Vec<_> = ["0", "1", "2"].map(|text| bench.stall(0, &mut bench.thread(0), text.as_bytes())).into();
    let mut other = bench.thread(0);
    bench.push_to(0, &mut other, None, b"3");
    assert_eq!(bench.drain_texts(), ["3"]);
    bench.push_to(0, &mut other, None, b"4");
    for half in halves.into_iter().rev() {
        bench.finish(half);
    }
    for expected in ["0", "1", "2", "4"] {
        bench.consumer.look();
        let mut taken = false;
        let drain = bench.consumer.drain(&mut |line| {
            if taken {
                return Visit::Stop;
            }
            assert_eq!(line.text, expected.as_bytes());
            taken = true;
            Visit::Taken
        });
        assert_eq!(drain, Drain { lines: 1, stopped: expected != "4" });
    }
    assert_eq!(bench.used(), [0]);
}

#[test]
fn a_claim_that_never_ends_fills_its_shard_and_no_other() {
    let cells = 8;
    let mut bench = Bench::new(2, cells);
    let half = bench.stall(0, &mut bench.thread(0), b"stalled");
    let mut affinity = bench.thread(0);
    let mut pushed = 0;
    for lap in 0..10 * cells {
        let line = format!("{lap}");
        assert_eq!(bench.push(&mut affinity, line.as_bytes()), Ok(()), "the other shard has room");
        assert_eq!(bench.drain_texts(), [line]);
        pushed += 1;
    }
    assert_eq!(bench.used(), [cells, 0]);
    assert_eq!(bench.pushed(), Pushed { submitted: pushed + 1, waiting: 1, ..Pushed::default() });
    // With the other full too, lines are refused; nothing of the stalled one's cells was touched.
    for _ in 0..cells {
        assert_eq!(bench.push(&mut affinity, b"more"), Ok(()));
    }
    assert_eq!(bench.push(&mut affinity, b"more"), Err(PushError::Full));
    bench.finish(half);
    let lines = bench.drain_texts();
    assert_eq!((lines.len(), lines[0].as_str()), (cells + 1, "stalled"));
    assert_eq!(bench.used(), [0, 0]);
    let mut fresh = bench.thread(0);
    assert_eq!(bench.push(&mut fresh, b"again"), Ok(()));
    assert_eq!(bench.used(), [1, 0]);
}

// ---- Threads that move

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

/// A thread that pauses for long carries a link to a place that was drained, and used again, since.
#[test]
fn stale_links_ask_for_nothing() {
    let mut bench = Bench::new(3, 4);
    for laps in 0..sized(40, 6) {
        let mut sleeper = bench.thread(0);
        bench.push_to(0, &mut sleeper, None, b"asleep");
        assert_eq!(bench.drain_texts(), ["asleep"]);
        let mut busy = bench.thread(0);
        for _ in 0..laps {
            bench.push_to(0, &mut busy, None, b"busy");
            assert_eq!(bench.drain_texts(), ["busy"]);
        }
        // What lies in shard 0 now is behind the link: it may come later, but must come once.
        bench.push_to(0, &mut busy, None, b"busy");
        bench.push_to(1, &mut sleeper, None, b"awake");
        assert_eq!(bench.drain_texts(), ["busy", "awake"]);
        assert_eq!(bench.used(), [0, 0, 0]);
    }
}

// ---- The threads' own memory of the queue

#[test]
fn a_thread_keeps_its_order_in_several_queues() {
    let mut benches: Vec<_> = (0..8)
        .map(|_| {
            let queue = Arc::new(Queue::new(Layout { shards: 2, cells: 2 }, 40).unwrap());
            Bench { consumer: Consumer::new(Arc::clone(&queue)), queue }
        })
        .collect();
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
    let mut benches: Vec<_> = (0..12)
        .map(|_| {
            let queue = Arc::new(Queue::new(Layout { shards: 3, cells: 4 }, 40).unwrap());
            Bench { consumer: Consumer::new(Arc::clone(&queue)), queue }
        })
        .collect();
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

// ---- Many threads

/// Lines that say who pushed them, as which of his lines, and are of varying length and shape.
fn numbered(thread: usize, sequence: usize, max: usize) -> Owned {
    let mut text = Vec::with_capacity(max);
    text.extend_from_slice(&(thread as u32).to_le_bytes());
    text.extend_from_slice(&(sequence as u32).to_le_bytes());
    let length = 8 + (thread * 37 + sequence * 53) % (max - 8 + 1);
    text.extend(filler(thread + sequence, length - 8));
    if sequence % 3 == 1 && length > 20 {
        (Some(text[8..16].to_vec()), [&text[..8], &text[17..]].concat())
    } else {
        (None, text)
    }
}

fn number_of(line: Line<'_>) -> (usize, usize) {
    let word = |at: usize| u32::from_le_bytes(line.text[at..at + 4].try_into().unwrap()) as usize;
    (word(0), word(4))
}

/// `threads` threads push `lines` lines each while one consumer drains, and one reader adds up the counters.
fn storm(threads: usize, lines: usize, shards: usize, cells: usize, max_line: usize) {
    let queue = Arc::new(Queue::new(Layout { shards, cells }, max_line).unwrap());
    let mut consumer = Consumer::new(Arc::clone(&queue));
    let taken = Arc::new(Mutex::new(consumer.taken().to_vec()));
    let over = Arc::new(AtomicBool::new(false));

    let producers: Vec<_> = (0..threads)
        .map(|thread| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || {
                let mut full = 0;
                for sequence in 0..lines {
                    let (client, text) = numbered(thread, sequence, max_line);
                    loop {
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

// ---- Random walks against a model

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
        let link = if self.threads[thread].affinity.link_for(shard).is_some() { LINK_BYTES } else { 0 };
        shard::cells_of(length + link)
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
                let link = self.threads[thread].affinity.link_for(shard);
                let room = self.used[shard] + cells <= self.cells;
                match self.queue.shards[shard].claim_only(&line.1, link) {
                    Ok((stalled, end)) => {
                        assert!(room, "shard {shard} granted {cells} cells beside {}", self.used[shard]);
                        self.threads[thread].affinity.moved_to(&self.queue.shards, shard, end);
                        self.threads[thread].half = Some(Half { shard, stalled });
                        self.note(shard, thread, cells, line, false);
                        assert_eq!(self.tails[shard], end);
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
