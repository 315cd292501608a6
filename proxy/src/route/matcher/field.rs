//! Header and query predicates: a name, an operation, and whether the whole is negated.

use memchr::memmem::Finder;
use regex::bytes::Regex;

use crate::base::regex;
use crate::config::raw;
use crate::config::value::MatchOp;

/// Values shown by `actual` before it says `...`.
const SHOWN_MAX: usize = 8;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct FieldMatch {
    /// Lower case for headers.
    pub(crate) name: Box<str>,
    op: Op,
    not: bool,
}

#[derive(Clone, Debug)]
enum Op {
    Equals(Box<[u8]>),
    Prefix(Box<[u8]>),
    Suffix(Box<[u8]>),
    Contains(Box<Finder<'static>>),
    Regex(Regex),
    Present,
}

impl FieldMatch {
    /// Compiles one entry; `name` as the request's names are compared.
    pub(crate) fn compile(raw: &raw::FieldMatch, name: String) -> Result<Self, String> {
        let op = Op::compile(raw.op, raw.value.as_deref())?;
        Ok(Self { name: name.into(), op, not: raw.not })
    }

    /// Whether it holds for the values that `any` offers: any of them may satisfy it, `not` negates the whole.
    pub(crate) fn holds_for(&self, any: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) -> bool) -> bool {
        any(&mut |value| self.op.holds(value)) != self.not
    }

    /// The values that `any` offers, for people.
    pub(crate) fn actual(&self, any: impl FnOnce(&mut dyn FnMut(&[u8]) -> bool) -> bool) -> String {
        let mut shown = Vec::new();
        any(&mut |value| {
            shown.push(if shown.len() < SHOWN_MAX { value.escape_ascii().to_string() } else { "...".to_owned() });
            shown.len() > SHOWN_MAX
        });
        if shown.is_empty() { "absent".to_owned() } else { shown.join(", ") }
    }
}

impl Op {
    fn compile(op: MatchOp, value: Option<&str>) -> Result<Self, String> {
        let Some(value) = value else {
            return if op == MatchOp::Present { Ok(Self::Present) } else { Err("value is missing".to_owned()) };
        };
        let octets = || -> Box<[u8]> { value.as_bytes().into() };
        Ok(match op {
            MatchOp::Equals => Self::Equals(octets()),
            MatchOp::Prefix => Self::Prefix(octets()),
            MatchOp::Suffix => Self::Suffix(octets()),
            MatchOp::Contains => Self::Contains(Box::new(Finder::new(value).into_owned())),
            MatchOp::Regex => Self::Regex(regex(value)?),
            MatchOp::Present => return Err("op present takes no value".to_owned()),
        })
    }

    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Equals(text) => value == &**text,
            Self::Prefix(text) => value.starts_with(text),
            Self::Suffix(text) => value.ends_with(text),
            Self::Contains(finder) => finder.find(value).is_some(),
            Self::Regex(regex) => regex.is_match(value),
            Self::Present => true,
        }
    }

    fn parts(&self) -> (&'static str, &[u8]) {
        match self {
            Self::Equals(text) => ("equals", text),
            Self::Prefix(text) => ("prefix", text),
            Self::Suffix(text) => ("suffix", text),
            Self::Contains(finder) => ("contains", finder.needle()),
            Self::Regex(regex) => ("regex", regex.as_str().as_bytes()),
            Self::Present => ("present", b""),
        }
    }
}

/// Equal if written alike: whether two regexes mean the same is never guessed.
impl PartialEq for FieldMatch {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.not == other.not && self.op.parts() == other.op.parts()
    }
}

impl std::fmt::Display for FieldMatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (op, value) = self.op.parts();
        let not = if self.not { "not " } else { "" };
        write!(f, "{not}{op}")?;
        if value.is_empty() { Ok(()) } else { write!(f, " {}", value.escape_ascii()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use MatchOp::{Contains, Equals, Prefix, Present, Suffix};

    fn holds(op: MatchOp, value: Option<&str>, not: bool, values: &[&str]) -> bool {
        let field = FieldMatch { name: "x".into(), op: Op::compile(op, value).unwrap(), not };
        field.holds_for(|holds| values.iter().any(|value| holds(value.as_bytes())))
    }

    #[test]
    fn any_value_may_satisfy_it_and_not_negates_the_whole() {
        let values = &["alpha", "beta"];
        for (op, value, expected) in [
            (Equals, Some("beta"), true),
            (Equals, Some("bet"), false),
            (Prefix, Some("al"), true),
            (Suffix, Some("ta"), true),
            (Contains, Some("lph"), true),
            (Contains, Some("x"), false),
            (MatchOp::Regex, Some("^b.t"), true),
            (MatchOp::Regex, Some("^z"), false),
            (Present, None, true),
        ] {
            assert_eq!(holds(op, value, false, values), expected, "{op:?} {value:?}");
            assert_eq!(holds(op, value, true, values), !expected, "not {op:?} {value:?}");
            assert!(holds(op, value, true, &[]) && !holds(op, value, false, &[]), "{op:?} {value:?} without a value");
        }
    }

    #[test]
    fn wrong_entries_are_named() {
        let error = |op, value: Option<&str>| Op::compile(op, value).unwrap_err();
        assert_eq!(error(Equals, None), "value is missing");
        assert_eq!(error(Present, Some("x")), "op present takes no value");
        assert_eq!(error(MatchOp::Regex, Some("(")), "bad regex \"(\": unclosed group");
        assert_eq!(error(MatchOp::Regex, Some(r"(\w{1000}){1000}")), "the compiled regex is larger than 1 MiB");
    }
}
