//! `teld status`: the picture as a table, once or again and again.

use super::picture::{Numbers, Picture};
use super::socket;
use crate::config::Config;
use crate::status;
use crate::sync::View;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// What `teld status` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// A table that is drawn anew every second, on a terminal; elsewhere as `Once`.
    Live,
    /// A table.
    Once,
    /// The picture as JSON.
    Json,
}

/// Between two pictures: rates are those of this time.
const INTERVAL: Duration = Duration::from_secs(1);
/// Clients shown, those with most lines.
const MOST_CLIENTS: usize = 15;

/// Asks the teld that runs with this configuration.
pub fn status(file: &Path, show: Show) -> ExitCode {
    let socket = match Config::read_status_socket(file) {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!("teld: {error}");
            return ExitCode::from(status::CONFIG);
        }
    };
    match run(&socket, show) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("teld: {}: {error}: is teld running with {}?", socket.display(), file.display());
            ExitCode::from(status::UNAVAILABLE)
        }
    }
}

fn run(path: &Path, show: Show) -> io::Result<()> {
    let mut out = io::stdout();
    let mut before = socket::ask(path)?;
    if show == Show::Json {
        return writeln!(out, "{}", serde_json::to_string_pretty(&before)?);
    }
    let live = show == Show::Live && out.is_terminal();
    loop {
        std::thread::sleep(INTERVAL);
        let now = socket::ask(path)?;
        let table = table(&before, &now);
        if live {
            // To the top, each line cleared to its end, and what was below.
            write!(out, "\x1b[H{}\x1b[J", table.replace('\n', "\x1b[K\n"))?;
        } else {
            out.write_all(table.as_bytes())?;
        }
        out.flush()?;
        if !live {
            return Ok(());
        }
        before = now;
    }
}

/// The table of what is now, with the rates since `before`.
fn table(before: &Picture, now: &Picture) -> String {
    let seconds = now.now_unix_ms.saturating_sub(before.now_unix_ms).max(1) as f64 / 1000.0;
    let mut text = String::new();
    let up = now.now_unix_ms.saturating_sub(now.started_unix_ms) / 1000;
    // Writing to a String does not fail.
    let kafka = match now.producer.bootstrap_servers.as_str() {
        "" => String::new(),
        servers => format!("; Kafka at {servers}"),
    };
    let _ = writeln!(text, "teld {}, process {}, up {}{kafka}", now.version, now.pid, duration(up));
    for trouble in now.troubles() {
        let _ = writeln!(text, "TROUBLE  {trouble}");
    }
    if let Some(view) = &now.sync {
        sync(&mut text, view, now.now_unix_ms);
    }
    // Where only the list is followed there is no account.
    if !now.producer.total.is_empty() {
        totals(&mut text, before, now, seconds);
        inputs(&mut text, before, now, seconds);
        clients(&mut text, before, now, seconds);
    }
    text
}

fn sync(text: &mut String, view: &View, now: u64) {
    let ago = |then: u64| match then {
        0 => "never".to_owned(),
        then => format!("{} ago", duration(now.saturating_sub(then) / 1000)),
    };
    let _ = writeln!(text, "\n{:<20} {:>16}", "CLIENT LIST", view.topic);
    for (name, value) in [
        ("edge", view.edge.clone()),
        ("clients", grouped(view.clients)),
        ("revision", view.revision.to_string()),
        ("offset", view.offset.to_string()),
        ("written", ago(view.written_unix_ms)),
        ("confirmed", ago(view.heard_unix_ms)),
        ("rejected", grouped(view.rejected)),
        ("acknowledged", grouped(view.acks)),
        ("not acknowledged", grouped(view.acks_failed)),
    ] {
        let _ = writeln!(text, "{name:<20} {value:>16}");
    }
    let _ = writeln!(text, "{:<20} {}", "topic id", view.topic_id);
    if !view.rejected_keys.is_empty() {
        let _ = writeln!(text, "{:<20} {:?}", "rejected keys", view.rejected_keys);
    }
}

