//! Other people's programs that the suites drive.

use std::process::Command;

use crate::run::{find, succeed};

/// A program by its name in PATH or its path, the Debian package that has it, and which tests need it, as a nextest filter expression.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Program {
    pub(crate) command: &'static str,
    package: &'static str,
    pub(crate) tests: &'static str,
}

/// Tests with networks, cgroups and eBPF programs of their own.
pub(crate) const KERNEL: &str = "binary(/^kernel_/)";

/// Modules belong to Debian's own Python, and are told by their files.
const GRPCIO: &str = "/usr/lib/python3/dist-packages/grpc/__init__.py";
const WEBSOCKETS: &str = "/usr/lib/python3/dist-packages/websockets/__init__.py";

/// All of them.
pub(crate) const PROGRAMS: &[Program] = &[
    Program { command: "nginx", package: "nginx-light", tests: "test(/nginx/)" },
    Program { command: "wrk", package: "wrk", tests: "test(/wrk/)" },
    Program { command: "ab", package: "apache2-utils", tests: "test(/_ab_/)" },
    Program { command: "h2load", package: "nghttp2-client", tests: "test(/h2load/)" },
    Program { command: "node", package: "nodejs", tests: "test(/node/)" },
    Program { command: "curl", package: "curl", tests: "test(/curl/)" },
    Program { command: "nghttp", package: "nghttp2-client", tests: "test(/nghttp/)" },
    Program { command: "openssl", package: "openssl", tests: "test(/openssl/)" },
    Program { command: "testssl", package: "testssl.sh", tests: "test(/testssl/)" },
    Program { command: "chromium", package: "chromium", tests: "test(/chromium/)" },
    Program { command: "python3", package: "python3", tests: "test(/python/)" },
    Program { command: GRPCIO, package: "python3-grpcio", tests: "test(/grpcio/)" },
    Program { command: WEBSOCKETS, package: "python3-websockets", tests: "test(/websockets/)" },
    Program { command: "ip", package: "iproute2", tests: KERNEL },
    Program { command: "ss", package: "iproute2", tests: KERNEL },
    Program { command: "tc", package: "iproute2", tests: KERNEL },
];

/// Installs what is missing, if it may; says what still is.
pub(crate) fn provide(install: bool) -> Vec<Program> {
    let missing = missing();
    if !missing.is_empty() && install {
        match can_install() {
            true => apt(&missing),
            false => eprintln!("xtask: not root on a Debian: nothing is installed"),
        }
    }
    self::missing()
}

fn missing() -> Vec<Program> {
    PROGRAMS.iter().filter(|program| find(program.command).is_none()).copied().collect()
}

fn can_install() -> bool {
    is_root() && find("apt-get").is_some()
}

/// Whether this runs as root.
pub(crate) fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().map(|output| output.stdout).unwrap_or_default();
    id == b"0\n"
}

/// Failure is no error here: what could not be installed is missing, and said to be.
fn apt(missing: &[Program]) {
    let run = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        succeed(command.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    let packages: Vec<_> = missing.iter().map(|program| program.package).collect();
    // A package that starts its service would take port 80: policy-rc.d is not ours to write, the tests use others.
    let outcome = run(&["update", "-qq"])
        .and_then(|()| run(&[&["install", "-y", "-qq", "--no-install-recommends"], &packages[..]].concat()));
    if let Err(message) = outcome {
        eprintln!("xtask: {message}");
    }
}
