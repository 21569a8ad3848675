//! `client …`.

use super::api::{part, Api};
use super::table::{cell, time, visible, Table};
use super::{note, print, Done, Failure};
use crate::error::{Error, Kind, Result};
use serde::Deserialize;
use serde_json::{json, Map, Value};
use std::path::Path;

/// Settings as the command line names them.
const SETTINGS: [&str; 4] = ["sample", "max_lines_per_second", "partitions", "retention_ms"];

/// Adds a client, or finds it there, or undoes its leaving.
pub async fn add(api: &Api, id: &str, settings: &[String]) -> Done {
    let mut body = json!({ "id": id });
    if !settings.is_empty() {
        body["settings"] = changed(Map::new(), settings)?;
    }
    let answer = api.ask("POST", "/clients", Some(&body), None).await?;
    let new = answer.status == axum::http::StatusCode::CREATED;
    api.show(&answer.json()?, |client| {
        let what = if new { "added" } else { "is there" };
        format!("{id}: {what}, {}; tel-control client show {id} tells how far it is\n", cell(client, "state"))
    })?;
    api.note_recorded();
    Ok(())
}

/// All clients.
pub async fn list(api: &Api) -> Done {
    let clients = all(api).await?;
    if api.is_json() {
        return print(format!("{:#}\n", json!({ "clients": clients })));
    }
    let mut table = Table::new(&["id", "state", "edges", "topic", "since", "not done"]);
    for client in &clients {
        let undone = |step: &&Value| step["state"] != "done";
        let undone = client["steps"].as_array().and_then(|steps| steps.iter().find(undone));
        let undone = undone.map_or_else(String::new, |step| match cell(step, "detail").as_str() {
            "-" => cell(step, "name"),
            detail => format!("{}: {detail}", cell(step, "name")),
        });
        table.add([
            cell(client, "id"),
            cell(client, "state"),
            edges(client),
            cell(client, "topic"),
            time(client, "created_at"),
            undone,
        ]);
    }
    print(table.text())
}

/// The clients of all pages.
async fn all(api: &Api) -> Result<Vec<Value>> {
    let mut clients = Vec::new();
    let mut path = "/clients?limit=1000".to_owned();
    loop {
        let mut page = api.get(&path).await?;
        match page["clients"].take() {
            Value::Array(found) => clients.extend(found),
            _ => return Err(Error::unavailable("the API's answer has no clients")),
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/clients?limit=1000&after={}", part(next)),
            None => return Ok(clients),
        }
    }
}

/// One client, with its steps.
pub async fn show(api: &Api, id: &str) -> Done {
    let client = api.get(&format!("/clients/{}", part(id))).await?;
    api.show(&client, |client| {
        let mut text = format!(
            "{}: {}\ntopic     {}\nedges     {} have it\nsettings  {}\nsince     {}\n",
            cell(client, "id"),
            cell(client, "state"),
            cell(client, "topic"),
            edges(client),
            visible(&settings(client)),
            time(client, "created_at"),
        );
        if let Some(leaving) = client.get("leaving") {
            let (since, until) = (time(leaving, "since"), time(leaving, "delete_after"));
            text.push_str(&format!("leaving   since {since}; its topic is deleted after {until}\n"));
        }
        let mut table = Table::new(&["step", "state", "since", "next try", "detail"]);
        for step in client["steps"].as_array().into_iter().flatten() {
            table.add([
                cell(step, "name"),
                cell(step, "state"),
                time(step, "changed_at"),
                time(step, "next_try_at"),
                cell(step, "detail"),
            ]);
        }
        text.push('\n');
        text + &table.text()
    })
}

/// Gives a client other settings.
pub async fn set(api: &Api, id: &str, settings: &[String]) -> Done {
    let path = format!("/clients/{}", part(id));
    let found = api.ask("GET", &path, None, None).await?;
    let client = found.json()?;
    let before = client["settings"].as_object().cloned().unwrap_or_default();
    let settings = changed(before, settings)?;
    let revision = found.etag.clone().unwrap_or_else(|| format!("\"{}\"", client["revision"]));
    let answer = api.ask("PATCH", &path, Some(&json!({ "settings": settings })), Some(&revision)).await?;
    api.show(&answer.json()?, |client| format!("{id}: {}\n", visible(&self::settings(client))))?;
    api.note_recorded();
    Ok(())
}

/// Ends a client's service.
pub async fn remove(api: &Api, id: &str) -> Done {
    let answer = api.ask("DELETE", &format!("/clients/{}", part(id)), None, None).await?;
    api.show(&answer.json()?, |client| {
        let until = client.get("leaving").map_or_else(|| "-".to_owned(), |leaving| time(leaving, "delete_after"));
        format!("{id}: leaving; its topic is deleted after {until}, until then tel-control client add {id} undoes it\n")
    })?;
    api.note_recorded();
    Ok(())
}

/// An entry of a file of clients.
#[derive(Debug, PartialEq, Deserialize)]
struct Entry {
    id: String,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    sample: Option<f64>,
    #[serde(default)]
    max_lines_per_second: Option<u64>,
}

