//! Compiles the C half against an installed libtel, found by pkg-config as a host would.

fn main() {
    println!("cargo:rerun-if-changed=src/host.c");
    let tel = pkg_config::probe_library("tel").expect("libtel: `make stage`, and its folder in PKG_CONFIG_PATH");
    cc::Build::new().file("src/host.c").includes(&tel.include_paths).opt_level(2).warnings_into_errors(true).compile("host");
    for folder in &tel.include_paths {
        println!("cargo:rerun-if-changed={}", folder.join("tel.h").display());
    }
    for folder in &tel.link_paths {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{}", folder.display());
    }
}
