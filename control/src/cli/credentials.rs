//! `credential …` and `bundle`.

use super::api::{part, Api};
use super::table::{cell, time, Table};
use super::{files, print, Done};
use crate::error::{Error, Result};
use serde_json::{json, Value};
use std::path::Path;

/// Makes a credential and writes its files to a folder, or prints them.
pub async fn add(api: &Api, id: &str, csr: Option<&Path>, out: Option<&Path>) -> Done {
    let body = csr.map(request).transpose()?;
    if let Some(folder) = out {
        files::make_folder(folder)?;
        for name in ["client.pem", "client.key", "ca.pem"] {
            files::must_be_new(&folder.join(name))?;
        }
    }
    let path = format!("/clients/{}/credentials", part(id));
    let answer = api.ask("POST", &path, body.as_ref()).await?.json()?;
    api.note_recorded();
    let Some(folder) = out else {
        return api
            .show(&answer, |issued| cell(issued, "certificate_pem") + issued["key_pem"].as_str().unwrap_or_default());
    };
    write(folder, "client", &answer)?;
    let generation = cell(&answer, "generation");
    print(format!(
        "{id}:{generation}: certificate, {}and the brokers' CA are in {}\n",
        if csr.is_some() { "" } else { "its key, which is nowhere else, " },
        folder.display()
    ))
}

/// A client's credentials.
pub async fn list(api: &Api, id: &str) -> Done {
    let answer = api.get(&format!("/clients/{}/credentials", part(id))).await?;
    api.show(&answer, |answer| {
        let mut table = Table::new(&["number>", "state", "works", "made", "last used", "expires", "revoked"]);
        for credential in answer["credentials"].as_array().into_iter().flatten() {
            table.add([
                cell(credential, "generation"),
                cell(credential, "state"),
                cell(credential, "live"),
                time(credential, "created_at"),
                time(credential, "last_used_at"),
                time(credential, "not_after"),
                time(credential, "revoked_at"),
            ]);
        }
        table.text()
    })
}

/// Ends a credential.
pub async fn revoke(api: &Api, id: &str, generation: &str) -> Done {
    let path = format!("/clients/{}/credentials/{}", part(id), part(generation));
    let answer = api.ask("DELETE", &path, None).await?.json()?;
    api.show(&answer, |_| {
        format!("{id}:{generation}: revoked; its next request is refused once Kafka has heard of it\n")
    })?;
    api.note_recorded();
    Ok(())
}

/// Writes the zip, with a new credential in it.
pub async fn bundle(api: &Api, id: &str, out: &Path) -> Done {
    files::must_be_new(out)?;
    let answer = api.ask("POST", &format!("/clients/{}/bundle.zip", part(id)), None).await?;
    files::write_new(out, 0o600, answer.bytes())?;
    api.note_recorded();
    if api.is_json() {
        return print(format!("{:#}\n", json!({ "file": out, "bytes": answer.bytes().len() })));
    }
    print(format!("{}: written, with a new credential, whose key is nowhere else\n", out.display()))
}

/// The body that asks for a certificate for a request's key.
pub(super) fn request(csr: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(csr);
    Ok(json!({ "csr": text.map_err(|error| Error::unavailable(format!("{}: {error}", csr.display())))? }))
}

/// Writes `<name>.pem`, `<name>.key` if there is one, and the brokers' authority as `ca.pem`.
pub(super) fn write(folder: &Path, name: &str, issued: &Value) -> Result<()> {
    let text =
        |name: &str| issued[name].as_str().ok_or_else(|| Error::unavailable(format!("the API's answer has no {name}")));
    let (certificate, ca) = (text("certificate_pem")?, text("brokers_ca_pem")?);
    // The key first: it is nowhere else.
    if let Some(key) = issued["key_pem"].as_str() {
        files::write_new(&folder.join(format!("{name}.key")), 0o600, key.as_bytes())?;
    }
    files::write_new(&folder.join(format!("{name}.pem")), 0o644, certificate.as_bytes())?;
    files::write_new(&folder.join("ca.pem"), 0o644, ca.as_bytes())
}
