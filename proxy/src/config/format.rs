//! How values are written: each format reads one kind of TOML value, checks it, and says in words what it takes.

use toml_edit::{ArrayOfTables, Item, TableLike, Value};

use super::problem::Code;
use super::reader::{Reader, Spot, nearest};
use super::table::{Narrows, Overlay, Range, Table, TableInfo};

/// A way of writing values of type `Out`.
pub trait Format {
    /// What is read.
    type Out: Clone + Send + Sync + 'static;
    /// The bounds where a row names none.
    const RANGE: Option<Range> = None;
    /// In words what absence means; `None`: it must be there.
    const ABSENT: Option<&'static str> = None;
    /// The table it holds.
    const TABLE: Option<fn() -> TableInfo> = None;

    /// In words what it takes, after "must be": `a duration such as "10s"`.
    fn kind() -> String;

    /// Reads a value; `None` if it is wrong, which is reported.
    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self::Out>;

    /// The value of absence, for a row without a default.
    fn absent(_: Spot<'_>, _: &mut Reader) -> Option<Self::Out> {
        None
    }
}

/// A value of the document: what tables, inline tables and arrays of either have in common.
#[derive(Clone, Copy)]
pub enum Node<'a> {
    /// Neither a table nor a list of tables with headers.
    Value(&'a Value),
    /// A table, inline or with a header.
    Table(&'a dyn TableLike, Option<usize>),
    /// Tables with `[[headers]]`.
    Tables(&'a ArrayOfTables),
    /// Nothing, which a parsed document does not hold.
    None,
}

impl<'a> Node<'a> {
    pub(super) fn of(item: &'a Item) -> Self {
        match item {
            Item::Value(value) => Self::of_value(value),
            Item::Table(table) => Self::Table(table, table.span().map(|span| span.start)),
            Item::ArrayOfTables(tables) => Self::Tables(tables),
            Item::None => Self::None,
        }
    }

    fn of_value(value: &'a Value) -> Self {
        match value {
            Value::InlineTable(table) => Self::Table(table, value.span().map(|span| span.start)),
            _ => Self::Value(value),
        }
    }

    /// The offset at which it begins.
    pub(super) fn start(self) -> Option<usize> {
        match self {
            Self::Value(value) => value.span().map(|span| span.start),
            Self::Table(_, start) => start,
            Self::Tables(tables) => tables.span().map(|span| span.start),
            Self::None => None,
        }
    }

    pub(super) fn as_str(self) -> Option<&'a str> {
        if let Self::Value(value) = self { value.as_str() } else { None }
    }

    pub(super) fn as_integer(self) -> Option<i64> {
        if let Self::Value(value) = self { value.as_integer() } else { None }
    }

    pub(super) fn as_bool(self) -> Option<bool> {
        if let Self::Value(value) = self { value.as_bool() } else { None }
    }

    pub(super) fn as_table(self) -> Option<&'a dyn TableLike> {
        if let Self::Table(table, _) = self { Some(table) } else { None }
    }

    /// The elements of a list, of whatever they are.
    fn elements(self) -> Option<Vec<Self>> {
        match self {
            Self::Value(Value::Array(array)) => Some(array.iter().map(Self::of_value).collect()),
            Self::Tables(tables) => {
                Some(tables.iter().map(|table| Self::Table(table, table.span().map(|span| span.start))).collect())
            }
            _ => None,
        }
    }

    /// As it is written in the document `text`, cut where messages would grow too long.
    pub(super) fn written(self, text: &str) -> String {
        let Self::Value(value) = self else { return self.type_name().to_owned() };
        let own = value.span().and_then(|span| text.get(span)).map_or_else(|| value.to_string(), str::to_owned);
        // A message is one line, and a terminal takes no orders from it.
        let own: String = own.trim().chars().map(|char| if char.is_control() { ' ' } else { char }).collect();
        match own.char_indices().nth(80) {
            Some((cut, _)) => format!("{}...", &own[..cut]),
            None => own,
        }
    }

    fn type_name(self) -> &'static str {
        match self {
            Self::Value(value) => value.type_name(),
            Self::Table(..) => "table",
            Self::Tables(_) => "list of tables",
            Self::None => "nothing",
        }
    }
}

/// Reports a value of another type than the format's.
pub(super) fn wrong_type<F: Format>(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) {
    let message = format!("must be {}; found {}", F::kind(), with_article(node.type_name()));
    reader.report(spot, Code::WrongType, &message);
}

fn with_article(noun: &str) -> String {
    match noun.as_bytes().first() {
        Some(b'a' | b'e' | b'i' | b'o' | b'u') => format!("an {noun}"),
        _ => format!("a {noun}"),
    }
}

/// A value read from a string that has one, checked form.
pub trait FromText: Sized + Clone + Send + Sync + 'static {
    /// In words, after "must be".
    const KIND: &'static str;

    /// Reads it; the error follows the value in the message.
    fn from_text(text: &str) -> Result<Self, String>;
}

impl<T: FromText> Format for T {
    type Out = T;

