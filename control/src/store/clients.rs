//! The clients: those that are wanted come, are given other settings, and leave.

use super::audit::of_client;
use super::change::Change;
use super::client::{columns, find, found, read, wanted, Client, ClientSettings, Desired, Position};
use super::steps::{self, Step};
use super::{limited, places, Actor, Millis, Store, LONGEST_PAGE};
use crate::error::{Error, Result};
use crate::names::ClientId;
use serde_json::json;
use sqlx::Row;
use std::collections::HashSet;

/// A client to be added.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// Its id.
    pub id: ClientId,
    /// Its topic.
    pub topic: String,
    /// What it is given.
    pub settings: ClientSettings,
}

/// What came of adding a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Added {
    /// It was not there.
    New,
    /// It is there just so; nothing is changed.
    Same,
    /// It was leaving, which is undone.
    Back,
    /// It, or another under whose name it would fall, is there otherwise; nothing is changed. What differs.
    Different(String),
}

/// A part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// In the order of their ids.
    pub clients: Vec<Client>,
    /// After which id the next part starts, if there is one.
    pub next: Option<ClientId>,
}

/// How many clients there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// With the service, or on the way to it.
    pub wanted: u64,
    /// On the way out.
    pub leaving: u64,
    /// Of all of them, those with a failed step.
    pub failing: u64,
}

impl Store {
    /// Adds a client, or finds it there, or undoes its leaving; concurrent calls agree.
    ///
    /// # Errors
    /// `Invalid` for impossible settings; `Unavailable`.
    pub async fn add_client(&self, who: &Actor, new: &NewClient, now: Millis) -> Result<Added> {
        let mut added = self.add_clients(who, std::slice::from_ref(new), now).await?;
        added.pop().ok_or_else(|| Error::unavailable("database: no result"))
    }

    /// Adds many in one transaction; the results are in their order.
    ///
    /// # Errors
    /// `Invalid` for impossible settings, and then none is added; `Unavailable`.
    pub async fn add_clients(&self, who: &Actor, new: &[NewClient], now: Millis) -> Result<Vec<Added>> {
        let mut change = self.change(who, now).await?;
        let mut added = Vec::with_capacity(new.len());
        for client in new {
            added.push(add(&mut change, client).await?);
        }
        if added.iter().any(|added| matches!(added, Added::New | Added::Back)) {
            change.commit().await?;
        }
        Ok(added)
    }

    /// Gives a client other settings; `read` is the revision on which they are based, if that matters.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it is leaving, or has changed since `read`; `Invalid` for impossible settings; `Unavailable`.
    pub async fn change_settings(
        &self,
        who: &Actor,
        id: &ClientId,
        settings: &ClientSettings,
        read: Option<i64>,
        now: Millis,
    ) -> Result<Client> {
        let text = settings.text()?;
        let mut change = self.change(who, now).await?;
        let client = wanted(&mut change, id).await?;
        if read.is_some_and(|read| read != client.revision) {
            return Err(Error::conflict(format!("client {id} was changed meanwhile")));
        }
        let before = client.settings.text()?;
        if before == text {
            return Ok(client);
        }
        sqlx::query("UPDATE clients SET settings = $1, revision = $2 WHERE id = $3")
            .bind(&text)
            .bind(change.revision())
            .bind(id.as_str())
            .execute(&mut *change)
            .await?;
        steps::restart(&mut change, id, Step::WANTED).await?;
        change.audit("client.settings", &of_client(id), json!({ "from": client.settings, "to": settings }));
        let client = Client { settings: settings.clone(), revision: change.revision(), ..client };
        change.commit().await?;
        Ok(client)
    }

