//! `init`: what must be there before the first `serve`.

use super::{files, note, print, Done};
use crate::app::now;
use crate::ca::{Authority, Protection};
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::store::{Actor, Store, Token};
use serde_json::json;
use std::path::Path;

/// What a configuration must say; the manual has the rest.
const EXAMPLE: &str = r#"{
  "database": "sqlite:/var/lib/tel-control/tel-control.db",
  "kafka": {
    "bootstrap.servers": "kafka-1:9093",
    "security.protocol": "ssl",
    "ssl.ca.location": "/etc/tel/brokers-ca.pem",
    "ssl.certificate.location": "/etc/tel/admin.pem",
    "ssl.key.location": "/etc/tel/admin.key"
  },
  "public_bootstrap": "kafka-1.example.com:9093",
  "brokers_ca": "/etc/tel/brokers-ca.pem",
  "ca": "/var/lib/tel-control/ca",
  "ca_passphrase": "/etc/tel/ca-passphrase",
  "control_socket": "/run/tel-control/control.sock"
}
"#;

/// Common name of the authority that signs clients and edges.
const AUTHORITY: &str = "tel clients and edges";
/// Label of the first token.
const FIRST: &str = "first operator";

/// Writes a configuration to begin with. JSON has no comments: what to change is said beside it.
pub fn write_config(path: &Path) -> Done {
    // It may come to hold the database's password.
    files::write_new(path, 0o600, EXAMPLE.as_bytes())?;
    print(format!(
        "{}: written. Say in it how the brokers are reached by tel-control (kafka) and by clients\n\
         (public_bootstrap), and who signed their certificates (brokers_ca); put a passphrase of 8 characters or\n\
         more into the file that ca_passphrase names, mode 600. Then run tel-control init again.\n",
        path.display()
    ))
}

/// Makes authority, database and a first operator token, each only if it is not there.
pub async fn run(config: &Config, path: &Path, json: bool) -> Done {
    let (authority, made_authority) = authority(config)?;
    let store = Store::open(&config.database, now()).await?;
    let found = store.tokens(None).await?.into_iter().find(|token| is_operator_s(token, now()));
    let token = match found {
        Some(_) => None,
        None => Some(store.create_token(&Actor::command_line(), FIRST, None, None, now()).await?),
    };
    let ca = config.ca.join("ca.crt");
    let place = store.place().to_owned();
    store.close().await;
    if config.ca_passphrase.is_none() {
        note("warning: the authority's key is not encrypted; ca_passphrase names the file with its passphrase");
    }
    if !config.brokers_ca.exists() {
        note(format_args!("warning: brokers_ca: {} is not there, and serve needs it", config.brokers_ca.display()));
    }
    if json {
        let answer = json!({
            "ca": ca, "ca_made": made_authority, "database": place, "token": token.map(|token| token.secret),
        });
        return print(format!("{answer:#}\n"));
    }
    let made = |made| if made { "made" } else { "was there, and stays" };
    let mut text = format!("authority  {}: {}\ndatabase   {place}\n", ca.display(), made(made_authority));
    match &token {
        Some(token) => text.push_str(&format!(
            "token      {}\n           an operator's; it is shown this once. The panel takes it at {}/login\n",
            token.secret,
            config.panel()
        )),
        None => text.push_str("token      an operator has one already; `tel-control token add LABEL` makes another\n"),
    }
    if made_authority {
        let days = (authority.not_after()? - now() / 1000) / 86_400;
        text.push_str(&format!(
            "\nThe brokers must trust the authority, which is valid for {days} days: add {} to the truststore of the clients'\n\
             listener, then run `tel-control doctor --config {}`.\n",
            ca.display(),
            path.display()
        ));
    }
    print(text)
}

fn authority(config: &Config) -> Result<(Authority, bool)> {
    let passphrase = config.passphrase().map_err(|error| Error {
        text: format!("{error}; write one of 8 characters or more into it, mode 600"),
        ..error
    })?;
    match Authority::open(&config.ca, passphrase.as_deref()) {
        Err(error) if error.kind == Kind::NotFound => {
            let Some(passphrase) = passphrase.as_deref() else { return Err(no_passphrase(config)) };
            Ok((Authority::create(&config.ca, AUTHORITY, Protection::Passphrase(passphrase))?, true))
        }
        found => Ok((found?, false)),
    }
}

/// Whoever has the key can pose as any client and any edge: it is made for a disk only as what nobody reads without the passphrase.
fn no_passphrase(config: &Config) -> Error {
    Error::invalid(format!(
        "ca_passphrase: missing, and the authority's key is not made without one; let it name a file such as that of\n  \
         (umask 077; openssl rand -hex 32 > /etc/tel/ca-passphrase)\n\
         or put an authority of your own, ca.crt and ca.key, into {}",
        config.ca.display()
    ))
}

fn is_operator_s(token: &Token, now: i64) -> bool {
    token.client.is_none() && token.revoked_at.is_none() && token.expires_at.is_none_or(|end| end > now)
}
