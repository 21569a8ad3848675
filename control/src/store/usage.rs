//! How many lines of each client were delivered and dropped, by day and edge.

use super::change::Observation;
use super::{places, rows_of_places, Ack, Lines, Millis, Store};
use crate::error::Result;
use crate::names::ClientId;
use sqlx::any::AnyRow;
use sqlx::Row;
use std::collections::{BTreeMap, HashMap, HashSet};

const DAY: Millis = 24 * 60 * 60 * 1000;
/// A counter above this is not believed; so much can be added for ever without an overflow.
const MOST_LINES: u64 = 1 << 50;
/// Rows written by one statement.
const ROWS: usize = 200;

/// The day of a time: days since 1970, UTC.
pub fn day_of(at: Millis) -> i64 {
    at.div_euclid(DAY)
}

/// What a client had on a day, over all edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayUsage {
    /// Days since 1970, UTC.
    pub day: i64,
    /// Its lines.
    pub lines: Lines,
}

/// What someone had in a span of days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    /// A client's id or an edge's name, as asked.
    pub of: String,
    /// Its lines.
    pub lines: Lines,
}

impl Store {
    /// A client's volume on each day from `first` to `last` on which it had any.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn usage_by_day(&self, id: &ClientId, first: i64, last: i64) -> Result<Vec<DayUsage>> {
        let sql = "SELECT day, CAST(SUM(delivered) AS BIGINT) AS delivered, CAST(SUM(dropped) AS BIGINT) AS dropped \
                   FROM usage_days WHERE client_id = $1 AND day >= $2 AND day <= $3 GROUP BY day ORDER BY day";
        let rows = sqlx::query(sql).bind(id.as_str()).bind(first).bind(last).fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok(DayUsage { day: row.try_get("day")?, lines: lines(row)? })).collect()
    }

    /// A client's volume from day `first` to `last` at each edge; the edge "" are those of days long past.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn usage_by_edge(&self, id: &ClientId, first: i64, last: i64) -> Result<Vec<Usage>> {
        let sql = "SELECT edge AS name, CAST(SUM(delivered) AS BIGINT) AS delivered, CAST(SUM(dropped) AS BIGINT) AS dropped \
                   FROM usage_days WHERE client_id = $1 AND day >= $2 AND day <= $3 GROUP BY edge ORDER BY edge";
        let rows = sqlx::query(sql).bind(id.as_str()).bind(first).bind(last).fetch_all(self.pool()).await?;
        rows.iter().map(named).collect()
    }

    /// Every client's volume from day `first` to `last`, in the order of their ids.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn usage_by_client(&self, first: i64, last: i64) -> Result<Vec<Usage>> {
        let sql = "SELECT client_id AS name, CAST(SUM(delivered) AS BIGINT) AS delivered, CAST(SUM(dropped) AS BIGINT) AS dropped \
                   FROM usage_days WHERE day >= $1 AND day <= $2 GROUP BY client_id ORDER BY client_id";
        let rows = sqlx::query(sql).bind(first).bind(last).fetch_all(self.pool()).await?;
        rows.iter().map(named).collect()
    }

    /// Adds up the edges' shares of the days before `day`: the sums stay, the shares are forgotten.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn fold_usage(&self, day: i64) -> Result<()> {
        let mut seen = self.observe().await?;
        // "WHERE true" ends the SELECT, for SQLite's parser takes ON for a join's otherwise.
        let sql = "INSERT INTO usage_days (client_id, day, edge, delivered, dropped) \
                   SELECT * FROM (SELECT client_id, day, '', CAST(SUM(delivered) AS BIGINT), CAST(SUM(dropped) AS BIGINT) \
                   FROM usage_days WHERE day < $1 AND edge <> '' GROUP BY client_id, day) AS sums WHERE true \
                   ON CONFLICT (client_id, day, edge) DO UPDATE SET \
                   delivered = usage_days.delivered + excluded.delivered, dropped = usage_days.dropped + excluded.dropped";
        sqlx::query(sql).bind(day).execute(&mut *seen).await?;
        sqlx::query("DELETE FROM usage_days WHERE day < $1 AND edge <> ''").bind(day).execute(&mut *seen).await?;
        seen.commit().await
    }
}

