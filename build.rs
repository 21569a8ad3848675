//! Link arguments of the shared library: its soname, and that it is never unloaded.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The soname changes with the major version (0 until 1.0); hosts link against it, not against the file name.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libtel.so.0");
    // Varnish closes a module at every vcl.discard, while our threads and the thread-locals of host threads
    // still point into the library: it must stay mapped until the process ends.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    link_soname();
}

/// A program linked with `-L target/release -ltel` looks for the soname at run time, so the build folder gets the
/// link that an installed library has.
fn link_soname() {
    let Ok(out) = std::env::var("OUT_DIR") else { return };
    // OUT_DIR is <target>/<profile>/build/tel-<hash>/out.
    let Some(folder) = Path::new(&out).ancestors().nth(3) else { return };
    let link = folder.join("libtel.so.0");
    if std::fs::read_link(&link).is_err() {
        let _ = std::os::unix::fs::symlink("libtel.so", link);
    }
}
