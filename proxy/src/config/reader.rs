//! One pass over a document: finds keys, reads their values through their formats, collects every problem.

use std::sync::{Arc, OnceLock};

use toml_edit::{Document, Item, TableLike};

use super::format::{Format, Node};
use super::problem::{At, Code, Place, Position, Problem, Problems};
use super::table::Key;

/// Reads one document.
pub struct Reader {
    file: Arc<str>,
    /// Offsets at which lines begin.
    lines: Vec<usize>,
    text: String,
    problems: Vec<Problem>,
    /// Whether an object was left out of its list for a problem already reported.
    pub(super) incomplete: bool,
    /// The highest route id so far: written ones first, then those given out.
    pub(super) route_id_highest: Option<u32>,
}

/// Where a value stands: for its problems.
#[derive(Clone, Copy)]
pub struct Spot<'a> {
    pub(super) at: &'a At,
    pub(super) key: &'a Key,
    /// Index in a list, and the element's offset.
    pub(super) element: Option<(usize, usize)>,
}

impl Reader {
    pub(super) fn new(file: Arc<str>, text: &str) -> Self {
        let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(after_breaks).collect();
        let text = text.to_owned();
        Self { file, lines, text, problems: Vec::new(), incomplete: false, route_id_highest: None }
    }

    /// The document's text.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The place of a document.
    pub(super) fn root(&self, table: &dyn TableLike) -> At {
        let start = Position { line: 1, column: 1 };
        At::new(Place { file: self.file.clone(), start, keys: self.keys(table), ..Place::default() })
    }

    /// The place of the table that `spot`'s key holds: messages keep the enclosing object's label.
    pub(super) fn inner(&self, table: &dyn TableLike, node: Node<'_>, spot: Spot<'_>) -> At {
        let outer = spot.at.place();
        let name = spot.key.name;
        let (label, prefix) = match outer.label.is_empty() {
            true => (name.to_owned(), String::new()),
            false => (outer.label.clone(), format!("{}{name}.", outer.prefix)),
        };
        At::new(Place {
            file: self.file.clone(),
            start: self.start_of(node, spot),
            label,
            path: spot.path(),
            prefix,
            index: outer.index,
            keys: self.keys(table),
        })
    }

    /// The place of one table of a list: its own label, after that of the object it stands in.
    pub(super) fn listed(&self, table: &dyn TableLike, node: Node<'_>, spot: Spot<'_>, own: String) -> At {
        let outer = spot.at.place();
        let comma = if outer.label.is_empty() { "" } else { ", " };
        At::new(Place {
            file: self.file.clone(),
            start: self.start_of(node, spot),
            label: format!("{}{comma}{} {own}", outer.label, spot.key.name),
            path: spot.path(),
            prefix: String::new(),
            index: spot.element.map_or(0, |(index, _)| index),
            keys: self.keys(table),
        })
    }

    fn start_of(&self, node: Node<'_>, spot: Spot<'_>) -> Position {
        match (node.start(), spot.element) {
            (Some(offset), _) | (None, Some((_, offset))) => self.position(offset),
            (None, None) => self.position_of(spot),
        }
    }

    fn keys(&self, table: &dyn TableLike) -> Vec<(Box<str>, Position)> {
        table.iter().map(|(name, item)| (name.into(), self.key_position(table, name, item))).collect()
    }

    fn key_position(&self, table: &dyn TableLike, name: &str, item: &Item) -> Position {
        let key = table.key(name).and_then(toml_edit::Key::span);
        key.or_else(|| item.span()).map_or(Position::default(), |span| self.position(span.start))
    }

    /// Line and column of an offset, both from 1, the column in characters.
    pub(super) fn position(&self, offset: usize) -> Position {
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines[line - 1];
        let before = self.text.get(start..offset).map_or(0, |text| text.chars().count());
        Position { line: count(line), column: count(before + 1) }
    }

    fn position_of(&self, spot: Spot<'_>) -> Position {
        let place = spot.at.place();
        let own = place.keys.iter().find(|(name, _)| **name == *spot.key.name).map(|(_, position)| *position);
        spot.element.map(|(_, offset)| self.position(offset)).or(own).unwrap_or(place.start)
    }