    /// Ends the service: out of the list now, the topic deleted from `delete_after` on. A second call changes nothing.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable`.
    pub async fn leave(&self, who: &Actor, id: &ClientId, delete_after: Millis, now: Millis) -> Result<Client> {
        let mut change = self.change(who, now).await?;
        let client = found(&mut change, id).await?;
        if client.desired != Desired::Wanted {
            return Ok(client);
        }
        end(&mut change, &client, delete_after, None).await?;
        let desired = Desired::Leaving { since: now, delete_after, deleting: false };
        let client = Client { desired, revision: change.revision(), ..client };
        change.commit().await?;
        Ok(client)
    }

    /// To be asked right before the topic of this id is deleted. From a yes on, leaving is no longer undone.
    ///
    /// No unless the client is leaving, its time is over, and the topic is the very one that was made for it.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn begin_delete(&self, who: &Actor, id: &ClientId, topic_id: &str, now: Millis) -> Result<bool> {
        let mut change = self.change(who, now).await?;
        let Some(client) = find(&mut change, id).await? else { return Ok(false) };
        match client.desired {
            Desired::Leaving { delete_after, deleting, .. }
                if delete_after <= now && client.topic_id.as_deref() == Some(topic_id) =>
            {
                if deleting {
                    return Ok(true);
                }
            }
            _ => return Ok(false),
        }
        sqlx::query("UPDATE clients SET deleting_since = $1, revision = $2 WHERE id = $3")
            .bind(now)
            .bind(change.revision())
            .bind(id.as_str())
            .execute(&mut *change)
            .await?;
        let details = json!({ "topic": client.topic, "topic_id": topic_id });
        change.audit("topic.delete", &of_client(id), details);
        change.commit().await?;
        Ok(true)
    }

    /// Removes a client whose time is over and whose topic of this id is gone from Kafka (`None`: it never had one). What remains
    /// is its last generation, its volume and the audit log.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it is not leaving, its time is not over, or its topic is another; `Unavailable`.
    pub async fn forget(&self, who: &Actor, id: &ClientId, topic_id: Option<&str>, now: Millis) -> Result<()> {
        let mut change = self.change(who, now).await?;
        let client = found(&mut change, id).await?;
        match client.desired {
            Desired::Wanted => return Err(Error::conflict(format!("client {id} is not leaving"))),
            Desired::Leaving { delete_after, .. } if delete_after > now => {
                return Err(Error::conflict(format!("client {id} may still come back")))
            }
            Desired::Leaving { .. } => {}
        }
        if client.topic_id.as_deref() != topic_id {
            return Err(Error::conflict(format!(
                "client {id}: topic {} is not the one that was made for it",
                client.topic
            )));
        }
        for sql in [
            "DELETE FROM steps WHERE client_id = $1",
            "DELETE FROM credentials WHERE client_id = $1",
            "DELETE FROM clients WHERE id = $1",
        ] {
            sqlx::query(sql).bind(id.as_str()).execute(&mut *change).await?;
        }
        change.audit("client.forget", &of_client(id), json!({ "topic": client.topic, "topic_id": topic_id }));
        change.commit().await
    }

    /// Notes where the list has these clients; to be followed by [`Store::set_steps`], which says that it has.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn set_listed(&self, listed: &[(ClientId, Position)], now: Millis) -> Result<()> {
        let mut change = self.change(&Actor::reconciler(), now).await?;
        if let Some((_, position)) = listed.last() {
            let sql = "UPDATE state SET list_topic_id = $1";
            sqlx::query(sql).bind(&position.topic_id).execute(&mut *change).await?;
        }
        for (id, position) in listed {
            sqlx::query("UPDATE clients SET listed_topic_id = $1, listed_offset = $2 WHERE id = $3")
                .bind(&position.topic_id)
                .bind(position.offset)
                .bind(id.as_str())
                .execute(&mut *change)
                .await?;
        }
        change.commit_unaudited().await
    }

    /// The client, if it is known.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn client(&self, id: &ClientId) -> Result<Option<Client>> {
        let row = sqlx::query(concat!("SELECT ", columns!(), " FROM clients WHERE id = $1"))
            .bind(id.as_str())
            .fetch_optional(self.pool())
            .await?;
        row.as_ref().map(read).transpose()
    }

    /// Those of these clients that are known, at most 1000, in no order.
    ///
    /// # Errors
    /// `Invalid` for more; `Unavailable`.
    pub async fn clients_of(&self, ids: &[ClientId]) -> Result<Vec<Client>> {
        if ids.len() > LONGEST_PAGE {
            return Err(Error::invalid(format!("more than {LONGEST_PAGE} clients at once")));
        }
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!(concat!("SELECT ", columns!(), " FROM clients WHERE id IN ({})"), places(1, ids.len()));
        let query = ids.iter().fold(sqlx::query(&sql), |query, id| query.bind(id.as_str()));
        query.fetch_all(self.pool()).await?.iter().map(read).collect()
    }

    /// Those of these clients' [`ClientId::collision_key`]s that are taken, by whichever client. At most 1000.
    ///
    /// # Errors
    /// `Invalid` for more; `Unavailable`.
    pub async fn taken_keys(&self, ids: &[ClientId]) -> Result<HashSet<String>> {
        if ids.len() > LONGEST_PAGE {
            return Err(Error::invalid(format!("more than {LONGEST_PAGE} clients at once")));
        }
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let sql = format!("SELECT collision_key FROM clients WHERE collision_key IN ({})", places(1, ids.len()));
        let query = ids.iter().fold(sqlx::query(&sql), |query, id| query.bind(id.collision_key()));
        let rows = query.fetch_all(self.pool()).await?;
        rows.iter().map(|row| Ok(row.try_get("collision_key")?)).collect()
    }

    /// How many wanted clients the list had in another topic than that of this id.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn listed_elsewhere(&self, topic_id: &str) -> Result<u64> {
        let sql = "SELECT COUNT(*) AS clients FROM clients WHERE leaving_since IS NULL AND listed_topic_id <> $1";
        let row = sqlx::query(sql).bind(topic_id).fetch_one(self.pool()).await?;
        Ok(u64::try_from(row.try_get::<i64, _>("clients")?).unwrap_or(0))
    }

    /// Clients in the order of their ids, from after `after` on; only the leaving (`Some(true)`) or the others (`Some(false)`).
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn clients(&self, leaving: Option<bool>, after: Option<&ClientId>, limit: usize) -> Result<Page> {
        let sql = match leaving {
            None => concat!("SELECT ", columns!(), " FROM clients WHERE id > $1 ORDER BY id LIMIT $2"),
            Some(true) => concat!(
                "SELECT ",
                columns!(),
                " FROM clients WHERE leaving_since IS NOT NULL AND id > $1 ORDER BY id LIMIT $2"
            ),
            Some(false) => concat!(
                "SELECT ",
                columns!(),
                " FROM clients WHERE leaving_since IS NULL AND id > $1 ORDER BY id LIMIT $2"
            ),
        };
        let limit = limited(limit).max(1);
        let rows =
            sqlx::query(sql).bind(after.map_or("", ClientId::as_str)).bind(limit + 1).fetch_all(self.pool()).await?;
        let mut clients = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = clients.len() > limit;
        clients.truncate(limit);
        let next = if more { clients.last().map(|client| client.id.clone()) } else { None };
        Ok(Page { clients, next })
    }

    /// How many there are.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn count_clients(&self) -> Result<Counts> {
        let sql = "SELECT COUNT(*) AS clients, COUNT(leaving_since) AS leaving, \
                   (SELECT COUNT(DISTINCT client_id) FROM steps WHERE state <> 'done' AND state = 'failed') AS failing FROM clients";
        let row = sqlx::query(sql).fetch_one(self.pool()).await?;
        let number = |name: &str| -> Result<u64> { Ok(u64::try_from(row.try_get::<i64, _>(name)?).unwrap_or(0)) };
        let leaving = number("leaving")?;
        Ok(Counts { wanted: number("clients")?.saturating_sub(leaving), leaving, failing: number("failing")? })
    }
}

