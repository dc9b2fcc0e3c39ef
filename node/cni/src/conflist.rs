//! The network configuration list that makes a runtime call this plugin. Pure.

use std::path::Path;

use serde_json::json;

/// File name of the list in the runtime's configuration directory.
pub const FILE: &str = "10-gannet.conflist";

/// The list for a daemon that listens at `socket`.
pub fn render(socket: &Path) -> String {
    let list = json!({
        "cniVersion": "1.0.0",
        "name": "gannet",
        "plugins": [{"type": crate::PLUGIN, "agentSocket": socket, "capabilities": {"portMappings": true, "bandwidth": true}}],
    });
    format!("{list:#}\n")
}
