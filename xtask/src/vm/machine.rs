//! One guest: qemu with a kernel and an initramfs, and what it says on its serial line.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// Every line of the guest's own begins so (`init.sh`).
const MARK: &str = "gannet-guest ";
/// A guest that works under KVM has started by then; on some machines it hangs there for ever.
const KVM_PATIENCE: Duration = Duration::from_secs(10);
/// Lines of a console that an error quotes.
const TAIL_LINES: usize = 20;
/// The maps take 200 MB of it.
const MEMORY_MB: &str = "1536";

/// What executes a guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    Kvm,
    /// qemu's translator: slow, everywhere.
    Tcg,
}

/// A step that ended, or that the guest did not survive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    pub name: String,
    /// Its exit code; none if it was never seen to end.
    pub code: Option<i32>,
    pub lines: Vec<String>,
}

/// What a guest said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    pub started: bool,
    pub done: bool,
    pub steps: Vec<Ran>,
    /// Lines outside of every step.
    pub rest: Vec<String>,
}

impl Accelerator {
    /// The first to try on this machine.
    pub fn candidate() -> Self {
        let usable = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if usable { Self::Kvm } else { Self::Tcg }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }
}

/// Boots a guest and follows it until it is done. A guest that does not start under KVM is started again without, and
/// `accelerator` then says so to the next call.
pub fn boot(
    image: &Path,
    initramfs: &Path,
    limit: Duration,
    accelerator: &mut Accelerator,
) -> anyhow::Result<Transcript> {
    if *accelerator == Accelerator::Kvm {
        let transcript = attempt(image, initramfs, limit, Accelerator::Kvm)?;
        if transcript.started {
            return conclude(transcript);
        }
        *accelerator = Accelerator::Tcg;
    }
    conclude(attempt(image, initramfs, limit, Accelerator::Tcg)?)
}

fn conclude(transcript: Transcript) -> anyhow::Result<Transcript> {
    if !transcript.started {
        let from = transcript.rest.len().saturating_sub(TAIL_LINES);
        bail!("the guest did not start; its last lines:\n{}", transcript.rest[from..].join("\n"));
    }
    Ok(transcript)
}

/// One run of qemu, which ends with the call.
fn attempt(image: &Path, initramfs: &Path, limit: Duration, accelerator: Accelerator) -> anyhow::Result<Transcript> {
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-accel", accelerator.name(), "-machine", "q35", "-cpu", "max", "-smp", "1", "-m", MEMORY_MB])
        .args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"])
        .arg("-kernel")
        .arg(image)
        .arg("-initrd")
        .arg(initramfs)
        // No message of the kernel's but its last words comes between the lines of a step.
        .args(["-append", "console=ttyS0 quiet loglevel=1 panic=-1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = qemu.spawn().context("cannot start qemu-system-x86_64: run `cargo xtask setup`")?;
    let mut guest = Guest(child);
    let serial = guest.0.stdout.take().expect("standard output is piped");
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(serial).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                break;
            }
        }
    });
    let begun = Instant::now();
    let mut transcript = Transcript::default();
    while !transcript.done {
        let patience = if accelerator == Accelerator::Kvm && !transcript.started { KVM_PATIENCE } else { limit };
        match lines.recv_timeout(patience.saturating_sub(begun.elapsed())) {
            Ok(line) => transcript.take(&line),
            Err(RecvTimeoutError::Timeout) => break,
            // qemu's own complaint is then all there is.
            Err(RecvTimeoutError::Disconnected) => {
                let complaint = guest.0.stderr.take().map(std::io::read_to_string).transpose()?;
                transcript.rest.extend(complaint.iter().flat_map(|text| text.lines()).map(str::to_owned));
                break;
            }
        }
    }
    Ok(transcript)
}

/// A running qemu; it does not outlive this.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // It has ended already if the guest switched itself off.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Transcript {
    /// Takes the next line of the console.
    pub fn take(&mut self, line: &str) {
        // The firmware leaves control sequences before the first line.
        let own = line.find(MARK).map(|at| &line[at + MARK.len()..]);
        let words: Vec<&str> = own.unwrap_or_default().split(' ').collect();
        match words.as_slice() {
            ["started"] => self.started = true,
            ["done"] => self.done = true,
            ["begin", name] => self.steps.push(Ran { name: (*name).to_owned(), ..Ran::default() }),
            ["end", name, code] => {
                if let Some(step) = self.open().filter(|step| step.name == *name) {
                    step.code = Some(code.parse().unwrap_or(-1));
                }
            }
            _ => match self.open() {
                Some(step) => step.lines.push(line.to_owned()),
                None => self.rest.push(line.to_owned()),
            },
        }
    }

    /// What a step said; nothing if the guest never came to it.
    pub fn lines(&self, name: &str) -> &[String] {
        self.steps.iter().find(|step| step.name == name).map_or(&[], |step| &step.lines)
    }

    /// Whether a step ended well; else an error with the end of what it said.
    pub fn succeeded(&self, name: &str) -> anyhow::Result<()> {
        let step = self.steps.iter().find(|step| step.name == name);
        let step = step.with_context(|| format!("the guest never came to {name}"))?;
        let from = step.lines.len().saturating_sub(TAIL_LINES);
        let tail = step.lines[from..].join("\n");
        match step.code {
            Some(0) => Ok(()),
            Some(code) => bail!("{name} exited with {code}:\n{tail}"),
            None => bail!("{name} did not end in time:\n{tail}"),
        }
    }

    fn open(&mut self) -> Option<&mut Ran> {
        self.steps.last_mut().filter(|step| step.code.is_none())
    }
}
