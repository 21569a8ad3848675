//! What was found, and the inputs that it becomes.

use serde_json::{json, Map, Value};
use std::collections::BTreeSet;

/// Bytes of the longest name that an input may have.
const LONGEST_NAME: usize = 64;

/// Something that a rule fits.
#[derive(Debug)]
pub struct Sighting {
    pub rule: String,
    /// What it is, in words.
    pub what: String,
    pub wanted: Option<Wanted>,
    /// What an operator has to know of it.
    pub note: Option<String>,
}

/// An input that something is to become.
#[derive(Debug)]
pub struct Wanted {
    /// The name that it gets if it is free.
    pub name: String,
    /// As teld's file has it.
    pub input: Value,
}

/// What was found.
#[derive(Debug)]
pub struct Found {
    sightings: Vec<Sighting>,
    inputs: Vec<Input>,
    /// What could not be looked at, and why.
    unseen: Vec<String>,
    looked_for: Vec<String>,
}

#[derive(Debug)]
struct Input {
    name: String,
    place: String,
    input: Value,
}

impl Found {
    /// Of several sightings that would read the same place, the first one's input is taken for all.
    pub fn new(sightings: Vec<Sighting>, unseen: Vec<String>, looked_for: Vec<String>) -> Found {
        let mut inputs: Vec<Input> = Vec::new();
        for wanted in sightings.iter().filter_map(|sighting| sighting.wanted.as_ref()) {
            let place = place(&wanted.input);
            if inputs.iter().all(|input| input.place != place) {
                inputs.push(Input { name: clean(&wanted.name), place, input: wanted.input.clone() });
            }
        }
        give_names(&mut inputs);
        Found { sightings, inputs, unseen, looked_for }
    }

    /// The inputs by their names, as a JSON object: the value of `inputs` in teld's file.
    pub fn inputs_json(&self) -> String {
        self.inputs().to_string()
    }

    /// What was found, and the input that it becomes, one line each.
    pub fn describe(&self) -> Vec<String> {
        let found = self.sightings.iter().map(|sighting| {
            let becomes = match self.input_of(sighting) {
                Some(input) => format!("inputs.{}", input.name),
                None => "no input".to_owned(),
            };
            let note = sighting.note.as_ref().map_or(String::new(), |note| format!(": {note}"));
            format!("{}: {}: {becomes}{}", sighting.rule, sighting.what, visible(&note))
        });
        found.chain(self.unseen.iter().map(|unseen| visible(unseen))).collect()
    }

    /// For people.
    pub fn report(&self) -> String {
        let mut report = String::new();
        if self.sightings.is_empty() {
            let mut looked_for = self.looked_for.clone();
            looked_for.dedup();
            report.push_str(&format!("nothing found; looked for: {}\n", looked_for.join(", ")));
        }
        for line in self.describe() {
            report.push_str(&line);
            report.push('\n');
        }
        report.push_str(&format!("\n\"inputs\": \"auto\" stands for:\n\n{:#}\n", json!({ "inputs": self.inputs() })));
        report
    }

    fn inputs(&self) -> Value {
        self.inputs.iter().map(|input| (input.name.clone(), input.input.clone())).collect::<Map<_, _>>().into()
    }

    fn input_of(&self, sighting: &Sighting) -> Option<&Input> {
        let place = place(&sighting.wanted.as_ref()?.input);
        self.inputs.iter().find(|input| input.place == place)
    }
}

/// What tells inputs apart: two that read one path would take each other's lines, and two equal ones are one.
fn place(input: &Value) -> String {
    match (input["type"].as_str(), input["path"].as_str()) {
        (Some("stdin"), _) => "stdin".to_owned(),
        (_, Some(path)) => path.to_owned(),
        _ => input.to_string(),
    }
}

/// Numbers inputs of the same name, in the order of what they read: it does not matter which was found first.
fn give_names(inputs: &mut [Input]) {
    let mut order: Vec<&mut Input> = inputs.iter_mut().collect();
    order.sort_by(|one, other| (&one.name, &one.place).cmp(&(&other.name, &other.place)));
    let mut used = BTreeSet::new();
    for input in order {
        let wanted = input.name.clone();
        let mut number = 1;
        while !used.insert(input.name.clone()) {
            number += 1;
            let end = format!("-{number}");
            input.name = format!("{}{end}", &wanted[..wanted.len().min(LONGEST_NAME - end.len())]);
        }
    }
}