    /// Reads `key` of `table`, or gives its default. `None`: there is neither, and the problem is reported.
    pub(super) fn field<F: Format>(
        &mut self,
        table: &dyn TableLike,
        key: &Key,
        at: &At,
        default: &OnceLock<Option<F::Out>>,
    ) -> Option<F::Out> {
        let spot = Spot { at, key, element: None };
        let read = match table.get(key.name) {
            Some(item) => F::read(Node::of(item), spot, self),
            None if key.default.is_none() => return F::absent(spot, self).or_else(|| self.missing(spot)),
            None => None,
        };
        // A wrong value is reported and stands in by its default, so that the rest of the object is judged too.
        read.or_else(|| default.get_or_init(|| default_of::<F>(key)).clone())
    }

    fn missing<T>(&mut self, spot: Spot<'_>) -> Option<T> {
        let name = format!("{}{}", spot.at.place().prefix, spot.key.name);
        self.push(spot.at.coded(Code::MissingKey, "", format!("missing key \"{name}\"")));
        None
    }

    /// Reports each key of `table` that is not an allowed one of `keys`, with the nearest that is.
    pub(super) fn unknown_keys(
        &mut self,
        table: &dyn TableLike,
        at: &At,
        allowed: &dyn Fn(&Key) -> bool,
        keys: &[Key],
    ) {
        let names: Vec<_> = keys.iter().filter(|key| allowed(key)).map(|key| key.name).collect();
        for (name, _) in table.iter().filter(|(name, _)| !names.contains(name)) {
            self.unknown_key(at, name, names.iter().copied());
        }
    }

    /// Reports that `name` is no key here.
    pub(super) fn unknown_key<'a>(&mut self, at: &At, name: &str, names: impl Iterator<Item = &'a str>) {
        let prefix = &at.place().prefix;
        let nearest = nearest(name, names).map(|near| format!("{prefix}{near}"));
        let message = format!("unknown key \"{prefix}{}\"", name.escape_debug());
        self.push(at.coded(Code::UnknownKey, name, message).suggest(nearest));
    }

    /// Reports a problem with the value at `spot`; `message` follows the key's name.
    pub(super) fn report(&mut self, spot: Spot<'_>, code: Code, message: &str) {
        let problem = self.problem(spot, code, message);
        self.push(problem);
    }

    /// The problem, not yet reported.
    pub(super) fn problem(&self, spot: Spot<'_>, code: Code, message: &str) -> Problem {
        let name = format!("{}{}", spot.at.place().prefix, spot.key.name);
        let position = self.position_of(spot);
        let problem = spot.at.coded(code, spot.key.name, format!("{name} {message}"));
        Problem { path: spot.path(), line: position.line, column: position.column, ..problem }
    }

    /// The id that the next route without one gets.
    pub(super) fn route_id_next(&self) -> u32 {
        self.route_id_highest.map_or(1, |highest| highest.saturating_add(1))
    }

    pub(super) fn take_route_id(&mut self) -> u32 {
        let id = self.route_id_next();
        self.route_id_highest = Some(id);
        id
    }

    pub(super) fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// All problems, by line.
    pub(super) fn finish(self) -> Problems {
        self.problems.into_iter().collect()
    }
}

impl Spot<'_> {
    fn path(&self) -> String {
        let outer = self.at.path();
        let dot = if outer.is_empty() { "" } else { "." };
        let element = self.element.map(|(index, _)| format!("[{index}]")).unwrap_or_default();
        format!("{outer}{dot}{}{element}", self.key.name)
    }
}

/// The value of a key's default text; `None` if the table itself is wrong, which a test rules out.
fn default_of<F: Format>(key: &Key) -> Option<F::Out> {
    let text = format!("{} = {}", key.name, key.default?);
    let document = Document::parse(text.as_str()).ok()?;
    let mut reader = Reader::new("".into(), &text);
    let at = At::default();
    let read = F::read(Node::of(document.get(key.name)?), Spot { at: &at, key, element: None }, &mut reader);
    read.filter(|_| reader.problems.is_empty())
}

/// The one of `names` that is most likely meant by `name`: a few letters away, or the only one that begins so.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let names: Vec<_> = names.collect();
    let distance_max = (name.chars().count() / 3).clamp(1, 4);
    let near = names.iter().map(|known| (strsim::damerau_levenshtein(name, known), *known));
    let near = near.filter(|(distance, _)| *distance <= distance_max).min_by_key(|(distance, _)| *distance);
    let mut begin_so = names.iter().filter(|known| name.len() >= 3 && known.starts_with(name));
    let only = begin_so.next().filter(|_| begin_so.next().is_none());
    near.map(|(_, known)| known).or(only.copied())
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
