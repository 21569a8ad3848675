//! What the command line asks for.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Options that are followed by their value.
const VALUED: [&str; 10] =
    ["--config", "--csr", "--out", "--client", "--days", "--bootstrap", "--at", "--subject", "--limit", "--name"];
/// Options that stand alone.
const FLAGS: [&str; 2] = ["--json", "--write-config"];

/// A command line, understood.
#[derive(Debug, PartialEq)]
pub struct Asked {
    /// The configuration file.
    pub config: PathBuf,
    /// Print JSON instead of tables.
    pub json: bool,
    /// What to do.
    pub command: Command,
}

/// What can be done.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// Serve API, panel and command line, and bring Kafka to what is wanted.
    Serve,
    /// Make the authority, the database and a first token; or an example of a configuration.
    Init {
        /// Write the configuration first, if there is none.
        write_config: bool,
    },
    /// Look at the brokers' settings.
    Doctor,
    /// Copy the database.
    Backup(PathBuf),
    /// Put a copy in the place of the database.
    Restore(PathBuf),
    /// What the API does, asked for here.
    Api(Request),
    /// Print the version.
    Version,
    /// Print how the program is used.
    Help,
}

/// What is asked of the API.
#[derive(Debug, PartialEq)]
pub enum Request {
    /// How the reconciler is.
    Status,
    /// What a full pass would do.
    Plan,
    /// `ID key=value…`
    ClientAdd(String, Vec<String>),
    /// All of them.
    ClientList,
    /// One, with its steps.
    ClientShow(String),
    /// `ID key=value…`; `key=` is the default again.
    ClientSet(String, Vec<String>),
    /// End its service.
    ClientRemove(String),
    /// The topic of its name is its topic, whoever made it.
    ClientTakeOver(String),
    /// A file of clients.
    ClientImport(PathBuf),
    /// Make one, here or for a request, and write it to a folder or standard output.
    CredentialAdd {
        /// Whose.
        id: String,
        /// The file with the certificate request.
        csr: Option<PathBuf>,
        /// The folder.
        out: Option<PathBuf>,
    },
    /// A client's.
    CredentialList(String),
    /// End one.
    CredentialRevoke(String, String),
    /// The zip, with a new credential.
    Bundle(String, PathBuf),
    /// Make an edge's certificate and configuration.
    EdgeAdd {
        /// Its name.
        name: String,
        /// The file with the certificate request.
        csr: Option<PathBuf>,
        /// The folder for its files.
        out: PathBuf,
        /// Where the edge finds the brokers, if not where clients do.
        bootstrap: Option<String>,
        /// The folder in which the files will lie on the edge.
        at: Option<PathBuf>,
    },
    /// All of them.
    EdgeList,
    /// Count it no more.
    EdgeRetire(String),
    /// Make a token.
    TokenAdd {
        /// Whom it is for.
        label: String,
        /// The client it speaks for; none: an operator's.
        client: Option<String>,
        /// For how long it is taken.
        days: Option<u32>,
    },
    /// All of them.
    TokenList,
    /// Take it no more.
    TokenRevoke(String),
    /// The latest changes.
    Audit {
        /// Only of this subject.
        subject: Option<String>,
        /// So many.
        limit: u32,
    },
    /// The list is right as it is: edges may take it.
    ListAccept,
    /// The database is the right one, though Kafka knows another.
    DatabaseAccept,
    /// A signed link to the panel, for trying.
    LaunchLink {
        /// The client.
        id: String,
        /// What the panel calls the person.
        name: Option<String>,
    },
}

/// Options, each to be taken by a command that knows it.
struct Options<'a> {
    values: BTreeMap<&'a str, &'a str>,
    flags: Vec<&'a str>,
}

impl<'a> Options<'a> {
    fn value(&mut self, name: &str) -> Option<String> {
        self.values.remove(name).map(str::to_owned)
    }

    fn path(&mut self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }

    fn flag(&mut self, name: &str) -> bool {
        let count = self.flags.len();
        self.flags.retain(|flag| *flag != name);
        self.flags.len() < count
    }
}

/// Understands the words after the program's name; the configuration is `usual` if none is named.
///
/// # Errors
/// What is wrong with them; empty if they are no command at all.
pub fn parse(words: &[String], usual: &str) -> Result<Asked, String> {
    let mut options = Options { values: BTreeMap::new(), flags: Vec::new() };
    let mut plain = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        if word == "--" {
            plain.extend(words.by_ref());
        } else if VALUED.contains(&word) {
            let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
            if options.values.insert(word, value).is_some() {
                return Err(format!("{word} is given twice"));
            }
        } else if FLAGS.contains(&word) {
            options.flags.push(word);
        } else if word.len() > 1 && word.starts_with('-') && !["--help", "-h", "--version"].contains(&word) {
            return Err(format!("{word} is no option"));
        } else {
            plain.push(word);
        }
    }
    let config = options.path("--config").unwrap_or_else(|| PathBuf::from(usual));
    let json = options.flag("--json");
    let command = command(&plain, &mut options)?;
    match options.values.keys().chain(&options.flags).next() {
        Some(left) => Err(format!("{left} has no meaning here")),
        None => Ok(Asked { config, json, command }),
    }
}

