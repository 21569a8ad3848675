//! Holds the rules against a machine.

use super::evidence::Verdict;
use super::found::{visible, Found, Sighting, Wanted};
use super::glob::matches;
use super::machine::Machine;
use super::options::{OptionValue, HOSTNAME};
use super::process::Process;
use super::rule::{ProcessRule, Rule, Subject, PATH, STEM};
use super::template::{self, Values};
use std::collections::BTreeMap;
use std::path::Path;

/// What of the rules is found. The first rule that fits a process has it.
pub fn survey(rules: &[Rule], machine: &Machine) -> Found {
    let mut survey = Survey { machine, sightings: Vec::new(), unseen: Vec::new() };
    survey.processes(rules);
    for rule in rules {
        if let Subject::Fifos(patterns) = &rule.subject {
            survey.fifos(rule, patterns);
        }
    }
    let looked_for = rules.iter().map(|rule| match &rule.subject {
        Subject::Process(wanted) => wanted.name.clone(),
        Subject::Fifos(patterns) => patterns.join(", "),
    });
    Found::new(survey.sightings, survey.unseen, looked_for.collect())
}

struct Survey<'a> {
    machine: &'a Machine,
    sightings: Vec<Sighting>,
    /// What could not be looked at, and why.
    unseen: Vec<String>,
}

/// How a rule and a process go together.
enum Fit {
    Not,
    /// It may fit, or it fits and may not be used.
    Refused(String),
    Whole(Vec<(String, OptionValue)>),
}

impl Survey<'_> {
    fn processes(&mut self, rules: &[Rule]) {
        let wanted = || {
            rules.iter().filter_map(|rule| match &rule.subject {
                Subject::Process(wanted) => Some((rule, wanted)),
                Subject::Fifos(_) => None,
            })
        };
        if wanted().next().is_none() {
            return;
        }
        let processes = match self.machine.processes() {
            Ok(processes) => processes,
            Err(error) => return self.unseen.push(format!("processes cannot be seen: /proc: {error}")),
        };
        if self.machine.hides_processes() {
            self.unseen.push("processes of other users cannot be seen: /proc is mounted with hidepid".into());
        }
        let by_id: BTreeMap<u32, &Process> = processes.iter().map(|process| (process.id, process)).collect();
        // By their numbers, and whether they are an input.
        let mut taken: BTreeMap<u32, bool> = BTreeMap::new();
        let mut refused = BTreeMap::new();
        for (rule, wanted) in wanted() {
            for process in processes.iter().filter(|process| process.runs(&wanted.name)) {
                let is_fork = by_id
                    .get(&process.parent)
                    .is_some_and(|parent| parent.runs(&wanted.name) && process.may_be_fork_of(parent));
                if is_fork || taken.contains_key(&process.id) {
                    continue;
                }
                match self.fit(wanted, process) {
                    Fit::Not => {}
                    Fit::Refused(why) => {
                        // Said once, and only if no other rule makes up for it.
                        refused
                            .entry(process.id)
                            .or_insert_with(|| (rule, what(wanted, process, &[], self.machine), why));
                    }
                    Fit::Whole(options) => {
                        taken.insert(process.id, rule.input.is_some());
                        self.sightings.push(self.process(rule, wanted, process, options));
                    }
                }
            }
        }
        for (id, (rule, what, why)) in refused {
            let is_settled = taken.get(&id).is_some_and(|is_input| *is_input || rule.input.is_none());
            if !is_settled {
                let note = Some(why);
                self.sightings.push(Sighting { rule: rule.name.clone(), what, wanted: None, note });
            }
        }
    }

    fn fit(&self, wanted: &ProcessRule, process: &Process) -> Fit {
        if let Some(pattern) = &wanted.argument {
            if !process.arguments.iter().any(|argument| matches(pattern, argument)) {
                return Fit::Not;
            }
        }
        let mut options = Vec::new();
        for option in &wanted.options {
            match option.value(&process.arguments, self.machine) {
                Ok(Some(value)) => options.push((option.name.clone(), value)),
                Ok(None) => return Fit::Not,
                Err(why) => return Fit::Refused(why),
            }
        }
        if !self.machine.trusts(process.user, &wanted.users) {
            let user = process.user;
            return Fit::Refused(format!(
                "user {user} runs it, who is none of the system's: \"users\" in the rule would allow it"
            ));
        }
        match wanted.with.as_ref().map_or(Verdict::Yes, |with| with.look(process, self.machine)) {
            Verdict::Yes => Fit::Whole(options),
            Verdict::No => Fit::Not,
            Verdict::Unseen(why) => Fit::Refused(format!("whether the rule fits cannot be seen: {why}")),
        }
    }

    fn process(
        &self,
        rule: &Rule,
        wanted: &ProcessRule,
        process: &Process,
        options: Vec<(String, OptionValue)>,
    ) -> Sighting {
        let what = what(wanted, process, &options, self.machine);
        // Instances are told apart by what they were given, so that each keeps its name whichever others there are.
        let file_name =
            |text: &str| Path::new(text).file_name().map_or(String::new(), |name| name.to_string_lossy().into());
        let given = options.iter().filter(|(_, value)| value.given).map(|(_, value)| file_name(&value.text));
        let own_name = std::iter::once(rule.name.clone()).chain(given).collect::<Vec<_>>().join("-");
        let values = options.into_iter().map(|(name, value)| (name, value.text)).collect();
        self.sighting(rule, what, &own_name, values)
    }

    fn fifos(&mut self, rule: &Rule, patterns: &[String]) {
        let mut paths = Vec::new();
        for pattern in patterns {
            paths.extend(self.machine.paths(pattern, &mut self.unseen));
        }
        for path in paths.iter().filter(|path| self.machine.has_fifo(path)) {
            let what = format!("the FIFO {} is there", visible(&path.to_string_lossy()));
            let (Some(text), Some(stem)) = (path.to_str(), path.file_stem().and_then(|stem| stem.to_str())) else {
                let note = Some("its path is not UTF-8".into());
                self.sightings.push(Sighting { rule: rule.name.clone(), what, wanted: None, note });
                continue;
            };
            let values = [(PATH, text), (STEM, stem)].map(|(name, value)| (name.to_owned(), value.to_owned()));
            self.sightings.push(self.sighting(rule, what, &rule.name, Values::from(values)));
        }
    }

    /// `own_name` is the input's if the rule gives it none.
    fn sighting(&self, rule: &Rule, what: String, own_name: &str, mut values: Values) -> Sighting {
        values.insert(HOSTNAME.to_owned(), self.machine.hostname());
        let wanted = rule.input.as_ref().map(|input| Wanted {
            name: rule.input_name.as_ref().map_or_else(|| own_name.to_owned(), |name| template::fill(name, &values)),
            input: template::fill_json(input, &values),
        });
        Sighting { rule: rule.name.clone(), what, wanted, note: rule.note.clone() }
    }
}

/// The process in words.
fn what(wanted: &ProcessRule, process: &Process, options: &[(String, OptionValue)], machine: &Machine) -> String {
    let mut facts = format!("process {}", process.id);
    for (name, value) in options {
        facts.push_str(&format!(", {name} {}", visible(&value.text)));
        if value.text.starts_with('/') && machine.lacks(Path::new(&value.text)) {
            facts.push_str(", which is not there");
        }
    }
    format!("{} is running ({facts})", wanted.name)
}
