//! The numbers by which the kernel knows rules and bans: 0 is none.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use super::deny::RuleName;

/// Names by number, and back.
#[derive(Default)]
pub(super) struct Rules(Mutex<Numbers>);

#[derive(Default)]
struct Numbers {
    /// The name of number 1 comes first.
    names: Vec<Option<RuleName>>,
    numbers: HashMap<RuleName, u32>,
    free: Vec<u32>,
}

impl Rules {
    /// The number of a name, a new one if it has none.
    pub(super) fn number(&self, name: &RuleName) -> u32 {
        let mut all = self.lock();
        if let Some(number) = all.numbers.get(name) {
            return *number;
        }
        let number = all.free.pop().unwrap_or_else(|| {
            all.names.push(None);
            u32::try_from(all.names.len()).unwrap_or(u32::MAX)
        });
        if let Some(slot) = all.names.get_mut(number as usize - 1) {
            *slot = Some(name.clone());
        }
        all.numbers.insert(name.clone(), number);
        number
    }

    /// The name of a number.
    pub(super) fn name(&self, number: u32) -> Option<RuleName> {
        let at = number.checked_sub(1)?;
        self.lock().names.get(at as usize)?.clone()
    }

    /// Forgets all numbers but those in use; they name other rules later.
    pub(super) fn keep(&self, used: &BTreeSet<u32>) {
        let mut all = self.lock();
        let all = &mut *all;
        all.numbers.retain(|_, number| used.contains(number));
        for (slot, number) in all.names.iter_mut().zip(1..) {
            if slot.is_some() && !used.contains(&number) {
                *slot = None;
                all.free.push(number);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Numbers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_rules_until_they_are_forgotten() {
        let rules = Rules::default();
        let name = |name: &str| RuleName { table: "ban", name: name.into() };
        let [a, b] = ["a", "b"].map(|text| rules.number(&name(text)));
        assert_eq!((a, rules.number(&name("a")), rules.name(b), rules.name(0)), (1, 1, Some(name("b")), None));
        let other = rules.number(&RuleName { table: "rate_limit", ..name("a") });
        assert_ne!(other, a, "tables keep their names apart");
        rules.keep(&BTreeSet::from([b, other]));
        assert_eq!((rules.name(a), rules.number(&name("b"))), (None, b));
        assert_eq!(rules.number(&name("c")), a, "a number that nobody has is used again");
        assert_eq!(rules.name(99), None);
    }
}