/// The text as an input's name.
fn clean(text: &str) -> String {
    let allowed = |letter: char| if is_name_letter(letter) { letter } else { '_' };
    let name: String = text.trim_start_matches('.').chars().map(allowed).take(LONGEST_NAME).collect();
    if name.is_empty() {
        "input".to_owned()
    } else {
        name
    }
}

/// The text may be an input's name, as config::input has it.
pub fn is_input_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len()) && text.chars().all(is_name_letter)
}

fn is_name_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || "._-".contains(letter)
}

/// The text without anything that moves a terminal's cursor, or makes one line of a log two.
pub fn visible(text: &str) -> String {
    let mut visible = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() {
            visible.extend(letter.escape_default());
        } else {
            visible.push(letter);
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::input;
    use crate::config::keys::Keys;

    fn sighting(name: &str, input: Value) -> Sighting {
        let wanted = Some(Wanted { name: name.into(), input });
        Sighting { rule: "r".into(), what: format!("{name} is there"), wanted, note: None }
    }

    fn found(sightings: Vec<Sighting>) -> Found {
        Found::new(sightings, Vec::new(), vec!["x".into()])
    }

    fn exec(argument: &str) -> Value {
        json!({"type": "exec", "command": ["cat", argument]})
    }

    #[test]
    fn equal_inputs_and_equal_places_are_one() {
        let found = found(vec![
            sighting("a", exec("1")),
            sighting("b", exec("1")),
            sighting("media", json!({"type": "fifo", "path": "/run/x.fifo", "when_full": "wait"})),
            sighting("x", json!({"type": "fifo", "path": "/run/x.fifo"})),
        ]);
        let inputs: Value = serde_json::from_str(&found.inputs_json()).unwrap();
        assert_eq!(
            inputs,
            json!({"a": exec("1"), "media": {"type": "fifo", "path": "/run/x.fifo", "when_full": "wait"}})
        );
        let lines = [
            "r: a is there: inputs.a",
            "r: b is there: inputs.a",
            "r: media is there: inputs.media",
            "r: x is there: inputs.media",
        ];
        assert_eq!(found.describe(), lines);
    }

    #[test]
    fn names_are_apart_whichever_was_found_first() {
        let names = |sightings| {
            found(sightings)
                .inputs
                .into_iter()
                .map(|input| (input.place, input.name))
                .collect::<std::collections::BTreeMap<_, _>>()
        };
        let one = || sighting("a", exec("1"));
        let two = || sighting("a", exec("2"));
        let three = || sighting("a-2", exec("3"));
        let expected = names(vec![one(), two(), three()]);
        assert_eq!(expected.values().collect::<Vec<_>>(), ["a", "a-2", "a-2-2"]);
        assert_eq!(names(vec![three(), two(), one()]), expected);
    }

    #[test]
    fn every_name_is_one_that_the_configuration_takes() {
        let long = "long".repeat(40);
        let names = ["", ".", "..", "a b", "é/ü", "\u{7f}\n", &long, &long, &long, "-", "ok.name_1"];
        let sightings = names.iter().enumerate().map(|(number, name)| sighting(name, exec(&number.to_string())));
        let found = found(sightings.collect());
        let mut keys = Keys::read("inputs".into(), &found.inputs_json()).unwrap();
        assert_eq!(keys.names().len(), names.len());
        for name in keys.names() {
            let object = keys.object(&name).unwrap().unwrap();
            input::input(name, object).unwrap();
        }
    }

    #[test]
    fn a_line_stays_one_line() {
        let mut strange = sighting("a", exec("1"));
        strange.what = visible("workdir /x\n\u{1b}[2Jforged");
        assert_eq!(found(vec![strange]).describe(), ["r: workdir /x\\n\\u{1b}[2Jforged: inputs.a"]);
    }

    #[test]
    fn that_nothing_was_found_is_said() {
        let nothing = Found::new(
            Vec::new(),
            vec!["/proc: hidden".into()],
            ["varnishd", "nginx", "nginx", "/run/*"].map(String::from).to_vec(),
        );
        let report = nothing.report();
        assert!(report.starts_with("nothing found; looked for: varnishd, nginx, /run/*\n/proc: hidden\n"), "{report}");
        assert!(report.ends_with("{\n  \"inputs\": {}\n}\n"), "{report}");
        assert_eq!(nothing.inputs_json(), "{}");
    }
}
