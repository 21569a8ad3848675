//! Whether brokers can be reached, as all engines together know it: said once, and not once by each.

use crate::log::{say, Log};
use std::time::{Duration, Instant};

/// The engines notice the end of a connection one after the other, and meanwhile read answers that came before it. Brokers
/// count as reachable again when one has answered and no engine has found them gone for so long.
const SETTLED: Duration = Duration::from_millis(200);

/// What is known.
pub struct Reach {
    log: Log,
    /// Why no broker can be reached; empty if one can, as far as is known.
    why: String,
    /// When an engine last found that.
    lost: Instant,
    /// A broker has answered since.
    answered: bool,
}

impl Reach {
    /// Nothing yet.
    pub fn new(log: Log) -> Reach {
        Reach { log, why: String::new(), lost: Instant::now(), answered: false }
    }

    /// What an engine has just heard: that lines are `acknowledged`, and why no broker can be reached, if it says so.
    pub fn heard(&mut self, acknowledged: bool, unreachable: Option<String>, now: Instant) {
        if let Some(why) = unreachable {
            // Once: every engine says it, and again with every attempt.
            if self.why.is_empty() {
                say!(self.log, Warning, "unreachable", "no broker can be reached, lines wait: {why}");
            }
            (self.why, self.lost, self.answered) = (why, now, false);
        } else if !self.why.is_empty() {
            self.answered |= acknowledged;
            if self.answered && now.saturating_duration_since(self.lost) >= SETTLED {
                say!(self.log, Notice, "reachable", "brokers can be reached again");
                self.why.clear();
            }
        }
    }

    /// Why no broker can be reached; empty if one can, as far as is known.
    pub fn trouble(&self) -> &str {
        &self.why
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn an_outage_is_said_once_and_its_end_once() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = Arc::clone(&heard);
        let mut reach = Reach::new(Log::new(Box::new(move |_, text| ear.lock().unwrap().push(text.to_owned()))));
        let start = Instant::now();
        let mut hear = |ms, acknowledged, lost: Option<&str>| {
            reach.heard(acknowledged, lost.map(str::to_owned), start + Duration::from_millis(ms));
            reach.trouble().to_owned()
        };
        hear(0, true, None);
        assert_eq!(hear(1, false, Some("refused")), "refused");
        // Another engine's answer from before, and its own loss.
        hear(2, true, None);
        hear(3, true, Some("reset"));
        assert_eq!(hear(250, false, None), "reset");
        for again in [1000, 2000] {
            hear(again, false, Some("refused"));
        }
        assert_eq!(hear(2050, true, None), "refused");
        assert_eq!(hear(2300, false, None), "");
        hear(2301, true, None);
        let said: Vec<String> = heard.lock().unwrap().clone();
        assert_eq!(said, ["no broker can be reached, lines wait: refused", "brokers can be reached again"]);
    }
}
