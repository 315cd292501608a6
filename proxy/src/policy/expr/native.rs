//! From a tree of the match language to a test.

mod operator;

use super::facts::FieldName;
use super::predicate::{AddressField, NumberField, Predicate, TextField};
use super::test::Test;
use super::{Context, Wrong};
use crate::config::value::{Matching, Named, Tree};
use operator::Kind;

/// Predicates and combinations of them in one rule.
const NODES_MAX: usize = 64;

/// What may stand in a `match`, for suggestions.
const NAMES: &[&str] = &[
    "all",
    "any",
    "not",
    "method",
    "protocol",
    "listener",
    "http_version",
    "tls",
    "country",
    "client_known",
    "host",
    "path",
    "path_raw",
    "client_ip",
    "peer_ip",
    "port",
    "asn",
    "content_length",
    "header",
    "query",
    "cookie",
];

/// Compiles a tree.
pub(super) fn compile(matching: &Matching, context: &Context) -> Result<Test, Vec<Wrong>> {
    let mut compiler = Compiler { context, nodes: 0, wrong: Vec::new() };
    let test = compiler.entries(matching);
    if compiler.wrong.is_empty() { Ok(test) } else { Err(compiler.wrong) }
}

struct Compiler<'c> {
    context: &'c Context,
    nodes: usize,
    wrong: Vec<Wrong>,
}

