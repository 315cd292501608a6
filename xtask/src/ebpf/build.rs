//! One build of the object, reproducible wherever the workspace stands.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::toolchain::{Toolchain, own_sysroot};
use crate::run::{self, Outcome, cargo, root, succeed, target};

const TARGET: &str = "bpfel-unknown-none";

/// Builds the object under target/, stripped as it is committed.
pub(super) fn object(toolchain: &Toolchain, linker: &Path) -> Outcome<PathBuf> {
    let out = target().join("xtask/bpf");
    succeed(&mut compile(toolchain, linker, &out)?)?;
    let linked = out.join(TARGET).join("release/weir");
    let stripped = out.join("weir.bpf.o");
    succeed(strip()?.arg("--strip-debug").arg(linked).arg(&stripped))?;
    Ok(stripped)
}

fn compile(toolchain: &Toolchain, linker: &Path, out: &Path) -> Outcome<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::iter::once(linker.to_owned()).chain(std::env::split_paths(&path));
    let path = std::env::join_paths(path).map_err(|e| e.to_string())?;
    let mut command = cargo(&["build", "--locked", "--release", "--target", TARGET, "-Zbuild-std=core"]);
    command.arg("--target-dir").arg(out).current_dir(root().join("ebpf"));
    command.env("PATH", path).env("LD_LIBRARY_PATH", &toolchain.library_path);
    // build-std is not stable, neither in cargo nor in the compiler.
    command.env("RUSTC_BOOTSTRAP", "1").env("CARGO_ENCODED_RUSTFLAGS", flags(toolchain)?.join("\x1f"));
    for wrapper in ["RUSTC", "RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
        command.env_remove(wrapper);
    }
    if let Some(rustc) = &toolchain.rustc {
        command.env("RUSTC", rustc);
    }
    Ok(command)
}

/// BTF wants debug information, and that names paths: they are the same everywhere.
fn flags(toolchain: &Toolchain) -> Outcome<Vec<String>> {
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok(vec![
        // The maps' crate asks for it: which registers hold a traced function's arguments. No program here reads any.
        "--cfg=bpf_target_arch=\"x86_64\"".into(),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        remap(&root(), "/src"),
        remap(&cargo_home()?.join("registry/src"), "/cargo"),
        remap(&toolchain.core, "/core"),
    ])
}

fn cargo_home() -> Outcome<PathBuf> {
    let home = || std::env::home_dir().map(|home| home.join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home).ok_or("no home directory".into())
}

/// objcopy of cargo's own toolchain, or LLVM's.
fn strip() -> Outcome<Command> {
    let sysroot = own_sysroot().ok_or("rustc does not say where it is")?;
    let host = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let own = sysroot.join("lib/rustlib").join(host).join("bin/rust-objcopy");
    let program = Some(own).filter(|path| path.is_file()).or_else(|| run::find("llvm-objcopy"));
    let mut command = Command::new(program.ok_or("neither rust-objcopy nor llvm-objcopy is here")?);
    // It does not know by itself where its toolchain's libLLVM is.
    command.env("LD_LIBRARY_PATH", sysroot.join("lib"));
    Ok(command)
}
