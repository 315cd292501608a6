//! What is wrong with a document, and where: an object's place, a problem at it, all problems of a document.

use std::fmt;
use std::sync::Arc;

/// Line and column, both from 1; 0 where the text is not known.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Position {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// Where an object of the document stands: its file, its line, what messages call it, and its keys' own lines.
///
/// Two objects that say the same are equal wherever they stand, so a place equals every other place.
#[derive(Clone, Default)]
pub struct At(Arc<Place>);

#[derive(Default)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    pub(super) start: Position,
    /// What messages call the object: `route 10`, `route 10, target a`, `limits`; empty for the document.
    pub(super) label: String,
    /// The object's path in the document: `route[3].limits`; empty for the document.
    pub(super) path: String,
    /// Stands before a key in messages where the label is that of an enclosing object: `limits.`.
    pub(super) prefix: String,
    /// Index among its siblings, 0 where it has none.
    pub(super) index: usize,
    pub(super) keys: Vec<(Box<str>, Position)>,
}

impl At {
    pub(super) fn new(place: Place) -> Self {
        Self(Arc::new(place))
    }

    pub(super) fn place(&self) -> &Place {
        &self.0
    }

    /// The document's file name, as given.
    pub fn file(&self) -> &str {
        &self.0.file
    }

    /// The line on which the object begins, from 1; 0 if it does not stand in the document.
    pub fn line(&self) -> u32 {
        self.0.start.line
    }

    /// What messages call the object: `route 10`, `listener web`, `route 10, target a`.
    pub fn label(&self) -> &str {
        &self.0.label
    }

    /// The object's path in the document: `route[3].target[0]`.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// Index among its siblings, in document order.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// Whether `key` stands in the object.
    pub fn has(&self, key: &str) -> bool {
        self.0.keys.iter().any(|(name, _)| **name == *key)
    }

    /// A problem with `key`'s value (or with the whole object, if `key` is empty or absent): on the key's own line,
    /// the object's label before `message`.
    pub fn problem(&self, key: &str, message: impl Into<String>) -> Problem {
        self.coded(Code::Invalid, key, message)
    }

    /// The same, as a warning: the document still builds.
    pub fn warning(&self, key: &str, message: impl Into<String>) -> Problem {
        Problem { warning: true, ..self.coded(Code::Lint, key, message) }
    }

    /// The same problem with a code of its own.
    pub fn coded(&self, code: Code, key: &str, message: impl Into<String>) -> Problem {
        let position = self.position_of(key);
        let dot = if self.0.path.is_empty() || key.is_empty() { "" } else { "." };
        Problem {
            file: self.0.file.clone(),
            path: format!("{}{dot}{key}", self.0.path),
            line: position.line,
            column: position.column,
            code,
            message: self.labelled(&message.into()),
            suggestion: None,
            warning: false,
        }
    }

    /// A problem with a part of `key`'s value, the one that stands at `position`.
    pub(crate) fn within(&self, key: &str, position: Position, message: &str) -> Problem {
        let problem = self.coded(Code::Expression, key, format!("{key}: {message}"));
        Problem { line: position.line, column: position.column, ..problem }
    }

    fn position_of(&self, key: &str) -> Position {
        self.0.keys.iter().find(|(name, _)| **name == *key).map_or(self.0.start, |(_, position)| *position)
    }

    fn labelled(&self, message: &str) -> String {
        if self.0.label.is_empty() { message.to_owned() } else { format!("{}: {message}", self.0.label) }
    }
}

impl PartialEq for At {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for At {}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0.file, self.0.start.line)
    }
}

/// What kind of problem it is, for programs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Code {
    /// The file cannot be read.
    Unreadable,
    /// Not TOML, not UTF-8, or too large to be read.
    Syntax,
    /// No such key.
    UnknownKey,
    /// A key that must be there is not.
    MissingKey,
    /// A value of another type.
    WrongType,
    /// A value outside its range, or too many of them.
    OutOfRange,
    /// A value of the right type that says nothing valid.
    Invalid,
    /// A secret written into the document.
    SecretInline,
    /// A rule's `match` or `when` that asks nothing valid: its column is shown too.
    Expression,
    /// Two objects of one name.
    Duplicate,
    /// A name that no object has.
    UnknownReference,
    /// Valid, and probably not what was meant.
    Lint,
}

impl Code {
    /// The token of the management API's answers.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Syntax => "syntax",
            Self::UnknownKey => "unknown_key",
            Self::MissingKey => "missing_key",
            Self::WrongType => "wrong_type",
            Self::OutOfRange => "out_of_range",
            Self::Invalid => "invalid",
            Self::SecretInline => "secret_inline",
            Self::Expression => "expression",
            Self::Duplicate => "duplicate",
            Self::UnknownReference => "unknown_reference",
            Self::Lint => "lint",
        }
    }
}

/// One thing wrong with a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The file, as its name was given.
    pub file: Arc<str>,
    /// The value's path in the document: `route[0].path_prefix`.
    pub path: String,
    /// From 1; 0 for the whole file.
    pub line: u32,
    /// From 1, in characters; 0 for the whole file.
    pub column: u32,
    /// What kind of problem it is.
    pub code: Code,
    /// What is wrong, beginning with the object: `route 10: unknown key "path_prefx"`.
    pub message: String,
    /// The nearest valid spelling, if there is a near one.
    pub suggestion: Option<String>,
    /// Whether the document builds in spite of it.
    pub warning: bool,
}

impl Problem {
    /// The same problem with a nearest valid spelling.
    pub fn suggest(mut self, nearest: Option<impl Into<String>>) -> Self {
        self.suggestion = nearest.map(Into::into);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if self.code == Code::Expression {
            write!(f, ":{}", self.column)?;
        }
        write!(f, ": {}{}", if self.warning { "warning: " } else { "" }, self.message)?;
        match &self.suggestion {
            Some(nearest) => write!(f, "; nearest: \"{nearest}\""),
            None => Ok(()),
        }
    }
}

/// All problems of a document, by line.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, after those of its line and before.
    pub fn push(&mut self, problem: Problem) {
        let after = self.0.partition_point(|other| other.line <= problem.line);
        self.0.insert(after, problem);
    }

    /// Whether the document does not build: there is a problem that is not a warning.
    pub fn is_fatal(&self) -> bool {
        self.0.iter().any(|problem| !problem.warning)
    }

    /// Whether there is neither a problem nor a warning.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are, warnings too.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// In order of lines.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }

    /// Those that leave the document valid.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter().filter(|problem| problem.warning)
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        self.0.extend(problems);
        self.0.sort_by_key(|problem| problem.line);
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        let mut all = Self::new();
        all.extend(problems);
        all
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

impl std::error::Error for Problems {}
