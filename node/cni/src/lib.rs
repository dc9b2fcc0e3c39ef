//! The CNI plugin of Gannet: configuration on stdin and `CNI_*` in the environment, one call to the node daemon's
//! socket, a result on stdout. It decides nothing about addresses or routes; the daemon does.

/// Runs the plugin with the process's environment and standard streams; returns the exit code.
pub fn main() -> i32 {
    1
}
