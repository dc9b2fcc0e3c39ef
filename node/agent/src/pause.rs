//! The pause image: what keeps a pod's namespaces alive. It is made from bytes in this file, so a node needs no
//! registry to run its first pod.

use serde_json::json;

/// The image's name; the runtime is told to use it for sandboxes.
pub const IMAGE: &str = "gannet.local/pause:1";

/// The program: ignore SIGCHLD so that the kernel reaps orphans of a shared process namespace (sigaction(2), NOTES),
/// then sleep for ever.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const CODE: [u8; 72] = [
    0xb8, 0x0d, 0x00, 0x00, 0x00,             // mov eax, 13          rt_sigaction
    0xbf, 0x11, 0x00, 0x00, 0x00,             // mov edi, 17          SIGCHLD
    0x48, 0x8d, 0x35, 0x17, 0x00, 0x00, 0x00, // lea rsi, [rip + 23]  the action below
    0x31, 0xd2,                               // xor edx, edx
    0x41, 0xba, 0x08, 0x00, 0x00, 0x00,       // mov r10d, 8          size of a signal set
    0x0f, 0x05,                               // syscall
    0xb8, 0x22, 0x00, 0x00, 0x00,             // mov eax, 34          pause
    0x0f, 0x05,                               // syscall
    0xeb, 0xf7,                               // jmp -9
    0, 0, 0, 0,
    1, 0, 0, 0, 0, 0, 0, 0,                   // struct sigaction: SIG_IGN, no flags, no restorer, empty mask
    0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0,
];

/// EM_X86_64.
#[cfg(target_arch = "x86_64")]
const MACHINE: u16 = 62;
/// Go's name of the architecture, as image configurations use it.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "amd64";

const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// A static ELF (System V ABI, chapter 4): one header, one loadable segment that is the whole file.
pub fn program() -> Vec<u8> {
    let size = HEADERS + CODE.len() as u64;
    let mut elf = Vec::new();
    elf.extend([0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]); // 64 bit, little endian, System V
    elf.extend(2u16.to_le_bytes()); // ET_EXEC
    elf.extend(MACHINE.to_le_bytes());
    elf.extend(1u32.to_le_bytes()); // EV_CURRENT
    elf.extend((BASE + HEADERS).to_le_bytes()); // entry
    elf.extend(64u64.to_le_bytes()); // program headers
    elf.extend(0u64.to_le_bytes()); // no sections
    elf.extend(0u32.to_le_bytes()); // flags
    for half in [64u16, 56, 1, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    elf.extend(1u32.to_le_bytes()); // PT_LOAD
    elf.extend(5u32.to_le_bytes()); // read, execute
    for word in [0, BASE, BASE, size, size, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(CODE);
    elf
}

/// The image as an OCI archive.
///
/// # Errors
/// None in practice: the archive is made in memory.
pub fn archive() -> std::io::Result<Vec<u8>> {
    let layer = image::layer(&[image::Entry::Program("pause", &program())])?;
    let image = image::Image {
        names: vec![IMAGE.to_owned()],
        layer,
        config: json!({"Entrypoint": ["/pause"], "User": "65535:65535"}),
    };
    image::archive(&[image], ARCHITECTURE)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    #[test]
    fn the_program_runs_and_waits() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pause");
        std::fs::write(&path, super::program()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = Command::new(&path).spawn().unwrap();
        // Its first system call is rt_sigaction, which returns; the only one that it can be found in is pause (34).
        let blocked = format!("/proc/{}/syscall", child.id());
        let found = (0..1000).find(|_| {
            std::thread::yield_now();
            std::fs::read_to_string(&blocked).is_ok_and(|text| text.starts_with("34 "))
        });
        let ignored = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found.is_some());
        let mask = ignored.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap().trim();
        assert_ne!(u64::from_str_radix(mask, 16).unwrap() & 1 << 16, 0, "SIGCHLD is ignored");
    }
}
