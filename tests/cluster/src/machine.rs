//! Traces that a cluster could leave on the machine.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::command::output;

/// Everything of the machine in which a cluster's name could appear, as lines.
pub struct Traces {
    lines: Vec<String>,
}

impl Traces {
    /// Looks at processes, mounts, interfaces, routes, namespaces, control groups and state of the cluster `name`.
    pub fn of(name: &str, ranges: &[&str]) -> Result<Self> {
        let mut lines = Vec::new();
        let mut add = |kind: &str, text: &str, sign: &str| {
            lines.extend(text.lines().filter(|line| line.contains(sign)).map(|line| format!("{kind}: {line}")));
        };
        let directory = format!("/var/lib/gannet/{name}");
        let namespace = format!("gannet-{name}-");
        add("mount", &fs::read_to_string("/proc/self/mounts")?, &directory);
        add("mount", &fs::read_to_string("/proc/self/mounts")?, &namespace);
        add("process", &output(Command::new("ps").args(["-eo", "pid,args"]))?, &directory);
        add("interface", &output(Command::new("ip").args(["-brief", "link"]))?, &format!("gn-{name}"));
        for range in ranges {
            for one in range.split(',') {
                let (family, sign) = match (one.split_once(".0.0"), one.split_once("::")) {
                    (Some((prefix, _)), _) => ("-4", format!("{prefix}.")),
                    (None, Some((prefix, _))) => ("-6", format!("{prefix}:")),
                    (None, None) => ("-4", one.to_owned()),
                };
                add("route", &output(Command::new("ip").args([family, "route", "show", "table", "all"]))?, &sign);
            }
        }
        add("namespace", &output(Command::new("ip").args(["netns", "list"]))?, &namespace);
        for mount in fs::read_to_string("/proc/self/mounts")?.lines() {
            let mut words = mount.split(' ');
            let (Some(target), Some(kind)) = (words.nth(1), words.next()) else { continue };
            if kind != "cgroup" && kind != "cgroup2" {
                continue;
            }
            for entry in fs::read_dir(Path::new(target).join("gannet")).into_iter().flatten().flatten() {
                add("control group", &entry.path().display().to_string(), &format!("/{name}-"));
            }
        }
        if Path::new(&directory).exists() {
            add("state", &directory, &directory);
        }
        Ok(Self { lines })
    }

    /// What was found.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}