fn totals(text: &mut String, before: &Picture, now: &Picture, seconds: f64) {
    let _ = writeln!(text, "\n{:<20} {:>16} {:>12}", "LINES", "ALL", "A SECOND");
    let order = ["submitted", "recovered", "delivered", "failed", "dropped_full", "dropped_too_long", "dropped_rate"];
    let rest = ["dropped_spool", "sampled_out", "unknown_client", "malformed"];
    for name in order.into_iter().chain(rest) {
        let value = number(&now.producer.total, name);
        // What never happened need not be read, but for what everyone looks for.
        if value > 0 || matches!(name, "submitted" | "delivered" | "failed" | "dropped_full") {
            let rate = rate(number(&before.producer.total, name), value, seconds);
            let _ = writeln!(text, "{name:<20} {:>16} {rate:>12}", grouped(value));
        }
    }
    for name in ["spooled", "in_flight"] {
        let _ = writeln!(text, "{name:<20} {:>16}", grouped(number(&now.producer.total, name)));
    }
    let _ = writeln!(
        text,
        "{:<20} {:>13} ms  (the oldest line not yet acknowledged by Kafka)",
        "lag",
        grouped(number(&now.producer.total, "oldest_undelivered_ms"))
    );
}

fn inputs(text: &mut String, before: &Picture, now: &Picture, seconds: f64) {
    let _ = writeln!(
        text,
        "\n{:<20} {:<8} {:>14} {:>12} {:>12} {:>10} {:>9} {:>8}",
        "INPUT", "TYPE", "LINES", "A SECOND", "MB A SECOND", "DROPPED", "RESTARTS", "WRITERS"
    );
    for (name, input) in &now.inputs {
        let earlier = before.inputs.get(name);
        let lines = rate(earlier.map_or(0, |earlier| earlier.lines), input.lines, seconds);
        let bytes = input.bytes.saturating_sub(earlier.map_or(0, |earlier| earlier.bytes)) as f64 / seconds / 1e6;
        let _ = writeln!(
            text,
            "{name:<20} {:<8} {:>14} {lines:>12} {bytes:>12.1} {:>10} {:>9} {:>8}",
            input.kind,
            grouped(input.lines),
            grouped(input.dropped_full + input.dropped_too_long),
            input.restarts,
            input.writers
        );
    }
}

fn clients(text: &mut String, before: &Picture, now: &Picture, seconds: f64) {
    let mut clients: Vec<(&String, &Numbers, u64)> = now
        .producer
        .clients
        .iter()
        .map(|(id, numbers)| {
            let earlier = before.producer.clients.get(id).map_or(0, |earlier| number(earlier, "routed"));
            (id, numbers, number(numbers, "routed").saturating_sub(earlier))
        })
        .collect();
    clients.sort_by_key(|(_, numbers, new)| std::cmp::Reverse((*new, number(numbers, "routed"))));
    let _ = writeln!(
        text,
        "\n{:<32} {:>14} {:>12} {:>14} {:>10} {:>10} {:>10}",
        "CLIENT", "ROUTED", "A SECOND", "DELIVERED", "FAILED", "DROPPED", "IN FLIGHT"
    );
    for (id, numbers, new) in clients.iter().take(MOST_CLIENTS) {
        let dropped = ["dropped_rate", "dropped_spool", "dropped_full"].map(|name| number(numbers, name)).iter().sum();
        let _ = writeln!(
            text,
            "{id:<32} {:>14} {:>12} {:>14} {:>10} {:>10} {:>10}",
            grouped(number(numbers, "routed")),
            rate(0, *new, seconds),
            grouped(number(numbers, "delivered")),
            grouped(number(numbers, "failed")),
            grouped(dropped),
            grouped(number(numbers, "in_flight")),
        );
    }
    if clients.len() > MOST_CLIENTS {
        let _ = writeln!(text, "and {} more", grouped((clients.len() - MOST_CLIENTS) as u64));
    }
}

fn number(numbers: &Numbers, name: &str) -> u64 {
    numbers.get(name).copied().unwrap_or(0)
}

fn rate(before: u64, now: u64, seconds: f64) -> String {
    grouped((now.saturating_sub(before) as f64 / seconds).round() as u64)
}

/// 1234567 as 1,234,567.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn rates_are_those_between_two_pictures() {
        let at = |ms, lines: u64| {
            let mut picture = Picture { now_unix_ms: ms, ..Picture::default() };
            picture.producer.total = [("submitted".to_owned(), lines)].into();
            let client = [("routed".to_owned(), lines)].into();
            picture.producer.clients = [("c83".to_owned(), client)].into();
            picture
        };
        let table = table(&at(10_000, 1000), &at(12_000, 5000));
        let row = |name: &str| {
            table
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap()
                .split_whitespace()
                .skip(1)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(row("submitted"), "5,000 2,000");
        assert!(row("c83").starts_with("5,000 2,000 0"), "{table}");
    }

    #[test]
    fn trouble_comes_first() {
        let mut now = Picture::default();
        now.producer.kafka_trouble = "no broker can be reached".into();
        let table = table(&Picture::default(), &now);
        assert_eq!(table.lines().nth(1), Some("TROUBLE  kafka: no broker can be reached"));
    }
}
