//! What a host could do with a line in place of `tel_submit`, each as a burst of lines from one thread.

use crossbeam_queue::ArrayQueue;
use rdkafka_sys as ffi;
use std::alloc::Layout;
use std::ffi::{c_char, c_void, CStr, CString};
use std::fs::File;
use std::hint::black_box;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// Memory that a queue may take: libtel's default `queue.bytes`.
pub const MEMORY: usize = 32 << 20;

/// A few different lines of one length. Few, because a host has just written the line it logs: it is in its cache.
pub struct Lines {
    texts: Vec<Vec<u8>>,
    starts: Vec<*const c_char>,
}

// SAFETY: the pointers are into `texts`, which nobody changes.
unsafe impl Sync for Lines {}

impl Lines {
    const KINDS: usize = 8;

    pub fn new(length: usize) -> Lines {
        let texts: Vec<Vec<u8>> = (0..Self::KINDS)
            .map(|kind| {
                let head = format!("c{kind} 192.0.2.{kind} 1763700000.{kind:03} \"GET /static/{kind} HTTP/2\" 200 ");
                head.bytes().chain((0..).map(|at| b'a' + (at * 7 + kind) as u8 % 26)).take(length).collect()
            })
            .collect();
        let starts = texts.iter().map(|text| text.as_ptr().cast()).collect();
        Lines { texts, starts }
    }

    fn length(&self) -> usize {
        self.texts[0].len()
    }

    #[inline]
    pub fn get(&self, index: usize) -> &[u8] {
        &self.texts[index & (Self::KINDS - 1)]
    }
}

/// Takes bursts of lines from several threads.
pub trait Peer: Sync {
    fn name(&self) -> &'static str;
    /// The timed part: `count` lines from thread `thread`.
    fn burst(&self, thread: usize, lines: &Lines, count: usize);
    /// One line from the first thread, for peers whose single calls are timed.
    fn one(&self, _line: &[u8]) {
        unimplemented!("{} is timed in bursts only", self.name());
    }
    /// Not timed: everything is as before the burst when this returns.
    fn settle(&self);
    /// Panics if a line was lost.
    fn check(&self) {}
}

/// The floor: the bytes copied into memory of the queue's size, and nothing else.
pub struct Memcpy {
    parts: Vec<Part>,
}

/// One thread's part of the memory. On cache lines of its own: threads here share nothing.
#[repr(align(128))]
struct Part {
    start: *mut u8,
    bytes: usize,
    at: AtomicUsize,
}

// SAFETY: each part is written by the one thread whose number it has.
unsafe impl Sync for Memcpy {}

impl Memcpy {
    pub fn new(threads: usize) -> Memcpy {
        let bytes = MEMORY / threads;
        let part = |_| Part { start: memory(bytes), bytes, at: AtomicUsize::new(0) };
        Memcpy { parts: (0..threads).map(part).collect() }
    }
}

/// Memory as libtel's queue has it: of huge pages, where the system gives them, and written once, so that no page fault is
/// timed. Never given back.
fn memory(bytes: usize) -> *mut u8 {
    let layout = Layout::from_size_align(bytes, 2 << 20).expect("a layout");
    // SAFETY: the size is not zero; the advice is on memory of our own, and it is written within its bounds.
    unsafe {
        let start = std::alloc::alloc(layout);
        assert!(!start.is_null(), "no memory");
        libc::madvise(start.cast(), bytes, libc::MADV_HUGEPAGE);
        start.write_bytes(1, bytes);
        start
    }
}

impl Peer for Memcpy {
    fn name(&self) -> &'static str {
        "memcpy"
    }

    fn burst(&self, thread: usize, lines: &Lines, count: usize) {
        let part = &self.parts[thread];
        let mut at = part.at.load(Ordering::Relaxed);
        for index in 0..count {
            // The length is not known to the compiler, as it is not to any log function.
            let line = black_box(lines.get(index));
            if at + line.len() > part.bytes {
                at = 0;
            }
            // SAFETY: within the part, which is this thread's.
            unsafe { ptr::copy_nonoverlapping(line.as_ptr(), part.start.add(at), line.len()) };
            at += line.len();
        }
        part.at.store(at, Ordering::Relaxed);
    }

    fn one(&self, line: &[u8]) {
        let part = &self.parts[0];
        let line = black_box(line);
        let at = part.at.load(Ordering::Relaxed);
        let at = if at + line.len() > part.bytes { 0 } else { at };
        // SAFETY: within the part, which is the first thread's.
        unsafe { ptr::copy_nonoverlapping(line.as_ptr(), part.start.add(at), line.len()) };
        part.at.store(at + line.len(), Ordering::Relaxed);
    }

    fn settle(&self) {}
}

