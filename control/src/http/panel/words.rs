//! Times, counts and states as people say them.

use crate::app::now;
use crate::observe::{RefusalView, Verdict};
use crate::onboarding::date_text;
use crate::store::Millis;
use askama::filters::HtmlSafe;
use std::fmt;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::OffsetDateTime;

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A time as an element of a page: how long ago, or in how long, and exactly when one points at it.
pub(super) struct When {
    at: Millis,
    now: Millis,
}

impl When {
    pub fn at(at: Millis) -> When {
        When { at, now: now() }
    }

    /// Of a text as the views have it.
    pub fn of(text: &str) -> Option<When> {
        let at = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos() / 1_000_000;
        Millis::try_from(at).ok().map(When::at)
    }

    /// `28 Nov 2026, 03:09 UTC`
    pub fn full(&self) -> String {
        stamp(self.at)
    }

    /// `3 min ago`, `in 2 days`
    pub fn relative(&self) -> String {
        let away = self.at.abs_diff(self.now);
        if away < 5 * SECOND {
            "now".to_owned()
        } else if self.at < self.now {
            format!("{} ago", duration(away))
        } else {
            format!("in {}", duration(away))
        }
    }

    /// Whether it is over.
    pub fn is_past(&self) -> bool {
        self.at <= self.now
    }

    /// Whether it is to come within so many days.
    pub fn is_within_days(&self, days: i64) -> bool {
        self.at - self.now < days * 24 * 3600 * 1000
    }
}

/// An element of HTML, made of numbers and fixed words.
impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (machine, full, relative) = (date_text(self.at), self.full(), self.relative());
        write!(f, "<time datetime=\"{machine}\" title=\"{full}\">{relative}</time>")
    }
}

impl HtmlSafe for When {}

/// `28 Nov 2026, 03:09 UTC`
pub(super) fn stamp(at: Millis) -> String {
    let format = format_description!("[day padding:none] [month repr:short] [year], [hour]:[minute] UTC");
    formatted(at, format)
}

/// `28 Nov 03:09:17`, UTC
pub(super) fn moment(at: Millis) -> String {
    formatted(at, format_description!("[day padding:none] [month repr:short] [hour]:[minute]:[second]"))
}

/// `03:09`, UTC
pub(super) fn clock(at: Millis) -> String {
    formatted(at, format_description!("[hour]:[minute]"))
}

/// `28 Nov`, of days since 1970, UTC
pub(super) fn day(day: i64) -> String {
    let format = format_description!("[day padding:none] [month repr:short]");
    formatted(day.saturating_mul(24 * 3600 * 1000), format)
}

fn formatted(at: Millis, format: &[time::format_description::BorrowedFormatItem<'_>]) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(at) * 1_000_000)
        .ok()
        .and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| "out of range".to_owned())
}

/// `40 s`, `40 min`, `3 h 20 min`, `2 days 4 h`
pub(super) fn duration(ms: u64) -> String {
    let two = |large: u64, unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {unit}"),
        _ => format!("{large} {unit} {small} {small_unit}"),
    };
    if ms < MINUTE {
        format!("{} s", ms / SECOND)
    } else if ms < HOUR {
        format!("{} min", ms / MINUTE)
    } else if ms < DAY {
        two(ms / HOUR, "h", ms % HOUR / MINUTE, "min")
    } else if ms < 10 * DAY {
        two(ms / DAY, if ms < 2 * DAY { "day" } else { "days" }, ms % DAY / HOUR, "h")
    } else {
        format!("{} days", ms / DAY)
    }
}

/// `1,234,567`
pub(super) fn count(number: impl TryInto<i128>) -> String {
    let number = number.try_into().unwrap_or(0);
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 {
        text.insert(0, '-');
    }
    text
}

/// `1 line`, `2,000 lines`
pub(super) fn counted(number: impl TryInto<i128>, one: &str, many: &str) -> String {
    let number = number.try_into().unwrap_or(0);
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `3.4 GB`
pub(super) fn bytes(bytes: f64) -> String {
    let mut value = bytes;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            return if unit == "B" || value >= 100.0 {
                format!("{value:.0} {unit}")
            } else {
                format!("{value:.1} {unit}")
            };
        }
        value /= 1000.0;
    }
    format!("{value:.1} PB")
}

/// What a step is called: while it is to be done, and what it is about.
pub(super) fn step(name: &str) -> &'static str {
    match name {
        "topic" => "Create the topic",
        "acls" => "Give access rights",
        "quota" => "Set the quota",
        "list" => "Put it on the client list",
        "edges" => "Update every edge",
        "unlisted" => "Take it off the client list",
        "acls-removed" => "Remove access rights",
        "topic-deleted" => "Delete the topic",
        _ => "A step",
    }
}

/// What a client is told of its reading: a headline and a sentence, and how good it is (`ok`, `busy`, `warn`, `bad`, `unknown`, `plain`).
pub(super) struct Said {
    pub tone: &'static str,
    pub headline: String,
    pub text: String,
}

