//! How long single calls take: their distribution, not their sum.
//!
//! Each call is timed by itself: the processor's time stamp counter is read before and after, fenced so that neither moves
//! into the call or out of it. What an empty timing takes in the middle is subtracted from each. Ticks become nanoseconds
//! by the system's clock over the same burst. A burst that is interrupted shows it, as a host's thread would.

use crate::peers::{Lines, Peer};
use std::hint::black_box;
use std::time::Instant;

/// Of each round, in nanoseconds: the call in the middle, and the one that a thousandth of the calls exceeds.
#[derive(Default)]
pub struct Latencies {
    pub median: Vec<f64>,
    pub p999: Vec<f64>,
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ticks() -> u64 {
    use std::arch::x86_64::{_mm_lfence, _rdtsc};
    // SAFETY: every x86_64 processor has both.
    unsafe {
        _mm_lfence();
        let now = _rdtsc();
        _mm_lfence();
        now
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn ticks() -> u64 {
    use std::sync::OnceLock;
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    BEGIN.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// What is exceeded by one in `of` of the sorted samples.
fn exceeded_by_one_in(samples: &[u64], of: usize) -> u64 {
    samples[samples.len() - 1 - samples.len() / of]
}

/// `count` calls, one sample each, and the nanoseconds of a tick.
fn burst(samples: &mut Vec<u64>, count: usize, mut call: impl FnMut(usize)) -> f64 {
    samples.clear();
    let (clock, begin) = (Instant::now(), ticks());
    for index in 0..count {
        let before = ticks();
        call(index);
        samples.push(ticks() - before);
    }
    let tick = clock.elapsed().as_nanos() as f64 / (ticks() - begin) as f64;
    samples.sort_unstable();
    tick
}

/// The peers in turn, `rounds` times and once before to warm up, `count` lines each.
pub fn measure(peers: &[&dyn Peer], length: usize, rounds: usize, count: usize) -> Vec<Latencies> {
    let lines = Lines::new(length);
    let mut samples = Vec::with_capacity(count);
    let mut latencies: Vec<Latencies> = peers.iter().map(|_| Latencies::default()).collect();
    for round in 0..=rounds {
        burst(&mut samples, count, |index| {
            black_box(index);
        });
        let empty = exceeded_by_one_in(&samples, 2);
        for (peer, latencies) in peers.iter().zip(&mut latencies) {
            let tick = burst(&mut samples, count, |index| peer.one(lines.get(index)));
            peer.settle();
            let part = |of| exceeded_by_one_in(&samples, of).saturating_sub(empty) as f64 * tick;
            if round > 0 {
                latencies.median.push(part(2));
                latencies.p999.push(part(1000));
            }
        }
    }
    latencies
}