    fn kind() -> String {
        T::KIND.to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<T> {
        let Some(text) = node.as_str() else {
            wrong_type::<T>(node, spot, reader);
            return None;
        };
        match T::from_text(text) {
            Ok(value) => Some(value),
            Err(why) => {
                reader.report(spot, Code::Invalid, &format!("= {} {why}", node.written(reader.text())));
                None
            }
        }
    }
}

/// `true` or `false`.
impl Format for bool {
    type Out = bool;

    fn kind() -> String {
        "true or false".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<bool> {
        node.as_bool().or_else(|| {
            wrong_type::<Self>(node, spot, reader);
            None
        })
    }
}

/// A value that may be absent.
pub struct Maybe<F>(std::marker::PhantomData<F>);

impl<F: Format> Format for Maybe<F> {
    type Out = Option<F::Out>;
    const RANGE: Option<Range> = F::RANGE;
    const ABSENT: Option<&'static str> = Some("none");
    const TABLE: Option<fn() -> TableInfo> = F::TABLE;

    fn kind() -> String {
        F::kind()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self::Out> {
        F::read(node, spot, reader).map(Some)
    }

    fn absent(_: Spot<'_>, _: &mut Reader) -> Option<Self::Out> {
        Some(None)
    }
}

/// A list.
pub struct List<F>(std::marker::PhantomData<F>);

impl<F: Format> Format for List<F> {
    type Out = Vec<F::Out>;
    const RANGE: Option<Range> = F::RANGE;
    const TABLE: Option<fn() -> TableInfo> = F::TABLE;

    fn kind() -> String {
        format!("a list, each element {}", F::kind())
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self::Out> {
        match node.elements() {
            Some(elements) => read_elements::<F>(&elements, spot, reader),
            None => {
                wrong_type::<Self>(node, spot, reader);
                None
            }
        }
    }
}

/// One value, or a list of them, which is not empty unless that is the default.
pub struct OneOrList<F>(std::marker::PhantomData<F>);

impl<F: Format> Format for OneOrList<F> {
    type Out = Vec<F::Out>;
    const RANGE: Option<Range> = F::RANGE;

