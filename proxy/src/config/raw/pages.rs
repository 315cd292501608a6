//! Pages of weir's own errors, and bodies that static answers share.

use std::path::{Path, PathBuf};

use toml_edit::TableLike;

use crate::config::format::{Format, FromText, List, Maybe, Node};
use crate::config::reader::Reader;
use crate::config::table::{Key, Narrows, Table, TableInfo, config_table};
use crate::config::text::{Name, Text};
use crate::config::value::{StatusRange, TemplateKind};
use crate::config::{At, Code};

config_table! {
    /// A body that static answers share.
    pub struct Template: "template", by "name" {
        /// Static answers name it.
        name: Name;
        /// What it is for.
        kind: TemplateKind = "generic_body";
        /// The body.
        body: Text, in 0 to 65536;
    }
}

/// Pages for statuses: those of a route before the global ones, a single status before a class.
#[derive(Clone, Debug, PartialEq)]
pub struct ErrorPages {
    /// A file for a status, or a class of statuses.
    pub pages: Vec<(StatusRange, PathBuf)>,
    /// Upstream answers of these statuses get the page in their body's place; `None`: as before.
    pub intercept: Option<Vec<StatusRange>>,
    /// Where it stands.
    pub at: At,
}

impl ErrorPages {
    /// The page of `status`: its own before its class's.
    pub fn page(&self, status: u16) -> Option<&Path> {
        let holds = self.pages.iter().filter(|(range, _)| range.contains(status));
        holds.min_by_key(|(range, _)| range.high - range.low).map(|(_, path)| path.as_path())
    }
}

/// The two kinds of key that name a page; a document writes any status or class in their place.
const PAGE_KEYS: [&str; 2] = ["404", "5xx"];

const fn page_key(name: &'static str, doc: &'static [&'static str]) -> Key {
    Key {
        name,
        doc,
        kind: PathBuf::kind,
        default: None,
        absent: Some("text, HTML or JSON, as the client accepts"),
        range: None,
        count_max: None,
        route: true,
        table: None,
    }
}

impl Table for ErrorPages {
    const TITLE: &'static str = "error_pages";
    const LABELS: &'static [&'static str] = &[];
    const INFO: TableInfo = TableInfo {
        name: "ErrorPages",
        about: &[" Pages for weir's own errors, for any status from 400 to 599 or class of them."],
        keys: &[
            page_key(
                PAGE_KEYS[0],
                &[
                    " The page of this status: a file of at most 64 KiB, in which `{status}`, `{reason}` and",
                    " `{request_id}` are filled in, escaped.",
                ],
            ),
            page_key(PAGE_KEYS[1], &[" The page of each status of this class that has none of its own."]),
            Key {
                name: "intercept",
                doc: &[" Statuses of upstreams whose bodies are replaced by the page too."],
                kind: <List<StatusRange> as Format>::kind,
                default: None,
                absent: Some("none, or for a route what is said above it"),
                range: None,
                count_max: Some(200),
                route: true,
                table: None,
            },
        ],
        many: false,
        narrows: Narrows::No,
    };

    fn read(table: &dyn TableLike, at: At, reader: &mut Reader) -> Option<Self> {
        let intercept = &Self::INFO.keys[2];
        let default = std::sync::OnceLock::new();
        let intercept = reader.field::<Maybe<List<StatusRange>>>(table, intercept, &at, &default).flatten();
        let mut pages = Vec::new();
        for (name, item) in table.iter().filter(|(name, _)| *name != "intercept") {
            let Some(range) = error_status(name) else {
                reader.unknown_key(&at, name, ["intercept"].into_iter());
                continue;
            };
            // The text of the key itself names the problem, whichever status it is.
            let Some(path) = item.as_str().and_then(|text| PathBuf::from_text(text).ok()) else {
                let found = Node::of(item).written(reader.text());
                reader.push(at.coded(Code::WrongType, name, format!("\"{name}\" must be a path; found {found}")));
                continue;
            };
            pages.push((range, path));
        }
        Some(Self { pages, intercept, at })
    }
}

fn error_status(name: &str) -> Option<StatusRange> {
    let range = StatusRange::from_text(name).ok()?;
    (range.low >= 400 && !name.contains('-')).then_some(range)
}
