//! What an interface leaves to hardware.
use std::io;
use std::os::fd::AsRawFd as _;

use nix::libc;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::Error;

/// Of include/uapi/linux/{sockios,ethtool}.h.
const SIOCETHTOOL: libc::c_ulong = 0x8946;
const ETHTOOL_STXCSUM: u32 = 0x17;

/// Has an interface of the calling thread's namespace send whole transport checksums (`ethtool -K NAME tx off`). XDP on the other end of a
/// veth pair wants them: no hardware completes them in between.
pub fn compute_checksums(name: &str) -> Result<(), Error> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)
        .map_err(|errno| Error::Open(errno.into()))?;
    let mut value = [ETHTOOL_STXCSUM, 0];
    // SAFETY: all zero is a valid ifreq; both structs live for the call.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        let last = request.ifr_name.len() - 1;
        for (to, from) in request.ifr_name[..last].iter_mut().zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        request.ifr_ifru.ifru_data = value.as_mut_ptr().cast();
        libc::ioctl(any.as_raw_fd(), SIOCETHTOOL, &raw mut request)
    };
    if result == 0 {
        return Ok(());
    }
    Err(Error::Kernel { what: format!("leave no checksums of {name} to hardware"), source: io::Error::last_os_error() })
}
