//! The command line.
//!
//! ```text
//!   arguments: what is asked for ─┬─ serve, init, doctor, database (backup, restore): done here
//!                                 └─ clients, credentials, edges, operator ─► api ─┬─ the socket of the tel-control that serves
//!                                          └─ table: what is shown                 └─ if none does, the same API within this process
//! ```

mod api;
mod arguments;
mod clients;
mod credentials;
mod database;
mod doctor;
mod edges;
mod files;
mod init;
mod operator;
mod serve;
mod service;
mod table;

use crate::config::Config;
use crate::error::{Error, Kind};
use arguments::{Asked, Command, Request};
use std::io::Write;
use std::process::ExitCode;

/// Where the configuration is if nothing else is said.
const DEFAULT_CONFIG: &str = "/etc/tel/control.json";

const USAGE: &str = "\
use: tel-control serve             serve API, panel and this command line, and bring Kafka to what is wanted
     tel-control init [--write-config]   make authority, database and a first operator token; what is there stays
     tel-control doctor            look whether the brokers are set up as this relies on: exit status 0 or 1
     tel-control status            whether Kafka follows, and what waits for an operator
     tel-control plan              what the next comparison with Kafka would change

     tel-control client add ID [KEY=VALUE]...     sample, max_lines_per_second, partitions, retention_ms
     tel-control client set ID KEY=VALUE...       KEY= for the default
     tel-control client list | show ID | remove ID | import FILE
     tel-control client take-over ID              the topic of its name is its topic, though somebody else made it
     tel-control credential add ID [--csr FILE] [--out DIR] | list ID | revoke ID NUMBER
     tel-control bundle ID --out FILE.zip         what the client downloads, with a new credential
     tel-control edge add NAME --out DIR [--csr FILE] [--bootstrap SERVERS] [--at DIR] | list | retire NAME
     tel-control token add LABEL [--client ID] [--days N] | list | revoke ID
     tel-control launch-link ID [--name NAME]     a link to the panel as another panel makes it, for trying

     tel-control audit [--subject SUBJECT] [--limit N]
     tel-control list accept       edges may take the client list, though it is much shorter or begun anew
     tel-control database accept   this database is the right one, though Kafka knows another state of it
     tel-control backup FILE | restore FILE
     tel-control version

With each: --config FILE (default /etc/tel/control.json) and --json. FILE of import is a client list or has an id a line.
Commands reach the tel-control that serves by its socket; without one they are recorded, and done when it serves.
Exit status: 0 done, 1 failed, 64 usage, 78 wrong configuration.
";

/// Exit statuses, after sysexits.h.
mod status {
    /// It was not done.
    pub const FAILED: u8 = 1;
    /// The command line is not one of ours.
    pub const USAGE: u8 = 64;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
}

/// Why a command ends without success.
#[derive(Debug)]
enum Failure {
    /// The configuration, or what it names, is not as it should be.
    Config(Error),
    /// What was asked for was not done.
    Failed(Error),
    /// Everything has been said.
    Said,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Failed(error)
    }
}

/// How a command ends.
type Done = std::result::Result<(), Failure>;

/// Runs the command that the arguments ask for; the process's exit code.
pub fn main() -> ExitCode {
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let asked = match arguments::parse(&words, DEFAULT_CONFIG) {
        Ok(asked) => asked,
        Err(what) => {
            if what.is_empty() {
                eprint!("{USAGE}");
            } else {
                eprintln!("tel-control: {what}; tel-control help says how it is used");
            }
            return ExitCode::from(status::USAGE);
        }
    };
    match run(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Said) => ExitCode::from(status::FAILED),
        Err(Failure::Failed(error)) => {
            eprintln!("tel-control: {error}");
            ExitCode::from(status::FAILED)
        }
        Err(Failure::Config(error)) => {
            eprintln!("tel-control: {error}");
            ExitCode::from(status::CONFIG)
        }
    }
}

fn run(asked: &Asked) -> Done {
    match &asked.command {
        Command::Help => return print(USAGE),
        Command::Version => return print(concat!("tel-control ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Init { write_config: true } if !asked.config.exists() => return init::write_config(&asked.config),
        _ => {}
    }
    let config = read(asked)?;
    match &asked.command {
        Command::Serve => serve::run(config),
        Command::Init { .. } => here(init::run(&config, &asked.config, asked.json)),
        Command::Doctor => doctor::run(&config, asked.json),
        Command::Backup(to) => here(database::backup(&config, to)),
        Command::Restore(from) => here(database::restore(&config, from)),
        Command::Api(request) => here(ask(config, request, asked.json)),
        Command::Help | Command::Version => Ok(()),
    }
}

fn read(asked: &Asked) -> std::result::Result<Config, Failure> {
    Config::read(&asked.config).map_err(|mut error| {
        if error.kind == Kind::Unavailable && !asked.config.exists() {
            error.text.push_str("; `tel-control init --write-config` writes one to begin with");
        }
        Failure::Config(error)
    })
}

/// Runs what waits for one thing at a time.
fn here(work: impl std::future::Future<Output = Done>) -> Done {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Error::unavailable(format!("the system refuses a runtime: {error}")))?.block_on(work)
}

async fn ask(config: Config, request: &Request, json: bool) -> Done {
    let api = api::Api::open(config, json).await?;
    match request {
        Request::ClientAdd(id, settings) => clients::add(&api, id, settings).await,
        Request::ClientList => clients::list(&api).await,
        Request::ClientShow(id) => clients::show(&api, id).await,
        Request::ClientSet(id, settings) => clients::set(&api, id, settings).await,
        Request::ClientRemove(id) => clients::remove(&api, id).await,
        Request::ClientTakeOver(id) => clients::take_over(&api, id).await,
        Request::ClientImport(file) => clients::import(&api, file).await,
        Request::CredentialAdd { id, csr, out } => credentials::add(&api, id, csr.as_deref(), out.as_deref()).await,
        Request::CredentialList(id) => credentials::list(&api, id).await,
        Request::CredentialRevoke(id, generation) => credentials::revoke(&api, id, generation).await,
        Request::Bundle(id, out) => credentials::bundle(&api, id, out).await,
        Request::EdgeAdd { name, csr, out, bootstrap, at } => {
            let files = edges::Files { out, at: at.as_deref(), bootstrap: bootstrap.as_deref() };
            edges::add(&api, name, csr.as_deref(), &files).await
        }
        Request::EdgeList => edges::list(&api).await,
        Request::EdgeRetire(name) => edges::retire(&api, name).await,
        Request::TokenAdd { label, client, days } => operator::token_add(&api, label, client.as_deref(), *days).await,
        Request::TokenList => operator::token_list(&api).await,
        Request::TokenRevoke(id) => operator::token_revoke(&api, id).await,
        Request::Audit { subject, limit } => operator::audit(&api, subject.as_deref(), *limit).await,
        Request::Status => operator::status(&api).await,
        Request::Plan => operator::plan(&api).await,
        Request::ListAccept => operator::accept(&api, "list").await,
        Request::DatabaseAccept => operator::accept(&api, "database").await,
        Request::LaunchLink { id, name } => operator::launch_link(&api, id, name.as_deref()),
    }
}

/// Prints text; whoever reads it may have enough of it.
fn print(text: impl AsRef<[u8]>) -> Done {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_ref()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::unavailable(format!("standard output: {error}")).into())
        }
        _ => Ok(()),
    }
}

/// Says something beside what was asked for.
fn note(text: impl std::fmt::Display) {
    eprintln!("tel-control: {text}");
}
