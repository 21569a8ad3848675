//! `tel_submit` beside its peers, in one process, in turn: A B C A B C ….
//!
//! Use: submit-bench ROUNDS. Prints JSON: for each number of threads and length of line, each peer's nanoseconds per
//! line in every round, as CPU time of the submitting threads and as wall time; for one thread also what single calls of
//! the copy and of `tel_submit` take.

mod latency;
mod peers;

use latency::Latencies;
use peers::{Crossbeam, Kafka, Lines, Memcpy, Peer, Pipe, Tel, MEMORY};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::Barrier;
use std::time::Instant;

const THREADS: [usize; 2] = [1, 4];
const LENGTHS: [usize; 3] = [100, 250, 2000];

/// Lines of a burst, all threads together: they take less than half of libtel's queue, whose unit is 64 bytes and a
/// mark of 4, so that no line is ever refused whichever way the threads share it.
fn burst_lines(length: usize) -> usize {
    MEMORY / 2 / (length.div_ceil(64) * 68)
}

/// CPU time of this thread, in nanoseconds.
fn cpu_time() -> u64 {
    #[repr(C)]
    struct Timespec {
        seconds: i64,
        nanoseconds: i64,
    }
    extern "C" {
        fn clock_gettime(clock: i32, time: *mut Timespec) -> i32;
    }
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    let mut time = Timespec { seconds: 0, nanoseconds: 0 };
    // SAFETY: room for the one result.
    unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.seconds as u64 * 1_000_000_000 + time.nanoseconds as u64
}

/// Nanoseconds per line in each round.
#[derive(Default)]
struct Series {
    cpu: Vec<f64>,
    wall: Vec<f64>,
}

/// All peers in turn, `rounds` times and once before to warm up.
fn measure(peers: &[&dyn Peer], threads: usize, length: usize, rounds: usize) -> Vec<Series> {
    let lines = Lines::new(length);
    let each = burst_lines(length) / threads;
    let per_line = |nanoseconds: u64| nanoseconds as f64 / (each * threads) as f64;
    let (begin, end) = (Barrier::new(threads + 1), Barrier::new(threads + 1));
    let current = AtomicUsize::new(0);
    let (cpu, wall) = (AtomicU64::new(0), AtomicU64::new(0));
    let mut series: Vec<Series> = peers.iter().map(|_| Series::default()).collect();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (begin, end, current, cpu, wall, lines) = (&begin, &end, &current, &cpu, &wall, &lines);
            scope.spawn(move || loop {
                begin.wait();
                let Some(peer) = peers.get(current.load(Ordering::Relaxed)) else { break };
                let (cpu_before, wall_before) = (cpu_time(), Instant::now());
                peer.burst(thread, lines, each);
                wall.fetch_add(wall_before.elapsed().as_nanos() as u64, Ordering::Relaxed);
                cpu.fetch_add(cpu_time() - cpu_before, Ordering::Relaxed);
                end.wait();
            });
        }
        for round in 0..=rounds {
            for (index, peer) in peers.iter().enumerate() {
                current.store(index, Ordering::Relaxed);
                begin.wait();
                end.wait();
                peer.settle();
                let (cpu, wall) = (cpu.swap(0, Ordering::Relaxed), wall.swap(0, Ordering::Relaxed));
                if round > 0 {
                    series[index].cpu.push(per_line(cpu));
                    series[index].wall.push(per_line(wall));
                }
            }
        }
        current.store(peers.len(), Ordering::Relaxed);
        begin.wait();
    });
    series
}

fn main() {
    let rounds = std::env::args().nth(1).and_then(|text| text.parse().ok()).expect("use: submit-bench ROUNDS");
    let mut results = Vec::new();
    for threads in THREADS {
        for length in LENGTHS {
            let (memcpy, tel, crossbeam, kafka, pipe) =
                (Memcpy::new(threads), Tel::new(), Crossbeam::new(), Kafka::new(), Pipe::new());
            let peers: [&dyn Peer; 5] = [&memcpy, &tel, &crossbeam, &kafka, &pipe];
            let measured = measure(&peers, threads, length, rounds);
            let alone = if threads == 1 {
                latency::measure(&peers[..2], length, rounds, burst_lines(length))
            } else {
                Vec::new()
            };
            let alone = alone.into_iter().map(Some).chain(std::iter::repeat_with(|| None));
            for ((peer, series), alone) in peers.iter().zip(measured).zip(alone) {
                peer.check();
                let name = peer.name();
                let Series { cpu, wall } = series;
                let alone = alone.map_or(String::new(), |Latencies { median, p999 }| {
                    format!(r#", "call_median_ns": {median:.1?}, "call_p999_ns": {p999:.1?}"#)
                });
                results.push(format!(
                    r#"{{"threads": {threads}, "bytes": {length}, "peer": "{name}", "cpu_ns": {cpu:?}, "wall_ns": {wall:?}{alone}}}"#
                ));
            }
        }
    }
    println!("[{}]", results.join(",\n "));
}
