//! Where a document comes from: a file, a text, or the one weir carries for a first start.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use toml_edit::{TableLike, TomlError};

use super::problem::{Code, Problem, Problems};
use super::raw::Document;
use super::reader::Reader;
use super::table::Table;

/// Octets a document may have.
pub const DOCUMENT_SIZE_MAX: usize = 1 << 20;

/// The document of `weir run` without one.
pub const DEFAULT: &str = include_str!("../../config/default.toml");

/// The document of `weir run` without one, read.
pub fn default_document() -> Result<Document, Problems> {
    parse(DEFAULT, "default.toml")
}

/// Reads the document in the file at `path`.
pub fn load(path: &Path) -> Result<Document, Problems> {
    let name = path.display().to_string();
    let octets = octets_of(path).map_err(|error| unreadable(&name, format!("cannot be read: {error}")))?;
    let text = String::from_utf8(octets).map_err(|error| not_utf8(&name, error.as_bytes()))?;
    parse(&text, &name)
}

/// Reads the document `text`; `file_name` stands before its problems.
pub fn parse(text: &str, file_name: &str) -> Result<Document, Problems> {
    match read(text, file_name) {
        (Some(document), problems) if !problems.is_fatal() => Ok(document),
        (_, problems) => Err(problems),
    }
}

/// Reads the document as far as it can be read, with all of its problems: defaults stand in for wrong values, and
/// wrong objects are left out, so that stages can judge the rest.
pub fn read(text: &str, file_name: &str) -> (Option<Document>, Problems) {
    if text.len() > DOCUMENT_SIZE_MAX {
        return (None, too_large(file_name).into());
    }
    read_as(text, file_name, |reader, table| reader.route_id_highest = highest_route_id(table))
}

/// Reads one object from its own text.
pub(super) fn read_table<T: Table>(text: &str) -> Result<T, Problems> {
    match read_as(text, T::TITLE, |_, _| ()) {
        (Some(read), problems) if !problems.is_fatal() => Ok(read),
        (_, problems) => Err(problems),
    }
}

fn read_as<T: Table>(
    text: &str,
    file_name: &str,
    prepare: impl Fn(&mut Reader, &dyn TableLike),
) -> (Option<T>, Problems) {
    let file: Arc<str> = file_name.into();
    let mut reader = Reader::new(file.clone(), text);
    let document = match toml_edit::Document::parse(text) {
        Ok(document) => document,
        Err(error) => return (None, syntax(file, &reader, &error).into()),
    };
    let table = document.as_table();
    prepare(&mut reader, table);
    let at = reader.root(table);
    let read = T::read(table, at, &mut reader);
    (read, reader.finish())
}

/// Ids that routes do not state follow the highest stated one.
fn highest_route_id(table: &dyn TableLike) -> Option<u32> {
    let id_max = i64::from(i32::MAX);
    let routes = table.get("route")?;
    let tables = routes.as_array_of_tables().into_iter().flatten().filter_map(|route| route.get("id")?.as_integer());
    let inline =
        routes.as_array().into_iter().flatten().filter_map(|route| route.as_inline_table()?.get("id")?.as_integer());
    tables.chain(inline).filter(|id| (0..=id_max).contains(id)).max().and_then(|id| u32::try_from(id).ok())
}

fn octets_of(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    // One octet more than allowed tells a document that is too large, and no device is read without end.
    File::open(path)?.take(DOCUMENT_SIZE_MAX as u64 + 1).read_to_end(&mut octets)?;
    Ok(octets)
}

fn unreadable(file_name: &str, message: String) -> Problem {
    Problem {
        file: file_name.into(),
        path: String::new(),
        line: 0,
        column: 0,
        code: Code::Unreadable,
        message,
        suggestion: None,
        warning: false,
    }
}

fn too_large(file_name: &str) -> Problem {
    unreadable(file_name, format!("is larger than {} KiB, which a document may have", DOCUMENT_SIZE_MAX >> 10))
}

fn not_utf8(file_name: &str, octets: &[u8]) -> Problem {
    if octets.len() > DOCUMENT_SIZE_MAX {
        return too_large(file_name);
    }
    let valid = std::str::from_utf8(octets).err().map_or(0, |error| error.valid_up_to());
    let line = octets[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
    Problem { line: u32::try_from(line).unwrap_or(u32::MAX), ..unreadable(file_name, "is not UTF-8 here".to_owned()) }
}

fn syntax(file: Arc<str>, reader: &Reader, error: &TomlError) -> Problem {
    let position = reader.position(error.span().map_or(0, |span| span.start));
    let message = error.message().trim().replace('\n', ", ");
    Problem {
        line: position.line,
        column: position.column,
        code: Code::Syntax,
        message: format!("not TOML: {message}"),
        file,
        ..unreadable("", String::new())
    }
}
