//! A disk in memory that records what was written and when it was synced, so that the image after a power cut at any
//! moment can be built, and any call can fail.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::embedded::storage::Storage;

/// Smallest unit that a disk writes whole.
const SECTOR_BYTES: usize = 512;

/// The bytes of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Image(Vec<u8>);

/// Which calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Write,
    Sync,
    /// Whatever is called after so many calls, once. Half of a write is done.
    Once(usize),
}

/// One of the disk's files. All of them share the disk.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    disk: Arc<Mutex<Disk>>,
    file: usize,
}

#[derive(Debug)]
struct Disk {
    start: Image,
    /// Each file as it is now. The first has the name at the start.
    now: Vec<Image>,
    steps: Vec<Step>,
    fault: Option<Fault>,
}

#[derive(Debug, Clone)]
enum Step {
    Write {
        file: usize,
        offset: usize,
        bytes: Vec<u8>,
    },
    Resize {
        file: usize,
        len: usize,
    },
    Sync {
        file: usize,
    },
    /// The file gets the name; lost in a power cut before the folder is synced.
    Name {
        file: usize,
    },
    SyncFolder,
}

/// xorshift64*: enough to draw cases from.
#[derive(Debug)]
pub(super) struct Rng(pub(super) u64);

impl Rng {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit
    }
}

impl Image {
    /// Any bit.
    pub(super) fn bit(&self, rng: &mut Rng) -> usize {
        rng.below(self.0.len() * 8)
    }

    pub(super) fn flip(&mut self, bit: usize) {
        self.0[bit / 8] ^= 1 << (bit % 8);
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes bytes out of the middle.
    pub(super) fn cut_out(&mut self, range: std::ops::Range<usize>) {
        self.0.drain(range);
    }

    /// Where `bytes` are first.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<usize> {
        self.0.windows(bytes.len()).position(|window| window == bytes)
    }

    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if self.0.len() < end {
            self.0.resize(end, 0);
        }
        self.0[offset..end].copy_from_slice(bytes);
    }

    fn apply(&mut self, step: &Step) {
        match step {
            Step::Write { offset, bytes, .. } => self.write(*offset, bytes),
            Step::Resize { len, .. } => self.0.resize(*len, 0),
            Step::Sync { .. } | Step::Name { .. } | Step::SyncFolder => {}
        }
    }

    /// Applies only some of the step's sectors, as an interrupted disk does.
    fn apply_torn(&mut self, step: &Step, rng: &mut Rng) {
        let Step::Write { offset, bytes, .. } = step else { return self.apply(step) };
        let mut at = 0;
        while at < bytes.len() {
            let sector_end = (offset + at) / SECTOR_BYTES * SECTOR_BYTES + SECTOR_BYTES - offset;
            let end = sector_end.min(bytes.len());
            if rng.below(2) == 0 {
                self.write(offset + at, &bytes[at..end]);
            }
            at = end;
        }
    }
}

impl Step {
    /// The file whose bytes it is about.
    fn file(&self) -> Option<usize> {
        match self {
            Step::Write { file, .. } | Step::Resize { file, .. } | Step::Sync { file } => Some(*file),
            Step::Name { .. } | Step::SyncFolder => None,
        }
    }
}

impl Recording {
    pub(super) fn new(image: Image) -> Recording {
        let disk = Disk { start: image.clone(), now: vec![image], steps: Vec::new(), fault: None };
        Recording { disk: Arc::new(Mutex::new(disk)), file: 0 }
    }

    /// Steps so far.
    pub(super) fn steps(&self) -> usize {
        self.lock().steps.len()
    }

    pub(super) fn syncs(&self) -> usize {
        self.lock().steps.iter().filter(|step| matches!(step, Step::Sync { .. })).count()
    }

    /// How often a successor got the name.
    pub(super) fn successions(&self) -> usize {
        self.lock().steps.iter().filter(|step| matches!(step, Step::Name { .. })).count()
    }

    /// What has the name.
    pub(super) fn image(&self) -> Image {
        let disk = self.lock();
        let named =
            disk.steps.iter().rev().find_map(|step| if let Step::Name { file } = step { Some(*file) } else { None });
        disk.now[named.unwrap_or(0)].clone()
    }

    pub(super) fn fail(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    pub(super) fn heal(&self) {
        self.lock().fault = None;
    }

    /// What has the name after a power cut when `cut` steps were done: everything before a file's last sync is there; of
    /// what came after it each step is there, absent or torn.
    pub(super) fn image_after_power_cut(&self, cut: usize, rng: &mut Rng) -> Image {
        let disk = self.lock();
        let done = &disk.steps[..cut];
        let synced = done.iter().rposition(|step| matches!(step, Step::SyncFolder)).unwrap_or(0);
        let names = done.iter().enumerate().filter_map(|(at, step)| match step {
            Step::Name { file } if at < synced || rng.below(2) == 0 => Some(*file),
            _ => None,
        });
        let named = names.last().unwrap_or(0);
        let steps: Vec<&Step> = done.iter().filter(|step| step.file() == Some(named)).collect();
        let synced = steps.iter().rposition(|step| matches!(step, Step::Sync { .. })).map_or(0, |last| last + 1);
        let mut image = if named == 0 { disk.start.clone() } else { Image::default() };
        for step in &steps[..synced] {
            image.apply(step);
        }
        for step in &steps[synced..] {
            match rng.below(3) {
                0 => image.apply(step),
                1 => image.apply_torn(step, rng),
                _ => {}
            }
        }
        image
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    fn record(&mut self, step: Step) {
        if let Some(file) = step.file() {
            self.now[file].apply(&step);
        }
        self.steps.push(step);
    }

    /// Whether a call of this kind fails.
    fn refuse(&mut self, kind: Fault) -> io::Result<()> {
        let refused = match &mut self.fault {
            Some(Fault::Once(0)) => {
                self.fault = None;
                true
            }
            Some(Fault::Once(calls)) => {
                *calls -= 1;
                false
            }
            fault => *fault == Some(kind),
        };
        if refused { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

impl Storage for Recording {
    fn len(&self) -> io::Result<u64> {
        Ok(self.lock().now[self.file].len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.lock();
        let bytes = disk.now[self.file].0.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut disk = self.lock();
        let refused = disk.refuse(Fault::Write);
        let done = if refused.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        disk.record(Step::Write { file: self.file, offset: offset as usize, bytes: done.to_vec() });
        refused
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut disk = self.lock();
        disk.refuse(Fault::Write)?;
        disk.record(Step::Resize { file: self.file, len: len as usize });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.lock();
        disk.refuse(Fault::Sync)?;
        disk.record(Step::Sync { file: self.file });
        Ok(())
    }

    fn successor(&self) -> io::Result<Arc<dyn Storage>> {
        let mut disk = self.lock();
        disk.refuse(Fault::Write)?;
        let file = disk.now.len();
        disk.now.push(Image::default());
        Ok(Arc::new(Recording { disk: Arc::clone(&self.disk), file }))
    }

    fn succeed(&self) -> io::Result<()> {
        let mut disk = self.lock();
        disk.refuse(Fault::Write)?;
        disk.record(Step::Name { file: self.file });
        disk.refuse(Fault::Sync)?;
        disk.record(Step::SyncFolder);
        Ok(())
    }

    fn discard(&self) {}
}
