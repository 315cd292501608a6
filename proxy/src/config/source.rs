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
    valid(load_as_far_as_possible(path))
}

/// The same as [`read`], from the file at `path`.
pub fn load_as_far_as_possible(path: &Path) -> (Option<Document>, Problems) {
    let name = path.display().to_string();
    match text_of(path, &name) {
        Ok(text) => read(&text, &name),
        Err(problem) => (None, problem.into()),
    }
}

fn text_of(path: &Path, name: &str) -> Result<String, Problem> {
    let octets = octets_of(path).map_err(|error| unreadable(name, format!("cannot be read: {error}")))?;
    String::from_utf8(octets).map_err(|error| not_utf8(name, error.as_bytes()))
}

fn valid<T>(read: (Option<T>, Problems)) -> Result<T, Problems> {
    match read {
        (Some(read), problems) if !problems.is_fatal() => Ok(read),
        (_, problems) => Err(problems),
    }
}

/// Reads the document `text`; `file_name` stands before its problems.
pub fn parse(text: &str, file_name: &str) -> Result<Document, Problems> {
    valid(read(text, file_name))
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
    valid(read_as(text, T::TITLE, |_, _| ()))
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
        Err(error) => return (None, syntax(&file, &reader, &error).into()),
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
    whole(Code::Unreadable, file_name, message)
}

/// A problem of the whole file.
fn whole(code: Code, file_name: &str, message: String) -> Problem {
    Problem {
        file: file_name.into(),
        path: String::new(),
        line: 0,
        column: 0,
        code,
        message,
        suggestion: None,
        warning: false,
    }
}

fn too_large(file_name: &str) -> Problem {
    whole(Code::Syntax, file_name, format!("is larger than {} KiB, which a document may have", DOCUMENT_SIZE_MAX >> 10))
}

fn not_utf8(file_name: &str, octets: &[u8]) -> Problem {
    if octets.len() > DOCUMENT_SIZE_MAX {
        return too_large(file_name);
    }
    let valid = std::str::from_utf8(octets).err().map_or(0, |error| error.valid_up_to());
    let line = octets[..valid].iter().filter(|byte| **byte == b'\n').count() + 1;
    Problem {
        line: u32::try_from(line).unwrap_or(u32::MAX),
        ..whole(Code::Syntax, file_name, "is not UTF-8 here".to_owned())
    }
}

fn syntax(file: &str, reader: &Reader, error: &TomlError) -> Problem {
    let position = reader.position(error.span().map_or(0, |span| span.start));
    let message = error.message().trim().replace('\n', ", ");
    let problem = whole(Code::Syntax, file, format!("not TOML: {message}"));
    Problem { line: position.line, column: position.column, ..problem }
}