fn command(words: &[&str], options: &mut Options<'_>) -> Result<Command, String> {
    Ok(match words {
        ["serve"] => Command::Serve,
        ["init"] => Command::Init { write_config: options.flag("--write-config") },
        ["doctor"] => Command::Doctor,
        ["backup", file] => Command::Backup(PathBuf::from(file)),
        ["restore", file] => Command::Restore(PathBuf::from(file)),
        ["version" | "--version"] => Command::Version,
        ["help" | "--help" | "-h"] => Command::Help,
        _ => Command::Api(request(words, options)?),
    })
}

fn request(words: &[&str], options: &mut Options<'_>) -> Result<Request, String> {
    let texts = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let needed = |path: Option<PathBuf>, name: &str| path.ok_or_else(|| format!("{name} is needed"));
    Ok(match words {
        ["status"] => Request::Status,
        ["plan"] => Request::Plan,
        ["client", "add", id, settings @ ..] => Request::ClientAdd((*id).into(), texts(settings)),
        ["client", "list"] => Request::ClientList,
        ["client", "show", id] => Request::ClientShow((*id).into()),
        ["client", "set", id, settings @ ..] if !settings.is_empty() => {
            Request::ClientSet((*id).into(), texts(settings))
        }
        ["client", "remove", id] => Request::ClientRemove((*id).into()),
        ["client", "take-over", id] => Request::ClientTakeOver((*id).into()),
        ["client", "import", file] => Request::ClientImport(PathBuf::from(file)),
        ["credential", "add", id] => {
            Request::CredentialAdd { id: (*id).into(), csr: options.path("--csr"), out: options.path("--out") }
        }
        ["credential", "list", id] => Request::CredentialList((*id).into()),
        ["credential", "revoke", id, generation] => Request::CredentialRevoke((*id).into(), (*generation).into()),
        ["bundle", id] => Request::Bundle((*id).into(), needed(options.path("--out"), "--out FILE.zip")?),
        ["edge", "add", name] => Request::EdgeAdd {
            name: (*name).into(),
            csr: options.path("--csr"),
            out: needed(options.path("--out"), "--out DIR")?,
            bootstrap: options.value("--bootstrap"),
            at: options.path("--at"),
        },
        ["edge", "list"] => Request::EdgeList,
        ["edge", "retire", name] => Request::EdgeRetire((*name).into()),
        ["token", "add", label] => Request::TokenAdd {
            label: (*label).into(),
            client: options.value("--client"),
            days: number(options, "--days")?,
        },
        ["token", "list"] => Request::TokenList,
        ["token", "revoke", id] => Request::TokenRevoke((*id).into()),
        ["audit"] => {
            Request::Audit { subject: options.value("--subject"), limit: number(options, "--limit")?.unwrap_or(50) }
        }
        ["list", "accept"] => Request::ListAccept,
        ["database", "accept"] => Request::DatabaseAccept,
        ["launch-link", id] => Request::LaunchLink { id: (*id).into(), name: options.value("--name") },
        _ => return Err(String::new()),
    })
}

fn number(options: &mut Options<'_>, name: &str) -> Result<Option<u32>, String> {
    let Some(text) = options.value(name) else { return Ok(None) };
    match text.parse() {
        Ok(number) if number > 0 => Ok(Some(number)),
        _ => Err(format!("{name} must be a number from 1 on")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(line: &str) -> Result<Asked, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words, "/usual")
    }

    #[test]
    fn options_may_stand_anywhere() {
        let expected =
            Asked { config: PathBuf::from("f"), json: true, command: Command::Api(Request::ClientShow("c83".into())) };
        for line in ["--config f client show c83 --json", "client --json show --config f c83"] {
            assert_eq!(asked(line).as_ref(), Ok(&expected));
        }
        assert_eq!(asked("serve").unwrap().config, PathBuf::from("/usual"));
        let add = asked("token add -- --json").unwrap();
        assert_eq!(add.command, Command::Api(Request::TokenAdd { label: "--json".into(), client: None, days: None }));
    }

    #[test]
    fn what_is_no_command_is_named() {
        for (line, what) in [
            ("", ""),
            ("serve now", ""),
            ("client", ""),
            ("client set c83", ""),
            ("serve --out x", "--out has no meaning here"),
            ("client list --csr x", "--csr has no meaning here"),
            ("serve --colour", "--colour is no option"),
            ("serve --config", "--config needs a value"),
            ("serve --config a --config b", "--config is given twice"),
            ("token add x --days 0", "--days must be a number from 1 on"),
            ("edge add x", "--out DIR is needed"),
            ("bundle c83", "--out FILE.zip is needed"),
        ] {
            assert_eq!(asked(line).unwrap_err(), what, "{line}");
        }
    }
}
