//! The numbers by which the kernel knows rules and bans: 0 is none.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

/// Names by number, and back.
#[derive(Default)]
pub struct Rules(Mutex<Numbers>);

#[derive(Default)]
struct Numbers {
    /// The name of number 1 comes first.
    names: Vec<Option<Arc<str>>>,
    numbers: HashMap<Arc<str>, u32>,
    free: Vec<u32>,
}

impl Rules {
    /// The number of a name, a new one if it has none.
    pub fn number(&self, name: &str) -> u32 {
        let mut all = self.lock();
        if let Some(number) = all.numbers.get(name) {
            return *number;
        }
        let name: Arc<str> = name.into();
        let number = all.free.pop().unwrap_or_else(|| {
            all.names.push(None);
            u32::try_from(all.names.len()).unwrap_or(u32::MAX)
        });
        if let Some(slot) = all.names.get_mut(number as usize - 1) {
            *slot = Some(Arc::clone(&name));
        }
        all.numbers.insert(name, number);
        number
    }

    /// The name of a number.
    pub fn name(&self, number: u32) -> Option<Arc<str>> {
        let at = number.checked_sub(1)?;
        self.lock().names.get(at as usize)?.clone()
    }

    /// Forgets all numbers but those in use; they name other rules later.
    pub fn keep(&self, used: &BTreeSet<u32>) {
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
        let [a, b] = ["a", "b"].map(|name| rules.number(name));
        assert_eq!((a, rules.number("a"), rules.name(b).as_deref(), rules.name(0)), (1, 1, Some("b"), None));
        rules.keep(&BTreeSet::from([b]));
        assert_eq!((rules.name(a), rules.number("b")), (None, b));
        assert_eq!(rules.number("c"), a, "a number that nobody has is used again");
        assert_eq!(rules.name(99), None);
    }
}
