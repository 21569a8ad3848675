//! `edge …`.

use super::api::{part, Api};
use super::credentials::{request, write};
use super::table::{cell, time, Table};
use super::{files, print, Done};
use crate::names::{ACKS_TOPIC, LIST_TOPIC};
use serde_json::{json, Value};
use std::path::Path;

/// Where the packaged teld has its configuration, and where it keeps the client list for others.
const EDGE_FOLDER: &str = "/etc/tel";
const EDGE_LIST: &str = "/var/lib/teld/clients.json";

/// Where an edge's files go.
pub struct Files<'a> {
    /// The folder that is written here.
    pub out: &'a Path,
    /// The folder on the edge; none: the packaged teld's.
    pub at: Option<&'a Path>,
    /// Where the edge finds the brokers; none: where clients do.
    pub bootstrap: Option<&'a str>,
}

/// Adds an edge if need be, and makes a folder for it: certificate, key, the brokers' CA, and teld's configuration.
pub async fn add(api: &Api, name: &str, csr: Option<&Path>, to: &Files<'_>) -> Done {
    let mut body = csr.map(request).transpose()?.unwrap_or_else(|| json!({}));
    body["name"] = json!(name);
    files::make_folder(to.out)?;
    let config = to.out.join("teld.json");
    for name in ["edge.pem", "edge.key", "ca.pem", "teld.json"] {
        // The key of a request may lie there already.
        if csr.is_none() || name != "edge.key" {
            files::must_be_new(&to.out.join(name))?;
        }
    }
    let answer = api.ask("POST", "/edges", Some(&body)).await?.json()?;
    api.note_recorded();
    write(to.out, "edge", &answer)?;
    let bootstrap = to.bootstrap.or(answer["bootstrap"].as_str()).unwrap_or(&api.config().public_bootstrap);
    let family = api.config().kafka.get("broker.address.family");
    files::write_new(&config, 0o644, teld(name, to.at, bootstrap, family).as_bytes())?;
    if api.is_json() {
        return print(format!("{:#}\n", json!({ "name": name, "folder": to.out })));
    }
    print(format!(
        "{name}: the files are in {}; they belong into {} on the edge, edge.key (mode 600) to teld's user.{}\n\
         Add inputs to teld.json, or leave it: then teld keeps the client list for other hosts on that machine.\n",
        to.out.display(),
        to.at.unwrap_or(Path::new(EDGE_FOLDER)).display(),
        if csr.is_some() { " The request's key is to be edge.key." } else { "" }
    ))
}

/// What teld needs to follow the list, and to deliver if it is given inputs.
fn teld(name: &str, at: Option<&Path>, bootstrap: &str, family: Option<&String>) -> String {
    let folder = at.unwrap_or(Path::new(EDGE_FOLDER));
    let list = at.map_or_else(|| Path::new(EDGE_LIST).to_owned(), |at| at.join("clients.json"));
    let mut kafka = json!({
        "bootstrap.servers": bootstrap,
        "security.protocol": "ssl",
        "ssl.ca.location": folder.join("ca.pem"),
        "ssl.certificate.location": folder.join("edge.pem"),
        "ssl.key.location": folder.join("edge.key"),
    });
    if let Some(family) = family {
        kafka["broker.address.family"] = json!(family);
    }
    let config = json!({
        "producer": { "kafka": kafka, "clients.file": list },
        "inputs": {},
        "sync": { "edge": name, "topic": LIST_TOPIC, "acks": ACKS_TOPIC },
    });
    format!("{config:#}\n")
}

/// All edges.
pub async fn list(api: &Api) -> Done {
    let answer = api.get("/edges").await?;
    api.show(&answer, |answer| {
        let mut table =
            Table::new(&["name", "heard", "at", "offset>", "rejected", "expires", "retired", "refuses the list"]);
        for edge in answer["edges"].as_array().into_iter().flatten() {
            let rejected = edge["rejected"].as_array().map_or(0, Vec::len);
            table.add([
                cell(edge, "name"),
                cell(edge, "heard"),
                time(edge, "heard_at"),
                cell(edge, "applied_offset"),
                if rejected == 0 { "-".to_owned() } else { cell(edge, "rejected") },
                time(edge, "not_after"),
                time(edge, "retired_at"),
                cell(edge, "refused"),
            ]);
        }
        table.text()
    })
}

/// Counts an edge no more and takes its rights.
pub async fn retire(api: &Api, name: &str) -> Done {
    let answer: Value = api.ask("DELETE", &format!("/edges/{}", part(name)), None).await?.json()?;
    api.show(&answer, |_| format!("{name}: retired; it is counted no more, and its rights go\n"))?;
    api.note_recorded();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_s_files_name_where_they_will_lie() {
        let config: Value = serde_json::from_str(&teld("e1", None, "k:9093", None)).unwrap();
        assert_eq!(config["producer"]["kafka"]["ssl.key.location"], "/etc/tel/edge.key");
        assert_eq!(config["producer"]["clients.file"], "/var/lib/teld/clients.json");
        let config: Value =
            serde_json::from_str(&teld("e1", Some(Path::new("/x")), "k:9093", Some(&"v4".into()))).unwrap();
        assert_eq!(config["producer"]["kafka"]["ssl.key.location"], "/x/edge.key");
        assert_eq!(config["producer"]["clients.file"], "/x/clients.json");
        assert_eq!(config["sync"], json!({ "edge": "e1", "topic": "tel.clients", "acks": "tel.acks" }));
    }
}
