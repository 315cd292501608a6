//! A compiler with core's sources, on the LLVM that the linker speaks.
//!
//! core is built for BPF, so its sources must be there and be exactly the compiler's. rustup's component has them where
//! it may be downloaded; Debian's archive has a consistent pair, which is unpacked and not installed, because installed
//! it would conflict with rustup's.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{self, Outcome, cargo, succeed, target};

/// The last version that borrows the compiler's own LLVM 22; later ones want LLVM's development files.
pub(super) const LINKER: &str = "bpf-linker 0.10.4";
const LLVM: &str = "22";

/// How to get one, for those who have none.
pub(super) const RECIPES: &str = "\
xtask: no compiler with the sources of core on LLVM 22; the committed ebpf/weir.bpf.o stays. Either
  rustup component add rust-src            (with a toolchain on LLVM 22: 1.95 has it)
or, on Debian 12, make its archive's compiler known:
  apt-get update                           (rustc-web, rust-web-src and libllvm22 come from there)
then run `cargo xtask ebpf` again.";

/// What compiles for BPF.
pub(super) struct Toolchain {
    /// The compiler, if it is not cargo's own.
    pub(super) rustc: Option<PathBuf>,
    /// Its first line of `-vV`.
    pub(super) version: String,
    /// Where libLLVM is.
    pub(super) library_path: PathBuf,
    /// Core's sources, by the path that cargo will pass: symbolic links unresolved.
    pub(super) core: PathBuf,
}

/// The first that exists.
pub(super) fn find() -> Outcome<Option<Toolchain>> {
    if let Some(own) = own() {
        return Ok(Some(own));
    }
    let unpacked = target().join("xtask/debrust");
    if debian(&unpacked).is_none() {
        unpack(&unpacked)?;
    }
    Ok(debian(&unpacked))
}

/// bpf-linker, built on first use.
pub(super) fn linker() -> Outcome<PathBuf> {
    let tools = target().join("xtask/tools");
    let bin = tools.join("bin");
    let version = Command::new(bin.join("bpf-linker")).arg("--version").output();
    if version.is_ok_and(|output| output.stdout.trim_ascii() == LINKER.as_bytes()) {
        return Ok(bin);
    }
    let (name, version) = LINKER.split_once(' ').expect("a name and a version");
    let mut command = cargo(&["install", name, "--version", version, "--locked", "--force"]);
    command.arg("--root").arg(&tools).env("CARGO_TARGET_DIR", target().join("xtask/build"));
    // It links for a second: a build that is quick is worth more than one that is fast.
    let lean = [("DEBUG", "0"), ("STRIP", "true"), ("LTO", "false"), ("CODEGEN_UNITS", "16"), ("OPT_LEVEL", "1")];
    command.envs(lean.map(|(key, value)| (format!("CARGO_PROFILE_RELEASE_{key}"), value)));
    succeed(&mut command)?;
    Ok(bin)
}

/// The directory of cargo's own toolchain.
pub(super) fn own_sysroot() -> Option<PathBuf> {
    let rustc = own_rustc();
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

/// The compiler beside cargo.
fn own_rustc() -> PathBuf {
    let beside = std::env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
    beside.filter(|rustc| rustc.is_file()).unwrap_or_else(|| "rustc".into())
}

fn own() -> Option<Toolchain> {
    let sysroot = own_sysroot()?;
    of(own_rustc(), &sysroot.join("lib"), &sysroot).map(|found| Toolchain { rustc: None, ..found })
}

fn debian(unpacked: &Path) -> Option<Toolchain> {
    let usr = unpacked.join("usr");
    of(usr.join("bin/rustc"), &usr.join("lib").join(multiarch()), &usr)
}

/// Debian's name for this architecture.
fn multiarch() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

/// A compiler that runs, on the right LLVM, with the sources of core.
fn of(rustc: PathBuf, library_path: &Path, sysroot: &Path) -> Option<Toolchain> {
    let core = sysroot.join("lib/rustlib/src/rust/library");
    if !core.join("core/src/lib.rs").is_file() {
        return None;
    }
    let output = Command::new(&rustc).arg("-vV").env("LD_LIBRARY_PATH", library_path).output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let llvm = said.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    if llvm.split('.').next() != Some(LLVM) {
        return None;
    }
    let version = said.lines().next()?.to_owned();
    Some(Toolchain { rustc: Some(rustc), version, library_path: library_path.to_owned(), core })
}

/// Fetches and unpacks the archive's compiler, if there is an archive that has it.
fn unpack(to: &Path) -> Outcome {
    if run::find("apt-get").is_none() || run::find("dpkg").is_none() {
        return Ok(());
    }
    // Not allowed, or no network: what the machine knows of the archive may do.
    let _ = succeed(Command::new("apt-get").args(["update", "-qq"]));
    let Some(version) = candidate() else {
        return Ok(());
    };
    let debs = target().join("xtask/debs");
    let _ = std::fs::remove_dir_all(&debs);
    std::fs::create_dir_all(&debs).map_err(|e| format!("{}: {e}", debs.display()))?;
    succeed(Command::new("apt-get").arg("download").args(packages(&version)).current_dir(&debs))?;
    for entry in std::fs::read_dir(&debs).map_err(|e| e.to_string())?.flatten() {
        succeed(Command::new("dpkg").arg("-x").arg(entry.path()).arg(to))?;
    }
    Ok(())
}

/// The version of the archive's compiler.
fn candidate() -> Option<String> {
    let output = Command::new("apt-cache").args(["policy", "rustc-web"]).env("LC_ALL", "C").output().ok()?;
    let said = String::from_utf8(output.stdout).ok()?;
    let version = said.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then(|| version.to_owned())
}

fn packages(version: &str) -> [String; 5] {
    let minor = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    [
        format!("rustc-web={version}"),
        format!("libstd-rust-web-dev={version}"),
        format!("libstd-rust-web-{minor}={version}"),
        format!("rust-web-src={version}"),
        format!("libllvm{LLVM}"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_of_one_version() {
        let packages = packages("1.96.0+dfsg1-1~deb12u2");
        assert_eq!(packages[2], "libstd-rust-web-1.96=1.96.0+dfsg1-1~deb12u2");
        assert_eq!(packages[4], "libllvm22");
    }

    #[test]
    fn a_directory_without_a_compiler_is_no_toolchain() {
        assert!(debian(Path::new("/nowhere")).is_none());
    }
}
