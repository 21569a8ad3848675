//! `client …`.

use super::api::{part, Api};
use super::table::{cell, time, visible, Table};
use super::{note, print, Done, Failure};
use crate::error::{Error, Result};
use crate::names::ClientId;
use crate::store::ClientSettings;
use serde::Deserialize;
use serde_json::{json, Map, Value};
use std::path::Path;

/// Settings as the command line names them.
const SETTINGS: [&str; 4] = ["sample", "max_lines_per_second", "partitions", "retention_ms"];

/// The API takes a megabyte at once.
const IMPORTED_AT_ONCE: usize = 4000;

/// Adds a client, or finds it there, or undoes its leaving.
pub async fn add(api: &Api, id: &str, settings: &[String]) -> Done {
    let mut body = json!({ "id": id });
    if !settings.is_empty() {
        body["settings"] = changes(settings)?;
    }
    let answer = api.ask("POST", "/clients", Some(&body)).await?;
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
    let body = json!({ "settings": changes(settings)? });
    let answer = api.ask("PATCH", &format!("/clients/{}", part(id)), Some(&body)).await?;
    api.show(&answer.json()?, |client| format!("{id}: {}\n", visible(&self::settings(client))))?;
    api.note_recorded();
    Ok(())
}

/// Ends a client's service.
pub async fn remove(api: &Api, id: &str) -> Done {
    let answer = api.ask("DELETE", &format!("/clients/{}", part(id)), None).await?;
    api.show(&answer.json()?, |client| {
        let until = client.get("leaving").map_or_else(|| "-".to_owned(), |leaving| time(leaving, "delete_after"));
        format!("{id}: leaving; its topic is deleted after {until}, until then tel-control client add {id} undoes it\n")
    })?;
    api.note_recorded();
    Ok(())
}

/// Takes the topic that is there for the client's.
pub async fn take_over(api: &Api, id: &str) -> Done {
    let answer = api.ask("POST", &format!("/clients/{}/take-over", part(id)), None).await?;
    api.show(&answer.json()?, |client| {
        let what =
            if client.get("leaving").is_some() { "deleted when its time is over" } else { "configured as its own" };
        format!("{id}: topic {} is its topic, and {what}\n", cell(client, "topic"))
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
    let named = |error: Error| Error { text: format!("{}: {error}", file.display()), ..error };
    let text = std::fs::read_to_string(file).map_err(|error| named(Error::unavailable(error)))?;
    let mut good = Vec::new();
    let mut refused = Vec::new();
    for entry in entries(&text).map_err(named)? {
        match client(api.config().namespace.as_str(), &entry) {
            Ok(client) => good.push(client),
            Err(error) => refused.push(json!({ "id": entry.id, "why": error.text })),
        }
    }
    let (mut added, mut there) = (0, 0);
    for some in good.chunks(IMPORTED_AT_ONCE) {
        let answer = api.ask("POST", "/import", Some(&json!({ "clients": some }))).await?.json()?;
        let number = |name: &str| answer[name].as_u64().unwrap_or(0);
        added += number("new") + number("back");
        there += number("same");
        refused.extend(answer["different"].as_array().into_iter().flatten().cloned());
    }
    for client in &refused {
        note(format_args!("{}: {}", cell(client, "id"), cell(client, "why")));
    }
    let answer = json!({ "added": added, "there": there, "refused": refused });
    api.show(&answer, |_| format!("{added} added, {there} were there, {} refused\n", refused.len()))?;
    api.note_recorded();
    if refused.is_empty() {
        Ok(())
    } else {
        Err(Failure::Said)
    }
}

/// What the API is told of an entry.
fn client(namespace: &str, entry: &Entry) -> Result<Value> {
    let id = ClientId::new(&entry.id)?;
    let ours = format!("{namespace}{id}");
    if let Some(topic) = entry.topic.as_ref().filter(|topic| **topic != ours) {
        return Err(Error::conflict(format!(
            "its topic there is {topic}, here it would be {ours}: leave `topic` out to take that"
        )));
    }
    let settings = ClientSettings {
        sample: entry.sample,
        max_lines_per_second: entry.max_lines_per_second,
        ..ClientSettings::default()
    };
    settings.check()?;
    Ok(json!({ "id": entry.id, "settings": settings }))
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

/// The settings of `key=value` words; null, the default, for `key=`.
fn changes(words: &[String]) -> Result<Value> {
    let mut settings = Map::new();
    for word in words {
        let named = |why: &str| Error::invalid(format!("{}: {why}", visible(word)));
        let (name, value) = word.split_once('=').ok_or_else(|| named("not KEY=VALUE"))?;
        if !SETTINGS.contains(&name) {
            return Err(named(&format!("KEY must be one of {}", SETTINGS.join(", "))));
        }
        let value = if value.is_empty() {
            Some(Value::Null)
        } else {
            serde_json::from_str(value).ok().filter(Value::is_number)
        };
        let Some(value) = value else {
            return Err(named("the value must be a number"));
        };
        settings.insert(name.to_owned(), value);
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
    fn an_entry_with_another_topic_is_not_taken() {
        let list = r#"{"clients": [{"id": "c8", "sample": 2}, {"id": "a b"}, {"id": "c8", "topic": "c8"}, {"id": "c8", "topic": "logs.c8"}]}"#;
        let answers: Vec<Result<Value>> = entries(list).unwrap().iter().map(|entry| client("logs.", entry)).collect();
        for (answer, why) in answers.iter().zip(["sample must be", "client id \"a b\"", "its topic there is c8"]) {
            assert!(answer.as_ref().unwrap_err().text.starts_with(why), "{answer:?}");
        }
        assert_eq!(answers[3], Ok(json!({ "id": "c8", "settings": {} })));
    }

    #[test]
    fn settings_are_changed_by_name() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let settings = changes(&words(&["sample=", "retention_ms=60000"]));
        assert_eq!(settings, Ok(json!({ "sample": null, "retention_ms": 60000 })));
        for bad in ["colour=1", "sample", "sample=x", "sample=[1]"] {
            let error = changes(&words(&[bad])).unwrap_err();
            assert!(error.text.starts_with(bad), "{error}");
        }
    }
}
