//! Generates the messages of fabric/v1 and agent/v1. Service stubs live in `rpc`, so that pure crates can use the messages.
use std::io::Result;

fn main() -> Result<()> {
    let root = "..";
    let files = ["fabric/v1/fabric.proto", "agent/v1/agent.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={root}/{file}");
    }
    let set = protox::compile(files, [root]).map_err(std::io::Error::other)?;
    let mut config = prost_build::Config::new();
    config.skip_protoc_run();
    config.btree_map(["."]);
    config.compile_fds(set)
}
