//! The real kubectl.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command::{Background, output, output_within};

/// kubectl for one cluster.
#[derive(Clone)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Kubectl {
    pub fn new(kubeconfig: PathBuf, home: PathBuf) -> Self {
        Self { kubeconfig, home }
    }

    /// The command, not yet run.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.env("KUBECONFIG", &self.kubeconfig).env("HOME", &self.home).env("TERM", "dumb").args(words);
        command
    }

    /// Runs it and returns what it printed.
    pub fn run(&self, words: &[&str]) -> Result<String> {
        output(&mut self.command(words))
    }

    /// Runs it with a limit of its own.
    pub fn run_within(&self, limit: Duration, words: &[&str]) -> Result<String> {
        output_within(limit, &mut self.command(words))
    }

    /// Runs it and returns the JSON it printed.
    pub fn json(&self, words: &[&str]) -> Result<Value> {
        let words: Vec<&str> = words.iter().copied().chain(["-o", "json"]).collect();
        Ok(serde_json::from_str(&self.run(&words)?)?)
    }

    /// Runs what must fail and returns what it said.
    pub fn refused(&self, words: &[&str]) -> Result<String> {
        match self.run(words) {
            Ok(said) => bail!("kubectl {} was not refused: {said}", words.join(" ")),
            Err(error) => Ok(format!("{error:#}")),
        }
    }

    /// `apply -f` of a manifest.
    pub fn apply(&self, manifest: &str) -> Result<String> {
        let file = self.home.join("manifest.yaml");
        std::fs::write(&file, manifest)?;
        self.run(&["apply", "-f", &file.to_string_lossy()])
    }

    /// Starts it beside the test.
    pub fn background(&self, words: &[&str]) -> Result<Background> {
        Background::start(&mut self.command(words))
    }

    /// A string at a JSON pointer of one object.
    pub fn field(&self, words: &[&str], pointer: &str) -> Result<String> {
        let object = self.json(words)?;
        let value = object.pointer(pointer).with_context(|| format!("kubectl {}: no {pointer}", words.join(" ")))?;
        Ok(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }
}
