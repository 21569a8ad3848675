//! What the demo submits: real access lines behind made-up client ids, and some lines that nobody should get.

use std::path::Path;

/// Real lines: every twentieth of elastic/examples' Apache access log (Apache-2.0).
const ACCESS_LOG: &str = include_str!("access.log");

/// The client list.
pub const CLIENTS: &str = r#"{"revision": 1, "clients": [
    {"id": "c1"}, {"id": "c2"}, {"id": "c3"}, {"id": "c83"},
    {"id": "acme", "topic": "logs.acme"},
    {"id": "sampled", "sample": 0.1},
    {"id": "metered", "max_lines_per_second": 500}]}"#;

/// The topics of those clients.
pub const TOPICS: [&str; 7] = ["c1", "c2", "c3", "c83", "logs.acme", "sampled", "metered"];

/// Ids in the order in which lines get them: clients as unequal as they are, one without the service among them.
const IDS: [&str; 16] = [
    "c1", "c2", "c1", "c83", "c1", "acme", "c2", "c1", "sampled", "c3", "c1", "metered", "c2", "visitor", "acme", "c1",
];

/// One in so many lines is one that nobody should get.
const ODD_EVERY: usize = 400;

/// An endless stream of lines to submit.
pub struct Traffic {
    lines: Vec<String>,
    odd: Vec<Vec<u8>>,
    next: usize,
    line: Vec<u8>,
}

impl Traffic {
    /// The lines of `file`, or the built-in ones.
    pub fn new(file: Option<&Path>) -> Result<Traffic, String> {
        let text = match file {
            None => ACCESS_LOG.to_owned(),
            Some(path) => {
                let bytes = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.is_empty() {
            return Err("the file has no lines".into());
        }
        let odd = vec![
            b"line-without-a-space".to_vec(),
            b" line with an empty id".to_vec(),
            b"../../etc/passwd GET /".to_vec(),
            b"c1 GET /forged\nc2 a second line inside the first".to_vec(),
            [b"c1 ", &[b'x'; 20_000][..]].concat(),
        ];
        Ok(Traffic { lines, odd, next: 0, line: Vec::new() })
    }

    /// Number of lines that go round.
    pub fn lines(&self) -> usize {
        self.lines.len()
    }

    /// The next line.
    pub fn next(&mut self) -> &[u8] {
        let number = self.next;
        self.next += 1;
        if number % ODD_EVERY == ODD_EVERY - 1 {
            return &self.odd[number / ODD_EVERY % self.odd.len()];
        }
        self.line.clear();
        self.line.extend_from_slice(IDS[number % IDS.len()].as_bytes());
        self.line.push(b' ');
        self.line.extend_from_slice(self.lines[number % self.lines.len()].as_bytes());
        &self.line
    }
}
