//! `cargo xtask tidy`: the rules of the source tree that no compiler checks. Each rule has a sample that breaks it.

mod docs;
mod inputs;
mod io;
mod layers;
mod shape;
mod source;
mod words;

use crate::run::{Outcome, root};
pub(crate) use inputs::digest as ebpf_inputs;
use source::{Source, Tree};

/// A rule that is broken, and where.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    text: String,
    /// Told, but no failure.
    warning: bool,
}

impl Finding {
    fn error(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, text: text.into(), warning: false }
    }

    fn warning(path: &str, line: usize, text: impl Into<String>) -> Self {
        Self { warning: true, ..Self::error(path, line, text) }
    }
}

/// Every rule, over the whole tree.
const RULES: &[fn(&Tree) -> Vec<Finding>] =
    &[layers::check, io::check, shape::check, words::check, docs::check, inputs::check];

/// Checks the workspace.
pub(crate) fn run() -> Outcome {
    let tree = Tree::read(&root())?;
    let mut findings: Vec<_> = RULES.iter().flat_map(|rule| rule(&tree)).collect();
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    for Finding { path, line, text, warning } in &findings {
        let kind = if *warning { "warning: " } else { "" };
        println!("{path}:{line}: {kind}{text}");
    }
    match findings.iter().filter(|finding| !finding.warning).count() {
        0 => Ok(()),
        n => Err(format!("tidy: {n} rules broken")),
    }
}
