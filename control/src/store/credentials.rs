//! The clients' credentials: generations of certificates, never a key.

use super::audit::of_client;
use super::change::Change;
use super::client::{client_id, wanted};
use super::steps::{restart, Step};
use super::{corrupt, limited, places, Actor, Millis, Store, LONGEST_PAGE};
use crate::error::{Error, Result};
use crate::names::ClientId;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::Row;
use std::collections::HashMap;

// By name: PostgreSQL refuses a statement prepared with "*" once another version of tel-control has added a column.
macro_rules! columns {
    () => {
        "client_id, generation, state, fingerprint, not_after, created_at, first_used, last_used, revoked_at"
    };
}

/// Credentials of one client that may be live at once.
pub const MOST_LIVE: usize = 5;
/// A later use is noted only after so long.
const USE_NOTED: Millis = 60_000;

/// How far a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialState {
    /// Made, and not seen yet.
    Issued,
    /// Seen at work.
    Active,
    /// Of no use any more.
    Revoked,
}

impl CredentialState {
    /// Its name in the database and in the API; never changes.
    pub fn as_str(self) -> &'static str {
        match self {
            CredentialState::Issued => "issued",
            CredentialState::Active => "active",
            CredentialState::Revoked => "revoked",
        }
    }

    fn parse(text: &str) -> Result<CredentialState> {
        let all = [CredentialState::Issued, CredentialState::Active, CredentialState::Revoked];
        all.into_iter().find(|state| state.as_str() == text).ok_or_else(|| corrupt("state", text))
    }
}

/// A credential of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Whose.
    pub id: ClientId,
    /// Its number, from 1; no other one of this client ever has it.
    pub generation: u32,
    /// How far.
    pub state: CredentialState,
    /// SHA-256 of its certificate, in hexadecimal; none if it was never made.
    pub fingerprint: Option<String>,
    /// When the certificate expires.
    pub not_after: Option<Millis>,
    /// When its number was given.
    pub created_at: Millis,
    /// When it was first seen at work.
    pub first_used: Option<Millis>,
    /// When it was last seen at work, to the minute.
    pub last_used: Option<Millis>,
    /// When it was revoked.
    pub revoked_at: Option<Millis>,
}

/// A certificate that was made.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// Its SHA-256, in hexadecimal.
    pub fingerprint: &'a str,
    /// When it expires.
    pub not_after: Millis,
    /// Itself, in PEM.
    pub pem: &'a str,
}

/// A credential's certificate as it was noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedCertificate {
    /// The credential's number.
    pub generation: u32,
    /// When it expires.
    pub not_after: Millis,
    /// Itself, in PEM.
    pub pem: String,
}

impl Credential {
    /// Whether it may work.
    pub fn is_live(&self, now: Millis) -> bool {
        self.state != CredentialState::Revoked && self.not_after.is_none_or(|not_after| not_after > now)
    }
}

