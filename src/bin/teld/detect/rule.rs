//! A rule: what shows that a kind of server is here, and the input that it becomes.

use super::evidence::Evidence;
use super::found::is_input_name;
use super::glob::absolute;
use super::options::{CommandOption, HOSTNAME};
use super::template::{self, Values};
use crate::config::input;
use crate::config::keys::Keys;
use serde_json::Value;

/// The path of a FIFO as a placeholder.
pub const PATH: &str = "path";
/// The file name of a FIFO without its last ending as a placeholder.
pub const STEM: &str = "stem";

/// A rule.
#[derive(Debug)]
pub struct Rule {
    pub name: String,
    pub subject: Subject,
    /// The input, with placeholders, as teld's file has it; without one, it is only said that the server is here.
    pub input: Option<Value>,
    /// The input's name, with placeholders, if it is not the rule's.
    pub input_name: Option<String>,
    /// What an operator has to know.
    pub note: Option<String>,
}

/// What is looked for.
#[derive(Debug)]
pub enum Subject {
    Process(ProcessRule),
    /// FIFOs at paths as these patterns.
    Fifos(Vec<String>),
}

/// The `process` key.
#[derive(Debug)]
pub struct ProcessRule {
    /// The file name of the program or script.
    pub name: String,
    /// One of the arguments is as this pattern.
    pub argument: Option<String>,
    /// Who may run it, beside the system's own users and teld's.
    pub users: Vec<String>,
    pub with: Option<Evidence>,
    pub options: Vec<CommandOption>,
}

impl Rule {
    /// The rule of this name; `None` if it is switched off.
    ///
    /// # Errors
    /// A key is wrong: the text names the rule and the key.
    pub fn read(name: &str, mut keys: Keys) -> Result<Option<Rule>, String> {
        if !is_input_name(name) {
            return Err(format!("{name}: a rule's name is 1 to 64 letters, digits, dots, underlines and hyphens"));
        }
        let is_enabled = keys.boolean("enabled")?.unwrap_or(true);
        if !is_enabled && keys.names().is_empty() {
            return Ok(None);
        }
        let fifo_name = keys.full_name("fifo");
        let subject = match (keys.text_or_object("process")?, keys.texts("fifo")?) {
            (Some(process), None) => Subject::Process(ProcessRule::read(process, &keys.full_name("process"))?),
            (None, Some(patterns)) => {
                absolute(&patterns, &fifo_name)?;
                Subject::Fifos(patterns)
            }
            _ => return Err(format!("{name}: must have one of the keys process, fifo")),
        };
        let known = subject.placeholders();
        let input = match keys.object("input")? {
            None => None,
            Some(template) => Some(input_template(template, &known)?),
        };
        let full_name = keys.full_name("input_name");
        let input_name = keys.text("input_name")?;
        if let Some(text) = &input_name {
            template::check(text, &known).map_err(|error| format!("{full_name}: {error}"))?;
        }
        let note = keys.text("note")?;
        keys.finish()?;
        let rule = Rule { name: name.to_owned(), subject, input, input_name, note };
        Ok(is_enabled.then_some(rule))
    }
}

impl Subject {
    /// The names of the values that it has.
    fn placeholders(&self) -> Vec<&str> {
        let own = match self {
            Subject::Process(process) => process.options.iter().map(|option| option.name.as_str()).collect(),
            Subject::Fifos(_) => vec![PATH, STEM],
        };
        [vec![HOSTNAME], own].concat()
    }
}

impl ProcessRule {
    fn read(process: Result<String, Keys>, full_name: &str) -> Result<ProcessRule, String> {
        let (name, name_of_name, mut keys) = match process {
            Ok(name) => (name, full_name.to_owned(), None),
            Err(mut keys) => (keys.needed_text("name")?, keys.full_name("name"), Some(keys)),
        };
        if name.contains('/') {
            return Err(format!("{name_of_name}: must be a file name, without a slash"));
        }
        let mut rule = ProcessRule { name, argument: None, users: Vec::new(), with: None, options: Vec::new() };
        if let Some(keys) = &mut keys {
            rule.argument = keys.text("argument")?;
            rule.users = keys.texts("users")?.unwrap_or_default();
            rule.with = keys.object("with")?.map(Evidence::read).transpose()?;
            if let Some(mut options) = keys.object("options")? {
                for name in options.names() {
                    if let Some(option) = options.object(&name)? {
                        rule.options.push(CommandOption::read(name, option)?);
                    }
                }
            }
        }
        keys.map_or(Ok(()), Keys::finish)?;
        Ok(rule)
    }
}

