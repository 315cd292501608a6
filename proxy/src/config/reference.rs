//! docs/reference/config.md, written from the tables.

use std::fmt::Write;

use super::format::Format;
use super::number::{Size, Time};
use super::raw::Document;
use super::table::{Key, Narrows, Table, TableInfo};
use super::text::Name;

/// A table at one of its places in the document.
#[derive(Clone)]
pub struct Section {
    /// The table's path: `route.target`; empty for the document.
    pub path: String,
    /// The header that opens it, with those of the lists it stands in: `[[route]]`, `[route.limits]`.
    pub headers: Vec<String>,
    /// What stands in it.
    pub table: TableInfo,
}

impl Section {
    /// The keys that may stand there.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key> + use<> {
        let route_only = self.table.narrows == Narrows::Route;
        self.table.keys.iter().filter(move |key| !route_only || key.route)
    }
}

/// Every place of every table, in the order of their first mention, inner ones after the one that holds them.
pub fn sections() -> Vec<Section> {
    let document = Section { path: String::new(), headers: Vec::new(), table: Document::INFO };
    let mut found = vec![document.clone()];
    inner_sections(&document, &mut found);
    found
}

fn inner_sections(outer: &Section, found: &mut Vec<Section>) {
    for key in outer.keys() {
        let Some(table) = key.table.map(|table| table()) else { continue };
        let dot = if outer.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{}", outer.path, key.name);
        let own = if table.many { format!("[[{path}]]") } else { format!("[{path}]") };
        let headers = outer.headers.iter().cloned().chain([own]).collect();
        let section = Section { path, headers, table };
        found.push(section.clone());
        inner_sections(&section, found);
    }
}

const INTRODUCTION: &str = r#"# Configuration reference

The document is TOML of at most 1 MiB. It is read strictly: an unknown key, a wrong type or a value out of range is an
error, with its line, its object and the nearest valid key, and all errors are reported at once. `weir check` reads a
document without serving it; an error changes nothing in a running weir.

- A duration is a string of an integer and a unit: `ms`, `s`, `m`, `h`, `d`. A size: `B`, `KiB`, `MiB`, `GiB`, `TiB`.
  Only 0 may be bare.
- A name is a letter or digit, then up to 63 letters, digits, `.`, `_` or `-`.
- A secret is never written into the document: `{ file = "/path" }` or `{ env = "NAME" }` says where it is.
- Where a key takes a value or a list, one value stands for the list of it.
- A relative path begins at the directory in which weir was started.

This page is generated from the tables that weir reads documents by.
"#;

/// docs/reference/config.md.
pub fn reference() -> String {
    let mut page = INTRODUCTION.to_owned();
    let sections = sections();
    for (index, section) in sections.iter().enumerate() {
        let same = |other: &&Section| other.table.name == section.table.name;
        match section.table.narrows {
            // A table that stands in several places is written at the first.
            Narrows::No if sections[..index].iter().any(|before| same(&before)) => (),
            Narrows::No => write_section(&mut page, section, sections[index + 1..].iter().filter(same)),
            Narrows::All | Narrows::Route => write_narrower(&mut page, section),
        }
    }
    page
}

// Writing to a String cannot fail: results of it are not looked at below.

fn write_section<'a>(page: &mut String, section: &Section, others: impl Iterator<Item = &'a Section>) {
    let heading = section.headers.last().map_or("Top level".to_owned(), |header| format!("`{header}`"));
    let _ = write!(page, "\n## {heading}\n\n{}", words(section.table.about));
    let others: Vec<_> = others.filter_map(|other| Some(format!("`{}`", other.headers.last()?))).collect();
    if !others.is_empty() {
        let _ = write!(page, " Also at {}.", others.join(", "));
    }
    page.push_str("\n\n| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in section.keys() {
        let _ = writeln!(page, "| `{}` | {} | {} | {} |", key.name, values(key), default(key), cell(&words(key.doc)));
    }
}

fn write_narrower(page: &mut String, section: &Section) {
    let header = section.headers.last().map_or("", String::as_str);
    let global = section.path.rsplit('.').next().unwrap_or_default();
    let which = match section.keys().count() == section.table.keys.len() {
        true => "Every key".to_owned(),
        false => section.keys().map(|key| format!("`{}`", key.name)).collect::<Vec<_>>().join(", "),
    };
    let _ = writeln!(page, "\n## `{header}`\n\n{which} of [`[{global}]`](#{global}), in place of what is said there.");
}

fn words(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

/// What a key takes: its kind without the examples, its bounds, its number of elements.
fn values(key: &Key) -> String {
    let kind = (key.kind)();
    let is_text = kind.contains("a string");
    let mut text = short(&kind);
    if let Some(range) = key.range {
        let octets = if is_text { " octets" } else { "" };
        let _ = write!(text, "; {}{octets}", range.words());
    }
    if let Some(most) = key.count_max {
        let _ = write!(text, "; at most {most}");
    }
    cell(&text)
}

/// Kinds that the page's introduction explains, by their first words.
fn short(kind: &str) -> String {
    let explained = [Name::kind(), Time::kind(), Size::kind()];
    explained.iter().fold(kind.to_owned(), |text, long| {
        let end = long.find([':', '"']).map_or(long.as_str(), |end| &long[..end]);
        text.replace(long, end.trim_end_matches(" such as "))
    })
}

fn default(key: &Key) -> String {
    match (key.default, key.absent) {
        // A default may be written over several lines.
        (Some(text), _) => format!("`{}`", cell(&text.split_whitespace().collect::<Vec<_>>().join(" "))),
        (None, Some(words)) => cell(words),
        (None, None) => "required".to_owned(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