/// Adds what the edge's counters have grown since they were last seen; all of them if they began anew.
pub(super) async fn add(seen: &mut Observation, ack: &Ack, restarted: bool) -> Result<()> {
    if ack.lines.is_empty() {
        // Nothing to compare with thousands of counters.
        return if restarted { begin_anew(seen, ack).await } else { Ok(()) };
    }
    let rows = sqlx::query("SELECT client_id, delivered, dropped FROM edge_counters WHERE edge = $1")
        .bind(ack.edge.as_str())
        .fetch_all(&mut **seen)
        .await?;
    let mut before = HashMap::with_capacity(rows.len());
    for row in &rows {
        before.insert(row.try_get::<String, _>("client_id")?, lines(row)?);
    }

    // Ids are taken from edges only if they are clients: an edge cannot fill the database with others.
    let fresh: Vec<&String> =
        ack.lines.keys().filter(|id| !before.contains_key(*id) && ClientId::new(id).is_ok()).collect();
    let mut known = HashSet::new();
    for ids in fresh.chunks(ROWS) {
        let sql = format!("SELECT id FROM clients WHERE id IN ({})", places(1, ids.len()));
        let query = ids.iter().fold(sqlx::query(&sql), |query, id| query.bind(id.as_str()));
        for row in query.fetch_all(&mut **seen).await? {
            known.insert(row.try_get::<String, _>("id")?);
        }
    }

    let mut now = BTreeMap::new();
    let mut grown = BTreeMap::new();
    for (id, counted) in &ack.lines {
        let last = before.get(id).copied();
        if last.is_none() && !known.contains(id) {
            continue;
        }
        let counted = Lines { delivered: counted.delivered.min(MOST_LINES), dropped: counted.dropped.min(MOST_LINES) };
        if last != Some(counted) || restarted {
            now.insert(id.as_str(), counted);
        }
        let since = growth(last.unwrap_or_default(), counted, restarted);
        if since != Lines::default() {
            grown.insert(id.as_str(), since);
        }
    }

    if restarted {
        begin_anew(seen, ack).await?;
    }
    let now: Vec<_> = now.into_iter().collect();
    for rows in now.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO edge_counters (edge, client_id, delivered, dropped) VALUES {} ON CONFLICT (edge, client_id) DO UPDATE SET \
             delivered = excluded.delivered, dropped = excluded.dropped",
            rows_of_places(rows.len(), 4)
        );
        let mut query = sqlx::query(&sql);
        for (id, lines) in rows {
            query = query.bind(ack.edge.as_str()).bind(*id).bind(stored(lines.delivered)).bind(stored(lines.dropped));
        }
        query.execute(&mut **seen).await?;
    }
    let grown: Vec<_> = grown.into_iter().collect();
    for rows in grown.chunks(ROWS) {
        let sql = format!(
            "INSERT INTO usage_days (client_id, day, edge, delivered, dropped) VALUES {} ON CONFLICT (client_id, day, edge) DO UPDATE SET \
             delivered = usage_days.delivered + excluded.delivered, dropped = usage_days.dropped + excluded.dropped",
            rows_of_places(rows.len(), 5)
        );
        let mut query = sqlx::query(&sql);
        for (id, lines) in rows {
            query = query.bind(*id).bind(day_of(ack.at)).bind(ack.edge.as_str());
            query = query.bind(stored(lines.delivered)).bind(stored(lines.dropped));
        }
        query.execute(&mut **seen).await?;
    }
    Ok(())
}

/// A client that an edge's new run has not counted yet counts from 0 in it, too.
async fn begin_anew(seen: &mut Observation, ack: &Ack) -> Result<()> {
    let sql = "UPDATE edge_counters SET delivered = 0, dropped = 0 WHERE edge = $1";
    sqlx::query(sql).bind(ack.edge.as_str()).execute(&mut **seen).await?;
    Ok(())
}

/// How much the counters have grown. A counter below its last value began anew even if the edge does not say so.
fn growth(last: Lines, counted: Lines, restarted: bool) -> Lines {
    if restarted || counted.delivered < last.delivered || counted.dropped < last.dropped {
        return counted;
    }
    Lines { delivered: counted.delivered - last.delivered, dropped: counted.dropped - last.dropped }
}

fn stored(lines: u64) -> i64 {
    i64::try_from(lines).unwrap_or(i64::MAX)
}

fn lines(row: &AnyRow) -> Result<Lines> {
    let number = |name: &str| -> Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0)) };
    Ok(Lines { delivered: number("delivered")?, dropped: number("dropped")? })
}

fn named(row: &AnyRow) -> Result<Usage> {
    Ok(Usage { of: row.try_get("name")?, lines: lines(row)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(delivered: u64, dropped: u64) -> Lines {
        Lines { delivered, dropped }
    }

    #[test]
    fn counters_that_began_anew_are_added_whole() {
        assert_eq!(growth(of(10, 1), of(15, 1), false), of(5, 0));
        assert_eq!(growth(of(10, 1), of(3, 1), false), of(3, 1));
        assert_eq!(growth(of(10, 1), of(15, 1), true), of(15, 1));
    }

    #[test]
    fn a_day_starts_at_midnight_utc() {
        assert_eq!((day_of(-1), day_of(0), day_of(DAY - 1), day_of(DAY)), (-1, 0, 0, 1));
    }
}
