//! Asks terms of a request. Bounded by what the load allowed: each node once, macros' bodies once an element.

use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;
use std::ops::ControlFlow;

use ipnet::IpNet;
use smallvec::SmallVec;

use super::super::facts::FieldName;
use super::super::test::Test;
use super::super::text::covers;
use super::super::{EvalError, Facts};
use super::term::{Arithmetic, List, Map, Number, Part, Term, Text};
use crate::config::value::HostPattern;
use crate::http::has_path_prefix;

/// The variables of the macros around a term, the innermost first.
#[derive(Clone, Copy)]
pub(in super::super) struct Scope<'s> {
    item: Item<'s>,
    outer: Option<&'s Scope<'s>>,
}

/// A list's element.
#[derive(Clone, Copy)]
enum Item<'s> {
    Text(&'s [u8]),
    Number(i64),
}

impl Scope<'_> {
    /// Outside of all macros.
    pub(in super::super) const EMPTY: Scope<'static> = Scope { item: Item::Text(b""), outer: None };

    fn item(&self, up: usize) -> Item<'_> {
        let mut scope = self;
        for _ in 0..up {
            scope = scope.outer.unwrap_or(scope);
        }
        scope.item
    }
}

impl Term {
    pub(in super::super) fn holds(&self, facts: &Facts<'_>, scope: Scope<'_>) -> Result<bool, EvalError> {
        match self {
            Self::Text(text, test) => text.with(facts, scope, |text| test.holds(text)),
            Self::Number(number, test) => number.value(facts, scope).map(|number| test.holds(number)),
            Self::Texts(comparison, left, right) => {
                left.with(facts, scope, |left| right.with(facts, scope, |right| comparison.holds(left.cmp(right))))?
            }
            Self::Numbers(comparison, left, right) => {
                let (left, right) = (left.value(facts, scope)?, right.value(facts, scope)?);
                Ok(comparison.holds(left.cmp(&right)))
            }
            Self::Same(left, right) => Ok(left.holds(facts, scope)? == right.holds(facts, scope)?),
            Self::Part(part, whole, other) => {
                whole.with(facts, scope, |whole| other.with(facts, scope, |other| part.holds(whole, other)))??
            }
            Self::Within(text, nets) => {
                text.with(facts, scope, |text| address(text).is_some_and(|address| nets.contain(address)))
            }
            Self::TextIn(text, list) => text.with(facts, scope, |text| list.has_text(text, facts, scope))?,
            Self::NumberIn(number, list) => {
                let number = number.value(facts, scope)?;
                list.any(facts, scope, |item| Ok(matches!(item, Item::Number(other) if other == number)))
            }
            Self::KeyIn(key, map) => key.with(facts, scope, |key| map.has(key, facts)),
            Self::Exists(list, body) => quantified(list, body, true, facts, scope),
            Self::Every(list, body) => quantified(list, body, false, facts, scope),
            Self::If(condition, yes, no) => match condition.holds(facts, scope)? {
                true => yes.holds(facts, scope),
                false => no.holds(facts, scope),
            },
        }
    }
}

/// `decisive` if the body says so of any element.
fn quantified(
    list: &List,
    body: &Test,
    decisive: bool,
    facts: &Facts<'_>,
    scope: Scope<'_>,
) -> Result<bool, EvalError> {
    let found = list.any(facts, scope, |item| {
        let inner = Scope { item, outer: Some(&scope) };
        body.holds(facts, inner).map(|holds| holds == decisive)
    });
    found.map(|found| found == decisive)
}

impl Part {
    fn holds(self, whole: &[u8], other: &[u8]) -> Result<bool, EvalError> {
        Ok(match self {
            Self::StartsWith => whole.starts_with(other),
            Self::EndsWith => whole.ends_with(other),
            Self::Contains => memchr::memmem::find(whole, other).is_some(),
            Self::Segments => has_path_prefix(whole, other),
            Self::Host => {
                let pattern = std::str::from_utf8(other).ok().and_then(|text| HostPattern::parse(text).ok());
                covers(&pattern.ok_or(EvalError::Pattern)?, whole)
            }
            Self::Within => {
                let net = std::str::from_utf8(other).ok().and_then(|text| text.parse::<IpNet>().ok());
                let net = net.ok_or(EvalError::Network)?;
                address(whole).is_some_and(|address| net.contains(&address))
            }
        })
    }
}

fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

impl Text {
    fn with<T>(&self, facts: &Facts<'_>, scope: Scope<'_>, then: impl FnOnce(&[u8]) -> T) -> Result<T, EvalError> {
        match self {
            Self::Literal(text) => Ok(then(text)),
            Self::Field(field) => Ok(field.with(facts, |text| then(text.unwrap_or_default()))),
            Self::Address(field) => {
                // Room for the longest address (RFC 4291 section 2.2, with an IPv4 tail).
                let mut text = [0; 45];
                let mut rest = &mut text[..];
                let written = field.value(facts).map(|address| write!(rest, "{address}"));
                let length = 45 - rest.len();
                Ok(then(if matches!(written, Some(Ok(()))) { &text[..length] } else { b"" }))
            }
            Self::Cookie(name) => {
                let name = name.value(facts, scope)?;
                Ok(then(facts.cookie(&name).unwrap_or_default()))
            }
            Self::Item(up) => match scope.item(*up) {
                Item::Text(text) => Ok(then(text)),
                Item::Number(_) => Err(EvalError::Index),
            },
            Self::At(list, index) => {
                let index = index.value(facts, scope)?;
                let mut then = Some(then);
                list.at(index, facts, scope, |item| match item {
                    Item::Text(text) => then.take().map(|then| then(text)),
                    Item::Number(_) => None,
                })
            }
            Self::If(condition, texts) => match condition.holds(facts, scope)? {
                true => texts.0.with(facts, scope, then),
                false => texts.1.with(facts, scope, then),
            },
        }
    }
}

impl Text {
    fn value(&self, facts: &Facts<'_>, scope: Scope<'_>) -> Result<Cow<'_, [u8]>, EvalError> {
        match self {
            Self::Literal(text) => Ok(Cow::Borrowed(text)),
            text => text.with(facts, scope, |text| Cow::Owned(text.to_vec())),
        }
    }
}

impl Number {
    fn value(&self, facts: &Facts<'_>, scope: Scope<'_>) -> Result<i64, EvalError> {
        match self {
            Self::Literal(number) => Ok(*number),
            Self::Field(field) => Ok(field.value(facts).unwrap_or(-1)),
            Self::Length(text) => text.with(facts, scope, characters),
            Self::Count(list) => {
                let mut count = 0;
                list.any(facts, scope, |_| {
                    count += 1;
                    Ok(false)
                })?;
                Ok(count)
            }
            Self::Negative(number) => number.value(facts, scope)?.checked_neg().ok_or(EvalError::Overflow),
            Self::Arithmetic(operation, numbers) => {
                operation.of(numbers.0.value(facts, scope)?, numbers.1.value(facts, scope)?)
            }
            Self::Item(up) => match scope.item(*up) {
                Item::Number(number) => Ok(number),
                Item::Text(_) => Err(EvalError::Index),
            },
            Self::At(list, index) => {
                let index = index.value(facts, scope)?;
                list.at(index, facts, scope, |item| if let Item::Number(number) = item { Some(number) } else { None })
            }
            Self::If(condition, numbers) => match condition.holds(facts, scope)? {
                true => numbers.0.value(facts, scope),
                false => numbers.1.value(facts, scope),
            },
        }
    }
}

/// What is not UTF-8 counts as it would be shown.
fn characters(text: &[u8]) -> i64 {
    text.utf8_chunks()
        .map(|chunk| chunk.valid().chars().count() + usize::from(!chunk.invalid().is_empty()))
        .sum::<usize>() as i64
}

impl Arithmetic {
    fn of(self, left: i64, right: i64) -> Result<i64, EvalError> {
        if right == 0 && matches!(self, Self::Divide | Self::Modulo) {
            return Err(EvalError::Division);
        }
        let number = match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
            Self::Divide => left.checked_div(right),
            Self::Modulo => left.checked_rem(right),
        };
        number.ok_or(EvalError::Overflow)
    }
}

