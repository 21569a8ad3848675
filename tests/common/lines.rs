//! Made-up access lines, the same for the same arguments, and what is read back of them.

use std::fmt::Write;

/// Vigna's SplitMix64: enough for lines that only have to differ.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// From 0 to 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Writes access lines of about 250 bytes for clients `c0`, `c1`, ... by Zipf's law.
pub struct Generator {
    random: Random,
    agents: Vec<String>,
    paths: Vec<String>,
    addresses: Vec<String>,
    /// Sums of the clients' weights.
    weights: Vec<f64>,
    made: u64,
}

impl Generator {
    pub fn new(clients: usize) -> Generator {
        let mut random = Random(7);
        let chrome = (100..128).map(|v| {
            format!("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36")
        });
        let iphone = (0..8).map(|v| {
            format!("Mozilla/5.0 (iPhone; CPU iPhone OS 17_{v} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.{v} Mobile/15E148 Safari/604.1")
        });
        let others = (0..12).map(|v| format!("okhttp/4.{v}.0")).chain((60..88).map(|v| format!("curl/7.{v}.1")));
        let paths = (0..5000)
            .map(|_| {
                let folder = *random.one(&["js", "css", "img", "media", "fonts"]);
                let ending = *random.one(&["js", "css", "png", "jpg", "woff2", "m4s", "ts"]);
                format!("/static/{folder}/{:x}.{ending}", random.next() >> 24)
            })
            .collect();
        let addresses = (0..20000)
            .map(|_| {
                let [a, b, c, d, ..] = random.next().to_le_bytes();
                format!("{a}.{b}.{c}.{d}")
            })
            .collect();
        let mut sum = 0.0;
        let weights = (1..=clients)
            .map(|rank| {
                sum += 1.0 / rank as f64;
                sum
            })
            .collect();
        Generator { random, agents: chrome.chain(iphone).chain(others).collect(), paths, addresses, weights, made: 0 }
    }

    /// Appends a line with its newline. `number` comes back from [`number_of`]. The client is `c` and the returned number.
    pub fn line(&mut self, number: usize, out: &mut String) -> usize {
        let random = &mut self.random;
        let at = random.unit() * self.weights.last().copied().unwrap_or(0.0);
        let client = self.weights.partition_point(|sum| *sum <= at).min(self.weights.len() - 1);
        let clock = 1_763_700_000 + self.made / 4000;
        self.made += 1;
        let status = *random.one(&["200", "200", "200", "200", "304", "404", "206"]);
        let bytes = (800.0 / (1.0 - random.unit()).powf(1.0 / 1.1)).min(1e12) as u64;
        let hit = *random.one(&["HIT", "HIT", "HIT", "MISS"]);
        let protocol = *random.one(&["h2", "h3", "h1"]);
        let (address, path) = (random.below(self.addresses.len()), random.below(self.paths.len()));
        let (millis, time, agent) = (random.below(1000), random.unit() / 10.0, random.below(self.agents.len()));
        let (address, path, agent) = (&self.addresses[address], &self.paths[path], &self.agents[agent]);
        let host = format!("www.example{client}.com");
        let (high, low) = (random.next() >> 32, random.next());
        let line = writeln!(
            out,
            "c{client} {address} {clock}.{millis:03} \"GET https://{host}{path} HTTP/2\" {status} {bytes} {hit} \
             \"https://{host}/\" \"{agent}\" {time:.4} {protocol} MAD1 {number:08x}{high:08x}{low:016x}"
        );
        line.expect("writing to a string");
        client
    }
}

/// The number of a generated line's value: the first half of its request id's first half.
pub fn number_of(value: &[u8]) -> Option<usize> {
    let digits = value.len().checked_sub(32).and_then(|start| value.get(start..start + 8))?;
    usize::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The 10,000 real access lines, without their newlines.
pub fn real_lines() -> Vec<String> {
    let path = std::env::var_os("TEL_ACCESS_LOG")
        .map_or_else(|| super::root().join("../shared/data/access.log"), std::path::PathBuf::from);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
        panic!(
            "{}: {error}: this test needs the project's real access lines; TEL_ACCESS_LOG names their file",
            path.display()
        )
    });
    text.lines().map(str::to_owned).collect()
}
