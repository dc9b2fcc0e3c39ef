//! Child processes that cannot outlive their time.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a command may take unless the test says otherwise.
const USUAL: Duration = Duration::from_secs(120);
/// How often its end is looked for.
const POLL: Duration = Duration::from_millis(20);

/// Runs a command and returns standard output; an error with everything it said when it fails or takes too long.
pub fn output(command: &mut Command) -> Result<String> {
    output_within(USUAL, command)
}

/// As [`output`], with another limit.
pub fn output_within(limit: Duration, command: &mut Command) -> Result<String> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let deadline = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("{shown}: no end within {} s", limit.as_secs());
        }
        thread::sleep(POLL);
    };
    // A daemon that a command left behind may hold the pipes open: what was said until now is enough.
    let said = |receiver: Receiver<Vec<u8>>| {
        String::from_utf8_lossy(&receiver.recv_timeout(Duration::from_secs(2)).unwrap_or_default()).into_owned()
    };
    let (stdout, stderr) = (said(stdout), said(stderr));
    if !status.success() {
        bail!("{shown}: {status}\n{stdout}{stderr}");
    }
    Ok(stdout)
}

fn drain(pipe: Option<impl std::io::Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    if let Some(mut pipe) = pipe {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // A broken pipe ends the output; what came before it counts.
            let _ = pipe.read_to_end(&mut bytes);
            let _ = sender.send(bytes);
        });
    }
    receiver
}

/// A command that runs beside the test, read line by line, and ends with it.
pub struct Background {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Background {
    /// Starts it.
    pub fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let (sender, lines) = channel();
        let stdout = child.stdout.take().context("standard output is piped")?;
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::result::Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { child, lines, seen: Vec::new() })
    }

    /// The next line that `wanted` accepts.
    pub fn line(&mut self, limit: Duration, wanted: impl Fn(&str) -> bool) -> Result<String> {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if wanted(&line) {
                        return Ok(line);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!("no such line in {} s, only {:?}", limit.as_secs(), self.seen),
                Err(RecvTimeoutError::Disconnected) => bail!("it ended after {:?}", self.seen),
            }
        }
    }

    /// Every line until it ends on its own.
    pub fn rest(mut self, limit: Duration) -> Result<Vec<String>> {
        let deadline = Instant::now() + limit;
        loop {
            match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => return Ok(std::mem::take(&mut self.seen)),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("it did not end in {} s, only {:?}", limit.as_secs(), self.seen)
                }
            }
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended on its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
