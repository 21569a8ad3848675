//! teld's file: the producer's configuration, and the inputs.

use crate::inputs::Source;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// What the file says.
#[derive(Debug)]
pub struct Config {
    /// The producer's configuration, as JSON text.
    pub producer: String,
    /// The inputs, by name.
    pub inputs: Vec<Input>,
}

/// A named input.
#[derive(Debug)]
pub struct Input {
    pub name: String,
    pub source: Source,
}

impl Config {
    /// Reads and checks the file; the producer's part is checked by the library. The error names the key.
    pub fn read(path: &Path) -> Result<Config, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let config = Config::parse(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        tel::check_config(&config.producer).map_err(|error| format!("{}: producer: {error}", path.display()))?;
        Ok(config)
    }

    fn parse(text: &str) -> Result<Config, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let mut file = object("the file", value)?;
        let producer = file.remove("producer").ok_or("producer: must be there")?;
        let inputs = match file.remove("inputs") {
            None => return Err("inputs: must be there".into()),
            Some(Value::String(word)) if word == "auto" => {
                return Err("inputs: \"auto\" is not available yet; name them".into());
            }
            Some(inputs) => object("inputs", inputs)?,
        };
        if let Some(key) = file.keys().next() {
            return Err(match key.as_str() {
                "sync" | "metrics" => format!("{key}: not available yet; leave the key out"),
                _ => format!("{key}: no such key"),
            });
        }
        if inputs.is_empty() {
            return Err("inputs: at least one is needed".into());
        }
        let inputs = inputs.into_iter().map(|(name, input)| self::input(name, input)).collect::<Result<Vec<_>, _>>()?;
        if inputs.iter().filter(|input| matches!(input.source, Source::Stdin)).count() > 1 {
            return Err("inputs: standard input can be read by one only".into());
        }
        Ok(Config { producer: producer.to_string(), inputs })
    }
}

fn input(name: String, value: Value) -> Result<Input, String> {
    let key = format!("inputs.{name}");
    let mut input = object(&key, value)?;
    let kind = text(&mut input, &key, "type")?;
    let source = match kind.as_str() {
        "stdin" => Source::Stdin,
        "file" => Source::File(PathBuf::from(text(&mut input, &key, "path")?)),
        "exec" | "fifo" | "unix" => return Err(format!("{key}.type: {kind} is not available yet")),
        other => return Err(format!("{key}.type: no such type: {other}")),
    };
    match input.keys().next() {
        Some(unknown) => Err(format!("{key}.{unknown}: no such key")),
        None => Ok(Input { name, source }),
    }
}

fn object(key: &str, value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(format!("{key}: must be an object")),
    }
}

fn text(object: &mut Map<String, Value>, key: &str, name: &str) -> Result<String, String> {
    match object.remove(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(format!("{key}.{name}: must be a text")),
        None => Err(format!("{key}.{name}: must be there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_are_read() {
        let file = r#"{"producer": {"embedded_broker": true},
            "inputs": {"in": {"type": "stdin"}, "old": {"type": "file", "path": "/var/log/a"}}}"#;
        let config = Config::parse(file).unwrap();
        let inputs: Vec<_> = config.inputs.iter().map(|input| (input.name.as_str(), &input.source)).collect();
        assert!(
            matches!(inputs[..], [("in", Source::Stdin), ("old", Source::File(path))] if path == Path::new("/var/log/a"))
        );
    }

    #[test]
    fn every_error_names_its_key() {
        for (file, named) in [
            ("", "JSON"),
            ("[]", "the file"),
            ("{}", "producer"),
            (r#"{"producer": {}}"#, "inputs"),
            (r#"{"producer": {}, "inputs": {}}"#, "inputs"),
            (r#"{"producer": {}, "inputs": "auto"}"#, "auto"),
            (r#"{"producer": {}, "inputs": {"a": {"type": "exec"}}}"#, "inputs.a.type"),
            (r#"{"producer": {}, "inputs": {"a": {"type": "wire"}}}"#, "inputs.a.type"),
            (r#"{"producer": {}, "inputs": {"a": {}}}"#, "inputs.a.type"),
            (r#"{"producer": {}, "inputs": {"a": {"type": "file"}}}"#, "inputs.a.path"),
            (r#"{"producer": {}, "inputs": {"a": {"type": "stdin", "x": 1}}}"#, "inputs.a.x"),
            (r#"{"producer": {}, "inputs": {"a": {"type": "stdin"}, "b": {"type": "stdin"}}}"#, "standard input"),
            (r#"{"producer": {}, "inputs": {"a": {"type": "stdin"}}, "sync": {}}"#, "sync"),
            (r#"{"producer": {}, "inputs": {"a": {"type": "stdin"}}, "metrics": {}}"#, "metrics"),
            (r#"{"producer": {}, "inputs": {"a": {"type": "stdin"}}, "y": {}}"#, "y"),
        ] {
            let error = Config::parse(file).unwrap_err();
            assert!(error.contains(named), "{file} gives: {error}");
        }
    }
}