impl Store {
    /// Takes the next generation of a client, before its certificate is made: a crash between the two loses a number, no more.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if the client is leaving or has [`MOST_LIVE`] live ones; `Unavailable`.
    pub async fn issue_credential(&self, who: &Actor, id: &ClientId, now: Millis) -> Result<Credential> {
        let mut change = self.change(who, now).await?;
        wanted(&mut change, id).await?;
        let rows = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM credentials WHERE client_id = $1 AND state <> 'revoked'"
        ))
        .bind(id.as_str())
        .fetch_all(&mut *change)
        .await?;
        let there = rows.iter().map(read).collect::<Result<Vec<_>>>()?;
        if there.iter().filter(|credential| credential.is_live(now)).count() >= MOST_LIVE {
            return Err(Error::conflict(format!("client {id} has {MOST_LIVE} live credentials; revoke one first")));
        }
        let generation = next_generation(&mut change, id).await?;
        sqlx::query("INSERT INTO credentials (client_id, generation, state, created_at) VALUES ($1, $2, $3, $4)")
            .bind(id.as_str())
            .bind(i64::from(generation))
            .bind(CredentialState::Issued.as_str())
            .bind(now)
            .execute(&mut *change)
            .await?;
        restart(&mut change, id, &[Step::Acls]).await?;
        change.audit("credential.issue", &of_client(id), json!({ "generation": generation }));
        change.commit().await?;
        Ok(Credential {
            id: id.clone(),
            generation,
            state: CredentialState::Issued,
            fingerprint: None,
            not_after: None,
            created_at: now,
            first_used: None,
            last_used: None,
            revoked_at: None,
        })
    }

    /// Notes the certificate that was made for a generation; only one can be.
    ///
    /// # Errors
    /// `NotFound`; `Conflict` if it has one, or is revoked; `Unavailable`.
    pub async fn certify_credential(
        &self,
        who: &Actor,
        id: &ClientId,
        generation: u32,
        certificate: &Certificate<'_>,
        now: Millis,
    ) -> Result<()> {
        let Certificate { fingerprint, not_after, pem } = *certificate;
        let mut change = self.change(who, now).await?;
        let there = found(&mut change, id, generation).await?;
        if there.fingerprint.is_some() || there.state == CredentialState::Revoked {
            return Err(Error::conflict(format!(
                "credential {} has its certificate, or is revoked",
                id.common_name(generation)
            )));
        }
        let sql = "UPDATE credentials SET fingerprint = $1, not_after = $2, certificate = $3 \
                   WHERE client_id = $4 AND generation = $5";
        sqlx::query(sql)
            .bind(fingerprint)
            .bind(not_after)
            .bind(pem)
            .bind(id.as_str())
            .bind(i64::from(generation))
            .execute(&mut *change)
            .await?;
        let details = json!({ "generation": generation, "fingerprint": fingerprint, "not_after": not_after });
        change.audit("credential.certify", &of_client(id), details);
        change.commit().await
    }

    /// Notes that a credential was seen at work. False if it is not known, or revoked.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn credential_used(&self, who: &Actor, id: &ClientId, generation: u32, at: Millis) -> Result<bool> {
        let row =
            sqlx::query(concat!("SELECT ", columns!(), " FROM credentials WHERE client_id = $1 AND generation = $2"))
                .bind(id.as_str())
                .bind(i64::from(generation))
                .fetch_optional(self.pool())
                .await?;
        let Some(there) = row.as_ref().map(read).transpose()? else { return Ok(false) };
        match there.state {
            CredentialState::Revoked => return Ok(false),
            CredentialState::Active => {
                if there.last_used.is_none_or(|last| last + USE_NOTED <= at) {
                    let mut seen = self.observe().await?;
                    sqlx::query("UPDATE credentials SET last_used = $1 WHERE client_id = $2 AND generation = $3")
                        .bind(at)
                        .bind(id.as_str())
                        .bind(i64::from(generation))
                        .execute(&mut *seen)
                        .await?;
                    seen.commit().await?;
                }
                return Ok(true);
            }
            CredentialState::Issued => {}
        }
        let mut change = self.change(who, at).await?;
        let sql = "UPDATE credentials SET state = 'active', first_used = $1, last_used = $1 \
                   WHERE client_id = $2 AND generation = $3 AND state = 'issued'";
        let done =
            sqlx::query(sql).bind(at).bind(id.as_str()).bind(i64::from(generation)).execute(&mut *change).await?;
        if done.rows_affected() == 0 {
            // Used or revoked meanwhile.
            return Ok(found(&mut change, id, generation).await?.state == CredentialState::Active);
        }
        change.audit("credential.first-use", &of_client(id), json!({ "generation": generation }));
        change.commit().await?;
        Ok(true)
    }

    /// Revokes a credential: the reconciler takes its ACLs away. False if it was revoked before.
    ///
    /// # Errors
    /// `NotFound`; `Unavailable`.
    pub async fn revoke_credential(
        &self,
        who: &Actor,
        id: &ClientId,
        generation: u32,
        why: &str,
        now: Millis,
    ) -> Result<bool> {
        let mut change = self.change(who, now).await?;
        if found(&mut change, id, generation).await?.state == CredentialState::Revoked {
            return Ok(false);
        }
        let sql = "UPDATE credentials SET state = 'revoked', revoked_at = $1 WHERE client_id = $2 AND generation = $3";
        sqlx::query(sql).bind(now).bind(id.as_str()).bind(i64::from(generation)).execute(&mut *change).await?;
        restart(&mut change, id, &[Step::Acls, Step::AclsRemoved]).await?;
        change.audit("credential.revoke", &of_client(id), json!({ "generation": generation, "why": why }));
        change.commit().await?;
        Ok(true)
    }

    /// All credentials of a client, the latest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn credentials(&self, id: &ClientId) -> Result<Vec<Credential>> {
        let sql = concat!("SELECT ", columns!(), " FROM credentials WHERE client_id = $1 ORDER BY generation DESC");
        let rows = sqlx::query(sql).bind(id.as_str()).fetch_all(self.pool()).await?;
        rows.iter().map(read).collect()
    }

    /// The certificate of the client's latest live credential; none if it has none, or it is older than certificates are kept.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn live_certificate(&self, id: &ClientId, now: Millis) -> Result<Option<NotedCertificate>> {
        let sql = "SELECT generation, not_after, certificate FROM credentials \
                   WHERE client_id = $1 AND state <> 'revoked' AND not_after > $2 AND certificate IS NOT NULL \
                   ORDER BY generation DESC LIMIT 1";
        let row = sqlx::query(sql).bind(id.as_str()).bind(now).fetch_optional(self.pool()).await?;
        let read = |row: AnyRow| {
            Ok(NotedCertificate {
                generation: generation(&row)?,
                not_after: row.try_get("not_after")?,
                pem: row.try_get("certificate")?,
            })
        };
        row.map(read).transpose()
    }

    /// All credentials of these clients, at most 1000 clients.
    ///
    /// # Errors
    /// `Invalid` for more; `Unavailable`.
    pub async fn credentials_of(&self, ids: &[ClientId]) -> Result<HashMap<ClientId, Vec<Credential>>> {
        if ids.len() > LONGEST_PAGE {
            return Err(Error::invalid(format!("more than {LONGEST_PAGE} clients at once")));
        }
        let mut of: HashMap<ClientId, Vec<Credential>> = HashMap::new();
        if ids.is_empty() {
            return Ok(of);
        }
        let places = places(1, ids.len());
        let sql = format!(concat!("SELECT ", columns!(), " FROM credentials WHERE client_id IN ({})"), places);
        let query = ids.iter().fold(sqlx::query(&sql), |query, id| query.bind(id.as_str()));
        for row in query.fetch_all(self.pool()).await? {
            let credential = read(&row)?;
            of.entry(credential.id.clone()).or_default().push(credential);
        }
        Ok(of)
    }

    /// Credentials issued before `before` and never seen at work, the oldest first. Left out are those of clients that are leaving, and
    /// of those of which it could not be told, at `before` or later, which credentials they use.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn unused_credentials(&self, before: Millis, limit: usize) -> Result<Vec<Credential>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM credentials WHERE state = 'issued' AND created_at < $1 AND EXISTS \
             (SELECT 1 FROM clients WHERE clients.id = client_id AND leaving_since IS NULL \
              AND (use_unknown_until IS NULL OR use_unknown_until < $1)) \
             ORDER BY created_at, client_id LIMIT $2"
        );
        let rows = sqlx::query(sql).bind(before).bind(limited(limit)).fetch_all(self.pool()).await?;
        rows.iter().map(read).collect()
    }

    /// Credentials that are not revoked and expire before `before`, the first to expire first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn expiring_credentials(&self, before: Millis, limit: usize) -> Result<Vec<Credential>> {
        self.credentials_expiring(Millis::MIN, before, limit).await
    }

    /// Credentials that are not revoked and expire from `from` on and before `before`, the first to expire first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn credentials_expiring(&self, from: Millis, before: Millis, limit: usize) -> Result<Vec<Credential>> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM credentials WHERE state <> 'revoked' AND not_after >= $1 AND not_after < $2 \
               ORDER BY not_after, client_id LIMIT $3"
        );
        let rows = sqlx::query(sql).bind(from).bind(before).bind(limited(limit)).fetch_all(self.pool()).await?;
        rows.iter().map(read).collect()
    }
}

