//! The rules' files: the one that is built in, and an operator's own.

use super::rule::Rule;
use crate::config::keys::Keys;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Where an operator's rules are.
pub const FOLDER: &str = "/etc/tel/detect.d";

const BUILT_IN: &str = include_str!("../../../../packaging/detect.json");

/// A rule and its name; without a rule it is switched off.
type Named = (String, Option<Rule>);

/// The rules that hold, in the order in which they are tried.
///
/// The operator's come first: theirs are the special cases, and the first rule that fits a process has it. Of two with
/// one name that of the later file holds, and an operator's one holds instead of one that is built in.
///
/// # Errors
/// A file of the folder cannot be read, or has a wrong key: the text names the file, and the rule and its key.
pub fn load(folder: &Path) -> Result<Vec<Rule>, String> {
    let mut rules: Vec<Named> = Vec::new();
    for file in files(folder)? {
        let named = |error: String| format!("{}: {error}", file.display());
        let text = fs::read_to_string(&file).map_err(|error| named(error.to_string()))?;
        for (name, rule) in parse(&text).map_err(named)? {
            match rules.iter_mut().find(|(other, _)| *other == name) {
                Some(same) => same.1 = rule,
                None => rules.push((name, rule)),
            }
        }
    }
    for (name, rule) in parse(BUILT_IN).map_err(|error| format!("the rules that are built in: {error}"))? {
        if rules.iter().all(|(other, _)| *other != name) {
            rules.push((name, rule));
        }
    }
    Ok(rules.into_iter().filter_map(|(_, rule)| rule).collect())
}

/// The folder's rule files by name; a folder that is missing has none.
fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let named = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(named(error)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>().map_err(named)?;
    let is_rules = |path: &PathBuf| {
        // A dot in front: an editor's or a package manager's, on its way to its place.
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        !is_hidden && path.extension().is_some_and(|ending| ending == "json")
    };
    let mut files: Vec<_> = paths.into_iter().filter(is_rules).collect();
    files.sort();
    Ok(files)
}

/// The rules of one file: an object with rules by their names.
fn parse(text: &str) -> Result<Vec<Named>, String> {
    let mut file = Keys::of_file(text)?;
    let mut rules = Vec::new();
    for name in file.names() {
        if let Some(keys) = file.object(&name)? {
            let rule = Rule::read(&name, keys)?;
            rules.push((name, rule));
        }
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::fake::Fake;
    use crate::detect::rule::Subject;

    const BUILT_IN_NAMES: [&str; 4] = ["varnish", "nginx-rtmp", "nginx", "fifo"];

    fn names(fake: &Fake) -> Vec<String> {
        load(&fake.root().join("detect.d")).unwrap().into_iter().map(|rule| rule.name).collect()
    }

    #[test]
    fn what_is_built_in_is_right() {
        let fake = Fake::new("built-in");
        assert_eq!(names(&fake), BUILT_IN_NAMES);
    }

    #[test]
    fn own_rules_come_first_in_the_order_of_their_files() {
        let fake = Fake::new("order");
        fake.file("/detect.d/20-b.json", r#"{"b": {"process": "b"}, "c": {"process": "c"}}"#);
        fake.file("/detect.d/10-a.json", r#"{"a": {"process": "a"}}"#);
        fake.file("/detect.d/README", "no rules");
        fake.file("/detect.d/.30-c.json", "no rules");
        fake.file("/detect.d/30-c.json.dpkg-new", "no rules");
        assert_eq!(names(&fake), [vec!["a", "b", "c"], BUILT_IN_NAMES.to_vec()].concat());
    }

    #[test]
    fn a_rule_of_the_same_name_is_replaced_or_switched_off() {
        let fake = Fake::new("replace");
        fake.file(
            "/detect.d/1.json",
            r#"{"a": {"process": "one"}, "nginx": {"enabled": false}, "fifo": {"fifo": ["/srv/*"]}}"#,
        );
        fake.file("/detect.d/2.json", r#"{"a": {"process": "two"}}"#);
        assert_eq!(names(&fake), ["a", "fifo", "varnish", "nginx-rtmp"]);
        let rules = load(&fake.root().join("detect.d")).unwrap();
        assert!(matches!(&rules[0].subject, Subject::Process(process) if process.name == "two"));
        fake.file("/detect.d/3.json", r#"{"a": {"enabled": false}, "nginx": {"process": "nginx"}}"#);
        assert_eq!(names(&fake), ["nginx", "fifo", "varnish", "nginx-rtmp"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_file_rule_and_key() {
        let fake = Fake::new("wrong");
        for (text, error) in [
            (r#"{"squid": {"process": {"name": 1}}}"#, "squid.process.name: must be a text"),
            (r#"{"squid": {"process": "a"}, "squid": {"process": "a"}}"#, "squid: given twice"),
            (r#"{"squid": "on"}"#, "squid: must be an object"),
            ("[]", "the file: must be an object"),
            ("{", "not JSON: "),
        ] {
            fake.file("/detect.d/10-own.json", text);
            let said = load(&fake.root().join("detect.d")).unwrap_err();
            let (file, rest) = said.split_once(".json: ").unwrap();
            assert!(file.ends_with("/detect.d/10-own") && rest.starts_with(error), "{said}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_an_error() {
        let fake = Fake::new("unreadable");
        fake.folder("/detect.d/10-own.json");
        assert!(load(&fake.root().join("detect.d")).unwrap_err().contains("/detect.d/10-own.json: "));
        fake.file("/file", "");
        assert!(load(&fake.root().join("file")).unwrap_err().contains("/file: "));
    }
}
