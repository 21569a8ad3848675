//! The identity, added up here a second time: the library's own sum is one of the things under test.

use serde_json::Value;

/// Terms of the right side, besides the gauges.
const ENDS: [&str; 9] = [
    "delivered",
    "failed",
    "dropped_full",
    "dropped_too_long",
    "dropped_rate",
    "dropped_spool",
    "sampled_out",
    "unknown_client",
    "malformed",
];

/// Statistics as printed.
pub struct Account(pub Value);

impl Account {
    pub fn of(json: &str) -> Account {
        Account(serde_json::from_str(json).unwrap_or_else(|error| panic!("statistics are not JSON: {error}: {json}")))
    }

    pub fn read(producer: &tel::Producer) -> Account {
        Account::of(&producer.stats_json().expect("statistics"))
    }

    /// A number of the total.
    pub fn total(&self, name: &str) -> u64 {
        self.0["total"][name].as_u64().unwrap_or_else(|| panic!("no number total.{name} in {}", self.0))
    }

    /// A number of one client; 0 for a client without an account.
    pub fn client(&self, id: &str, name: &str) -> u64 {
        match &self.0["clients"][id] {
            Value::Null => 0,
            client => client[name].as_u64().unwrap_or_else(|| panic!("no number {name} of client {id}")),
        }
    }

    /// The identity holds exactly, as a whole and for each client, and the clients add up to the total.
    pub fn assert_exact(&self) {
        let ends: u64 = ENDS.iter().map(|name| self.total(name)).sum();
        let right = ends + self.total("spooled") + self.total("in_flight");
        assert_eq!(self.total("submitted") + self.total("recovered"), right, "the identity of {}", self.0["total"]);
        let clients = self.0["clients"].as_object().expect("clients");
        let mut delivered = 0;
        for id in clients.keys() {
            let routed: u64 =
                ["delivered", "failed", "dropped_rate", "dropped_spool", "sampled_out", "spooled", "in_flight"]
                    .iter()
                    .map(|name| self.client(id, name))
                    .sum();
            assert_eq!(self.client(id, "routed"), routed, "the identity of client {id}");
            delivered += self.client(id, "delivered");
        }
        assert_eq!(delivered, self.total("delivered"), "the clients' lines add up to the total");
    }
}