/// Adds the clients of a client list, or of lines with an id each. One that cannot be added holds up no other.
pub async fn import(api: &Api, file: &Path) -> Done {
    let text =
        std::fs::read_to_string(file).map_err(|error| Error::unavailable(format!("{}: {error}", file.display())))?;
    let entries = entries(&text).map_err(|error| Error { text: format!("{}: {error}", file.display()), ..error })?;
    let (mut added, mut there, mut refused) = (0, 0, Vec::new());
    for entry in &entries {
        match import_one(api, entry).await {
            Ok(true) => added += 1,
            Ok(false) => there += 1,
            // Not the entry's fault, so the next would not fare better.
            Err(error) if error.kind == Kind::Unavailable => return Err(error.into()),
            Err(error) => refused.push((&entry.id, error.text)),
        }
    }
    for (id, why) in &refused {
        note(format_args!("{}: {why}", visible(id)));
    }
    let refusals: Vec<Value> = refused.iter().map(|(id, why)| json!({ "id": id, "detail": why })).collect();
    let answer = json!({ "added": added, "there": there, "refused": refusals });
    api.show(&answer, |_| format!("{added} added, {there} were there, {} refused\n", refused.len()))?;
    api.note_recorded();
    if refused.is_empty() {
        Ok(())
    } else {
        Err(Failure::Said)
    }
}

/// Adds one; whether it was not there.
async fn import_one(api: &Api, entry: &Entry) -> Result<bool> {
    let ours = format!("{}{}", api.config().namespace.as_str(), entry.id);
    if let Some(topic) = entry.topic.as_ref().filter(|topic| **topic != ours) {
        return Err(Error::conflict(format!(
            "its topic is {topic}; here it would be {ours}: leave `topic` out to take that"
        )));
    }
    let mut settings = Map::new();
    if let Some(sample) = entry.sample {
        settings.insert("sample".into(), json!(sample));
    }
    if let Some(most) = entry.max_lines_per_second {
        settings.insert("max_lines_per_second".into(), json!(most));
    }
    let mut body = json!({ "id": entry.id });
    if !settings.is_empty() {
        body["settings"] = Value::Object(settings);
    }
    let answer = api.ask("POST", "/clients", Some(&body), None).await?;
    Ok(answer.status == axum::http::StatusCode::CREATED)
}

fn entries(text: &str) -> Result<Vec<Entry>> {
    if text.trim_start().starts_with('{') {
        #[derive(Deserialize)]
        struct List {
            clients: Vec<Entry>,
        }
        return serde_json::from_str(text).map(|list: List| list.clients).map_err(Error::invalid);
    }
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entry = |id: &str| Entry { id: id.to_owned(), topic: None, sample: None, max_lines_per_second: None };
    Ok(lines.map(entry).collect())
}

/// Settings with the changes of `key=value` words.
fn changed(mut settings: Map<String, Value>, words: &[String]) -> Result<Value> {
    for word in words {
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        if !SETTINGS.contains(&name) || !word.contains('=') {
            return Err(Error::invalid(format!(
                "{}: not KEY=VALUE with KEY one of {}",
                visible(word),
                SETTINGS.join(", ")
            )));
        }
        if value.is_empty() {
            settings.remove(name);
            continue;
        }
        let number: Value = serde_json::from_str(value).unwrap_or(Value::Null);
        if !number.is_number() {
            return Err(Error::invalid(format!("{}: the value must be a number", visible(word))));
        }
        settings.insert(name.to_owned(), number);
    }
    Ok(Value::Object(settings))
}

fn settings(client: &Value) -> String {
    let settings = client["settings"].as_object().filter(|settings| !settings.is_empty());
    settings.map_or_else(
        || "the defaults".to_owned(),
        |settings| settings.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" "),
    )
}

fn edges(client: &Value) -> String {
    format!("{} of {}", cell(&client["edges"], "current"), cell(&client["edges"], "known"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_a_list_or_lines() {
        let ids = |text: &str| entries(text).unwrap().into_iter().map(|entry| entry.id).collect::<Vec<_>>();
        assert_eq!(ids("c8\n\n# later\n c83 \r\n"), ["c8", "c83"]);
        let list = r#"{"revision": 7, "clients": [{"id": "c8"}, {"id": "acme", "topic": "logs.acme", "sample": 0.1, "x": 1}]}"#;
        assert_eq!(ids(list), ["c8", "acme"]);
        assert_eq!(entries(list).unwrap()[1].sample, Some(0.1));
        assert!(entries(r#"{"clients": 1}"#).is_err());
    }

    #[test]
    fn settings_are_changed_by_name() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let before = Map::from_iter([("sample".to_owned(), json!(0.5)), ("partitions".to_owned(), json!(3))]);
        let after = changed(before, &words(&["sample=", "retention_ms=60000"])).unwrap();
        assert_eq!(after, json!({ "partitions": 3, "retention_ms": 60000 }));
        for bad in ["colour=1", "sample", "sample=x", "sample=[1]"] {
            assert!(changed(Map::new(), &words(&[bad])).unwrap_err().text.starts_with(bad), "{bad}");
        }
    }
}
