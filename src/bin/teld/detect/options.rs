//! A placeholder whose value is an option of a process's command line.

use super::machine::Machine;
use super::template::{self, Values};
use crate::config::keys::Keys;
use std::path::Path;

/// The machine's name as a placeholder; there is one in every rule.
pub const HOSTNAME: &str = "hostname";

/// An option that is looked for.
#[derive(Debug)]
pub struct CommandOption {
    /// Its placeholder.
    pub name: String,
    /// `-n`, `--name`, or with the value's beginning, `-Dname=`.
    flag: String,
    /// The folder that a value without a slash in front is in.
    base: Option<String>,
    /// Values if it is not given: the first that is there, or else the first. Without one, the option must be given.
    default: Vec<String>,
}

/// What an option says.
#[derive(Debug, PartialEq, Eq)]
pub struct OptionValue {
    pub text: String,
    /// It is no default.
    pub given: bool,
}

impl CommandOption {
    /// The option that the placeholder `name` stands for.
    pub fn read(name: String, mut keys: Keys) -> Result<CommandOption, String> {
        if !template::is_name(&name) || name == HOSTNAME {
            let full_name = keys.full_name("");
            let full_name = full_name.trim_end_matches('.');
            return Err(format!(
                "{full_name}: an option's name has lower-case letters and underlines, and is not {HOSTNAME}"
            ));
        }
        let flag = keys.needed_text("flag")?;
        let (base_name, default_name) = (keys.full_name("base"), keys.full_name("default"));
        let base = keys.text("base")?;
        if base.as_ref().is_some_and(|base| !base.starts_with('/')) {
            return Err(format!("{base_name}: must be a path from the root"));
        }
        let default = keys.texts("default")?.unwrap_or_default();
        for text in &default {
            template::check(text, &[HOSTNAME]).map_err(|error| format!("{default_name}: {error}"))?;
        }
        keys.finish()?;
        Ok(CommandOption { name, flag, base, default })
    }

    /// What the option says on this command line; `None` if it is not there and has no default.
    ///
    /// # Errors
    /// The value is not UTF-8, so that no configuration can hold it.
    pub fn value(&self, arguments: &[Vec<u8>], machine: &Machine) -> Result<Option<OptionValue>, String> {
        if let Some(given) = self.given(arguments) {
            let text = std::str::from_utf8(given).map_err(|_| format!("its option {} is not UTF-8", self.flag))?;
            return Ok(Some(OptionValue { text: self.based(text), given: true }));
        }
        let values = Values::from([(HOSTNAME.to_owned(), machine.hostname())]);
        let defaults: Vec<_> = self.default.iter().map(|text| self.based(&template::fill(text, &values))).collect();
        let there = defaults.iter().find(|text| !machine.lacks(Path::new(text))).or(defaults.first());
        Ok(there.map(|text| OptionValue { text: text.clone(), given: false }))
    }

