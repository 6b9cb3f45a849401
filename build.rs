//! Gives the preload library its SONAME and a version script, so that it exports
//! its hooks and nothing else.
fn main() {
    let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR");
    let map = format!("{dir}/src/exports.map");
    println!("cargo:rerun-if-changed={map}");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libaarp.so");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,pack-relative-relocs");
}
