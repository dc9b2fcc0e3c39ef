//! Packages of other Debian suites, unpacked and not installed: a private apt configuration, so that the machine's own lists
//! and packages stay as they are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::apt;
use crate::run::{capture, command};

/// Signs what the mirror has, as far as this machine's Debian knows the keys.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// One suite of this machine's mirror.
pub struct Suite {
    name: String,
    root: PathBuf,
}

impl Suite {
    /// Fetches the suite's package lists to `root`, below which everything of it stays.
    pub fn open(name: &str, root: &Path) -> anyhow::Result<Self> {
        if !apt::running_as_root() {
            bail!("not root: apt-get cannot download packages");
        }
        fs::create_dir_all(root.join("lists/partial"))?;
        let suite = Self { name: name.to_owned(), root: root.to_owned() };
        if suite.update(&format!("signed-by={KEYRING}")).is_err() {
            suite.trust()?;
        }
        Ok(suite)
    }

    /// Downloads packages and unpacks them; returns the folder that stands for their `/`.
    pub fn unpack(&self, packages: &[String]) -> anyhow::Result<PathBuf> {
        let download = || capture(self.apt("apt-get").arg("download").args(packages));
        if download().is_err() {
            self.trust()?;
            download().with_context(|| format!("cannot download {} of {}", packages.join(" "), self.name))?;
        }
        let tree = self.root.join("tree");
        let mut unpacked = 0;
        for entry in fs::read_dir(&self.root)?.flatten() {
            let package = entry.path();
            if package.extension().is_some_and(|extension| extension == "deb") {
                capture(command("dpkg").arg("-x").arg(&package).arg(&tree))?;
                fs::remove_file(&package)?;
                unpacked += 1;
            }
        }
        if unpacked == 0 {
            bail!("apt-get download left no package");
        }
        Ok(tree)
    }

    /// The packages that the newest version of `package` depends on, alternatives and versions left out.
    pub fn depends(&self, package: &str) -> anyhow::Result<Vec<String>> {
        let shown = capture(self.apt("apt-cache").args(["show", "--no-all-versions", package]))
            .with_context(|| format!("{} has no {package}", self.name))?;
        let line = shown.lines().find_map(|line| line.strip_prefix("Depends: ")).unwrap_or_default();
        Ok(line.split(", ").filter_map(|word| word.split(' ').next()).map(str::to_owned).collect())
    }

    /// An older keyring does not know a newer suite's key: the packages' own hashes are all there is to check then.
    fn trust(&self) -> anyhow::Result<()> {
        self.update("trusted=yes").with_context(|| format!("cannot fetch the lists of {}", self.name))
    }

    fn update(&self, option: &str) -> anyhow::Result<()> {
        fs::write(self.list(), format!("deb [{option}] {} {} main\n", apt::mirror()?, self.name))?;
        capture(self.apt("apt-get").arg("update")).map(drop)
    }

    fn list(&self) -> PathBuf {
        self.root.join("sources.list")
    }

    /// An apt program that sees this suite alone.
    fn apt(&self, program: &str) -> Command {
        let at = |name: &str| self.root.join(name).display().to_string();
        let mut apt = command(program);
        apt.current_dir(&self.root).env("DEBIAN_FRONTEND", "noninteractive");
        for option in [
            format!("Dir::Etc::sourcelist={}", at("sources.list")),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            format!("Dir::State::lists={}", at("lists")),
            format!("Dir::Cache::pkgcache={}", at("pkgcache.bin")),
            format!("Dir::Cache::srcpkgcache={}", at("srcpkgcache.bin")),
            "Acquire::Languages=none".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
        ] {
            apt.args(["-o", &option]);
        }
        apt
    }
}
