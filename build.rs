//! Gives the preload library its SONAME. rustc itself writes the version script
//! that exports the hooks and makes everything else local (tests/exports.rs).
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libaarp.so");
    // Relative relocations in a tenth of the room: fewer pages touched at start.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,pack-relative-relocs");
}