impl List {
    /// Whether `holds` of any element. An error is the answer only where no element decides.
    fn any(
        &self,
        facts: &Facts<'_>,
        scope: Scope<'_>,
        mut holds: impl FnMut(Item<'_>) -> Result<bool, EvalError>,
    ) -> Result<bool, EvalError> {
        let mut error = None;
        let flow = self.each(facts, scope, &mut |item| match holds(item) {
            Ok(true) => ControlFlow::Break(()),
            Ok(false) => ControlFlow::Continue(()),
            Err(found) => {
                error = error.or(Some(found));
                ControlFlow::Continue(())
            }
        })?;
        match error {
            Some(error) if flow.is_continue() => Err(error),
            _ => Ok(flow.is_break()),
        }
    }

    fn has_text(&self, text: &[u8], facts: &Facts<'_>, scope: Scope<'_>) -> Result<bool, EvalError> {
        self.any(facts, scope, |item| Ok(matches!(item, Item::Text(other) if other == text)))
    }

    fn at<T>(
        &self,
        index: i64,
        facts: &Facts<'_>,
        scope: Scope<'_>,
        mut then: impl FnMut(Item<'_>) -> Option<T>,
    ) -> Result<T, EvalError> {
        let mut left = usize::try_from(index).map_err(|_| EvalError::Index)?;
        let mut found = Err(EvalError::Index);
        let _ = self.each(facts, scope, &mut |item| {
            if left > 0 {
                left -= 1;
                return ControlFlow::Continue(());
            }
            found = then(item).ok_or(EvalError::Index);
            ControlFlow::Break(())
        })?;
        found
    }

    /// Calls `each` with the elements in order, until it breaks. A list of which one element fails fails as a whole.
    fn each(
        &self,
        facts: &Facts<'_>,
        scope: Scope<'_>,
        each: &mut dyn FnMut(Item<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, EvalError> {
        let mut text = |text: &[u8]| each(Item::Text(text));
        Ok(match self {
            Self::Headers(name) => facts.headers(name).try_for_each(text),
            Self::HeadersOf(name) => name.with(facts, scope, |name| headers_of(name, facts).try_for_each(text))?,
            Self::Queries(name) => facts.queries(name.as_bytes()).try_for_each(text),
            Self::QueriesOf(name) => name.with(facts, scope, |name| facts.queries(name).try_for_each(text))?,
            Self::Keys(Map::Query) => facts.query_names().try_for_each(text),
            Self::Keys(_) => facts.header_names().try_for_each(|name| {
                let mut lower = SmallVec::<[u8; 64]>::from_slice(name);
                lower.make_ascii_lowercase();
                text(&lower)
            }),
            Self::Texts(texts) => {
                let texts = texts.iter().map(|text| text.value(facts, scope));
                texts.collect::<Result<SmallVec<[_; 8]>, _>>()?.iter().try_for_each(|value| text(value))
            }
            Self::Numbers(numbers) => {
                let numbers = numbers.iter().map(|number| number.value(facts, scope));
                let numbers = numbers.collect::<Result<SmallVec<[_; 8]>, _>>()?;
                numbers.iter().try_for_each(|number| each(Item::Number(*number)))
            }
        })
    }
}

/// The values of a header field whose name only the request tells; names are in lower case.
fn headers_of<'f>(name: &'f [u8], facts: &'f Facts<'_>) -> impl Iterator<Item = &'f [u8]> {
    let lower = !name.iter().any(u8::is_ascii_uppercase);
    let text = std::str::from_utf8(name).ok().filter(|_| lower);
    let values: SmallVec<[&[u8]; 4]> =
        text.map(FieldName::new).map(|name| facts.headers(&name).collect()).unwrap_or_default();
    values.into_iter()
}

impl Map {
    fn has(self, key: &[u8], facts: &Facts<'_>) -> bool {
        match self {
            Self::Headers => headers_of(key, facts).next().is_some(),
            Self::Query => facts.queries(key).next().is_some(),
            Self::Cookies => facts.cookie(key).is_some(),
        }
    }
}
