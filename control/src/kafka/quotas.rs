//! Quotas: how much Kafka lets a client's credential consume, or an edge produce, before it makes it wait.
//!
//! Kafka counts for each principal on each broker: three live credentials on four brokers may take twelve times the number. Numbers
//! here are those of one principal on one broker. librdkafka does not have these requests; they go over a connection of their own.

use super::wire::{Decoder, Encoder, Wire};
use super::{error_of, Connection, PATIENCE};
use crate::error::{Error, Result};
use std::collections::BTreeMap;

const DESCRIBE_CLIENT_QUOTAS: i16 = 48;
const ALTER_CLIENT_QUOTAS: i16 = 49;
/// Of both: the last one in the older encoding.
const VERSION: i16 = 0;
/// Most principals in one request.
const BATCH: usize = 500;
/// A quota's own kind of entity; what has a client id, too, is not touched.
const USER: &str = "user";

/// What is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limit {
    /// Bytes consumed a second.
    ConsumerBytes,
    /// Bytes produced a second.
    ProducerBytes,
}

impl Limit {
    fn name(self) -> &'static str {
        match self {
            Limit::ConsumerBytes => "consumer_byte_rate",
            Limit::ProducerBytes => "producer_byte_rate",
        }
    }

    fn of(name: &str) -> Option<Limit> {
        [Limit::ConsumerBytes, Limit::ProducerBytes].into_iter().find(|limit| limit.name() == name)
    }
}

/// A change of one principal's quota; its others stay.
#[derive(Clone, Debug, PartialEq)]
pub struct QuotaChange {
    /// Such as `User:CN=c83:1`.
    pub principal: String,
    /// What is limited.
    pub limit: Limit,
    /// To how much; `None` lifts the limit.
    pub bytes_per_second: Option<f64>,
}

/// The quotas of all principals that have any of their own, as `User:…`.
///
/// # Errors
/// `Unavailable` if Kafka is or refuses it, `Invalid` for a connection with SASL.
pub fn describe(connection: &Connection) -> Result<BTreeMap<String, BTreeMap<Limit, f64>>> {
    const ANY: i8 = 2;
    const WHAT: &str = "describing quotas";
    let mut body = Encoder::default();
    // One component: any user; strictly that, without client ids.
    body.array(1).string(USER).i8(ANY).null_string().i8(1);
    let answer = Wire::open(connection, PATIENCE)?.request(DESCRIBE_CLIENT_QUOTAS, VERSION, &body, PATIENCE)?;
    let mut answer = Decoder(&answer);
    let read = (|| {
        let _throttled_ms = answer.i32()?;
        let (code, text) = (answer.i16()?, answer.string()?);
        let entries = answer.array(|entry| {
            let entity = entry.array(read_entity)?;
            let values = entry.array(|value| Some((value.string()??, value.f64()?)))?;
            Some((entity, values))
        })?;
        Some((code, text, entries))
    })();
    let (code, text, entries) = read.ok_or_else(|| nonsense(WHAT))?;
    if code != 0 {
        return Err(refused(WHAT, code, text, "DescribeConfigs on the cluster"));
    }
    let mut quotas = BTreeMap::new();
    for (entity, values) in entries {
        let [(kind, Some(name))] = &entity[..] else { continue };
        if kind == USER {
            let values = values.into_iter().filter_map(|(name, value)| Some((Limit::of(&name)?, value))).collect();
            quotas.insert(format!("User:{name}"), values);
        }
    }
    Ok(quotas)
}

/// Makes these changes; an answer for each.
///
/// # Errors
/// `Unavailable` if Kafka is, `Invalid` for a principal that is not `User:…` or a connection with SASL.
pub fn alter(connection: &Connection, changes: &[QuotaChange]) -> Result<Vec<Result<()>>> {
    const WHAT: &str = "changing quotas";
    let mut of: BTreeMap<&str, Vec<&QuotaChange>> = BTreeMap::new();
    for change in changes {
        let Some(name) = change.principal.strip_prefix("User:").filter(|name| !name.is_empty()) else {
            return Err(Error::invalid(format!("{WHAT}: {:?} is no principal", change.principal)));
        };
        of.entry(name).or_default().push(change);
    }
    let mut wire = Wire::open(connection, PATIENCE)?;
    let mut results: BTreeMap<String, Result<()>> = BTreeMap::new();
    let users: Vec<_> = of.into_iter().collect();
    for users in users.chunks(BATCH) {
        let mut body = Encoder::default();
        body.array(users.len());
        for (name, changes) in users {
            body.array(1).string(USER).string(name);
            body.array(changes.len());
            for change in changes {
                body.string(change.limit.name()).f64(change.bytes_per_second.unwrap_or(0.0));
                body.i8(i8::from(change.bytes_per_second.is_none()));
            }
        }
        // Not only to see whether it would do.
        body.i8(0);
        let answer = wire.request(ALTER_CLIENT_QUOTAS, VERSION, &body, PATIENCE)?;
        let mut answer = Decoder(&answer);
        let read = (|| {
            let _throttled_ms = answer.i32()?;
            answer.array(|entry| Some((entry.i16()?, entry.string()?, entry.array(read_entity)?)))
        })();
        for (code, text, entity) in read.ok_or_else(|| nonsense(WHAT))? {
            let [(_, Some(name))] = &entity[..] else { continue };
            let what = format!("quota of User:{name}");
            let result =
                if code == 0 { Ok(()) } else { Err(refused(&what, code, text, "AlterConfigs on the cluster")) };
            results.insert(format!("User:{name}"), result);
        }
    }
    let none = || Err(nonsense(WHAT));
    Ok(changes.iter().map(|change| results.get(&change.principal).cloned().unwrap_or_else(none)).collect())
}

fn read_entity(decoder: &mut Decoder<'_>) -> Option<(String, Option<String>)> {
    Some((decoder.string()??, decoder.string()?))
}

fn nonsense(what: &str) -> Error {
    Error::unavailable(format!("{what}: the broker's answer cannot be read"))
}

fn refused(what: &str, code: i16, text: Option<String>, right: &str) -> Error {
    let text = text.unwrap_or_else(|| format!("error {code}"));
    error_of(what, right, i32::from(code), &text)
}
