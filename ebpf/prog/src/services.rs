//! The table of Services, and the search in it: a function of its own, because it is a loop that the verifier should walk once.

use core::ptr::read_volatile;

use abi::{ServiceKey, ServiceValue};
use packet::service::{self, Row, Rows};

use crate::maps::SERVICES;

/// A key or a value as the verifier is to see it in a signature: so many bytes.
#[repr(C)]
pub struct Words([u32; 5]);

const _: () = assert!(size_of::<ServiceKey>() == size_of::<Words>() && size_of::<ServiceValue>() == size_of::<Words>());

/// Looks an entry up.
#[inline(always)]
pub fn find(key: &ServiceKey, value: &mut ServiceValue) -> bool {
    service_find((&raw const *key).cast_mut().cast(), (&raw mut *value).cast()) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn service_find(key: *mut Words, value: *mut Words) -> u32 {
    // SAFETY: `find` passes a key and a value that it holds.
    let (Some(key), Some(value)) =
        (unsafe { key.cast::<ServiceKey>().as_ref() }, unsafe { value.cast::<ServiceValue>().as_mut() })
    else {
        return 0;
    };
    service::probe(&Maps, key, value) as u32
}

struct Maps;

impl Rows for Maps {
    #[inline(always)]
    fn row(&self, index: u32) -> Option<Row<'_>> {
        let row = SERVICES.get_ptr(index)?;
        // SAFETY: the element lives as long as the program runs. User space changes these two words at any time, and the key only
        // while no program that may look at it runs.
        unsafe {
            let (rest, value) = (read_volatile(&raw const (*row).rest), read_volatile(&raw const (*row).value));
            Some(Row { key: &(*row).key, rest, value })
        }
    }
}
