//! `teld check`: what would be done, without doing it.

use crate::config::Config;
use crate::status;
use std::path::Path;
use std::process::ExitCode;
use tel::ClientList;

/// Says whether the configuration and the client list are right, and what teld would do with them.
pub fn check(file: &Path) -> ExitCode {
    let config = match Config::read(file) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("teld: {error}");
            return ExitCode::from(status::CONFIG);
        }
    };
    let names: Vec<&str> = config.inputs.iter().map(|input| input.name.as_str()).collect();
    println!(
        "{}: right; inputs: {}",
        file.display(),
        if names.is_empty() { "none now".into() } else { names.join(", ") }
    );
    for input in &config.inputs {
        println!("  inputs.{}: {}; {}", input.name, input.source.describe(), input.reading.describe());
    }
    for found in &config.detected {
        println!("  {found}");
    }
    if let (Some(sync), Some(file)) = (&config.sync, &config.clients_file) {
        println!(
            "  sync: follows {}, writes {}, and acknowledges to {} as {}",
            sync.topic,
            file.display(),
            sync.acks,
            sync.edge
        );
    }
    match &config.metrics {
        Some(metrics) => println!("  metrics: http://{}/metrics", metrics.listen),
        None => println!("  metrics: none"),
    }
    println!("  status: {}", config.status.display());
    match clients(&config) {
        Ok(said) => {
            println!("  {said}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("teld: {}: producer: clients.file: {error}", file.display());
            ExitCode::from(status::CONFIG)
        }
    }
}

/// What the client list says. One that is not there yet, and entries that are left out, are only remarked: teld starts
/// with both.
fn clients(config: &Config) -> Result<String, String> {
    let Some(file) = &config.clients_file else { return Ok("clients: no file".into()) };
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("teld: clients.file: {}: {error}: no line is delivered until it is there", file.display());
            return Ok("clients: none yet".into());
        }
    };
    let list = ClientList::from_json(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    for reason in &list.reasons {
        eprintln!("teld: clients.file: {}: {reason}: left out", file.display());
    }
    Ok(format!("clients: {}, {} left out", list.clients.len(), list.rejected))
}
