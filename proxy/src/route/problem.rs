//! What is wrong with a document's routes: the object, the key, and a sentence.

/// The object that a problem is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Object {
    /// Position among the document's listeners.
    Listener(usize),
    /// Position among the document's routes.
    Route(usize),
    /// A template by name, which need not exist.
    Template(String),
}

/// One error. All of a document are reported, not only the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What it is about.
    pub object: Object,
    /// The key within the object; empty: the object as a whole.
    pub key: &'static str,
    /// The sentence, without the object's label.
    pub message: String,
}

/// Collects the problems of one object.
pub(crate) struct Problems<'a> {
    object: Object,
    all: &'a mut Vec<Problem>,
}

impl<'a> Problems<'a> {
    pub(crate) fn new(object: Object, all: &'a mut Vec<Problem>) -> Self {
        Self { object, all }
    }

    pub(crate) fn push(&mut self, key: &'static str, message: impl Into<String>) {
        self.all.push(Problem { object: self.object.clone(), key, message: message.into() });
    }

    /// The value, or a problem in its place.
    pub(crate) fn take<T>(&mut self, key: &'static str, value: Result<T, String>) -> Option<T> {
        value.map_err(|message| self.push(key, message)).ok()
    }
}
