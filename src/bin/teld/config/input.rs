//! An input's keys.

use super::keys::Keys;
use super::owner::owner;
use crate::client::ClientRule;
use crate::inputs::{position_path, unix, Input, Place, Reading, Source, WhenFull};
use std::path::{Path, PathBuf};
use tel::ClientList;

/// Mode of a FIFO or socket, if none is given: for its owner and group.
const MODE: u32 = 0o660;

/// The input `name` with these keys.
pub fn input(name: String, mut keys: Keys) -> Result<Input, String> {
    if name.is_empty()
        || name.len() > 64
        || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    {
        return Err(format!("inputs.{name}: a name is 1 to 64 letters, digits, dots, underlines and hyphens"));
    }
    let kind = keys.needed_text("type")?;
    let source = match kind.as_str() {
        "stdin" => Source::Stdin,
        "file" => file(&name, &mut keys)?,
        "exec" => exec(&mut keys)?,
        "fifo" => Source::Fifo { place: place(&mut keys)? },
        "unix" => socket(&mut keys)?,
        other => {
            return Err(format!(
                "{}: no such type: {other}; there are exec, fifo, unix, stdin, file",
                keys.full_name("type")
            ))
        }
    };
    // A file and a pipe from a shell can wait; whoever serves visitors cannot.
    let patient = matches!(source, Source::Stdin | Source::File { .. } | Source::FollowedFile { .. });
    let when_full = match keys.text("when_full")?.as_deref() {
        None if patient => WhenFull::Wait,
        None | Some("drop") => WhenFull::Drop,
        Some("wait") => WhenFull::Wait,
        Some(_) => return Err(format!("{}: must be \"drop\" or \"wait\"", keys.full_name("when_full"))),
    };
    let syslog = match keys.text("header")?.as_deref() {
        None | Some("none") => false,
        Some("syslog") => true,
        Some(_) => return Err(format!("{}: must be \"none\" or \"syslog\"", keys.full_name("header"))),
    };
    let client = match keys.object("client")? {
        None => ClientRule::First,
        Some(rule) => client(rule)?,
    };
    keys.finish()?;
    Ok(Input { name, source, reading: Reading { client, when_full, syslog } })
}

fn file(name: &str, keys: &mut Keys) -> Result<Source, String> {
    let path = PathBuf::from(keys.needed_text("path")?);
    if !keys.boolean("follow")?.unwrap_or(false) {
        return Ok(Source::File { path });
    }
    let position = keys.text("position")?.map_or_else(|| position_path(name), PathBuf::from);
    let from_end = match keys.text("from")?.as_deref() {
        None | Some("start") => false,
        Some("end") => true,
        Some(_) => return Err(format!("{}: must be \"start\" or \"end\"", keys.full_name("from"))),
    };
    Ok(Source::FollowedFile { path, position, from_end })
}

fn exec(keys: &mut Keys) -> Result<Source, String> {
    let name = keys.full_name("command");
    let command = keys.texts("command")?.ok_or_else(|| format!("{name}: must be there"))?;
    if command.first().is_some_and(|program| program.trim().is_empty()) {
        return Err(format!("{name}: its first text must be a program"));
    }
    Ok(Source::Exec { command })
}

/// Refuses a socket's path that is too long for the system.
pub fn check_socket_path(name: &str, path: &Path) -> Result<(), String> {
    /// sun_path with its NUL (unix(7)).
    const LONGEST: usize = 108;
    if path.as_os_str().len() >= LONGEST {
        return Err(format!("{name}: a socket's path has at most {} bytes", LONGEST - 1));
    }
    Ok(())
}

fn socket(keys: &mut Keys) -> Result<Source, String> {
    let kind = match keys.text("socket")?.as_deref() {
        None | Some("stream") => unix::Kind::Stream,
        Some("datagram") => unix::Kind::Datagram,
        Some(_) => return Err(format!("{}: must be \"stream\" or \"datagram\"", keys.full_name("socket"))),
    };
    let place = place(keys)?;
    check_socket_path(&keys.full_name("path"), &place.path)?;
    Ok(Source::Unix { place, kind })
}

fn place(keys: &mut Keys) -> Result<Place, String> {
    let path = PathBuf::from(keys.needed_text("path")?);
    let wrong_mode = format!("{}: must be a mode in octal, such as \"0660\"", keys.full_name("mode"));
    let mode = match keys.text("mode")? {
        None => MODE,
        Some(text) => u32::from_str_radix(&text, 8).ok().filter(|mode| *mode <= 0o777).ok_or(wrong_mode)?,
    };
    let owner_name = keys.full_name("owner");
    let (user, group) = match keys.text("owner")? {
        None => (None, None),
        Some(text) => owner(&text).map_err(|error| format!("{owner_name}: {error}"))?,
    };
    Ok(Place { path, mode, user, group })
}

/// The one client of all lines, if that is the rule. An id that no list can have would only be counted as malformed.
fn fixed(keys: &mut Keys) -> Result<Option<ClientRule>, String> {
    let name = keys.full_name("fixed");
    let Some(id) = keys.text("fixed")? else { return Ok(None) };
    let list = serde_json::json!({ "clients": [{ "id": id }] }).to_string();
    match ClientList::from_json(list.as_bytes()) {
        Ok(list) if list.rejected == 0 => Ok(Some(ClientRule::Fixed(id))),
        _ => Err(format!(
            "{name}: {id} is no client's id: 1 to 128 of A-Z a-z 0-9 . _ -, but not -, ., .. or __ at its start"
        )),
    }
}

fn client(mut keys: Keys) -> Result<ClientRule, String> {
    let name = keys.full_name("");
    let name = name.trim_end_matches('.');
    let rules = [
        keys.integer("word", 1, 1000)?.map(|number| ClientRule::Word(number as usize)),
        keys.text("json")?.map(|path| ClientRule::Json(ClientRule::json_path(&path))),
        fixed(&mut keys)?,
    ];
    keys.finish()?;
    let mut rules = rules.into_iter().flatten();
    match (rules.next(), rules.next()) {
        (Some(rule), None) => Ok(rule),
        _ => Err(format!("{name}: must have one of the keys word, json, fixed")),
    }
}
