//! Wire messages between the parts of Gannet, without any RPC machinery: pure crates (datapath, fabric) speak these.

/// The cluster's network state on its way from the control plane to the nodes.
pub mod fabric {
    include!(concat!(env!("OUT_DIR"), "/gannet.fabric.v1.rs"));
}

/// Requests of the CNI plugin and the CLI to the node daemon.
pub mod agent {
    include!(concat!(env!("OUT_DIR"), "/gannet.agent.v1.rs"));
}