/// An input with placeholders. It is tried out, so that what is wrong with it is said at once and with the rule's name,
/// and not when the first such server is found.
fn input_template(mut keys: Keys, known: &[&str]) -> Result<Value, String> {
    let full_name = keys.full_name("");
    let full_name = full_name.trim_end_matches('.');
    let mut template = serde_json::Map::new();
    for key in keys.names() {
        let value = keys.raw(&key).and_then(|text| serde_json::from_str::<Value>(&text).ok()).unwrap_or_default();
        template::check_json(&value, known).map_err(|error| format!("{}: {error}", keys.full_name(&key)))?;
        template.insert(key, value);
    }
    let template = Value::Object(template);
    let values: Values = known.iter().map(|name| ((*name).to_owned(), "x".to_owned())).collect();
    let example = template::fill_json(&template, &values).to_string();
    input::input("x".into(), Keys::read(full_name.to_owned(), &example)?)?;
    Ok(template)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(keys: &str) -> Result<Option<Rule>, String> {
        Rule::read("r", Keys::read("r".into(), keys)?)
    }

    #[test]
    fn a_rule_may_be_short() {
        let rule = read(r#"{"process": "squid"}"#).unwrap().unwrap();
        let Subject::Process(process) = &rule.subject else { panic!("{rule:?}") };
        assert_eq!((process.name.as_str(), process.options.len()), ("squid", 0));
        assert!(rule.input.is_none() && rule.note.is_none());
    }

    #[test]
    fn a_rule_can_be_switched_off_with_its_keys_or_without() {
        assert!(read(r#"{"enabled": false}"#).unwrap().is_none());
        assert!(read(r#"{"enabled": false, "process": "squid"}"#).unwrap().is_none());
        assert_eq!(
            read(r#"{"enabled": false, "proces": "squid"}"#).unwrap_err(),
            "r: must have one of the keys process, fifo"
        );
    }

    #[test]
    fn the_input_is_kept_with_its_placeholders() {
        let rule = read(
            r#"{"process": {"name": "d", "options": {"dir": {"flag": "-n"}}},
                "input": {"type": "exec", "command": ["ncsa", "-n", "{dir}", "%{VCL_Log:client}x"]}}"#,
        );
        let input = rule.unwrap().unwrap().input.unwrap();
        assert_eq!(input["command"], serde_json::json!(["ncsa", "-n", "{dir}", "%{VCL_Log:client}x"]));
    }

    #[test]
    fn wrong_keys_are_named() {
        for (keys, error) in [
            ("[]", "r: must be an object"),
            ("{}", "r: must have one of the keys process, fifo"),
            (r#"{"process": "a", "fifo": ["/x"]}"#, "r: must have one of the keys process, fifo"),
            (r#"{"process": "/bin/a"}"#, "r.process: must be a file name, without a slash"),
            (r#"{"process": {"name": "a/b"}}"#, "r.process.name: must be a file name, without a slash"),
            (r#"{"process": 1}"#, "r.process: must be an object"),
            (r#"{"process": {}}"#, "r.process.name: must be there"),
            (r#"{"process": {"name": "a", "flag": "-n"}}"#, "r.process.flag: no such key"),
            (r#"{"process": {"name": "a", "users": 1}}"#, "r.process.users: must be a list of texts"),
            (r#"{"process": {"name": "a", "options": {"x": 1}}}"#, "r.process.options.x: must be an object"),
            (r#"{"fifo": "/x"}"#, "r.fifo: must be a list of texts"),
            (r#"{"fifo": ["/a", "x"]}"#, "r.fifo: x: must be a path from the root"),
            (r#"{"process": "a", "enabled": 1}"#, "r.enabled: must be true or false"),
            (r#"{"process": "a", "inputs": {}}"#, "r.inputs: no such key"),
            (r#"{"process": "a", "note": ""}"#, "r.note: must be a text"),
            (r#"{"process": "a", "input": "stdin"}"#, "r.input: must be an object"),
            (r#"{"process": "a", "input": {"type": "fifo"}}"#, "r.input.path: must be there"),
            (r#"{"process": "a", "input": {"type": "stdin", "x": 1}}"#, "r.input.x: no such key"),
            (
                r#"{"process": "a", "input": {"type": "stdin", "client": {"word": 0}}}"#,
                "r.input.client.word: must be an integer from 1 to 1000",
            ),
            (
                r#"{"process": "a", "input": {"type": "fifo", "path": "{path}"}}"#,
                "r.input.path: no such placeholder: {path}; there are hostname",
            ),
            (
                r#"{"fifo": ["/x"], "input_name": "{name}"}"#,
                "r.input_name: no such placeholder: {name}; there are hostname, path, stem",
            ),
        ] {
            assert_eq!(read(keys).unwrap_err(), error);
        }
        let error = Rule::read("a b", Keys::read("a b".into(), "{}").unwrap()).unwrap_err();
        assert!(error.starts_with("a b: a rule's name"), "{error}");
    }
}
