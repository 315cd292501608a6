//! What a rule asks of a request, as written: a tree of the match language, a text of CEL, each with its places.
//!
//! Only the shape is judged here; `policy::expr` knows the fields and compiles both.

use toml_edit::{Item, TableLike, Value};

use crate::config::format::{Format, Node, wrong_type};
use crate::config::problem::{Code, Position};
use crate::config::reader::{Reader, Spot};

/// A tree of the match language. Two that say the same are equal wherever they stand.
#[derive(Clone, Debug)]
pub struct Matching {
    pub(crate) position: Position,
    pub(crate) tree: Tree,
}

/// What a part of the tree is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Tree {
    Text(String),
    Number(i64),
    Flag(bool),
    List(Vec<Matching>),
    /// Names in the document's order.
    Table(Vec<Named>),
    /// A value of a type that no rule uses, by its name.
    Other(&'static str),
}

/// An entry of a table.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) position: Position,
    pub(crate) value: Matching,
}

impl PartialEq for Matching {
    fn eq(&self, other: &Self) -> bool {
        self.tree == other.tree
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value
    }
}

impl Format for Matching {
    type Out = Self;

    fn kind() -> String {
        "a table of fields and what they must be".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self> {
        let Some(table) = node.as_table() else {
            wrong_type::<Self>(node, spot, reader);
            return None;
        };
        let start = node.start().unwrap_or_default();
        Some(Self { position: reader.position(start), tree: tree_of_table(table, reader) })
    }
}

/// The document's reader bounds how deep tables nest.
fn tree_of_table(table: &dyn TableLike, reader: &Reader) -> Tree {
    let named = table.iter().map(|(name, item)| {
        let start = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
        let start = start.map_or(0, |span| span.start);
        Named { name: name.to_owned(), position: reader.position(start), value: of_item(item, start, reader) }
    });
    Tree::Table(named.collect())
}

fn of_item(item: &Item, outer: usize, reader: &Reader) -> Matching {
    let start = item.span().map_or(outer, |span| span.start);
    let tree = match item {
        Item::Value(value) => of_value(value, start, reader),
        Item::Table(table) => tree_of_table(table, reader),
        Item::ArrayOfTables(tables) => Tree::List(
            tables
                .iter()
                .map(|table| {
                    let start = table.span().map_or(start, |span| span.start);
                    Matching { position: reader.position(start), tree: tree_of_table(table, reader) }
                })
                .collect(),
        ),
        Item::None => Tree::Other("nothing"),
    };
    Matching { position: reader.position(start), tree }
}

fn of_value(value: &Value, start: usize, reader: &Reader) -> Tree {
    match value {
        Value::String(text) => Tree::Text(text.value().clone()),
        Value::Integer(number) => Tree::Number(*number.value()),
        Value::Boolean(flag) => Tree::Flag(*flag.value()),
        Value::InlineTable(table) => tree_of_table(table, reader),
        Value::Array(array) => Tree::List(
            array
                .iter()
                .map(|value| {
                    let start = value.span().map_or(start, |span| span.start);
                    Matching { position: reader.position(start), tree: of_value(value, start, reader) }
                })
                .collect(),
        ),
        Value::Float(_) => Tree::Other("a float"),
        Value::Datetime(_) => Tree::Other("a date"),
    }
}

/// A CEL expression. Two of the same text are equal wherever they stand.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    /// As it stands in the document, quotes included.
    written: Box<str>,
    start: Position,
}

/// Octets of an expression.
const EXPRESSION_MAX: usize = 4096;

impl Expression {
    /// The expression.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where the octet at `offset` of the text stands in the document.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let mut at = self.start;
        let mut left = offset;
        for (spelling, octets) in spellings(&self.written) {
            if octets > left {
                break;
            }
            left -= octets;
            spelling.chars().for_each(|char| step(&mut at, char));
        }
        at
    }
}

