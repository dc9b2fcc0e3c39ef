//! gRPC stubs: fabric (control to node), agent (CNI plugin and CLI to node daemon), CRI (node daemon to runtime).

/// Client and server of the fabric stream.
pub mod fabric {
    tonic::include_proto!("gannet.fabric.v1");
}

/// Client and server of the node daemon's local socket.
pub mod agent {
    tonic::include_proto!("gannet.agent.v1");
}

/// Container Runtime Interface, package `runtime.v1`.
pub mod cri {
    tonic::include_proto!("runtime.v1");
}
