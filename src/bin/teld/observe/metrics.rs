//! The picture in Prometheus' text format (prometheus.io/docs/instrumenting/exposition_formats).

use super::picture::{InputPicture, Numbers, Picture};
use crate::sync::View;
use std::fmt::Write;

/// What is no counter of lines: its kind, its name here, and what it says. Names are those of `tel_stats`.
const OTHERS: [(&str, &str, &str, &str); 7] = [
    ("bytes_submitted", "counter", "tel_bytes_submitted_total", "Bytes of the lines taken from the queue."),
    ("bytes_delivered", "counter", "tel_bytes_delivered_total", "Bytes of the delivered lines' values."),
    ("oldest_undelivered_ms", "gauge", "tel_oldest_undelivered_ms", "Age of the oldest line not yet delivered."),
    ("last_delivery_unix_ms", "gauge", "tel_last_delivery_unix_ms", "When a line was last delivered, since 1970."),
    ("clients", "gauge", "tel_clients", "Clients in the list."),
    ("clients_rejected", "gauge", "tel_clients_rejected", "Entries of the list that were left out."),
    ("clients_revision", "gauge", "tel_clients_revision", "The list's own revision."),
];

/// Line counts that go down again.
const GAUGES: [&str; 2] = ["spooled", "in_flight"];

