//! Each place in the file system is one part's alone.

use crate::inputs::{Input, Source};
use std::path::{Path, PathBuf};

/// Refuses two inputs at one place, which would take each other's lines or positions, and an input where `teld status`
/// asks, or at the client list that is written.
pub fn reject_shared(inputs: &[Input], status: &Path, clients: Option<&Path>) -> Result<(), String> {
    let mut taken: Vec<(PathBuf, String)> = vec![(resolved(status), "status.socket".into())];
    taken.extend(clients.map(|clients| (resolved(clients), "producer.clients.file".into())));
    for input in inputs {
        let name = format!("inputs.{}", input.name);
        for place in places(input) {
            let place = resolved(place);
            if let Some((_, other)) = taken.iter().find(|(other, _)| *other == place) {
                return Err(format!("{name}: {} is used by {other} already", place.display()));
            }
            taken.push((place, name.clone()));
        }
    }
    Ok(())
}

fn places(input: &Input) -> Vec<&Path> {
    match &input.source {
        // A name that no path has.
        Source::Stdin => vec![Path::new("standard input")],
        Source::File { path } => vec![path],
        Source::FollowedFile { path, position, .. } => vec![path, position],
        Source::Fifo { place } | Source::Unix { place, .. } => vec![&place.path],
        Source::Exec { .. } => vec![],
    }
}

/// The same for every way of writing a path, whether it is there yet or only its folder.
fn resolved(path: &Path) -> PathBuf {
    path.canonicalize()
        .or_else(|error| match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) => folder.canonicalize().map(|folder| folder.join(name)),
            _ => Err(error),
        })
        .unwrap_or_else(|_| path.to_path_buf())
}