impl Compiler<'_> {
    /// All entries of a table.
    fn entries(&mut self, matching: &Matching) -> Test {
        let Tree::Table(entries) = &matching.tree else {
            self.wrong.push(Wrong::new(matching.position, "must be a table of fields"));
            return Test::constant(false);
        };
        Test::all(entries.iter().map(|entry| self.entry(entry)).collect())
    }

    fn entry(&mut self, entry: &Named) -> Test {
        match entry.name.as_str() {
            "all" => Test::all(self.each(entry)),
            "any" => Test::any(self.each(entry)),
            "not" => {
                self.count(entry);
                self.entries(&entry.value).negated()
            }
            "header" => self.named(entry, |name| TextField::Header(FieldName::new(name))),
            "query" => self.named(entry, |name| TextField::Query(name.into())),
            "cookie" => self.named(entry, |name| TextField::Cookie(name.into())),
            "tls" => self.tls(entry),
            _ => match self.kind(entry) {
                Some(kind) => self.field(entry, kind),
                None => self.unknown(entry, "field", NAMES),
            },
        }
    }

    /// The kind of a field that has no name of its own inside.
    fn kind(&mut self, entry: &Named) -> Option<Kind> {
        Some(match entry.name.as_str() {
            "method" => Kind::Word(TextField::Method),
            "protocol" => Kind::Word(TextField::Protocol),
            "listener" => Kind::Word(TextField::Listener),
            "http_version" => Kind::Word(TextField::HttpVersion),
            "country" => {
                self.needs(entry, self.context.countries, "db");
                Kind::Word(TextField::Country)
            }
            "host" => Kind::Text(TextField::Host),
            "path" => Kind::Text(TextField::Path),
            "path_raw" => Kind::Text(TextField::PathRaw),
            "client_ip" => Kind::Address(AddressField::Client),
            "peer_ip" => Kind::Address(AddressField::Peer),
            "port" => Kind::Number(NumberField::Port),
            "asn" => {
                self.needs(entry, self.context.networks, "asn_db");
                Kind::Number(NumberField::Asn)
            }
            "content_length" => Kind::Number(NumberField::ContentLength),
            "client_known" => Kind::Flag,
            _ => return None,
        })
    }

    fn needs(&mut self, entry: &Named, there: bool, key: &str) {
        if !there {
            let message = format!("{} needs a database: [geoip] has no {key}", entry.name);
            self.wrong.push(Wrong::new(entry.position, message));
        }
    }

    /// The tables of a list.
    fn each(&mut self, entry: &Named) -> Vec<Test> {
        self.count(entry);
        match &entry.value.tree {
            Tree::List(list) if !list.is_empty() => list.iter().map(|each| self.entries(each)).collect(),
            Tree::List(_) => self.refuse(entry, "is empty: one table at least"),
            _ => self.refuse(entry, "must be a list of tables of fields"),
        }
    }

    fn refuse(&mut self, entry: &Named, why: &str) -> Vec<Test> {
        self.wrong.push(Wrong::new(entry.position, format!("{} {why}", entry.name)));
        Vec::new()
    }

    /// Fields that the document names: `header.x-plan`.
    fn named(&mut self, entry: &Named, field: impl Fn(&str) -> TextField) -> Test {
        let Tree::Table(entries) = &entry.value.tree else {
            self.refuse(entry, "must be a table of names");
            return Test::constant(false);
        };
        let tests = entries.iter().map(|inner| {
            let is_token = crate::http::is_token(inner.name.as_bytes());
            if inner.name.is_empty() || (entry.name != "query" && !is_token) {
                let message = format!("\"{}\" is no {} name", inner.name.escape_debug(), entry.name);
                self.wrong.push(Wrong::new(inner.position, message));
            }
            self.field(inner, Kind::Named(field(&inner.name)))
        });
        Test::all(tests.collect())
    }

    fn tls(&mut self, entry: &Named) -> Test {
        let Tree::Table(entries) = &entry.value.tree else {
            self.refuse(entry, "must be a table of version and sni");
            return Test::constant(false);
        };
        let tests = entries.iter().map(|inner| match inner.name.as_str() {
            "version" => self.field(inner, Kind::Word(TextField::TlsVersion)),
            "sni" => self.field(inner, Kind::Word(TextField::TlsSni)),
            _ => self.unknown(inner, "field", &["version", "sni"]),
        });
        Test::all(tests.collect())
    }

    /// A bare value is `equals` (of a host: a pattern), a list is `in`, a table holds operators.
    fn field(&mut self, entry: &Named, kind: Kind) -> Test {
        match &entry.value.tree {
            Tree::Table(operators) if operators.is_empty() => {
                self.refuse(entry, "asks nothing");
                Test::constant(false)
            }
            Tree::Table(operators) => {
                let tests = operators.iter().map(|operator| match kind.operators().contains(&&*operator.name) {
                    true => self.predicate(&entry.name, &operator.name, &operator.value, &kind),
                    false => self.unknown(operator, "operator", kind.operators()),
                });
                Test::all(tests.collect())
            }
            _ => self.predicate(&entry.name, kind.bare_operator(&entry.value), &entry.value, &kind),
        }
    }

    fn predicate(&mut self, field: &str, operator: &str, value: &Matching, kind: &Kind) -> Test {
        self.nodes += 1;
        self.check_nodes(value);
        match kind.compile(operator, value, self.context) {
            Ok(test) => test,
            Err(wrong) => {
                let message = format!("{field}: {}", wrong.message);
                self.wrong.push(Wrong { message, ..wrong });
                Test::constant(false)
            }
        }
    }

    fn count(&mut self, entry: &Named) {
        self.nodes += 1;
        self.check_nodes(&entry.value);
    }

    fn check_nodes(&mut self, at: &Matching) {
        if self.nodes == NODES_MAX + 1 {
            let message = format!("more than {NODES_MAX} predicates and combinations");
            self.wrong.push(Wrong::new(at.position, message));
        }
    }

    fn unknown(&mut self, entry: &Named, what: &str, names: &[&str]) -> Test {
        let nearest = crate::config::nearest(&entry.name, names.iter().copied()).map(str::to_owned);
        let message = format!("unknown {what} \"{}\"", entry.name.escape_debug());
        self.wrong.push(Wrong { nearest, ..Wrong::new(entry.position, message) });
        Test::constant(false)
    }
}

/// A test that needs nothing beyond one predicate.
fn is(predicate: Predicate) -> Test {
    Test::Is(predicate)
}