fn step(at: &mut Position, char: char) {
    match char {
        '\n' => *at = Position { line: at.line + 1, column: 1 },
        _ => at.column += 1,
    }
}

/// The pieces of a TOML string as written, each with the octets of the text that it stands for. An octet of the text
/// stands where the first piece begins that is not wholly before it, so pieces for nothing go to what follows them.
fn spellings(written: &str) -> impl Iterator<Item = (&str, usize)> {
    let quote = if written.starts_with('\'') { "'" } else { "\"" };
    let triple = quote.repeat(3);
    let many = written.len() >= 6 && written.starts_with(&triple);
    let opening = if many { 3 } else { 1 };
    let closing = written.len().saturating_sub(opening).max(opening);
    // A line break right after the opening quotes of many lines is no part of the text (TOML 1.0, "String").
    let rest = written.get(opening..closing).unwrap_or_default();
    let cut = if many { ["\r\n", "\n"].into_iter().find(|cut| rest.starts_with(cut)).map_or(0, str::len) } else { 0 };
    let mut at = opening + cut;
    let first = (written.get(..at).unwrap_or_default(), 0);
    let escapes = quote == "\"";
    std::iter::once(first).chain(std::iter::from_fn(move || {
        let rest = written.get(at..closing).filter(|rest| !rest.is_empty())?;
        let (length, octets) = if escapes && rest.starts_with('\\') { escape(rest) } else { plain(rest) };
        at += length;
        Some((&rest[..length], octets))
    }))
}

fn plain(rest: &str) -> (usize, usize) {
    let length = rest.chars().next().map_or(1, char::len_utf8);
    (length, length)
}

/// Length of an escape, and of what it stands for.
fn escape(rest: &str) -> (usize, usize) {
    let code = |digits: usize| {
        let char = rest.get(2..2 + digits).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        (2 + digits, char.and_then(char::from_u32).map_or(1, char::len_utf8))
    };
    let (length, octets) = match rest.as_bytes().get(1) {
        Some(b'x') => code(2),
        Some(b'u') => code(4),
        Some(b'U') => code(8),
        Some(b' ' | b'\t' | b'\r' | b'\n') => (1 + rest[1..].len() - rest[1..].trim_start().len(), 0),
        _ => (2, 1),
    };
    (length.min(rest.len()), octets)
}

impl Format for Expression {
    type Out = Self;

    fn kind() -> String {
        "a CEL expression".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self> {
        let Some(text) = node.as_str() else {
            wrong_type::<Self>(node, spot, reader);
            return None;
        };
        if text.len() > EXPRESSION_MAX {
            let message = format!("is {} octets long; allowed: at most {EXPRESSION_MAX}", text.len());
            reader.report(spot, Code::OutOfRange, &message);
            return None;
        }
        let span = if let Node::Value(value) = node { value.span() } else { None };
        let start = reader.position(span.as_ref().map_or(0, |span| span.start));
        let written = span.and_then(|span| reader.text().get(span)).unwrap_or_default().into();
        Some(Self { text: text.to_owned(), written, start })
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(written: &str, offset: usize) -> (u32, u32) {
        let start = Position { line: 7, column: 8 };
        let at = Expression { text: String::new(), written: written.into(), start }.position(offset);
        (at.line, at.column)
    }

    #[test]
    fn octets_of_a_text_stand_where_they_were_written() {
        assert_eq!(column("'host'", 0), (7, 9));
        assert_eq!(column("'host'", 3), (7, 12));
        assert_eq!(column(r#""a\"b""#, 2), (7, 12));
        assert_eq!(column(r#""\u00e9x""#, 2), (7, 15));
        assert_eq!(column("'\u{e9}x'", 2), (7, 10));
        assert_eq!(column("'''\nab\ncd'''", 4), (9, 2));
        assert_eq!(column("\"\"\"\na \\\n   b\"\"\"", 2), (9, 4));
        assert_eq!(column("'ab'", 2), (7, 11));
    }
}
