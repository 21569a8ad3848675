//! Tells librdkafka's build where zlib's header is: the system's, whose C interface zlib-rs implements.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // librdkafka's configure compiles and links a program with zlib, and leaves gzip out, silently, if that fails.
    let found = ["/usr/include/zlib.h", "/usr/local/include/zlib.h"].iter().any(|header| Path::new(header).exists());
    if !found {
        eprintln!("zlib.h is missing: install zlib1g-dev, or run `scripts/setup build`");
        std::process::exit(1);
    }
    println!("cargo:root=/usr");
    println!("cargo:include=/usr/include");
}
