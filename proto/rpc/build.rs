//! Generates the gRPC stubs; the messages of fabric/v1 and agent/v1 come from `wire`.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "..";
    let files = ["fabric/v1/fabric.proto", "agent/v1/agent.proto", "cri/v1/cri.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={root}/{file}");
    }
    let set = protox::compile(files, [root])?;
    tonic_prost_build::configure()
        .btree_map(".runtime.v1")
        .extern_path(".gannet.fabric.v1", "::wire::fabric")
        .extern_path(".gannet.agent.v1", "::wire::agent")
        .compile_fds(set)?;
    Ok(())
}