pub(super) async fn add(change: &mut Change, new: &NewClient) -> Result<Added> {
    let settings = new.settings.text()?;
    // First the one of the same id: of several that are in the way it says most.
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM clients WHERE id = $1 OR collision_key = $2 OR topic = $3 \
               ORDER BY CASE WHEN id = $1 THEN 0 ELSE 1 END LIMIT 1"
    );
    let row = sqlx::query(sql)
        .bind(new.id.as_str())
        .bind(new.id.collision_key())
        .bind(&new.topic)
        .fetch_optional(&mut **change)
        .await?;
    let Some(there) = row.as_ref().map(read).transpose()? else {
        insert(change, new, &settings).await?;
        return Ok(Added::New);
    };
    if there.id != new.id {
        return Ok(Added::Different(if there.topic == new.topic {
            format!("client {} has the topic {}", there.id, there.topic)
        } else {
            format!("client {} is there, which Kafka's metrics do not tell from {}", there.id, new.id)
        }));
    }
    if there.topic != new.topic {
        return Ok(Added::Different(format!("client {} has the topic {}, not {}", new.id, there.topic, new.topic)));
    }
    if there.settings.text()? != settings {
        return Ok(Added::Different(format!("client {} has other settings", new.id)));
    }
    match there.desired {
        Desired::Wanted => Ok(Added::Same),
        Desired::Leaving { deleting: true, .. } => {
            Ok(Added::Different(format!("client {}: its topic is being deleted; ask again in a moment", new.id)))
        }
        Desired::Leaving { .. } => {
            // It is off the list, or on the way there: that it was on it says nothing any more.
            let sql = "UPDATE clients SET leaving_since = NULL, delete_after = NULL, listed_topic_id = NULL, \
                       listed_offset = NULL, revision = $1, use_unknown_until = $2 WHERE id = $3";
            let now = change.at();
            // Nothing could be in use meanwhile.
            sqlx::query(sql).bind(change.revision()).bind(now).bind(new.id.as_str()).execute(&mut **change).await?;
            steps::replace(change, &new.id, Step::WANTED, |_| now).await?;
            change.audit("client.back", &of_client(&new.id), json!({}));
            Ok(Added::Back)
        }
    }
}

