//! `gannet doctor`: what this machine offers, what Gannet does without the rest, and what mends it. It changes nothing but the
//! kernel modules that trying a feature loads.

use std::path::PathBuf;
use std::process::ExitCode;

use kernel::probe::{Feature, Need};
use serde::Serialize;

use crate::cli::{DoctorArguments, Output};

/// Programs that a node starts, each with the Debian package that has it. An own runtime (`--cri-socket`) needs none.
const PROGRAMS: [(&str, &str); 3] = [("containerd", "containerd"), ("ctr", "containerd"), ("runc", "runc")];

/// Everything that was looked at.
#[derive(Serialize)]
struct Report {
    /// The kernel's release.
    kernel: String,
    /// Whether a node starts here.
    ready: bool,
    features: Vec<Line>,
}

/// One feature of the report.
#[derive(Serialize)]
struct Line {
    name: &'static str,
    required: bool,
    present: bool,
    /// How the trial failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What Gannet does when it is absent.
    without: &'static str,
    /// What brings it.
    fix: String,
}

pub fn run(arguments: &DoctorArguments) -> anyhow::Result<ExitCode> {
    let features = kernel::probe::features().into_iter().map(Line::from);
    let report = report(release()?, features.chain(PROGRAMS.iter().map(program)).collect());
    match arguments.output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
        Output::Text => print!("{}", render(&report)),
    }
    Ok(if report.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl From<Feature> for Line {
    fn from(feature: Feature) -> Self {
        Self {
            name: feature.name,
            required: feature.need == Need::Required,
            present: feature.absent.is_none(),
            reason: feature.absent,
            without: feature.without,
            fix: feature.fix.to_owned(),
        }
    }
}

fn report(kernel: String, features: Vec<Line>) -> Report {
    let ready = features.iter().all(|line| line.present || !line.required);
    Report { kernel, ready, features }
}

fn program(&(name, package): &(&'static str, &'static str)) -> Line {
    let found = std::env::var_os("PATH").and_then(|path| {
        let mut places = std::env::split_paths(&path).map(|folder: PathBuf| folder.join(name));
        places.find(|place| place.is_file())
    });
    Line {
        name,
        required: true,
        present: found.is_some(),
        reason: found.is_none().then(|| "not on PATH".to_owned()),
        without: "no node starts, unless --cri-socket names a running containerd",
        fix: format!("apt-get install {package}"),
    }
}

/// What is absent comes with three lines of its own; the rest is one paragraph of names.
fn render(report: &Report) -> String {
    let mut text = format!("kernel {}\n", report.kernel);
    let present: Vec<&str> = report.features.iter().filter(|line| line.present).map(|line| line.name).collect();
    text.push_str(&format!("present  {}\n", present.join(", ")));
    for line in report.features.iter().filter(|line| !line.present) {
        let word = if line.required { "MISSING" } else { "absent " };
        let reason = line.reason.as_deref().unwrap_or_default();
        text.push_str(&format!(
            "{word}  {}: {reason}\n         without it: {}\n         fix: {}\n",
            line.name, line.without, line.fix
        ));
    }
    text.push_str(if report.ready {
        "Gannet can run here.\n"
    } else {
        "Gannet cannot run here: mend what is MISSING.\n"
    });
    text
}

fn release() -> anyhow::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned())
}

#[cfg(test)]
mod tests;
