//! Gives the preload library its SONAME. rustc itself writes the version script
//! that exports the hooks and makes everything else local (tests/exports.rs).
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libaarp.so");
    // Relative relocations in a tenth of the room: fewer pages touched at start.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,pack-relative-relocs");
    // Where the section with the symbols of the hooks begins and ends is nobody else's
    // business.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,start-stop-visibility=hidden");
    // Without the C compiler's crt files: there is nothing in them for a library
    // without constructors, and the dynamic linker would look in every object of the
    // program for four functions that hardly any has (docs/performance.md).
    println!("cargo:rustc-cdylib-link-arg=-nostartfiles");
}
