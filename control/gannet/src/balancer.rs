//! `gannet lb`: the layer-4 balancer without a cluster.

use anyhow::Context as _;
use kernel::bpf::XdpMode;

use crate::cli::{LbArguments, LbStatusArguments, LbVerb, XdpModeArgument};
use crate::control::daemon_runtime;
use crate::lock;

/// Runs until a signal ends it, or does what the verb says.
pub fn run(arguments: &LbArguments) -> anyhow::Result<()> {
    match &arguments.verb {
        Some(LbVerb::Status(arguments)) => status(arguments),
        Some(LbVerb::Down(place)) => {
            let _role = lock::take(&place.dir, "lb", "stop it first, or give another --dir")?;
            Ok(lb::daemon::remove(&place.dir)?)
        }
        None => balance(arguments),
    }
}

fn balance(arguments: &LbArguments) -> anyhow::Result<()> {
    let dir = arguments.place.dir.clone();
    let _role = lock::take(&dir, "lb", "stop it first, or give another --dir")?;
    let mode = match arguments.xdp_mode {
        XdpModeArgument::Auto => XdpMode::Auto,
        XdpModeArgument::Driver => XdpMode::Driver,
        XdpModeArgument::Generic => XdpMode::Generic,
    };
    let config = arguments.config.clone().context("give --config")?;
    daemon_runtime()?.block_on(async {
        let shutdown = process::shutdown_on_signals()?;
        Ok(lb::run(lb::Options { config, dir, mode, keep: arguments.keep }, shutdown).await?)
    })
}

fn status(arguments: &LbStatusArguments) -> anyhow::Result<()> {
    let report = lb::report::read(&arguments.place.dir)?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", report.text());
    }
    Ok(())
}
