//! Attachments, pinned so that they outlive every process and replaced without a gap.
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use abi::program;
use aya_obj::generated::bpf_attach_type::{self, *};

use super::object::is_state;
use super::{Error, sys};

/// Side of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Packets the interface receives.
    Ingress,
    /// Packets the stack sends through it.
    Egress,
}

/// Where on the way of a packet an XDP program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver if it can, else in the stack.
    Auto,
    /// In the driver, before there is a socket buffer.
    Driver,
    /// In the stack, with any interface.
    Generic,
}

impl XdpMode {
    /// `XDP_FLAGS_*` of include/uapi/linux/if_link.h.
    fn flags(self) -> u32 {
        match self {
            XdpMode::Auto => 0,
            XdpMode::Driver => 1 << 2,
            XdpMode::Generic => 1 << 1,
        }
    }
}

/// A pinned attachment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinnedLink {
    pub name: String,
    /// The kernel's number of the link; another number is another link.
    pub id: u32,
    /// The kernel's number of its program.
    pub program_id: u32,
}

/// The socket programs and where each goes.
const SOCKET: [(&str, bpf_attach_type); 9] = [
    (program::CONNECT4, BPF_CGROUP_INET4_CONNECT),
    (program::CONNECT6, BPF_CGROUP_INET6_CONNECT),
    (program::SENDMSG4, BPF_CGROUP_UDP4_SENDMSG),
    (program::SENDMSG6, BPF_CGROUP_UDP6_SENDMSG),
    (program::RECVMSG4, BPF_CGROUP_UDP4_RECVMSG),
    (program::RECVMSG6, BPF_CGROUP_UDP6_RECVMSG),
    (program::GETPEERNAME4, BPF_CGROUP_INET4_GETPEERNAME),
    (program::GETPEERNAME6, BPF_CGROUP_INET6_GETPEERNAME),
    (program::SOCK_RELEASE, BPF_CGROUP_INET_SOCK_RELEASE),
];

/// The folder of pinned links.
pub struct Links {
    dir: PathBuf,
}

/// What a link is attached to.
enum Target<'a> {
    Interface(u32),
    Cgroup(&'a File, u64),
    Xdp(u32, XdpMode),
}

impl Links {
    pub fn new(dir: PathBuf) -> Links {
        Links { dir }
    }

    /// Attaches a program to an interface of the calling thread's namespace, or brings the existing link up to date.
    pub fn attach_interface(&self, name: &str, program: BorrowedFd<'_>, index: u32, side: Side) -> Result<(), Error> {
        let attach_type = match side {
            Side::Ingress => BPF_TCX_INGRESS,
            Side::Egress => BPF_TCX_EGRESS,
        };
        self.ensure(name, program, &Target::Interface(index), attach_type)
    }

    /// Attaches a program to the XDP hook of an interface of the calling thread's namespace, or brings the existing link up to date.
    /// Returns where it was attached; `None` if it was before.
    pub fn attach_xdp(
        &self,
        name: &str,
        program: BorrowedFd<'_>,
        index: u32,
        mode: XdpMode,
    ) -> Result<Option<XdpMode>, Error> {
        let stood = self.standing(name, &Target::Xdp(index, mode))?.is_some();
        let attach = |mode| self.ensure(name, program, &Target::Xdp(index, mode), BPF_XDP).map(|()| mode);
        let at = match mode {
            XdpMode::Auto => attach(XdpMode::Driver).or_else(|error| {
                tracing::info!(%error, "no XDP in the driver");
                attach(XdpMode::Generic)
            })?,
            XdpMode::Driver | XdpMode::Generic => attach(mode)?,
        };
        Ok((!stood).then_some(at))
    }

    /// Attaches all socket programs to a cgroup.
    pub fn attach_cgroup<'p>(
        &self,
        cgroup: &Path,
        program: impl Fn(&'static str) -> Result<BorrowedFd<'p>, Error>,
    ) -> Result<(), Error> {
        let fail = |source| Error::Cgroup { path: cgroup.to_owned(), source };
        let dir = File::open(cgroup).map_err(fail)?;
        let inode = dir.metadata().map_err(fail)?.ino();
        for (name, attach_type) in SOCKET {
            self.ensure(name, program(name)?, &Target::Cgroup(&dir, inode), attach_type)?;
        }
        Ok(())
    }

