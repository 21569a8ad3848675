//! A line's way through the worker, and what is booked on it: from the queue into its client's batch, and out again
//! with the batch's end.

use super::epochs::Epochs;
use super::lanes::{Lanes, Room};
use crate::batch::Batch;
use crate::log::{say, Log};
use crate::queue::{Line, Visit};
use crate::route::{Route, RouteTable};
use crate::sink::Ended;
use crate::split::{is_id, split, to_escape};
use crate::stats::Ledger;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The batches and the account of the lines in them.
pub struct Books {
    pub lanes: Lanes,
    pub epochs: Epochs,
    pub ledger: Ledger,
}

impl Books {
    /// One line: whose is it, is it wanted, is there room.
    #[inline]
    pub fn visit(&mut self, table: &RouteTable, line: Line<'_>, now: Instant, log: &Log) -> Visit {
        let Some((route, value)) = self.route(table, line) else { return Visit::Taken };
        let to_escape = to_escape(value);
        let room = self.lanes.room(route, Batch::room_for(value.len() + to_escape), now, &mut self.epochs);
        match room {
            Room::Here(lane) => {
                lane.append(value, to_escape);
                self.ledger.in_flight += 1;
                self.ledger.sanitized += u64::from(to_escape > 0);
                route.account.counters.routed.add(1);
                route.account.counters.in_flight.add(1);
            }
            Room::SampledOut => {
                self.ledger.sampled_out += 1;
                route.account.counters.routed.add(1);
                route.account.counters.sampled_out.add(1);
            }
            Room::OverRate => {
                self.ledger.dropped_rate += 1;
                route.account.counters.routed.add(1);
                route.account.counters.dropped_rate.add(1);
            }
            Room::Stuck => {
                self.ledger.dropped_full += 1;
                route.account.counters.dropped_full.add(1);
                let id = &route.account.id;
                say!(
                    log,
                    Error,
                    "stuck",
                    "client {id}: nothing is delivered and its share of memory is full: lines dropped"
                );
            }
            Room::None => return Visit::Stop,
        }
        self.ledger.bytes_taken += bytes_of(line);
        Visit::Taken
    }

    /// A line for which there is no time left.
    pub fn discard(&mut self, table: &RouteTable, line: Line<'_>) -> Visit {
        if let Some((route, _)) = self.route(table, line) {
            self.ledger.bytes_taken += bytes_of(line);
            self.ledger.failed += 1;
            route.account.counters.routed.add(1);
            route.account.counters.failed.add(1);
        }
        Visit::Taken
    }

    /// Whose line it is; `None`, counted, if nobody's.
    #[inline]
    fn route<'t, 'l>(&mut self, table: &'t RouteTable, line: Line<'l>) -> Option<(&'t Arc<Route>, &'l [u8])> {
        let addressed = split(line);
        if let Some(addressed) = addressed {
            if let Some(route) = table.get(addressed.client) {
                return Some((route, addressed.value));
            }
        }
        // Only now: an id that is listed is well-formed.
        if addressed.is_some_and(|addressed| is_id(addressed.client)) {
            self.ledger.unknown_client += 1;
        } else {
            self.ledger.malformed += 1;
        }
        self.ledger.bytes_taken += bytes_of(line);
        None
    }

    /// Books a batch that has come to its end, and frees its memory.
    pub fn settle(&mut self, ended: Ended, now: Instant) {
        let Ended { batch, delivered, delivered_bytes, failed } = ended;
        let (delivered, failed) = (u64::from(delivered), u64::from(failed));
        let lines = u64::from(batch.lines());
        let counters = &batch.account.counters;
        counters.in_flight.subtract(lines);
        counters.delivered.add(delivered);
        counters.failed.add(failed);
        counters.bytes_delivered.add(delivered_bytes);
        self.ledger.in_flight -= lines;
        self.ledger.delivered += delivered;
        self.ledger.failed += failed;
        self.ledger.bytes_delivered += delivered_bytes;
        if delivered > 0 {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.ledger.last_delivery_unix_ms = since_1970.as_millis() as u64;
        }
        self.epochs.batch_ended(batch.epoch);
        self.lanes.take_back(batch, delivered > 0, now);
    }
}

fn bytes_of(line: Line<'_>) -> u64 {
    (line.client.map_or(0, <[u8]>::len) + line.text.len()) as u64
}
