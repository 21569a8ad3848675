//! `backup` and `restore` of the database.

use super::{print, Done, Failure};
use crate::config::Config;
use crate::error::{Error, Kind};
use crate::store;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;

/// Copies the database, whether tel-control serves or not.
pub async fn backup(config: &Config, to: &Path) -> Done {
    store::backup_file(&config.database, to).await?;
    let note = if config.ca_passphrase.is_some() { "its passphrase" } else { "its key, which is not encrypted" };
    print(format!(
        "{}: written. Keep the folder {} as well, with {note}: without it no certificate can be made or renewed.\n",
        to.display(),
        config.ca.display()
    ))
}

/// Puts a copy in the place of the database; what was there is kept beside it.
pub async fn restore(config: &Config, from: &Path) -> Done {
    if is_served(&config.control_socket).await {
        let socket = config.control_socket.display();
        return Err(Error::conflict(format!("a tel-control serves at {socket}: stop it first")).into());
    }
    let kept = store::restore_file(&config.database, from).await.map_err(|error| match error.kind {
        Kind::Conflict => Failure::Failed(Error { text: format!("{error}; stop it first"), ..error }),
        _ => Failure::Failed(error),
    })?;
    let mut text = format!("{}: restored from {}.\n", config.database, from.display());
    if let Some(kept) = kept {
        text.push_str(&format!("What was there is kept as {}.\n", kept.display()));
    }
    text.push_str(
        "When tel-control serves again it finds in Kafka that this is an older state: it deletes nothing, takes clients that\n\
         were added since from Kafka's list, puts off deletions by the grace period, and numbers new credentials from\n\
         beyond those that may have been given since. The audit log has each of these.\n",
    );
    print(text)
}

async fn is_served(socket: &Path) -> bool {
    matches!(tokio::time::timeout(Duration::from_secs(2), UnixStream::connect(socket)).await, Ok(Ok(_)))
}