/// Has a wanted client leave; `why` if nobody has asked for it.
pub(super) async fn end(change: &mut Change, client: &Client, delete_after: Millis, why: Option<&str>) -> Result<()> {
    let now = change.at();
    sqlx::query("UPDATE clients SET leaving_since = $1, delete_after = $2, revision = $3 WHERE id = $4")
        .bind(now)
        .bind(delete_after)
        .bind(change.revision())
        .bind(client.id.as_str())
        .execute(&mut **change)
        .await?;
    steps::replace(change, &client.id, Step::LEAVING, |step| match step {
        Step::TopicDeleted => delete_after,
        _ => now,
    })
    .await?;
    let details = match why {
        Some(why) => json!({ "delete_after": delete_after, "why": why }),
        None => json!({ "delete_after": delete_after }),
    };
    change.audit("client.leave", &of_client(&client.id), details);
    Ok(())
}

async fn insert(change: &mut Change, new: &NewClient, settings: &str) -> Result<()> {
    let sql = "INSERT INTO clients (id, collision_key, topic, settings, created_at, revision) VALUES ($1, $2, $3, $4, $5, $6)";
    sqlx::query(sql)
        .bind(new.id.as_str())
        .bind(new.id.collision_key())
        .bind(&new.topic)
        .bind(settings)
        .bind(change.at())
        .bind(change.revision())
        .execute(&mut **change)
        .await?;
    let now = change.at();
    steps::replace(change, &new.id, Step::WANTED, |_| now).await?;
    change.audit("client.add", &of_client(&new.id), json!({ "topic": new.topic, "settings": new.settings }));
    Ok(())
}
