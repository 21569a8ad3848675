//! What the demo shows: drawn over itself on a terminal, one picture under the other elsewhere.

use super::traffic::TOPICS;
use super::Received;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::IsTerminal;
use std::time::Duration;
use tel::{tel_stats, Producer};

/// Columns of a topic's newest line that are shown.
const SHOWN: usize = 64;

pub struct Screen {
    terminal: bool,
    /// Lines of the picture that is on the terminal.
    drawn: usize,
}

impl Screen {
    pub fn new() -> Screen {
        Screen { terminal: std::io::stdout().is_terminal(), drawn: 0 }
    }

    /// Draws the state of things.
    pub fn draw(&mut self, producer: &Producer, received: &BTreeMap<String, Received>, elapsed: Duration) {
        let Ok(stats) = producer.stats() else { return };
        let picture = picture(&stats, received, elapsed);
        if self.terminal && self.drawn > 0 {
            // Up to the picture's first line, and everything from there to the end cleared.
            print!("\x1b[{}A\x1b[J", self.drawn);
        }
        self.drawn = picture.lines().count();
        println!("{}", picture.trim_end());
        if !self.terminal {
            println!();
        }
    }

    /// The last word: whether what was delivered was read back, and the account balances.
    pub fn conclude(&self, stats: &tel_stats, received: &BTreeMap<String, Received>) -> bool {
        let lines: u64 = received.values().map(|topic| topic.lines).sum();
        let bytes: u64 = received.values().map(|topic| topic.bytes).sum();
        let arrived = lines == stats.delivered && bytes == stats.bytes_delivered;
        let balanced = stats.residual() == 0 && stats.in_flight == 0;
        println!(
            "\nread back {lines} lines, {bytes} bytes; delivered {} lines, {} bytes: {}",
            stats.delivered,
            stats.bytes_delivered,
            if arrived { "the same" } else { "NOT THE SAME" }
        );
        println!(
            "submitted {} = delivered {} + failed {} + too long {} + over rate {} + full {} + sampled out {} \
             + unknown client {} + malformed {}: {}",
            stats.submitted,
            stats.delivered,
            stats.failed,
            stats.dropped_too_long,
            stats.dropped_rate,
            stats.dropped_full,
            stats.sampled_out,
            stats.unknown_client,
            stats.malformed,
            if balanced { "it balances" } else { "IT DOES NOT BALANCE" }
        );
        arrived && balanced
    }
}

fn picture(stats: &tel_stats, received: &BTreeMap<String, Received>, elapsed: Duration) -> String {
    let mut text = String::new();
    // Writing to a text cannot fail.
    let _ = writeln!(
        text,
        "{:4.1} s   in {:>7} lines   delivered {:>7}   under way {:>6}   oldest {:>4} ms",
        elapsed.as_secs_f64(),
        stats.submitted,
        stats.delivered,
        stats.in_flight,
        stats.oldest_undelivered_ms
    );
    let _ = writeln!(text, "\n  {:<10} {:>8} {:>10}  newest line", "topic", "lines", "bytes");
    for topic in TOPICS {
        let received = received.get(topic).cloned().unwrap_or_default();
        let last: String = received.last.chars().take(SHOWN).collect();
        let _ = writeln!(text, "  {topic:<10} {:>8} {:>10}  {last}", received.lines, received.bytes);
    }
    let _ = writeln!(text, "\n  not sent: {:<7} unknown client   (\"visitor\" has no service)", stats.unknown_client);
    let _ = writeln!(text, "            {:<7} malformed        (no space, empty id, forbidden byte)", stats.malformed);
    let _ = writeln!(text, "            {:<7} too long         (over 16,384 bytes)", stats.dropped_too_long);
    let _ = writeln!(text, "            {:<7} sampled out      (\"sampled\" gets one in ten)", stats.sampled_out);
    let _ = writeln!(text, "            {:<7} over their rate  (\"metered\" gets 500 a second)", stats.dropped_rate);
    let _ = writeln!(text, "  escaped:  {:<7} lines had a newline inside", stats.sanitized);
    text
}
