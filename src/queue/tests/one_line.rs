//! One line: it comes out as it went in, whatever its length and place.

use super::*;

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
        let mut bench = Bench::with_layout(layout, max_line);
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
        let mut bench = Bench::with_layout(layout, max_line);
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

/// At home, where most lines are pushed: without a link, from every place in the ring, and over the wrap of positions and
/// of the count of lines.
#[test]
fn every_line_pushed_at_home_comes_out_as_it_went_in() {
    let (cells, before) = (8, 20);
    for client in [None, Some(0), Some(1), Some(CLIENT_KEPT), Some(CLIENT_KEPT + 1)] {
        let mut bench = Bench::new(2, cells).beginning_at((1 << 40) - before, (1 << 23) - before);
        let mut affinity = bench.thread(1);
        let client = client.map(|length| filler(length, length));
        let most = cells * CELL_BYTES - LINK_BYTES - client.as_ref().map_or(0, |client| client.len() + 1);
        let mut pushes = 0;
        for length in (0..=most).step_by(sized(1, 61)) {
            let text = filler(length, length);
            assert_eq!(bench.queue.push_from(&mut affinity, client.as_deref(), &text), Ok(()));
            pushes += 1;
            assert_eq!(
                bench.pushed(),
                Pushed { submitted: 2 * ((1 << 23) - before) + pushes, waiting: 1, ..Pushed::default() }
            );
            let kept = client.as_ref().map(|id| id[..id.len().min(CLIENT_KEPT)].to_vec());
            assert_eq!(bench.drain(), [(kept, text)], "length {length}");
            assert_eq!((bench.used(), affinity.shard()), (vec![0, 0], 1));
        }
        let longer = filler(0, most + 1);
        assert_eq!(bench.queue.push_from(&mut affinity, client.as_deref(), &longer), Err(PushError::TooLong));
        bench.queue.close();
        assert_eq!(bench.queue.push_from(&mut affinity, client.as_deref(), b"out"), Err(PushError::Closed));
        assert_eq!(bench.drain(), []);
    }
}
