//! A disk in memory that records what was written and when it was synced, so that the image after a power cut at any
//! moment can be built.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Smallest unit that a disk writes whole.
const SECTOR_BYTES: usize = 512;

/// The bytes of a disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Image(Vec<u8>);

/// What happens to the next calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Write,
    Sync,
}

/// The disk. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Recording(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    start: Image,
    now: Image,
    steps: Vec<Step>,
    fault: Option<Fault>,
}

#[derive(Debug, Clone)]
enum Step {
    Write { offset: usize, bytes: Vec<u8> },
    Resize { len: usize },
    Sync,
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
    fn len(&self) -> usize {
        self.0.len()
    }

    /// A bit of a byte that is not zero: most of the file was never written.
    pub(super) fn written_bit(&self, rng: &mut Rng) -> usize {
        loop {
            let bit = rng.below(self.0.len() * 8);
            if self.0[bit / 8] != 0 {
                return bit;
            }
        }
    }

    pub(super) fn flip(&mut self, bit: usize) {
        self.0[bit / 8] ^= 1 << (bit % 8);
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
            Step::Write { offset, bytes } => self.write(*offset, bytes),
            Step::Resize { len } => self.0.resize(*len, 0),
            Step::Sync => {}
        }
    }

    /// Applies only some of the step's sectors, as an interrupted disk does.
    fn apply_torn(&mut self, step: &Step, rng: &mut Rng) {
        let Step::Write { offset, bytes } = step else { return self.apply(step) };
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

impl Recording {
    pub(super) fn new(image: Image) -> Recording {
        let inner = Inner { start: image.clone(), now: image, steps: Vec::new(), fault: None };
        Recording(Arc::new(Mutex::new(inner)))
    }

    /// Steps so far.
    pub(super) fn len(&self) -> usize {
        self.lock().steps.len()
    }

    pub(super) fn syncs(&self) -> usize {
        self.lock().steps.iter().filter(|step| matches!(step, Step::Sync)).count()
    }

    pub(super) fn image(&self) -> Image {
        self.lock().now.clone()
    }

    pub(super) fn fail(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    pub(super) fn heal(&self) {
        self.lock().fault = None;
    }

    /// The disk after a power cut when `cut` steps were done: everything before the last sync is there; of what came
    /// after it each step is there, absent or torn.
    pub(super) fn image_after_power_cut(&self, cut: usize, rng: &mut Rng) -> Image {
        let inner = self.lock();
        let done = &inner.steps[..cut];
        let synced = done.iter().rposition(|step| matches!(step, Step::Sync)).map_or(0, |last| last + 1);
        let mut image = inner.start.clone();
        for step in &done[..synced] {
            image.apply(step);
        }
        for step in &done[synced..] {
            match rng.below(3) {
                0 => image.apply(step),
                1 => image.apply_torn(step, rng),
                _ => {}
            }
        }
        image
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn record(&mut self, step: Step) {
        self.now.apply(&step);
        self.steps.push(step);
    }

    fn refuse(&self, fault: Fault) -> io::Result<()> {
        if self.fault == Some(fault) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

impl redb::StorageBackend for Recording {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.lock().now.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let inner = self.lock();
        let bytes = inner.now.0.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.lock().record(Step::Resize { len: len as usize });
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut inner = self.lock();
        inner.refuse(Fault::Sync)?;
        inner.record(Step::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        let mut inner = self.lock();
        inner.refuse(Fault::Write)?;
        inner.record(Step::Write { offset: offset as usize, bytes: data.to_vec() });
        Ok(())
    }
}
