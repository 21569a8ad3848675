//! `doctor`: whether the brokers are set up as this relies on.

use super::{note, print, Done, Failure};
use crate::ca::Authority;
use crate::config::Config;
use crate::error::Result;
use crate::kafka::admin::Admin;
use crate::kafka::doctor::{examine, worst, Finding, Severity};
use crate::kafka::Connection;
use crate::names::ClientId;
use serde_json::json;
use std::time::Duration;

/// Somebody waits at a terminal.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints every finding; fails if one is bad.
pub fn run(config: &Config, json: bool) -> Done {
    let connection = Connection::new(config.kafka.clone()).map_err(Failure::Config)?;
    let mut admin = Admin::new(&connection).map_err(Failure::Config)?;
    admin.set_timeout(PATIENCE);
    let stranger = match stranger(config, &connection) {
        Ok(stranger) => Some(stranger),
        Err(error) => {
            note(format_args!("no certificate could be made to try what it may do: {error}"));
            None
        }
    };
    let findings = examine(&admin, &config.namespace, stranger.as_ref());
    if json {
        let severity = |finding: &Finding| match finding.severity {
            Severity::Good => "good",
            Severity::Look => "look",
            Severity::Bad => "bad",
        };
        let rows = findings
            .iter()
            .map(|finding| json!({ "severity": severity(finding), "text": finding.text, "remedy": finding.remedy }));
        print(format!("{:#}\n", json!({ "findings": rows.collect::<Vec<_>>() })))?;
    } else {
        print(findings.iter().map(|finding| format!("{finding}\n")).collect::<String>())?;
    }
    if worst(&findings) == Severity::Bad {
        return Err(Failure::Said);
    }
    Ok(())
}

/// Somebody with a certificate of the clients' authority and no rights, where clients find the brokers.
fn stranger(config: &Config, connection: &Connection) -> Result<Connection> {
    let authority = Authority::open(&config.ca, config.passphrase()?.as_deref())?;
    // No client ever has this generation.
    let credential = authority.client(&ClientId::new("doctor")?, u32::MAX, 1)?;
    let key = credential.key_pem.as_ref().map(|key| key.text()).unwrap_or_default();
    let mut properties = vec![
        ("bootstrap.servers", config.public_bootstrap.clone()),
        ("security.protocol", "ssl".to_owned()),
        ("ssl.ca.location", config.brokers_ca.display().to_string()),
        ("ssl.certificate.pem", credential.certificate_pem.clone()),
        ("ssl.key.pem", key.to_owned()),
    ];
    if let Some(family) = connection.get("broker.address.family") {
        properties.push(("broker.address.family", family.to_owned()));
    }
    Connection::new(properties.into_iter().map(|(name, value)| (name.to_owned(), value)))
}
