//! `weir check`: says whether a document is valid, and everything that is wrong with it.

use std::io::{self, Write};

use super::{Exit, Source};
use crate::config::tls::Kept;
use crate::config::{Document, Environment, Problems, Snapshot};
use crate::policy::limit::Tables;

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
pub fn check(arguments: &Arguments) -> Exit {
    let (document, mut problems) = arguments.source.read();
    let built = document.as_ref().map(build).unwrap_or_default();
    // What lint says of a document that could only be read in part is true of that part alone.
    let torn = problems.is_fatal();
    problems.extend(built.into_iter().filter(|problem| !(torn && problem.warning)));
    let verdict = verdict(&problems, arguments.deny_warnings);
    // Whoever closed the output does not want the text; the status still says it.
    let _ = write!(io::stderr(), "{problems}");
    if let Some(document) = document.filter(|_| verdict == Exit::Yes) {
        let _ = writeln!(io::stdout(), "{}", summary(&arguments.source.name(), &document, &problems));
    }
    verdict
}

/// What the stages say of a document. They read the files that it names, and make none.
fn build(document: &Document) -> Problems {
    let mut problems = Problems::new();
    // The key signs nothing: the snapshot serves nobody.
    let environment = Environment { sticky_key: &[0; 32], limits: &Tables::default(), tls: &Kept::default() };
    let _ = Snapshot::build(document.clone(), 1, environment, &mut problems);
    problems
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
    fn stages_judge_the_whole_document() {
        let default = crate::config::default_document().unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(build(&default), Problems::new());
        let text = "version = 1\n[[listener]]\nname = \"web\"\nbind = \"127.0.0.1:1\"\n\
                    [[route]]\nid = 10\nlistener = \"web\"\npath_regex = \"(\"\n\
                    [[route.target]]\nurl = \"http://127.0.0.1:2\"\n\
                    [[route]]\nid = 20\nlistener = \"web\"\nhost = \"a.test\"\nerror_pages = { 503 = \"/nonexistent\" }\n\
                    [[route.target]]\nurl = \"http://127.0.0.1:2\"\n";
        let (document, _) = crate::config::read(text, "weir.toml");
        let problems = build(&document.unwrap_or_else(|| panic!("readable"))).to_string();
        assert!(problems.contains("route 10") && problems.contains("/nonexistent"), "{problems}");
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