    /// The option's value, behind its flag or in the argument that follows; of several the last one counts, as with
    /// getopt(3). An empty one is as none.
    fn given<'a>(&self, arguments: &'a [Vec<u8>]) -> Option<&'a [u8]> {
        let flag = self.flag.as_bytes();
        let is_short = flag.len() == 2 && flag.starts_with(b"-");
        let is_joined = flag.ends_with(b"=");
        let mut value: Option<&[u8]> = None;
        let mut rest = arguments.iter().skip(1);
        while let Some(argument) = rest.next() {
            if argument == b"--" {
                break;
            }
            if argument == flag && !is_joined {
                value = rest.next().map(Vec::as_slice).or(value);
            } else if let Some(behind) = argument.strip_prefix(flag) {
                value = if is_short || is_joined { Some(behind) } else { behind.strip_prefix(b"=").or(value) };
            }
        }
        value.filter(|value| !value.is_empty())
    }

    fn based(&self, text: &str) -> String {
        match &self.base {
            Some(base) if !text.starts_with('/') => format!("{}/{text}", base.trim_end_matches('/')),
            _ => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::fake::Fake;

    fn option(keys: &str) -> Result<CommandOption, String> {
        CommandOption::read("workdir".into(), Keys::read("r.process.options.workdir".into(), keys).unwrap())
    }

    fn value(option: &CommandOption, arguments: &[&str], machine: &Machine) -> Option<(String, bool)> {
        let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_bytes().to_vec()).collect();
        option.value(&arguments, machine).unwrap().map(|value| (value.text, value.given))
    }

    #[test]
    fn a_flag_is_found_as_getopt_does() {
        let fake = Fake::new("flags");
        for (flag, arguments, expected) in [
            ("-n", &["varnishd", "-n", "a"][..], Some("a")),
            ("-n", &["varnishd", "-F", "-na", "-a", ":80"], Some("a")),
            ("-n", &["varnishd", "-n", "a", "-n", "b"], Some("b")),
            ("-n", &["-n", "a"], None),
            ("-n", &["varnishd", "-n"], None),
            ("-n", &["varnishd", "-n", ""], None),
            ("-n", &["varnishd", "--", "-n", "a"], None),
            ("-n", &[], None),
            ("--name", &["x", "--name", "a"], Some("a")),
            ("--name", &["x", "--name=a"], Some("a")),
            ("--name", &["x", "--namespace", "a"], None),
            ("--name", &["x", "--name="], None),
            ("-config", &["x", "-config=a"], Some("a")),
            ("-Dhome=", &["x", "-Dhome=a"], Some("a")),
            ("-Dhome=", &["x", "-Dhome=", "a"], None),
        ] {
            let option = option(&format!(r#"{{"flag": "{flag}"}}"#)).unwrap();
            let expected = expected.map(|text| (text.to_owned(), true));
            assert_eq!(value(&option, arguments, &fake.machine()), expected, "{flag} {arguments:?}");
        }
    }

    #[test]
    fn a_value_without_a_slash_in_front_is_in_the_base() {
        let fake = Fake::new("base");
        let option = option(r#"{"flag": "-n", "base": "/var/lib/varnish"}"#).unwrap();
        let value = |given| value(&option, &["varnishd", "-n", given], &fake.machine()).unwrap().0;
        assert_eq!(value("/srv/cache"), "/srv/cache");
        assert_eq!(value("edge"), "/var/lib/varnish/edge");
        assert_eq!(value("a/b"), "/var/lib/varnish/a/b");
    }

    #[test]
    fn the_default_is_the_first_that_is_there() {
        let fake = Fake::new("default");
        fake.file("/proc/sys/kernel/hostname", "edge-1\n");
        let option = option(r#"{"flag": "-n", "base": "/lib", "default": ["varnishd", "{hostname}"]}"#).unwrap();
        let value = || value(&option, &["varnishd"], &fake.machine()).unwrap();
        assert_eq!(value(), ("/lib/varnishd".into(), false), "none is there");
        fake.folder("/lib/edge-1");
        assert_eq!(value(), ("/lib/edge-1".into(), false));
        fake.folder("/lib/varnishd");
        assert_eq!(value(), ("/lib/varnishd".into(), false));
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error() {
        let fake = Fake::new("bytes");
        let option = option(r#"{"flag": "-n"}"#).unwrap();
        let error = option.value(&[b"varnishd".to_vec(), b"-n\xff".to_vec()], &fake.machine()).unwrap_err();
        assert_eq!(error, "its option -n is not UTF-8");
    }

    #[test]
    fn wrong_keys_are_named() {
        for (keys, error) in [
            ("{}", "r.process.options.workdir.flag: must be there"),
            (r#"{"flag": "-n", "base": "lib"}"#, "r.process.options.workdir.base: must be a path from the root"),
            (r#"{"flag": "-n", "default": "x"}"#, "r.process.options.workdir.default: must be a list of texts"),
            (
                r#"{"flag": "-n", "default": ["{workdir}"]}"#,
                "r.process.options.workdir.default: no such placeholder: {workdir}; there are hostname",
            ),
            (r#"{"flag": "-n", "else": 1}"#, "r.process.options.workdir.else: no such key"),
        ] {
            assert_eq!(option(keys).unwrap_err(), error);
        }
        for name in ["hostname", "Workdir", "a b", ""] {
            let keys = Keys::read("r.x".into(), "{}").unwrap();
            assert!(CommandOption::read(name.into(), keys).unwrap_err().starts_with("r.x: an option's name"), "{name}");
        }
    }
}
