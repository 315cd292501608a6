//! Who may do I/O and read a clock: protocol and decisions take octets and `now` as arguments.

use super::{Finding, Tree};

/// They hold no descriptor and read no clock; they are tested without a network.
const PURE: &[&str] = &["base", "http", "policy", "route", "target", "cache", "respond", "trace", "request"];

/// What a pure module may not name.
const FORBIDDEN: &[(&str, &str)] = &[
    ("Instant::now", "reads a clock"),
    ("SystemTime::now", "reads a clock"),
    ("std::time::Instant", "reads a clock"),
    ("clock_gettime", "reads a clock"),
    ("std::fs", "does file I/O"),
    ("File::open", "does file I/O"),
    ("TcpStream", "does network I/O"),
    ("TcpListener", "does network I/O"),
    ("UdpSocket", "does network I/O"),
    ("UnixStream", "does network I/O"),
    ("UnixListener", "does network I/O"),
    ("socket2::", "does network I/O"),
    ("io_uring::", "does I/O past the ring"),
    ("tokio::", "does I/O on a runtime"),
    ("RawFd", "holds a descriptor"),
    ("OwnedFd", "holds a descriptor"),
];

/// `request.rs` awaits what the ring does for it, and asks it for the loop turn's time: nothing else pure names it.
const MAY_NAME_RING: &str = "request";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (module, source) in tree.proxy().filter(|(module, _)| PURE.contains(module)) {
        for (number, line) in source.code.lines().enumerate() {
            let broken = FORBIDDEN.iter().find(|(word, _)| names(line, word));
            if let Some((word, what)) = broken {
                findings.push(Finding::error(&source.path, number + 1, format!("{module} {what}: {word}")));
            }
            if module != MAY_NAME_RING
                && ["crate::ring", "crate::wire", "crate::files"].iter().any(|path| names(line, path))
            {
                findings.push(Finding::error(&source.path, number + 1, format!("{module} names ring or files")));
            }
        }
    }
    findings
}

/// Whether `word` stands in `line` with no letter right before it.
fn names(line: &str, word: &str) -> bool {
    let boundary = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    line.match_indices(word).any(|(at, _)| boundary(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pure_module_that_reads_a_clock_or_opens_a_file_is_caught() {
        for code in
            ["let t = std::time::Instant::now();", "use std::fs;", "use tokio::net;", "use crate::ring::Socket;"]
        {
            let tree = Tree::of(&[("proxy/src/route/index.rs", code)]);
            assert!(!check(&tree).is_empty(), "{code}");
        }
    }

    #[test]
    fn others_may() {
        let tree = Tree::of(&[
            ("proxy/src/control.rs", "use std::fs; Instant::now();"),
            ("proxy/src/route.rs", "// std::fs\nuse std::net::IpAddr; use crate::base::Instant;"),
            ("proxy/src/http.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use std::fs; }"),
            ("proxy/src/request.rs", "use crate::ring;"),
        ]);
        assert_eq!(check(&tree), []);
    }
}
