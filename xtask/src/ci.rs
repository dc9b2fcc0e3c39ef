//! `ci`: format and lints, then every test.

use crate::run::{cargo, step, stream};
use crate::{build, setup, test};

pub fn run() -> anyhow::Result<()> {
    stream(cargo().args(["fmt", "--all", "--check"]))?;
    step("ok", "format");
    // What the lints compile needs it already.
    setup::run()?;
    stream(build::inner_cargo().args([
        "clippy",
        "--quiet",
        "--workspace",
        "--exclude",
        "prog",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    step("ok", "lints");
    test::run(test::Extent::Usual)
}
