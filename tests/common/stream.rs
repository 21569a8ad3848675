//! Threads that submit as a host's do, and what they saw of submit.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tel::{tel_error, Producer};

/// The slowest calls of one thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Worst {
    /// By the clock on the wall.
    pub wall: Duration,
    /// The same without what the system took from the thread to give it to others: the time that the call waited for
    /// something, or worked.
    pub own: Duration,
}

impl Worst {
    /// Times a call. On a busy machine a thread may be preempted for long anywhere; a call that waits gives the
    /// processor up by itself, which the system counts apart.
    pub fn time<T>(&mut self, call: impl FnOnce() -> T) -> T {
        let (start, worked, waits) = (Instant::now(), worked(), waits());
        let result = call();
        let wall = start.elapsed();
        self.wall = self.wall.max(wall);
        let own = if self::waits() > waits { wall } else { self::worked().saturating_sub(worked) };
        self.own = self.own.max(own);
        result
    }

    pub fn or(self, other: Worst) -> Worst {
        Worst { wall: self.wall.max(other.wall), own: self.own.max(other.own) }
    }
}

/// How often this thread has given up the processor by itself.
fn waits() -> i64 {
    // SAFETY: an all-zero `rusage` is one; the call fills it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_THREAD, &mut usage), 0);
        usage.ru_nvcsw
    }
}

/// Processor time of this thread.
fn worked() -> Duration {
    // SAFETY: an all-zero `timespec` is one; the call fills it.
    let time = unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        assert_eq!(libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time), 0);
        time
    };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Threads that submit numbered lines until they are told to stop.
pub struct Stream {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Submitted>>,
}

/// What one thread submitted: the numbers from 0 to `lines - 1`, without those refused.
#[derive(Debug, Default)]
pub struct Submitted {
    pub lines: u32,
    pub refused: Vec<u32>,
    pub worst: Worst,
}

impl Stream {
    /// Each of `threads` threads submits `per_ms` lines a millisecond, for each of `clients` in turn.
    pub fn start(producer: &Arc<Producer>, threads: usize, per_ms: u32, clients: &[&str]) -> Stream {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..threads)
            .map(|thread| {
                let (producer, stop) = (Arc::clone(producer), Arc::clone(&stop));
                let clients: Vec<String> = clients.iter().map(|id| (*id).to_owned()).collect();
                std::thread::spawn(move || {
                    let mut submitted = Submitted::default();
                    while !stop.load(Ordering::Relaxed) {
                        for _ in 0..per_ms {
                            let number = submitted.lines;
                            let client = &clients[number as usize % clients.len()];
                            let line = format!("{client} {}", value(thread, number));
                            match submitted.worst.time(|| producer.submit(line.as_bytes())) {
                                Ok(()) => {}
                                Err(tel_error::TEL_ERR_FULL) => submitted.refused.push(number),
                                Err(error) => panic!("submit: {error:?}"),
                            }
                            submitted.lines += 1;
                        }
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    submitted
                })
            })
            .collect();
        Stream { stop, threads }
    }

    /// Stops the threads.
    pub fn end(self) -> Vec<Submitted> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("a submitting thread")).collect()
    }
}

/// The value of a thread's line.
pub fn value(thread: usize, number: u32) -> String {
    format!("t={thread:02} n={number:010} {}", "x".repeat(200 + number as usize % 60))
}

/// What came back of a stream.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// By thread and number: how often it came.
    seen: HashMap<(usize, u32), u32>,
    /// By topic, partition and thread: the last number that came for the first time.
    last: HashMap<(String, i32, usize), u32>,
    pub duplicates: u64,
}

impl Arrivals {
    /// Notes a record. Lines that come for the first time are in the order of their submission, and whole.
    pub fn note(&mut self, topic: &str, partition: i32, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).expect("text");
        let number = |at: std::ops::Range<usize>| text.get(at).and_then(|digits| digits.parse::<u32>().ok());
        let (Some(thread), Some(number)) = (number(2..4), number(7..17)) else { panic!("a foreign line: {text}") };
        let thread = thread as usize;
        assert_eq!(text, value(thread, number), "every byte");
        let times = self.seen.entry((thread, number)).or_default();
        *times += 1;
        if *times > 1 {
            self.duplicates += 1;
            return;
        }
        let last = self.last.entry((topic.to_owned(), partition, thread)).or_insert(number);
        assert!(number >= *last, "topic {topic} partition {partition} thread {thread}: {number} came after {last}");
        *last = number;
    }

    /// Lines that came, without repetitions.
    pub fn lines(&self) -> u64 {
        self.seen.len() as u64
    }

    /// The numbers of `thread` that were accepted and did not come.
    pub fn missing(&self, thread: usize, submitted: &Submitted) -> Vec<u32> {
        let refused: std::collections::HashSet<u32> = submitted.refused.iter().copied().collect();
        (0..submitted.lines)
            .filter(|number| !refused.contains(number) && !self.seen.contains_key(&(thread, *number)))
            .collect()
    }
}
