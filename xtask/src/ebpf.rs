//! `cargo xtask ebpf`: builds `ebpf/weir.bpf.o`, which is committed and embedded, so that nothing else needs an eBPF
//! compiler. With `--check`, builds it again and compares.

mod build;
mod compare;
mod record;
mod toolchain;

use std::path::Path;
use std::process::ExitCode;

use crate::run::{Outcome, root};
use crate::tidy::ebpf_inputs;
pub(crate) use record::Record;

/// The object, from the workspace's directory.
const OBJECT: &str = "ebpf/weir.bpf.o";
/// What it was made from, and with what.
pub(crate) const RECORD: &str = "ebpf/weir.bpf.toml";
/// Exit status without a source of core.
const NO_TOOLCHAIN: u8 = 3;

/// Options of `ebpf`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Build under target/ and compare with what is committed; write nothing.
    #[arg(long)]
    check: bool,
}

/// Builds, or checks.
pub(crate) fn run(options: &Options) -> Outcome<ExitCode> {
    let Some(toolchain) = toolchain::find()? else {
        eprintln!("{}", toolchain::RECIPES);
        return Ok(ExitCode::from(NO_TOOLCHAIN));
    };
    let linker = toolchain::linker()?;
    let built = build::object(&toolchain, &linker)?;
    let now = Record { inputs: ebpf_inputs()?, rustc: toolchain.version.clone(), linker: toolchain::LINKER.into() };
    if options.check {
        check(&built, &now)?
    } else {
        write(&built, &now)?
    }
    Ok(ExitCode::SUCCESS)
}

fn write(built: &Path, now: &Record) -> Outcome {
    let to = root().join(OBJECT);
    let length = std::fs::copy(built, &to).map_err(|e| format!("{}: {e}", to.display()))?;
    std::fs::write(root().join(RECORD), now.to_string()).map_err(|e| format!("{RECORD}: {e}"))?;
    println!("{OBJECT}: {length} octets, {}", now.rustc);
    Ok(())
}

fn check(built: &Path, now: &Record) -> Outcome {
    let record = std::fs::read_to_string(root().join(RECORD)).map_err(|e| format!("{RECORD}: {e}"))?;
    let record = Record::parse(&record).ok_or(format!("{RECORD} is not readable"))?;
    if record.inputs != now.inputs {
        return Err(format!("{OBJECT} is not of these sources: run `cargo xtask ebpf`"));
    }
    let committed = compare::Object::read(&root().join(OBJECT))?;
    let differences = committed.differences(&compare::Object::read(built)?);
    if differences.is_empty() {
        println!("{OBJECT} is what these sources give");
        return Ok(());
    }
    let compiler = match record.rustc == now.rustc {
        true => format!("the recorded compiler, {}", now.rustc),
        false => format!("{}; recorded is {}", now.rustc, record.rustc),
    };
    Err(format!("{OBJECT} differs from what {compiler} gives:\n  {}", differences.join("\n  ")))
}
