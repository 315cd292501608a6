//! Ids of rules.

use uuid::Uuid;

/// Of weir's rules among all names (RFC 9562 section 5.5).
const NAMESPACE: Uuid = Uuid::from_u128(0x6f0a_0d3b_5c1e_4f6f_9a55_7765_6972_0001);

/// A rule's id: the same on every node and after every restart, for as long as the rule's kind and name are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RuleId(Uuid);

impl RuleId {
    /// The id of the rule `name` in the table `kind`.
    pub fn of(kind: &str, name: &str) -> Self {
        Self(Uuid::new_v5(&NAMESPACE, format!("{kind}/{name}").as_bytes()))
    }

    /// The UUID.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl std::fmt::Display for RuleId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}
