//! `include/tel.h` is what the sources generate. `TEL_UPDATE_HEADER=1 cargo test --test header` writes it.

use std::path::Path;

#[test]
fn the_header_is_what_the_sources_generate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let mut generated = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/error.rs"))
        .with_src(root.join("src/stats.rs"))
        .with_src(root.join("src/ffi/boundary.rs"))
        .with_src(root.join("src/ffi/mod.rs"))
        .generate()
        .expect("cbindgen reads the sources")
        .write(&mut generated);
    let generated = String::from_utf8(generated).expect("text");
    let path = root.join("include/tel.h");
    if std::env::var_os("TEL_UPDATE_HEADER").is_some() {
        std::fs::write(&path, &generated).expect("write include/tel.h");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let different = generated.lines().zip(committed.lines()).find(|(new, old)| new != old);
    assert!(generated == committed, "include/tel.h is out of date, run `make header`; first difference: {different:?}");
}
