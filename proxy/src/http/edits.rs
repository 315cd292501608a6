//! Edits over a head's fields: what a route removes, sets and adds, collected apart from the head it applies to.

/// Field edits in the order they were made. Reused: its memory stays.
#[derive(Debug)]
pub struct Edits {
    /// Names and values of what follows, one after the other.
    bytes: Vec<u8>,
    removed: Vec<(usize, usize)>,
    added: Vec<Added>,
}

#[derive(Clone, Copy, Debug)]
struct Added {
    start: usize,
    name_end: usize,
    end: usize,
}

impl Default for Edits {
    fn default() -> Self {
        Self::new()
    }
}

impl Edits {
    /// No edits; allocates nothing.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), removed: Vec::new(), added: Vec::new() }
    }

    /// Forgets all edits; keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.removed.clear();
        self.added.clear();
    }

    /// Whether there is nothing to apply: the serialisers' fast path.
    pub fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty()
    }

    /// Takes every field of that name away: the head's, and those added before.
    pub fn remove(&mut self, name: &[u8]) {
        let bytes = &self.bytes;
        self.added.retain(|added| !bytes[added.start..added.name_end].eq_ignore_ascii_case(name));
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        self.removed.push((start, self.bytes.len()));
    }

    /// Replaces every field of that name by one. False, and without effect, if the name or value may not be sent.
    pub fn set(&mut self, name: &[u8], value: &[u8]) -> bool {
        let valid = may_send(name, value);
        if valid {
            self.remove(name);
            self.push(name, value);
        }
        valid
    }

    /// Adds a field line. False, and without effect, if the name or value may not be sent.
    pub fn add(&mut self, name: &[u8], value: &[u8]) -> bool {
        let valid = may_send(name, value);
        if valid {
            self.push(name, value);
        }
        valid
    }

    /// Adds a field line of weir's own making, whose octets may be sent whatever the request was: they are not judged.
    pub fn add_own(&mut self, name: &'static str, value: &[u8]) {
        debug_assert!(may_send(name.as_bytes(), value), "{name}: {}", value.escape_ascii());
        self.push(name.as_bytes(), value);
    }

    /// The same in the place of every field of that name.
    pub fn set_own(&mut self, name: &'static str, value: &[u8]) {
        let bytes = &self.bytes;
        self.added.retain(|added| !bytes[added.start..added.name_end].eq_ignore_ascii_case(name.as_bytes()));
        self.add_own(name, value);
        // The name stands once, in the line that it now names.
        self.removed.extend(self.added.last().map(|added| (added.start, added.name_end)));
    }

    /// Adds a field line unless one of that name remains; `in_head` says whether the head has one.
    pub fn add_missing(&mut self, name: &[u8], value: &[u8], in_head: bool) -> bool {
        let remains = in_head && !self.hides(name);
        remains || self.iter().any(|(added, _)| added.eq_ignore_ascii_case(name)) || self.add(name, value)
    }

    /// Whether the head's fields of that name are taken away.
    pub fn hides(&self, name: &[u8]) -> bool {
        self.removed.iter().any(|&(start, end)| self.bytes[start..end].eq_ignore_ascii_case(name))
    }

    /// The added lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.added.iter().map(|a| (&self.bytes[a.start..a.name_end], &self.bytes[a.name_end..a.end]))
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(name);
        let name_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.added.push(Added { start, name_end, end: self.bytes.len() });
    }
}

fn may_send(name: &[u8], value: &[u8]) -> bool {
    super::is_token(name) && super::is_field_value(value)
}
