//! The clients in the order in which an operator wants to see them.

use super::client::{read, Client};
use super::{limited, Millis, Store};
use crate::error::Result;
use crate::names::ClientId;
use sqlx::Row;

/// How much of an operator's attention a client needs, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// A step failed.
    Failing,
    /// A step is to be done.
    Pending,
    /// On the way out.
    Leaving,
    /// All is done.
    Active,
}

impl Rank {
    const ALL: [Rank; 4] = [Rank::Failing, Rank::Pending, Rank::Leaving, Rank::Active];

    fn number(self) -> i64 {
        self as i64
    }
}

/// A part of the list.
#[derive(Clone, Debug, PartialEq)]
pub struct RankedPage {
    /// By rank, and in each in the order of their ids.
    pub clients: Vec<(Rank, Client)>,
    /// After which the next part starts, if there is one.
    pub next: Option<(Rank, ClientId)>,
}

/// A leaving client's last step waits for its time, which is no reason to look at it.
const RANKED: &str =
    "SELECT id, topic, settings, leaving_since, delete_after, deleting_since, topic_id, listed_topic_id, \
     listed_offset, created_at, revision, \
     CASE WHEN EXISTS (SELECT 1 FROM steps WHERE steps.client_id = clients.id AND state = 'failed') THEN 0 \
          WHEN leaving_since IS NOT NULL THEN 2 \
          WHEN EXISTS (SELECT 1 FROM steps WHERE steps.client_id = clients.id AND state <> 'done') THEN 1 \
          ELSE 3 END AS place FROM clients";

impl Store {
    /// Clients whose id has `part` in it, in whatever case, the most urgent first; those of one rank only, if that is given.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn ranked_clients(
        &self,
        part: &str,
        rank: Option<Rank>,
        after: Option<&(Rank, ClientId)>,
        limit: usize,
    ) -> Result<RankedPage> {
        let mut pattern = String::from("%");
        for c in part.to_lowercase().chars().filter(|c| *c != '\0') {
            if matches!(c, '%' | '_' | '!') {
                pattern.push('!');
            }
            pattern.push(c);
        }
        pattern.push('%');
        let sql = format!(
            "SELECT * FROM ({RANKED}) AS ranked WHERE LOWER(id) LIKE $1 ESCAPE '!' AND (place > $2 OR (place = $2 AND id > $3)) \
             AND place >= $4 AND place <= $5 ORDER BY place, id LIMIT $6"
        );
        let limit = limited(limit).max(1);
        let rows = sqlx::query(&sql)
            .bind(pattern)
            .bind(after.map_or(0, |(rank, _)| rank.number()))
            .bind(after.map_or("", |(_, id)| id.as_str()))
            .bind(rank.map_or(0, Rank::number))
            .bind(rank.map_or(3, Rank::number))
            .bind(limit + 1)
            .fetch_all(self.pool())
            .await?;
        let mut clients = Vec::with_capacity(rows.len());
        for row in &rows {
            let place = usize::try_from(row.try_get::<i64, _>("place")?).unwrap_or(0);
            clients.push((Rank::ALL[place.min(3)], read(row)?));
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = clients.len() > limit;
        clients.truncate(limit);
        let next = if more { clients.last().map(|(rank, client)| (*rank, client.id.clone())) } else { None };
        Ok(RankedPage { clients, next })
    }

    /// How many clients there are of each rank.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn count_ranks(&self) -> Result<[(Rank, u64); 4]> {
        let sql = format!("SELECT place, COUNT(*) AS clients FROM ({RANKED}) AS ranked GROUP BY place");
        let mut counts = Rank::ALL.map(|rank| (rank, 0));
        for row in sqlx::query(&sql).fetch_all(self.pool()).await? {
            let place = usize::try_from(row.try_get::<i64, _>("place")?).unwrap_or(0);
            counts[place.min(3)].1 = u64::try_from(row.try_get::<i64, _>("clients")?).unwrap_or(0);
        }
        Ok(counts)
    }

    /// The earliest day of which there is volume, as days since 1970.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn first_usage_day(&self) -> Result<Option<Millis>> {
        Ok(sqlx::query("SELECT MIN(day) AS day FROM usage_days").fetch_one(self.pool()).await?.try_get("day")?)
    }
}
