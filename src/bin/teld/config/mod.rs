//! teld's file: the producer's configuration, the inputs, the list that is followed, and where it can be looked at.

pub mod input;
pub mod keys;
mod owner;
mod places;
mod sync;

use crate::detect;
use crate::inputs::Input;
use keys::Keys;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use sync::SyncConfig;

/// How long the lines under way may take once the inputs have ended, or an end was asked for.
const DRAIN_MS: u64 = 10_000;
/// The longest that can be asked for: what stops teld has a limit of its own.
const MOST_DRAIN_MS: u64 = 3_600_000;

/// Clients with series of their own, if nothing is said: a few series for each are what a scrape can take.
const MOST_CLIENTS: u64 = 1000;

/// What the file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The producer's configuration, as JSON text.
    pub producer: String,
    /// Bytes of the longest line, as the producer has it.
    pub max_line: usize,
    /// The inputs, by name.
    pub inputs: Vec<Input>,
    /// The inputs are what was found.
    pub is_auto: bool,
    /// What was found, in words.
    pub detected: Vec<String>,
    /// The client list's file.
    pub clients_file: Option<PathBuf>,
    /// The list that is followed and written to that file.
    pub sync: Option<SyncConfig>,
    /// Where metrics are served.
    pub metrics: Option<Metrics>,
    /// The socket that `teld status` asks.
    pub status: PathBuf,
    /// How long the end may take.
    pub drain: Duration,
}

/// The `metrics` key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    pub listen: SocketAddr,
    /// So many clients have series of their own.
    pub most_clients: usize,
}

impl Config {
    /// Reads and checks the file; the producer's part is checked by the library. The error names the file and the key.
    pub fn read(path: &Path) -> Result<Config, String> {
        let named = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        Config::parse(&text, path).map_err(named)
    }

    /// Nothing is read here: only the list is followed, for other hosts on the machine.
    pub fn is_alone(&self) -> bool {
        self.inputs.is_empty() && !self.is_auto
    }

    /// Only where `teld status` finds the teld that runs with the file: what else is in it may be wrong by now.
    pub fn read_status_socket(path: &Path) -> Result<PathBuf, String> {
        let named = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        Keys::of_file(&text).and_then(|mut file| status_socket(&mut file, path)).map_err(named)
    }

    fn parse(text: &str, path: &Path) -> Result<Config, String> {
        let mut file = Keys::of_file(text)?;
        let producer = file.raw("producer").ok_or("producer: must be there")?;
        let checked = tel::Config::from_json(&producer).map_err(|error| format!("producer: {error}"))?;
        tel::check_config(&producer).map_err(|error| format!("producer: {error}"))?;
        let sync = match file.object("sync")? {
            None => None,
            Some(keys) => Some(followed(keys, &checked)?),
        };
        let (inputs, detected) = inputs(&mut file, sync.is_some())?;
        let metrics = match file.object("metrics")? {
            None => None,
            Some(keys) => Some(metrics(keys)?),
        };
        let status = status_socket(&mut file, path)?;
        let written = sync.as_ref().and(checked.clients_file.as_deref());
        places::reject_shared(&inputs, &status, written)?;
        let drain = file.integer("drain_timeout_ms", 0, MOST_DRAIN_MS)?.unwrap_or(DRAIN_MS);
        file.finish()?;
        Ok(Config {
            producer,
            max_line: checked.max_line_bytes,
            inputs,
            is_auto: detected.is_some(),
            detected: detected.unwrap_or_default(),
            clients_file: checked.clients_file,
            sync,
            metrics,
            status,
            drain: Duration::from_millis(drain),
        })
    }
}

/// The `sync` key, with what it needs of the producer.
fn followed(keys: Keys, producer: &tel::Config) -> Result<SyncConfig, String> {
    let sync = sync::sync(keys)?;
    if producer.embedded_broker {
        return Err("sync: there is no list on the producer's embedded_broker".into());
    }
    if producer.clients_file.is_none() {
        return Err("sync: the list is written to the producer's clients.file, which must be given".into());
    }
    Ok(sync)
}

/// The inputs, and what was found if they are "auto". Without any, there must be another thing to do.
fn inputs(file: &mut Keys, is_synced: bool) -> Result<(Vec<Input>, Option<Vec<String>>), String> {
    let (mut named, detected) = match file.text_or_object("inputs")? {
        None if is_synced => return Ok((Vec::new(), None)),
        None => return Err("inputs: must be there".into()),
        Some(Ok(word)) if word == "auto" => {
            let found = detect::detect()?;
            let keys = Keys::read("inputs".into(), &found.inputs_json())?;
            (keys, Some(found.describe()))
        }
        Some(Ok(word)) => return Err(format!("inputs: must be an object or \"auto\", not \"{word}\"")),
        Some(Err(keys)) => (keys, None),
    };
    let mut inputs = Vec::new();
    for name in named.names() {
        if let Some(keys) = named.object(&name)? {
            inputs.push(input::input(name, keys)?);
        }
    }
    if inputs.is_empty() && detected.is_none() && !is_synced {
        return Err("inputs: at least one is needed".into());
    }
    Ok((inputs, detected))
}

fn metrics(mut keys: Keys) -> Result<Metrics, String> {
    let name = keys.full_name("listen");
    let listen = keys.needed_text("listen")?;
    let most_clients = keys.integer("clients", 0, 100_000)?.unwrap_or(MOST_CLIENTS);
    keys.finish()?;
    let address: SocketAddr =
        listen.parse().map_err(|_| format!("{name}: must be an address and a port, such as \"127.0.0.1:9470\""))?;
    if !address.ip().is_loopback() {
        // Who may read the clients' names and volumes is for a proxy in front to say.
        return Err(format!("{name}: must be a loopback address, not {}", address.ip()));
    }
    Ok(Metrics { listen: address, most_clients: most_clients as usize })
}

fn status_socket(file: &mut Keys, path: &Path) -> Result<PathBuf, String> {
    let Some(mut keys) = file.object("status")? else { return Ok(default_socket(path)) };
    let name = keys.full_name("socket");
    let socket = PathBuf::from(keys.needed_text("socket")?);
    keys.finish()?;
    input::check_socket_path(&name, &socket)?;
    Ok(socket)
}

/// Where `teld status` finds the daemon that runs with this file: each file has a socket of its own.
fn default_socket(config: &Path) -> PathBuf {
    let folder = if rustix::process::geteuid().is_root() {
        PathBuf::from("/run/teld")
    } else {
        std::env::var_os("RUNTIME_DIRECTORY")
            .or_else(|| std::env::var_os("XDG_RUNTIME_DIR"))
            .map_or_else(|| PathBuf::from("/run/teld"), PathBuf::from)
    };
    if config == Path::new(crate::DEFAULT_CONFIG) {
        return folder.join("status.sock");
    }
    // FNV-1a (G. Fowler, L. C. Noll, K.-P. Vo): short, and the same in every process.
    let path = std::fs::canonicalize(config).unwrap_or_else(|_| config.to_path_buf());
    let hash =
        path.as_os_str().as_encoded_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    folder.join(format!("status-{hash:016x}.sock"))
}

#[cfg(test)]
mod tests;
