//! Arrays of the kernel's in our own memory (BPF_F_MMAPABLE): an element is written by a store, without a call.

use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::Plain;

/// Bytes that the kernel rounds elements up to.
const ALIGN: usize = 8;

/// All elements of one array, shared with the programs that read it. A reader may run between any two stores.
pub struct Mapped<T> {
    start: NonNull<u8>,
    bytes: NonZeroUsize,
    len: usize,
    types: PhantomData<T>,
}

// SAFETY: the memory is the kernel's, valid from every thread, and written with atomic stores only.
unsafe impl<T: Plain + Send> Send for Mapped<T> {}

impl<T: Plain> Mapped<T> {
    /// Maps an array of `len` elements, whose value type must be `T`.
    ///
    /// # Errors
    /// Those of mmap(2), among them EPERM for an array that is not for mapping; EINVAL if `T` is not made of words.
    pub fn new(map: impl AsFd, len: usize) -> io::Result<Mapped<T>> {
        if size_of::<T>() % size_of::<u32>() != 0 || align_of::<T>() > ALIGN {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?.unwrap_or(4096) as usize;
        let bytes = (len * Self::stride()).next_multiple_of(page);
        let bytes = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping, of a map that the kernel keeps alive as long as it is mapped.
        let start = unsafe {
            mmap(None, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, map.as_fd(), 0)?
        };
        Ok(Mapped { start: start.cast(), bytes, len, types: PhantomData })
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A copy of an element.
    pub fn get(&self, index: usize) -> Option<T> {
        // SAFETY: in the mapping, and every bit pattern is a T. Of words that programs write, each may be of another moment.
        Some(unsafe { self.at(index)?.cast::<T>().read_volatile() })
    }

    /// Replaces an element, 32-bit words from the first to the last; `false` beyond the end.
    pub fn set(&mut self, index: usize, value: &T) -> bool {
        let Some(at) = self.at(index) else { return false };
        let from = std::ptr::from_ref(value).cast::<u32>();
        for word in 0..size_of::<T>() / size_of::<u32>() {
            // SAFETY: `at` is eight-byte aligned and as long as a T, which is made of words.
            unsafe {
                AtomicU32::from_ptr(at.cast::<u32>().add(word).as_ptr()).store(from.add(word).read(), Ordering::Release)
            };
        }
        true
    }

    /// Replaces the 64-bit word that is `offset` bytes into an element, at once; `false` if it is not in one or not aligned.
    pub fn set_word(&mut self, index: usize, offset: usize, value: u64) -> bool {
        let Some(at) = self.at(index) else { return false };
        if offset % size_of::<u64>() != 0 || offset + size_of::<u64>() > size_of::<T>() {
            return false;
        }
        // SAFETY: in the element, and aligned, because elements are.
        unsafe { AtomicU64::from_ptr(at.add(offset).cast().as_ptr()).store(value, Ordering::Release) };
        true
    }

    /// [`Mapped::set_word`] of 32 bits.
    pub fn set_half(&mut self, index: usize, offset: usize, value: u32) -> bool {
        let Some(at) = self.at(index) else { return false };
        if offset % size_of::<u32>() != 0 || offset + size_of::<u32>() > size_of::<T>() {
            return false;
        }
        // SAFETY: in the element, and aligned, because elements are.
        unsafe { AtomicU32::from_ptr(at.add(offset).cast().as_ptr()).store(value, Ordering::Release) };
        true
    }

    /// The 64-bit word that is `offset` bytes into an element, for an array that others write as well; `None` if it is not in one or not
    /// aligned.
    pub fn word(&self, index: usize, offset: usize) -> Option<&AtomicU64> {
        let fits = offset % size_of::<u64>() == 0 && offset + size_of::<u64>() <= size_of::<T>();
        // SAFETY: in the element, and aligned, because elements are; whoever else writes it does so by atomic operations.
        self.at(index).filter(|_| fits).map(|at| unsafe { AtomicU64::from_ptr(at.add(offset).cast().as_ptr()) })
    }

    /// [`Mapped::word`] of 32 bits.
    pub fn half(&self, index: usize, offset: usize) -> Option<&AtomicU32> {
        let fits = offset % size_of::<u32>() == 0 && offset + size_of::<u32>() <= size_of::<T>();
        // SAFETY: as above.
        self.at(index).filter(|_| fits).map(|at| unsafe { AtomicU32::from_ptr(at.add(offset).cast().as_ptr()) })
    }

    const fn stride() -> usize {
        size_of::<T>().next_multiple_of(ALIGN)
    }

    fn at(&self, index: usize) -> Option<NonNull<u8>> {
        // SAFETY: below `len`, so within the mapping.
        (index < self.len).then(|| unsafe { self.start.add(index * Self::stride()) })
    }
}

impl<T> Drop for Mapped<T> {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nothing borrowed from it is left.
        let unmapped = unsafe { munmap(self.start.cast(), self.bytes.get()) };
        debug_assert!(unmapped.is_ok(), "{unmapped:?}");
    }
}
