//! `weir check`: says whether a document is valid, and everything that is wrong with it.

use std::io::{self, Write};

use super::{Exit, Source};
use crate::config::{Document, Problems};

/// `weir check [--config FILE] [--deny-warnings]`
#[derive(clap::Args, Debug)]
pub struct Arguments {
    /// Which document.
    #[command(flatten)]
    pub source: Source,
    /// Take a warning for an error.
    #[arg(long)]
    pub deny_warnings: bool,
}

/// Prints every problem to standard error, or one line that there is none.
pub fn check(arguments: &Arguments, judge: fn(&Document) -> Problems) -> Exit {
    let (document, mut problems) = arguments.source.read();
    problems.extend(document.iter().flat_map(judge));
    let verdict = verdict(&problems, arguments.deny_warnings);
    // Whoever closed the output does not want the text; the status still says it.
    let _ = write!(io::stderr(), "{problems}");
    if let Some(document) = document.filter(|_| verdict == Exit::Yes) {
        let _ = writeln!(io::stdout(), "{}", summary(&arguments.source.name(), &document, &problems));
    }
    verdict
}

fn verdict(problems: &Problems, deny_warnings: bool) -> Exit {
    match Exit::of(problems) {
        Exit::Yes if deny_warnings && !problems.is_empty() => Exit::No,
        exit => exit,
    }
}

fn summary(name: &str, document: &Document, problems: &Problems) -> String {
    let counts = [
        counted(document.listeners.len(), "listener"),
        counted(document.routes.len(), "route"),
        counted(problems.warnings().count(), "warning"),
    ];
    format!("{name}: valid: {}", counts.join(", "))
}

fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{At, Problem};

    fn found(problem: Problem) -> Problems {
        problem.into()
    }

    #[test]
    fn warnings_fail_only_where_they_are_denied() {
        let lint = || At::default().warning("", "route 20 never matches: route 10 covers it");
        assert_eq!(verdict(&found(lint()), false), Exit::Yes);
        assert_eq!(verdict(&found(lint()), true), Exit::No);
        assert_eq!(verdict(&found(At::default().problem("", "wrong")), false), Exit::No);
        assert_eq!(verdict(&Problems::new(), true), Exit::Yes);
    }

    #[test]
    fn unreadable_file_is_the_systems_fault() {
        let problems = crate::config::load("/nonexistent/weir.toml".as_ref()).unwrap_err();
        assert_eq!(verdict(&problems, false), Exit::System);
        assert!(problems.to_string().starts_with("/nonexistent/weir.toml: cannot be read: "), "{problems}");
    }

    #[test]
    fn summary_counts_what_stands_in_the_document() {
        let document = crate::config::default_document().unwrap_or_else(|problems| panic!("{problems}"));
        let line = summary("default.toml", &document, &Problems::new());
        assert_eq!(line, "default.toml: valid: 1 listener, 1 route, 0 warnings");
    }
}