    /// Ends an attachment at once, and removes its pin. Absent is fine.
    pub fn detach(&self, name: &str) -> Result<(), Error> {
        match sys::get(&self.path(name)).and_then(|link| sys::link_detach(link.as_fd())) {
            Ok(()) => tracing::info!(link = name, "detached"),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            // Its interface is gone already.
            Err(e) if e.raw_os_error() == Some(nix::libc::EINVAL) => {}
            Err(source) => return Err(Error::Link { what: "detach", name: name.to_owned(), source }),
        }
        self.remove(name)
    }

    /// Removes a pin and with it the attachment, if the interface has not taken it along. Absent is fine.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(source) => Err(Error::Link { what: "unpin", name: name.to_owned(), source }),
        }
    }

    /// Every pinned link with its kernel numbers.
    pub fn describe(&self) -> Result<Vec<PinnedLink>, Error> {
        let describe = |name: String| {
            let info = sys::get(&self.dir.join(&name)).and_then(|fd| sys::link_info(fd.as_fd()));
            match info {
                Ok(info) => Ok(PinnedLink { name, id: info.id, program_id: info.prog_id }),
                Err(source) => Err(Error::Link { what: "inspect", name, source }),
            }
        };
        self.names()?.into_iter().map(describe).collect()
    }

    /// Names of all pinned links.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let fail = |source| Error::Link { what: "list", name: self.dir.display().to_string(), source };
        let entries = fs::read_dir(&self.dir).map_err(fail)?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
    }

    fn ensure(
        &self,
        name: &str,
        program: BorrowedFd<'_>,
        target: &Target<'_>,
        attach_type: bpf_attach_type,
    ) -> Result<(), Error> {
        let fail = |what| move |source| Error::Link { what, name: name.to_owned(), source };
        if let Some(link) = self.standing(name, target)? {
            if !same_program(link.as_fd(), program) {
                sys::link_update(link.as_fd(), program).map_err(fail("replace the program of"))?;
                tracing::info!(link = name, "program replaced");
            }
            return Ok(());
        }
        let (id, flags) = match target {
            Target::Interface(index) => (*index, 0),
            Target::Cgroup(dir, _) => (dir.as_raw_fd() as u32, 0),
            Target::Xdp(index, mode) => (*index, mode.flags()),
        };
        let link = sys::link_create_flagged(program, id, attach_type as u32, flags).map_err(fail("attach"))?;
        sys::pin(link.as_fd(), &self.path(name)).map_err(fail("pin"))
    }

    /// The pinned link if it is still attached to the target; a pin of something gone is removed.
    fn standing(&self, name: &str, target: &Target<'_>) -> Result<Option<OwnedFd>, Error> {
        let path = self.path(name);
        let link = match sys::get(&path) {
            Ok(link) => link,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Link { what: "open", name: name.to_owned(), source }),
        };
        let info = sys::link_info(link.as_fd()).map_err(|source| Error::Link {
            what: "inspect",
            name: name.to_owned(),
            source,
        })?;
        // SAFETY: the union holds plain integers; the attach point's kind was chosen by us under this name.
        let stands = unsafe {
            match target {
                Target::Interface(index) => info.__bindgen_anon_1.tcx.ifindex == *index,
                Target::Xdp(index, _) => info.__bindgen_anon_1.xdp.ifindex == *index,
                Target::Cgroup(_, inode) => info.__bindgen_anon_1.cgroup.cgroup_id == *inode,
            }
        };
        if stands {
            return Ok(Some(link));
        }
        self.remove(name)?;
        Ok(None)
    }

    fn path(&self, name: &str) -> PathBuf {
        // bpffs refuses names with dots (kernel/bpf/inode.c, bpf_lookup).
        self.dir.join(name.replace('.', "_"))
    }
}

/// Same instructions on the same maps. If in doubt: no, and the program is replaced.
fn same_program(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> bool {
    let attached = sys::link_info(link)
        .and_then(|info| sys::prog_by_id(info.prog_id))
        .and_then(|fd| sys::prog_identity(fd.as_fd(), is_state));
    match (attached, sys::prog_identity(program, is_state)) {
        (Ok(old), Ok(new)) => old == new,
        (Err(_), _) | (_, Err(_)) => false,
    }
}