/// A verdict in words. `behind` is in how many milliseconds the first line is lost.
pub(super) fn verdict(
    verdict: Verdict,
    id: &str,
    edges: (usize, usize),
    refusal: Option<&RefusalView>,
    loses_in_ms: Option<u64>,
) -> Said {
    let said = |tone, headline: String, text: String| Said { tone, headline, text };
    match verdict {
        Verdict::Updating => {
            let (current, known) = edges;
            let headline = "Edges still updating";
            let text = if known == 0 {
                "No edge has been heard of in the last 30 seconds. Lines begin to flow from each edge once it has the list.".into()
            } else if current < known {
                format!(
                    "{current} of {known} edges have {id} on their list. Lines begin to flow from each as it updates."
                )
            } else {
                "The service is not all there yet: see its steps.".to_owned()
            };
            said("busy", headline.into(), text)
        }
        Verdict::Refused => match refusal {
            Some(refusal) if refusal.resource == "group" && !refusal.name.starts_with(&format!("{id}:")) => {
                let headline = format!("Your consumer is refused: wrong group \u{201c}{}\u{201d}", refusal.name);
                said("bad", headline, format!("The name of its consumer group must begin with \u{201c}{id}:\u{201d}."))
            }
            Some(refusal) => {
                let headline =
                    format!("Your consumer is refused: {} \u{201c}{}\u{201d}", refusal.resource, refusal.name);
                said("bad", headline, refusal.why.clone())
            }
            None => said(
                "bad",
                "Your consumer is refused".into(),
                "Kafka does not say why. Run the zip\u{2019}s check script.".into(),
            ),
        },
        Verdict::NoTraffic => {
            let text = format!(
                "The service is ready, and no edge has had a line with the id {id}. Check that your sites are configured with this id and have visitors."
            );
            said("warn", "No traffic for your id".into(), text)
        }
        Verdict::NoConsumer => {
            let text = "Nobody reads them. Download the zip and start a consumer from it.";
            said("warn", "Lines are waiting for you".into(), text.into())
        }
        Verdict::Behind => {
            let headline = match loses_in_ms {
                Some(ms) => format!("You lose lines in {}", duration(ms)),
                None => "Your consumer is far behind".into(),
            };
            let text =
                "Your consumer reads more slowly than lines arrive: the oldest will be deleted before they are read. \
                        Add consumers to the group, or make them faster.";
            said("bad", headline, text.into())
        }
        Verdict::Reading => said("ok", "Your consumer keeps up".into(), "Lines are read as they arrive.".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (ms, text) in [
            (0, "0 s"),
            (59_999, "59 s"),
            (40 * MINUTE, "40 min"),
            (HOUR, "1 h"),
            (3 * HOUR + 20 * MINUTE, "3 h 20 min"),
            (DAY, "1 day"),
            (2 * DAY + 4 * HOUR, "2 days 4 h"),
            (365 * DAY, "365 days"),
        ] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn times_are_relative_and_exact() {
        let now = 1_795_835_340_000;
        let when = |at| When { at, now };
        assert_eq!(when(now - 180_000).relative(), "3 min ago");
        assert_eq!(when(now + 2 * 86_400_000).relative(), "in 2 days");
        assert_eq!(when(now - 1000).relative(), "now");
        assert_eq!(when(now).full(), "28 Nov 2026, 03:09 UTC");
        assert!(when(now).to_string().starts_with("<time datetime=\"2026-11-28T03:09:00Z\""));
        assert!(When::of("2026-11-28T03:09:00Z").is_some() && When::of("<b>").is_none());
        assert_eq!(moment(now + 17_000), "28 Nov 03:09:17");
        assert_eq!((clock(now), day(20785)), ("03:09".to_owned(), "28 Nov".to_owned()));
    }

    #[test]
    fn numbers_have_units() {
        assert_eq!(
            (count(1_234_567u64), count(-1000), count(999)),
            ("1,234,567".into(), "-1,000".into(), "999".into())
        );
        assert_eq!((counted(1, "line", "lines"), counted(0, "line", "lines")), ("1 line".into(), "0 lines".into()));
        assert_eq!((bytes(999.0), bytes(3_400_000_000.0)), ("999 B".into(), "3.4 GB".into()));
    }

    #[test]
    fn every_verdict_has_words_of_its_own() {
        let refusal = RefusalView {
            at: String::new(),
            generation: 1,
            host: String::new(),
            resource: "group".into(),
            name: "x".into(),
            why: "why".into(),
        };
        let all = [
            Verdict::Updating,
            Verdict::Refused,
            Verdict::NoTraffic,
            Verdict::NoConsumer,
            Verdict::Behind,
            Verdict::Reading,
        ];
        let headlines: std::collections::BTreeSet<String> =
            all.map(|of| verdict(of, "c83", (12, 20), Some(&refusal), Some(2_400_000)).headline).into();
        assert_eq!(headlines.len(), all.len());
        let refused = verdict(Verdict::Refused, "c83", (1, 1), Some(&refusal), None);
        assert!(
            refused.headline.contains("wrong group \u{201c}x\u{201d}") && refused.text.contains("\u{201c}c83:\u{201d}")
        );
        assert_eq!(verdict(Verdict::Behind, "c83", (1, 1), None, Some(2_400_000)).headline, "You lose lines in 40 min");
    }
}