extern "C" {
    fn host_open(config: *const c_char) -> *mut c_void;
    fn host_burst(p: *mut c_void, lines: *const *const c_char, kinds: usize, length: usize, count: usize) -> usize;
    fn host_settle(p: *mut c_void);
    fn host_counts(p: *mut c_void, submitted: *mut u64, unknown: *mut u64, full: *mut u64);
    fn host_close(p: *mut c_void);
    fn tel_submit(p: *mut c_void, line: *const c_char, len: usize) -> i32;
}

/// libtel by its C header and shared library. No client is listed: the worker takes every line and counts it as an
/// unknown client's, so that only the queue is measured.
pub struct Tel {
    producer: *mut c_void,
    refused: AtomicUsize,
}

// SAFETY: libtel's functions are thread-safe.
unsafe impl Sync for Tel {}

impl Tel {
    pub fn new() -> Tel {
        // SAFETY: a text ending in NUL.
        let producer = unsafe { host_open(c"{\"embedded_broker\": true, \"queue.bytes\": 33554432}".as_ptr()) };
        Tel { producer, refused: AtomicUsize::new(0) }
    }
}

impl Peer for Tel {
    fn name(&self) -> &'static str {
        "tel_submit"
    }

    fn burst(&self, _thread: usize, lines: &Lines, count: usize) {
        // SAFETY: `KINDS` pointers to lines of `length` bytes.
        let refused =
            unsafe { host_burst(self.producer, lines.starts.as_ptr(), Lines::KINDS, lines.length(), count) };
        self.refused.fetch_add(refused, Ordering::Relaxed);
    }

    fn one(&self, line: &[u8]) {
        // SAFETY: the producer lives; a line as long as it says.
        if unsafe { tel_submit(self.producer, line.as_ptr().cast(), line.len()) } != 0 {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn settle(&self) {
        // SAFETY: the producer lives.
        unsafe { host_settle(self.producer) };
    }

    fn check(&self) {
        let (mut submitted, mut unknown, mut full) = (0, 0, 0);
        // SAFETY: the producer lives; three numbers to be written.
        unsafe { host_counts(self.producer, &mut submitted, &mut unknown, &mut full) };
        let refused = self.refused.load(Ordering::Relaxed);
        assert!(full == 0 && refused == 0, "{full} lines found the queue full, {refused} were refused: the bursts are too long");
        assert_eq!(submitted, unknown, "lines were not counted as an unknown client's");
        eprintln!("submit: {submitted} lines through tel_submit, all counted as unknown clients', none found the queue full");
    }
}

impl Drop for Tel {
    fn drop(&mut self) {
        // SAFETY: opened once, closed once.
        unsafe { host_close(self.producer) };
    }
}

/// A thread of a peer's that works until it is told to stop.
struct Helper {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Helper {
    fn start(body: impl FnOnce(Arc<AtomicBool>) + Send + 'static) -> Helper {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        Helper { stop, thread: Some(std::thread::spawn(move || body(told))) }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a helper thread");
        }
    }
}

/// crossbeam's bounded queue of boxed lines, the usual way to hand owned lines to another thread.
pub struct Crossbeam {
    queue: Arc<ArrayQueue<Box<[u8]>>>,
    _consumer: Helper,
}

impl Crossbeam {
    pub fn new() -> Crossbeam {
        let queue = Arc::new(ArrayQueue::new(1 << 18));
        let source: Arc<ArrayQueue<Box<[u8]>>> = Arc::clone(&queue);
        let consumer = Helper::start(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                while let Some(line) = source.pop() {
                    drop(black_box(line));
                }
                // As often as libtel's worker looks at its queue.
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        Crossbeam { queue, _consumer: consumer }
    }
}

impl Peer for Crossbeam {
    fn name(&self) -> &'static str {
        "crossbeam ArrayQueue"
    }

    fn burst(&self, _thread: usize, lines: &Lines, count: usize) {
        for index in 0..count {
            let line = black_box(lines.get(index));
            self.queue.push(line.into()).expect("a queue with room for the burst");
        }
    }

    fn settle(&self) {
        while !self.queue.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// RD_KAFKA_PARTITION_UA (rdkafka.h): librdkafka chooses the partition.
const UNASSIGNED: i32 = -1;

/// `rd_kafka_produce` with a copy of the line. No broker is reachable and the topic's partitions are not known yet, so
/// that the line is only put into a queue: the least that this call ever costs.
pub struct Kafka {
    client: *mut ffi::rd_kafka_t,
    topic: *mut ffi::rd_kafka_topic_t,
}

// SAFETY: librdkafka's handles may be used from any thread.
unsafe impl Sync for Kafka {}

impl Kafka {
    pub fn new() -> Kafka {
        let settings = [
            ("bootstrap.servers", "127.0.0.1:1"),
            ("queue.buffering.max.messages", "2000000"),
            ("queue.buffering.max.kbytes", "2097151"),
            ("log_level", "0"),
            ("reconnect.backoff.ms", "10000"),
        ];
        let mut reason = [0 as c_char; 512];
        // SAFETY: texts end in NUL; the configuration is the client's from `rd_kafka_new` on.
        unsafe {
            let conf = ffi::rd_kafka_conf_new();
            for (name, value) in settings {
                let (name, value) = (CString::new(name).unwrap(), CString::new(value).unwrap());
                ffi::rd_kafka_conf_set(conf, name.as_ptr(), value.as_ptr(), reason.as_mut_ptr(), reason.len());
            }
            let kind = ffi::rd_kafka_type_t::RD_KAFKA_PRODUCER;
            let client = ffi::rd_kafka_new(kind, conf, reason.as_mut_ptr(), reason.len());
            assert!(!client.is_null(), "rd_kafka_new: {:?}", CStr::from_ptr(reason.as_ptr()));
            let topic = ffi::rd_kafka_topic_new(client, c"c0".as_ptr(), ptr::null_mut());
            Kafka { client, topic }
        }
    }
}

impl Peer for Kafka {
    fn name(&self) -> &'static str {
        "rd_kafka_produce, F_COPY"
    }

    fn burst(&self, _thread: usize, lines: &Lines, count: usize) {
        for index in 0..count {
            let line = black_box(lines.get(index));
            // SAFETY: the line is copied by the call.
            let result = unsafe {
                ffi::rd_kafka_produce(
                    self.topic,
                    UNASSIGNED,
                    ffi::RD_KAFKA_MSG_F_COPY as i32,
                    line.as_ptr() as *mut c_void,
                    line.len(),
                    ptr::null(),
                    0,
                    ptr::null_mut(),
                )
            };
            assert_eq!(result, 0, "rd_kafka_produce refused a line");
        }
    }

    fn settle(&self) {
        // SAFETY: the client lives.
        unsafe {
            while ffi::rd_kafka_outq_len(self.client) > 0 {
                ffi::rd_kafka_purge(self.client, ffi::RD_KAFKA_PURGE_F_QUEUE as i32);
                ffi::rd_kafka_poll(self.client, 1);
            }
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // SAFETY: each handle was made once.
        unsafe {
            ffi::rd_kafka_topic_destroy(self.topic);
            ffi::rd_kafka_destroy(self.client);
        }
    }
}

/// One `write` for each line into a pipe, which a thread reads and forgets: what a logger process costs its host, not
/// counting that process.
pub struct Pipe {
    input: Option<File>,
    reader: Option<JoinHandle<()>>,
    written: AtomicUsize,
    read: Arc<AtomicUsize>,
}

impl Pipe {
    pub fn new() -> Pipe {
        let mut ends = [0; 2];
        extern "C" {
            fn pipe(ends: *mut i32) -> i32;
        }
        // SAFETY: room for two descriptors, each owned by one `File` below.
        let (mut output, input) = unsafe {
            assert_eq!(pipe(ends.as_mut_ptr()), 0);
            (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1]))
        };
        let read = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&read);
        let reader = std::thread::spawn(move || {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(bytes @ 1..) = output.read(&mut buffer) {
                count.fetch_add(bytes, Ordering::Relaxed);
            }
        });
        Pipe { input: Some(input), reader: Some(reader), written: AtomicUsize::new(0), read }
    }
}

impl Peer for Pipe {
    fn name(&self) -> &'static str {
        "pipe write"
    }

    fn burst(&self, _thread: usize, lines: &Lines, count: usize) {
        let mut input = self.input.as_ref().expect("an open pipe");
        for index in 0..count {
            let line = black_box(lines.get(index));
            // At most PIPE_BUF bytes go in whole or not at all.
            let written = input.write(line).expect("a pipe that takes the line");
            assert_eq!(written, line.len());
        }
        self.written.fetch_add(count * lines.length(), Ordering::Relaxed);
    }

    fn settle(&self) {
        while self.read.load(Ordering::Relaxed) < self.written.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        drop(self.input.take());
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the pipe's reader");
        }
    }
}