/// The counter outlives the client, and starts behind what a lost database may have given.
async fn next_generation(change: &mut Change, id: &ClientId) -> Result<u32> {
    let sql = "SELECT COALESCE(MAX(last), 0) AS last, (SELECT generation_floor FROM state) AS least FROM generations WHERE client_id = $1";
    let row = sqlx::query(sql).bind(id.as_str()).fetch_one(&mut **change).await?;
    let next = row.try_get::<i64, _>("last")?.max(row.try_get("least")?) + 1;
    let generation =
        u32::try_from(next).map_err(|_| Error::conflict(format!("client {id} has no generations left")))?;
    let sql = "INSERT INTO generations (client_id, last) VALUES ($1, $2) ON CONFLICT (client_id) DO UPDATE SET last = excluded.last";
    sqlx::query(sql).bind(id.as_str()).bind(next).execute(&mut **change).await?;
    Ok(generation)
}

async fn found(change: &mut Change, id: &ClientId, generation: u32) -> Result<Credential> {
    let row = sqlx::query(concat!("SELECT ", columns!(), " FROM credentials WHERE client_id = $1 AND generation = $2"))
        .bind(id.as_str())
        .bind(i64::from(generation))
        .fetch_optional(&mut **change)
        .await?;
    let credential = row.as_ref().map(read).transpose()?;
    credential.ok_or_else(|| Error::not_found(format!("credential {} is not known", id.common_name(generation))))
}

fn generation(row: &AnyRow) -> Result<u32> {
    let generation: i64 = row.try_get("generation")?;
    u32::try_from(generation).map_err(|_| corrupt("generation", generation))
}

fn read(row: &AnyRow) -> Result<Credential> {
    Ok(Credential {
        id: client_id(row.try_get("client_id")?)?,
        generation: generation(row)?,
        state: CredentialState::parse(row.try_get("state")?)?,
        fingerprint: row.try_get("fingerprint")?,
        not_after: row.try_get("not_after")?,
        created_at: row.try_get("created_at")?,
        first_used: row.try_get("first_used")?,
        last_used: row.try_get("last_used")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}
