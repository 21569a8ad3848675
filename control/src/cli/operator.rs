//! What operators see and decide: tokens, the audit log, the reconciler's state and plan, and what waits for their word.

use super::api::{part, Api};
use super::table::{cell, time, visible, Table};
use super::Done;
use crate::app::now;
use crate::http;
use crate::names::ClientId;
use serde_json::{json, Value};

/// Makes a token.
pub async fn token_add(api: &Api, label: &str, client: Option<&str>, days: Option<u32>) -> Done {
    let mut body = json!({ "label": label });
    if let Some(client) = client {
        body["client"] = json!(client);
    }
    if let Some(days) = days {
        body["expires_in_days"] = json!(days);
    }
    let answer = api.ask("POST", "/tokens", Some(&body)).await?.json()?;
    api.show(&answer, |token| format!("{}\n", token_text(token)))
}

/// The token itself.
fn token_text(token: &Value) -> String {
    cell(token, "secret")
}

/// All tokens, never their secrets.
pub async fn token_list(api: &Api) -> Done {
    let answer = api.get("/tokens").await?;
    api.show(&answer, |answer| {
        let mut table = Table::new(&["id", "label", "client", "made", "last used", "expires", "revoked"]);
        for token in answer["tokens"].as_array().into_iter().flatten() {
            table.add([
                cell(token, "id"),
                cell(token, "label"),
                cell(token, "client"),
                time(token, "created_at"),
                time(token, "last_used_at"),
                time(token, "expires_at"),
                time(token, "revoked_at"),
            ]);
        }
        table.text()
    })
}

/// Takes a token no more.
pub async fn token_revoke(api: &Api, id: &str) -> Done {
    let answer = api.ask("DELETE", &format!("/tokens/{}", part(id)), None).await?.json()?;
    api.show(&answer, |_| format!("{id}: revoked\n"))
}

/// The latest rows of the audit log, the newest last.
pub async fn audit(api: &Api, subject: Option<&str>, limit: u32) -> Done {
    let subject = subject.map(|subject| format!("&subject={}", part(subject))).unwrap_or_default();
    let answer = api.get(&format!("/audit?limit={limit}{subject}")).await?;
    api.show(&answer, |answer| {
        let mut table = Table::new(&["at", "who", "what", "subject", "details"]);
        for row in answer["rows"].as_array().into_iter().flatten().rev() {
            table.add([
                time(row, "at"),
                cell(row, "who"),
                cell(row, "what"),
                cell(row, "subject"),
                row.get("details").map_or_else(String::new, Value::to_string),
            ]);
        }
        table.text()
    })
}

/// How the reconciler is.
pub async fn status(api: &Api) -> Done {
    let answer = api.get("/status").await?;
    api.show(&answer, fields)
}

/// What a full pass would do.
pub async fn plan(api: &Api) -> Done {
    let answer = api.get("/plan").await?;
    api.show(&answer, |answer| {
        let is_empty = |name: &&str| answer[*name].as_array().is_none_or(Vec::is_empty);
        let nothing = ["topics", "acls", "quotas", "list"].iter().all(is_empty);
        fields(answer) + if nothing { "nothing to do: Kafka is as it is wanted\n" } else { "" }
    })
}

/// Fields with something in them: lists a line each under their name, with its number; objects in a line.
fn fields(answer: &Value) -> String {
    let mut text = String::new();
    for (name, value) in answer.as_object().into_iter().flatten() {
        let name = name.replace('_', " ");
        match value {
            Value::Null => {}
            Value::Object(object) if object.is_empty() => {}
            // How the reconciler is.
            Value::Object(object) if object.values().any(|value| value.is_string() || value.is_array()) => {
                let inner = fields(value);
                text.push_str(&format!("{name}:\n"));
                text.extend(inner.lines().map(|line| format!("  {line}\n")));
            }
            Value::Object(object) => {
                let fields = object.keys().map(|field| format!("{} {}", field.replace('_', " "), cell(value, field)));
                text.push_str(&format!("{name}: {}\n", visible(&fields.collect::<Vec<_>>().join(", "))));
            }
            Value::Array(values) if values.is_empty() => {}
            Value::Array(values) => {
                text.push_str(&format!("{name} ({}):\n", values.len()));
                for value in values {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    text.push_str(&format!("  {}\n", visible(&value)));
                }
            }
            Value::String(value) if value.is_empty() => {}
            Value::String(value) => text.push_str(&format!("{name}: {}\n", visible(value))),
            Value::Bool(is) => text.push_str(&format!("{name}: {}\n", if *is { "yes" } else { "no" })),
            value => text.push_str(&format!("{name}: {value}\n")),
        }
    }
    text
}

/// An operator's word on the list or the database.
pub async fn accept(api: &Api, what: &str) -> Done {
    let answer = api.ask("POST", &format!("/{what}/accept"), None).await?.json()?;
    api.show(&answer, |answer| match what {
        "list" => "accepted: edges that kept their list from before take this one\n".to_owned(),
        _ => format!("accepted: Kafka is brought to this database\n{}", fields(answer)),
    })
}

/// A link as another panel makes it.
pub fn launch_link(api: &Api, id: &str, name: Option<&str>) -> Done {
    let link = http::panel::launch_link(api.config(), &ClientId::new(id)?, name.unwrap_or(id), now() / 1000)?;
    api.show(&json!({ "link": link }), |_| format!("{link}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_without_anything_are_left_out() {
        let answer =
            json!({ "leading": true, "holding": null, "topics_to_create": ["logs.c8"], "acls": [], "took_ms": 5 });
        assert_eq!(fields(&answer), "leading: yes\ntook ms: 5\ntopics to create (1):\n  logs.c8\n");
    }
}
