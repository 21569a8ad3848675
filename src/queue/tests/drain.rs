//! What a drain takes, what it steps over, and where it stops.

use super::*;

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
