//! How the binary is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // A position-independent binary lists every pointer in its constants for the loader: 24 bytes each, or a bit or
    // two when packed (DT_RELR: glibc 2.36, binutils 2.38). An older linker warns that it ignores this.
    println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // Crates that use the same large types each have a copy of the code for them: equal functions become one. Only lld
    // can; it is what rustc links with here. Nothing compares functions by address, and data is left alone.
    if std::env::var("TARGET").is_ok_and(|target| target == "x86_64-unknown-linux-gnu") {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}
