//! What is known of the clients' topics: which was made for whom, and what tel-control has set on it.

use super::audit::of_client;
use super::client::{client_id, find, found};
use super::steps::{restart, Step};
use super::{corrupt, places, Actor, Millis, Store, LONGEST_PAGE};
use crate::error::{Error, Result};
use crate::names::ClientId;
use serde_json::json;
use sqlx::Row;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// By setting, the values that tel-control has set on a topic, or was about to: the rest is somebody else's.
pub type OwnSettings = BTreeMap<String, BTreeSet<String>>;

/// What is about to be set on a client's topic.
#[derive(Clone, Debug)]
pub struct TopicNote {
    /// Whose.
    pub id: ClientId,
    /// That, and what tel-control has set on it before.
    pub settings: OwnSettings,
    /// The topic itself is about to be made.
    pub is_made: bool,
}

/// A topic that is as it should be.
#[derive(Clone, Debug)]
pub struct MadeTopic {
    /// Whose.
    pub id: ClientId,
    /// Kafka's id of it.
    pub topic_id: String,
    /// What tel-control has set on it.
    pub settings: OwnSettings,
}

impl Store {
    /// What tel-control has set on the topics of these clients, at most 1000.
    ///
    /// # Errors
    /// `Invalid` for more; `Unavailable`.
    pub async fn own_settings(&self, ids: &[ClientId]) -> Result<HashMap<ClientId, OwnSettings>> {
        if ids.len() > LONGEST_PAGE {
            return Err(Error::invalid(format!("more than {LONGEST_PAGE} clients at once")));
        }
        let mut of = HashMap::new();
        if ids.is_empty() {
            return Ok(of);
        }
        let sql = format!("SELECT id, topic_settings FROM clients WHERE id IN ({})", places(1, ids.len()));
        let query = ids.iter().fold(sqlx::query(&sql), |query, id| query.bind(id.as_str()));
        for row in query.fetch_all(self.pool()).await? {
            let text: String = row.try_get("topic_settings")?;
            let settings = serde_json::from_str(&text).map_err(|_| corrupt("topic's settings", &text))?;
            of.insert(client_id(row.try_get("id")?)?, settings);
        }
        Ok(of)
    }

    /// Notes what will be set on topics, before it is: a crash in between leaves no setting, and no topic, that seems to be somebody
    /// else's.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_settings(&self, settings: &[TopicNote]) -> Result<()> {
        let mut seen = self.observe().await?;
        for TopicNote { id, settings, is_made } in settings {
            // A topic that is made anew has another id than the one that is gone.
            let sql = if *is_made {
                "UPDATE clients SET topic_settings = $1, topic_id = NULL WHERE id = $2"
            } else {
                "UPDATE clients SET topic_settings = $1 WHERE id = $2"
            };
            sqlx::query(sql).bind(json!(settings).to_string()).bind(id.as_str()).execute(&mut *seen).await?;
        }
        seen.commit().await
    }

    /// Notes which topics are the clients', with their settings. Clients that are gone are passed over.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn set_topics(&self, who: &Actor, topics: &[MadeTopic], now: Millis) -> Result<()> {
        let mut change = self.change(who, now).await?;
        let mut is_news = false;
        for MadeTopic { id, topic_id, settings } in topics {
            let Some(client) = find(&mut change, id).await? else { continue };
            sqlx::query("UPDATE clients SET topic_id = $1, topic_settings = $2 WHERE id = $3")
                .bind(topic_id)
                .bind(json!(settings).to_string())
                .bind(id.as_str())
                .execute(&mut *change)
                .await?;
            if client.topic_id.as_deref() != Some(topic_id) {
                is_news = true;
                let details = json!({ "topic": client.topic, "from": client.topic_id, "to": topic_id });
                change.audit("topic.create", &of_client(id), details);
            }
        }
        if is_news {
            change.commit().await
        } else {
            change.commit_unaudited().await
        }
    }

    /// Takes a topic for the client's that was not made for it, and has the steps that this is about done again. False, and nothing is
    /// changed, if it is the client's already.
    ///
    /// # Errors
    /// `NotFound` without the client; `Unavailable`.
    pub async fn take_over_topic(&self, who: &Actor, id: &ClientId, topic_id: &str, now: Millis) -> Result<bool> {
        let mut change = self.change(who, now).await?;
        let client = found(&mut change, id).await?;
        if client.topic_id.as_deref() == Some(topic_id) {
            return Ok(false);
        }
        sqlx::query("UPDATE clients SET topic_id = $1 WHERE id = $2")
            .bind(topic_id)
            .bind(id.as_str())
            .execute(&mut *change)
            .await?;
        restart(&mut change, id, &[Step::Topic, Step::TopicDeleted]).await?;
        let details = json!({ "topic": client.topic, "from": client.topic_id, "to": topic_id });
        change.audit("topic.take-over", &of_client(id), details);
        change.commit().await?;
        Ok(true)
    }
}