/// A value of an input, and what it says.
type InputSeries = (&'static str, &'static str, &'static str, fn(&InputPicture) -> u64);

const INPUTS: [InputSeries; 9] = [
    ("counter", "tel_input_lines_total", "Lines read.", |input| input.lines),
    ("counter", "tel_input_bytes_total", "Bytes read.", |input| input.bytes),
    ("counter", "tel_input_reads_total", "Reads from the system that brought something.", |input| input.reads),
    ("counter", "tel_input_copied_bytes_total", "Bytes copied before they were submitted.", |input| input.copied_bytes),
    ("counter", "tel_input_dropped_full_total", "Lines the full queue had no room for.", |input| input.dropped_full),
    ("counter", "tel_input_dropped_too_long_total", "Lines that were too long.", |input| input.dropped_too_long),
    ("counter", "tel_input_restarts_total", "Starts after the first.", |input| input.restarts),
    ("gauge", "tel_input_writers", "Writers now.", |input| input.writers),
    ("gauge", "tel_input_up", "1 if the input works, 0 if it is in trouble.", |input| {
        u64::from(input.trouble.is_empty())
    }),
];

/// A value of the list's following, and what it says.
type SyncSeries = (&'static str, &'static str, &'static str, fn(&View) -> u64);

const SYNC: [SyncSeries; 11] = [
    ("gauge", "tel_sync_up", "1 if the list is the one in its topic, as far as Kafka was heard of.", |view| {
        u64::from(view.trouble().is_empty())
    }),
    ("gauge", "tel_sync_refused", "1 if the list in the topic is refused, and the one before stays.", |view| {
        u64::from(!view.refused.is_empty())
    }),
    ("gauge", "tel_sync_clients", "Clients in the list that is written.", |view| view.clients),
    ("gauge", "tel_sync_offset", "Up to where the topic is in the list that is written.", |view| {
        u64::try_from(view.offset).unwrap_or(0)
    }),
    ("gauge", "tel_sync_read_offset", "Up to where the topic was read.", |view| {
        u64::try_from(view.read_offset).unwrap_or(0)
    }),
    ("gauge", "tel_sync_heard_unix_ms", "When Kafka was last heard of, since 1970.", |view| view.heard_unix_ms),
    ("gauge", "tel_sync_written_unix_ms", "When a list was last written, since 1970.", |view| view.written_unix_ms),
    ("gauge", "tel_sync_rejected", "Keys whose record is no client's.", |view| view.rejected),
    ("counter", "tel_sync_writes_total", "Lists written.", |view| view.writes),
    ("counter", "tel_sync_acks_total", "Acknowledgements that Kafka has taken.", |view| view.acks),
    ("counter", "tel_sync_acks_failed_total", "Acknowledgements that it has not.", |view| view.acks_failed),
];

/// The page. So many clients have series of their own, those with the most lines; all lines are in the series without
/// a client.
pub fn page(picture: &Picture, most_clients: usize) -> String {
    let mut page = String::with_capacity(64 << 10);
    let mut clients: Vec<_> = picture.producer.clients.iter().collect();
    let routed = |numbers: &Numbers| numbers.get("routed").copied().unwrap_or(0);
    if clients.len() > most_clients {
        clients.sort_by_key(|(_, numbers)| std::cmp::Reverse(routed(numbers)));
        clients.truncate(most_clients);
        clients.sort_unstable_by_key(|(id, _)| *id);
    }

    let total = &picture.producer.total;
    let is_other = |name: &str| OTHERS.iter().any(|(other, ..)| *other == name);
    // What only clients have, such as `routed`, too.
    let mut names: Vec<&String> = total.keys().chain(clients.iter().flat_map(|(_, numbers)| numbers.keys())).collect();
    names.sort_unstable();
    names.dedup();
    for name in names.into_iter().filter(|name| !is_other(name)) {
        let gauge = GAUGES.contains(&name.as_str());
        let (kind, series) =
            if gauge { ("gauge", format!("tel_lines_{name}")) } else { ("counter", format!("tel_lines_{name}_total")) };
        let help = format!("Lines: {name}; without a client, of all clients.");
        account(&mut page, (&series, kind, &help), name, total, &clients);
    }
    for (name, kind, series, help) in OTHERS {
        account(&mut page, (series, kind, help), name, total, &clients);
    }
    for (kind, series, help, value) in INPUTS {
        head(&mut page, series, kind, help);
        for (name, input) in &picture.inputs {
            let _ = writeln!(page, "{series}{{input=\"{}\"}} {}", escaped(name), value(input));
        }
    }
    if let Some(view) = &picture.sync {
        for (kind, series, help, value) in SYNC {
            head(&mut page, series, kind, help);
            let _ = writeln!(page, "{series} {}", value(view));
        }
    }
    let own = [
        ("tel_kafka_up", "1 if Kafka can be reached.", u64::from(picture.producer.kafka_trouble.is_empty())),
        (
            "tel_clients_up",
            "1 if the client list could be read.",
            u64::from(picture.producer.clients_trouble.is_empty()),
        ),
        (
            "tel_clients_without_series",
            "Clients that have no series here.",
            (picture.producer.clients.len() - clients.len()) as u64,
        ),
        ("teld_start_time_unix_ms", "When this teld was started, since 1970.", picture.started_unix_ms),
    ];
    // Without a producer there is neither an account nor Kafka's state.
    let has_account = !picture.producer.total.is_empty();
    for (series, help, value) in own.into_iter().filter(|(series, ..)| has_account || series.starts_with("teld_")) {
        head(&mut page, series, "gauge", help);
        let _ = writeln!(page, "{series} {value}");
    }
    head(&mut page, "teld_info", "gauge", "The version.");
    let _ = writeln!(page, "teld_info{{version=\"{}\"}} 1", escaped(&picture.version));
    page
}

/// One number of the account: of all, and of each client that has it.
fn account(
    page: &mut String,
    (series, kind, help): (&str, &str, &str),
    name: &str,
    total: &Numbers,
    clients: &[(&String, &Numbers)],
) {
    head(page, series, kind, help);
    // Writing to a String does not fail.
    if let Some(value) = total.get(name) {
        let _ = writeln!(page, "{series} {value}");
    }
    for (id, numbers) in clients {
        if let Some(value) = numbers.get(name) {
            let _ = writeln!(page, "{series}{{client=\"{}\"}} {value}", escaped(id));
        }
    }
}

fn head(page: &mut String, series: &str, kind: &str, help: &str) {
    // Writing to a String does not fail.
    let _ = writeln!(page, "# HELP {series} {help}\n# TYPE {series} {kind}");
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::picture::ProducerPicture;

    fn numbers(pairs: &[(&str, u64)]) -> Numbers {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect()
    }

    fn picture() -> Picture {
        let clients = [("c1", 5), ("c2", 9), ("c3", 1)].map(|(id, routed)| {
            (id.to_owned(), numbers(&[("routed", routed), ("delivered", routed), ("in_flight", 0)]))
        });
        let total = numbers(&[("submitted", 20), ("delivered", 15), ("in_flight", 2), ("clients", 3)]);
        let input = InputPicture { lines: 20, trouble: "gone".into(), ..InputPicture::default() };
        Picture {
            producer: ProducerPicture { total, clients: clients.into(), ..ProducerPicture::default() },
            inputs: [("cdn".to_owned(), input)].into(),
            sync: Some(View { rejected: 2, refused: "too short".into(), ..View::default() }),
            ..Picture::default()
        }
    }

    #[test]
    fn names_are_those_of_the_account() {
        let page = page(&picture(), 10);
        for line in [
            "tel_lines_submitted_total 20",
            "tel_lines_delivered_total 15",
            "tel_lines_delivered_total{client=\"c2\"} 9",
            "tel_lines_routed_total{client=\"c1\"} 5",
            "# TYPE tel_lines_in_flight gauge",
            "tel_lines_in_flight 2",
            "tel_clients 3",
            "tel_input_lines_total{input=\"cdn\"} 20",
            "tel_input_up{input=\"cdn\"} 0",
            "tel_kafka_up 1",
            "tel_clients_without_series 0",
            "tel_sync_rejected 2",
            "tel_sync_refused 1",
            "tel_sync_up 0",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in:\n{page}");
        }
        assert!(!page.contains("tel_lines_clients"), "{page}");
    }

    #[test]
    fn each_series_is_introduced_once_and_stands_together() {
        let page = page(&picture(), 10);
        let mut introduced = std::collections::HashSet::new();
        let mut current = "";
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.split(' ').next().unwrap();
                assert!(introduced.insert(current), "{current} twice");
            } else if !line.starts_with('#') {
                assert_eq!(line.split(['{', ' ']).next().unwrap(), current);
            }
        }
    }

    #[test]
    fn only_so_many_clients_have_series() {
        let page = page(&picture(), 2);
        assert!(
            page.contains("{client=\"c1\"}") && page.contains("{client=\"c2\"}") && !page.contains("{client=\"c3\"}")
        );
        assert!(page.contains("tel_clients_without_series 1\n") && page.contains("tel_lines_delivered_total 15\n"));
    }
}
