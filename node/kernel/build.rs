//! Puts the BPF object into the build: the file that GANNET_BPF_OBJECT names, or an empty one. `cargo xtask build` sets
//! the variable; without it the crate compiles, and opening the data plane says what to run.
use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo:rerun-if-env-changed=GANNET_BPF_OBJECT");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("gannet.bpf.o");
    let bytes = match env::var_os("GANNET_BPF_OBJECT").filter(|path| !path.is_empty()) {
        Some(path) => {
            let path = PathBuf::from(path);
            println!("cargo:rerun-if-changed={}", path.display());
            match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(e) => panic!("GANNET_BPF_OBJECT={}: {e}", path.display()),
            }
        }
        None => Vec::new(),
    };
    fs::write(&out, bytes).expect("OUT_DIR is writable");
}
