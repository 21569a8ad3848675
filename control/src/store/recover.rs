//! A database that is older than what Kafka knows, or another one: it takes over what Kafka has, and loses nothing by mistake.

use super::audit::of_client;
use super::client::find;
use super::clients::{add, end};
use super::steps::{replace, restart, Step};
use super::{marker, Actor, Added, Desired, Marker, Millis, NewClient, Store};
use crate::error::Result;
use crate::names::ClientId;
use serde_json::json;

/// What Kafka has that the database may not know.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Clients that are on the list; those that are known stay as they are.
    pub listed: Vec<NewClient>,
    /// The topics of such clients, by Kafka's id: noted of clients for which none is recorded.
    pub topics: Vec<(ClientId, String)>,
    /// Clients that are wanted and were on the list, and are not on it: they left in the life that was lost.
    pub left: Vec<ClientId>,
    /// Credentials that are noted as live and have none of their rights: they were revoked in the life that was lost.
    pub without_rights: Vec<(ClientId, u32)>,
    /// No topic is deleted before.
    pub delete_after: Millis,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Clients that were not known.
    pub adopted: Vec<ClientId>,
    /// Clients that were leaving, and are on the list again.
    pub back: Vec<ClientId>,
    /// Clients that were wanted, and are leaving: the list has lost them since.
    pub left: Vec<ClientId>,
    /// Clients on the list that cannot be adopted, and why. They stay on it.
    pub strange: Vec<(String, String)>,
    /// Credentials that were revoked.
    pub revoked: usize,
    /// Topics whose deletion was put off.
    pub put_off: u64,
}

impl Store {
    /// Takes over what Kafka has and takes this database for the right one although Kafka's marker `seen` says otherwise, in one
    /// transaction. Generations and numbers of changes are set forward, so that none is given twice.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn recover(
        &self,
        who: &Actor,
        seen: Option<&Marker>,
        recovery: &Recovery,
        now: Millis,
    ) -> Result<Recovered> {
        let mut change = self.change(who, now).await?;
        marker::accept(&mut change, seen).await?;
        let mut done = Recovered::default();
        for listed in &recovery.listed {
            if let Some(known) = find(&mut change, &listed.id).await? {
                if let Desired::Leaving { .. } = known.desired {
                    let sql = "UPDATE clients SET leaving_since = NULL, delete_after = NULL, deleting_since = NULL, revision = $1, \
                               use_unknown_until = $2 WHERE id = $3";
                    let revision = change.revision();
                    sqlx::query(sql).bind(revision).bind(now).bind(listed.id.as_str()).execute(&mut *change).await?;
                    replace(&mut change, &listed.id, Step::WANTED, |_| now).await?;
                    change.audit("client.back", &of_client(&listed.id), json!({ "why": "it is on the list" }));
                    done.back.push(listed.id.clone());
                }
                continue;
            }
            match add(&mut change, listed).await? {
                Added::Different(why) => done.strange.push((listed.id.to_string(), why)),
                _ => {
                    change.audit("client.adopt", &of_client(&listed.id), json!({ "topic": listed.topic }));
                    done.adopted.push(listed.id.clone());
                }
            }
        }
        for (id, topic_id) in &recovery.topics {
            let sql = "UPDATE clients SET topic_id = $1 WHERE id = $2 AND topic_id IS NULL";
            let noted = sqlx::query(sql).bind(topic_id).bind(id.as_str()).execute(&mut *change).await?;
            if noted.rows_affected() > 0 {
                change.audit(
                    "topic.adopt",
                    &of_client(id),
                    json!({ "topic_id": topic_id, "why": "the client is on the list" }),
                );
            }
        }
        for id in &recovery.left {
            let Some(known) = find(&mut change, id).await?.filter(|known| known.desired == Desired::Wanted) else {
                continue;
            };
            end(&mut change, &known, recovery.delete_after, Some("it was on the list and is not any more")).await?;
            done.left.push(id.clone());
        }
        for (id, generation) in &recovery.without_rights {
            let sql = "UPDATE credentials SET state = 'revoked', revoked_at = $1 \
                       WHERE client_id = $2 AND generation = $3 AND state <> 'revoked'";
            let revoked =
                sqlx::query(sql).bind(now).bind(id.as_str()).bind(i64::from(*generation)).execute(&mut *change).await?;
            if revoked.rows_affected() > 0 {
                done.revoked += 1;
                restart(&mut change, id, &[Step::Acls, Step::AclsRemoved]).await?;
                let details = json!({ "generation": generation, "why": "it has no rights in Kafka: it was revoked in the life of the database that was lost" });
                change.audit("credential.revoke", &of_client(id), details);
            }
        }
        let sql = "UPDATE clients SET delete_after = $1, deleting_since = NULL WHERE delete_after < $1";
        done.put_off = sqlx::query(sql).bind(recovery.delete_after).execute(&mut *change).await?.rows_affected();
        let sql = "UPDATE steps SET next_try = $1 WHERE name = 'topic-deleted' AND state <> 'done' AND next_try < $1";
        sqlx::query(sql).bind(recovery.delete_after).execute(&mut *change).await?;
        let details = json!({ "adopted": done.adopted.len(), "back": done.back.len(), "left": done.left.len(),
                              "strange": done.strange.len(), "revoked": done.revoked, "deletions_put_off": done.put_off });
        change.audit("database.recover", "database", details);
        change.commit().await?;
        Ok(done)
    }
}