    fn kind() -> String {
        format!("{}, or a list of such", F::kind())
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self::Out> {
        let Some(elements) = node.elements() else { return F::read(node, spot, reader).map(|one| vec![one]) };
        if elements.is_empty() && spot.key.default.is_none() {
            reader.report(spot, Code::OutOfRange, "= [] is empty: one element at least");
            return None;
        }
        read_elements::<F>(&elements, spot, reader)
    }
}

fn read_elements<F: Format>(nodes: &[Node<'_>], spot: Spot<'_>, reader: &mut Reader) -> Option<Vec<F::Out>> {
    if let Some(most) = spot.key.count_max.filter(|most| nodes.len() > *most) {
        let message = format!("has {} elements; allowed: at most {most}", nodes.len());
        reader.report(spot, Code::OutOfRange, &message);
    }
    let read = nodes.iter().enumerate().map(|(index, node)| {
        let element = node.start().map(|start| (index, start));
        F::read(*node, Spot { element, ..spot }, reader)
    });
    // Every element is read, so that each wrong one is reported.
    read.collect::<Vec<_>>().into_iter().collect()
}

/// A table; absent, it is as if it were empty.
pub struct Sub<T>(std::marker::PhantomData<T>);

impl<T: Table> Format for Sub<T> {
    type Out = T;
    const ABSENT: Option<&'static str> = Some("its keys' defaults");
    const TABLE: Option<fn() -> TableInfo> = Some(|| T::INFO);

    fn kind() -> String {
        "a table".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<T> {
        read_table::<Self, T>(node, spot, reader, T::read)
    }

    fn absent(spot: Spot<'_>, reader: &mut Reader) -> Option<T> {
        let empty = toml_edit::Table::new();
        let at = reader.inner(&empty, Node::None, spot);
        T::read(&empty, at, reader)
    }
}

/// A route's narrower form of a table of which it may set some keys only.
pub struct RouteSub<T>(std::marker::PhantomData<T>);

impl<T: Overlay> Format for RouteSub<T> {
    type Out = T;
    const ABSENT: Option<&'static str> = Some("as before the route");
    const TABLE: Option<fn() -> TableInfo> = Some(|| TableInfo { narrows: Narrows::Route, ..T::INFO });

    fn kind() -> String {
        "a table".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<T> {
        read_table::<Self, T>(node, spot, reader, T::read_route)
    }

    fn absent(spot: Spot<'_>, reader: &mut Reader) -> Option<T> {
        Sub::<T>::absent(spot, reader)
    }
}

fn read_table<F: Format, T: Table>(
    node: Node<'_>,
    spot: Spot<'_>,
    reader: &mut Reader,
    read: fn(&dyn TableLike, super::At, &mut Reader) -> Option<T>,
) -> Option<T> {
    let Some(table) = node.as_table() else {
        wrong_type::<F>(node, spot, reader);
        return None;
    };
    let at = match spot.element {
        Some((index, _)) => reader.listed(table, node, spot, label_of::<T>(table, index, reader)),
        None => reader.inner(table, node, spot),
    };
    read(table, at, reader)
}

/// A list of tables, `[[header]]` each or inline; absent, it is empty.
pub struct Objects<T>(std::marker::PhantomData<T>);

impl<T: Table> Format for Objects<T> {
    type Out = Vec<T>;
    const ABSENT: Option<&'static str> = Some("none");
    const TABLE: Option<fn() -> TableInfo> = Some(|| TableInfo { many: true, ..T::INFO });

    fn kind() -> String {
        "a list of tables".to_owned()
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self::Out> {
        let Some(elements) = node.elements() else {
            wrong_type::<Self>(node, spot, reader);
            reader.incomplete = true;
            return Some(Vec::new());
        };
        if let Some(most) = spot.key.count_max.filter(|most| elements.len() > *most) {
            let message = format!("stands {} times; allowed: at most {most}", elements.len());
            reader.report(spot, Code::OutOfRange, &message);
        }
        let mut objects = Vec::with_capacity(elements.len());
        for (index, node) in elements.into_iter().enumerate() {
            let element = Some((index, node.start().unwrap_or(0)));
            // A wrong object is reported and left out; the others are judged as usual.
            match read_table::<Sub<T>, T>(node, Spot { element, ..spot }, reader, T::read) {
                Some(object) => objects.push(object),
                None => reader.incomplete = true,
            }
        }
        Some(objects)
    }

    fn absent(_: Spot<'_>, _: &mut Reader) -> Option<Self::Out> {
        Some(Vec::new())
    }
}

/// What messages call an object: the value of the first of its naming keys, else its number in the list.
fn label_of<T: Table>(table: &dyn TableLike, index: usize, reader: &Reader) -> String {
    let named = T::LABELS.iter().find_map(|key| {
        let node = Node::of(table.get(key)?);
        node.as_str().map(str::to_owned).or_else(|| node.as_integer().map(|n| n.to_string()))
    });
    let given = || (T::LABELS.first() == Some(&"id")).then(|| reader.route_id_next().to_string());
    named
        .map(|name| name.escape_debug().to_string())
        .filter(|name| name.len() <= 100)
        .or_else(given)
        .unwrap_or_else(|| format!("#{}", index + 1))
}

/// A table of names, which the document chooses, and values.
pub struct Pairs<F>(std::marker::PhantomData<F>);

impl<F: Format> Format for Pairs<F> {
    type Out = Vec<(String, F::Out)>;
    const RANGE: Option<Range> = F::RANGE;
    const ABSENT: Option<&'static str> = Some("none");

    fn kind() -> String {
        format!("a table of names, each {}", F::kind())
    }

    fn read(node: Node<'_>, spot: Spot<'_>, reader: &mut Reader) -> Option<Self::Out> {
        let Some(table) = node.as_table() else {
            wrong_type::<Self>(node, spot, reader);
            return None;
        };
        if let Some(most) = spot.key.count_max.filter(|most| table.len() > *most) {
            let message = format!("has {} entries; allowed: at most {most}", table.len());
            reader.report(spot, Code::OutOfRange, &message);
        }
        let read = table.iter().enumerate().map(|(index, (name, item))| {
            let start = table.key(name).and_then(toml_edit::Key::span).map(|span| span.start);
            let element = start.map(|start| (index, start));
            F::read(Node::of(item), Spot { element, ..spot }, reader).map(|value| (name.to_owned(), value))
        });
        read.collect::<Vec<_>>().into_iter().collect()
    }

    fn absent(_: Spot<'_>, _: &mut Reader) -> Option<Self::Out> {
        Some(Vec::new())
    }
}

/// Reports a word that is none of `words`, with the nearest that is.
pub(super) fn not_a_choice(node: Node<'_>, words: &[&str], spot: Spot<'_>, reader: &mut Reader) {
    let near = node.as_str().and_then(|text| nearest(text, words.iter().copied()));
    let words: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    let message = format!("= {} is unknown; allowed: {}", node.written(reader.text()), words.join(", "));
    let problem = reader.problem(spot, Code::Invalid, &message).suggest(near);
    reader.push(problem);
}

/// An enumeration of words; the first is not a default by itself.
macro_rules! choices {
    (
        $(#[doc = $about:literal])+
        pub enum $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// As it is written in the document.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl $crate::config::format::Format for $name {
            type Out = Self;

            fn kind() -> String {
                [$(concat!("\"", $word, "\"")),+].join(" or ")
            }

            fn read(
                node: $crate::config::format::Node<'_>,
                spot: $crate::config::reader::Spot<'_>,
                reader: &mut $crate::config::reader::Reader,
            ) -> Option<Self> {
                match node.as_str() {
                    $(Some($word) => Some(Self::$variant),)+
                    Some(_) => {
                        $crate::config::format::not_a_choice(node, &[$($word),+], spot, reader);
                        None
                    }
                    None => {
                        $crate::config::format::wrong_type::<Self>(node, spot, reader);
                        None
                    }
                }
            }
        }
    };
}

pub(super) use choices;
