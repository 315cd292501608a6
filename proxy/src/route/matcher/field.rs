//! Header and query predicates: a name, an operation, and whether the whole is negated.

use memchr::memmem::Finder;
use regex::bytes::Regex;

use super::super::spec::FieldSpec;
use super::regex;

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
    Contains(Finder<'static>),
    Regex(Regex),
    Present,
}

impl FieldMatch {
    /// Compiles one entry; `name` as the request's names are compared.
    pub(crate) fn compile(spec: &FieldSpec, name: String) -> Result<Self, String> {
        let op = Op::compile(&spec.op, spec.value.as_deref())?;
        Ok(Self { name: name.into(), op, not: spec.not })
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
    fn compile(op: &str, value: Option<&str>) -> Result<Self, String> {
        let octets = |value: &str| -> Box<[u8]> { value.as_bytes().into() };
        match (op, value) {
            ("present", None) => Ok(Self::Present),
            ("present", Some(_)) => Err("op present takes no value".to_owned()),
            ("equals" | "prefix" | "suffix" | "contains" | "regex", None) => Err(format!("op {op} needs a value")),
            ("equals", Some(value)) => Ok(Self::Equals(octets(value))),
            ("prefix", Some(value)) => Ok(Self::Prefix(octets(value))),
            ("suffix", Some(value)) => Ok(Self::Suffix(octets(value))),
            ("contains", Some(value)) => Ok(Self::Contains(Finder::new(value).into_owned())),
            ("regex", Some(value)) => regex(value).map(Self::Regex),
            _ => Err(format!("unknown op \"{op}\": equals, prefix, suffix, contains, regex or present")),
        }
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

    fn holds(op: &str, value: Option<&str>, not: bool, values: &[&str]) -> bool {
        let spec = FieldSpec { name: "x".into(), op: op.into(), value: value.map(Into::into), not };
        let field = FieldMatch::compile(&spec, "x".into()).unwrap();
        field.holds_for(|holds| values.iter().any(|value| holds(value.as_bytes())))
    }

    #[test]
    fn any_value_may_satisfy_it_and_not_negates_the_whole() {
        let values = &["alpha", "beta"];
        for (op, value, expected) in [
            ("equals", Some("beta"), true),
            ("equals", Some("bet"), false),
            ("prefix", Some("al"), true),
            ("suffix", Some("ta"), true),
            ("contains", Some("lph"), true),
            ("contains", Some("x"), false),
            ("regex", Some("^b.t"), true),
            ("regex", Some("^z"), false),
            ("present", None, true),
        ] {
            assert_eq!(holds(op, value, false, values), expected, "{op} {value:?}");
            assert_eq!(holds(op, value, true, values), !expected, "not {op} {value:?}");
            assert_eq!(holds(op, value, true, &[]), true, "not {op} {value:?} without a value");
        }
    }

    #[test]
    fn wrong_entries_are_named() {
        let error = |op: &str, value: Option<&str>| Op::compile(op, value).unwrap_err();
        assert_eq!(error("equals", None), "op equals needs a value");
        assert_eq!(error("present", Some("x")), "op present takes no value");
        assert_eq!(error("like", Some("x")), "unknown op \"like\": equals, prefix, suffix, contains, regex or present");
        assert_eq!(error("regex", Some("(")), "bad regex \"(\": unclosed group");
        assert_eq!(error("regex", Some(&"a".repeat(1025))), "a regex has at most 1024 octets");
        assert_eq!(error("regex", Some(r"(\w{1000}){1000}")), "the compiled regex is larger than 1 MiB");
    }
}
