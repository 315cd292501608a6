//! Who may name whom inside the proxy: stages look back along the path, and only `request.rs` calls them.

use super::{Finding, Tree};

/// The stages, in the order in which a request meets them.
const STAGES: &[&str] = &["listen", "http", "policy", "route", "target", "cache", "transport", "respond"];

/// What stands below the stages names none of them, nor anything above.
const FOUNDATION: &[(&str, &[&str])] = &[
    ("base", &["base"]),
    ("buf", &["base", "buf"]),
    ("ring", &["base", "buf", "ring"]),
    // A wire that is a stream of HTTP/2 spells heads: the message model holds no descriptor.
    ("wire", &["base", "buf", "http", "ring", "wire"]),
    ("files", &["base", "buf", "files"]),
];

/// The message model: reading its octets is no call of a stage.
const MODEL: &str = "http";

/// The composer of the path, and those who build stages' tables rather than send requests through them.
const CALLERS: &[&str] = &["request", "config", "control", "cli", "worker", "main"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (module, source) in tree.proxy() {
        for (line, path) in paths(&source.code) {
            if let Some(text) = judge(tree, module, &path) {
                findings.push(Finding::error(&source.path, line, text));
            }
        }
    }
    findings
}

/// What is wrong with `module` naming `crate::PATH`.
fn judge(tree: &Tree, module: &str, path: &[String]) -> Option<String> {
    let named = path.first()?.as_str();
    if named == module {
        return None;
    }
    if let Some((_, allowed)) = FOUNDATION.iter().find(|(name, _)| *name == module) {
        return (!allowed.contains(&named)).then(|| format!("{module} stands below {named} and may not name it"));
    }
    if named == "request" && STAGES.contains(&module) {
        return Some(format!("stage {module} may not name request, which calls it"));
    }
    let order = |name: &str| STAGES.iter().position(|stage| *stage == name);
    if let (Some(own), Some(other)) = (order(module), order(named))
        && own < other
    {
        return Some(format!("stage {module} comes before {named} and may not name it"));
    }
    let calls = order(named).is_some() && named != MODEL && !CALLERS.contains(&module) && is_function(tree, path);
    calls.then(|| format!("only request.rs calls stages: {module} names function {}", path.join("::")))
}

/// A lower-case last segment that is no module's file names a function.
fn is_function(tree: &Tree, path: &[String]) -> bool {
    let [.., last] = path else { return false };
    let lower = last.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    // `Type::function` is a method: the type is what was named.
    let of_type = path.iter().any(|segment| segment.starts_with(|c: char| c.is_ascii_uppercase()));
    lower && !of_type && !tree.has(&format!("proxy/src/{}.rs", path.join("/"))) && last != "self"
}

/// All paths in `code` that start at `crate::`, groups spelled out, with their lines.
fn paths(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let mut flat = Vec::new();
        expand(&code[at + "crate::".len()..], &[], &mut flat);
        found.extend(flat.into_iter().map(|path| (line, path)));
    }
    found
}

/// Reads one path or group at the start of `rest`; returns how much of it was read.
fn expand(rest: &str, prefix: &[String], out: &mut Vec<Vec<String>>) -> usize {
    if let Some(inside) = rest.strip_prefix('{') {
        return 1 + group(inside, prefix, out);
    }
    let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let mut path = prefix.to_vec();
    path.push(rest[..length].to_owned());
    match rest[length..].strip_prefix("::") {
        Some(next) if next.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '{') => {
            length + 2 + expand(next, &path, out)
        }
        _ => {
            out.push(path);
            length
        }
    }
}

fn group(inside: &str, prefix: &[String], out: &mut Vec<Vec<String>>) -> usize {
    let mut at = 0;
    while let Some(c) = inside[at..].chars().next() {
        match c {
            '}' => return at + 1,
            _ if c.is_alphanumeric() || c == '_' || c == '{' => at += expand(&inside[at..], prefix, out),
            _ => at += c.len_utf8(),
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn groups_are_spelled_out() {
        let spelled = paths("use crate::{a::{B, c::D}, e};\n crate::f::g()");
        let spelled: Vec<_> = spelled.into_iter().map(|(line, path)| (line, path.join("::"))).collect();
        let expected = [(1, "a::B"), (1, "a::c::D"), (1, "e"), (2, "f::g")];
        assert_eq!(spelled, expected.map(|(line, path)| (line, path.to_owned())));
    }

    #[test]
    fn a_stage_that_looks_ahead_is_caught() {
        assert_eq!(findings(&[("proxy/src/http.rs", "use crate::route::Route;")]).len(), 1);
        assert_eq!(findings(&[("proxy/src/route/index.rs", "use crate::{base, target::Group};")]).len(), 1);
        assert!(findings(&[("proxy/src/route.rs", "use crate::http::Request;")]).is_empty());
    }

    #[test]
    fn a_stage_that_calls_a_stage_is_caught() {
        assert_eq!(findings(&[("proxy/src/respond.rs", "crate::route::find(x)")]).len(), 1);
        assert_eq!(findings(&[("proxy/src/trace.rs", "use crate::target::pick;")]).len(), 1);
        assert!(findings(&[("proxy/src/request.rs", "crate::route::find(x)")]).is_empty());
        assert!(findings(&[("proxy/src/respond.rs", "crate::route::Found::new(x)")]).is_empty());
        assert!(findings(&[("proxy/src/route.rs", "use crate::http::is_token;")]).is_empty());
        let module = [("proxy/src/route/index.rs", ""), ("proxy/src/respond.rs", "use crate::route::index;")];
        assert!(findings(&module).is_empty());
    }

    #[test]
    fn a_foundation_that_looks_up_is_caught() {
        assert_eq!(findings(&[("proxy/src/base/id.rs", "use crate::buf::Chunk;")]).len(), 1);
        assert_eq!(findings(&[("proxy/src/ring/op.rs", "use crate::worker::Worker;")]).len(), 1);
        assert_eq!(findings(&[("proxy/src/http.rs", "use crate::request::Path;")]).len(), 1);
    }
}
