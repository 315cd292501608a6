//! Operators: which a field has, and what their values must be.

use super::super::nets::{self, Nets};
use super::super::predicate::{AddressField, NumberField, NumberTest, Predicate, TextField};
use super::super::test::Test;
use super::super::text::TextTest;
use super::super::{Context, Wrong};
use super::is;
use crate::base::regex;
use crate::config::value::{HostPattern, Matching, Tree};
use crate::policy::geoip::Country;

/// Values of one operator, and octets of a value.
const VALUES_MAX: usize = 64;
const VALUE_MAX: usize = 512;

/// A field, and with it the operators that it has.
pub(super) enum Kind {
    /// One of a few words.
    Word(TextField),
    /// Free text that is always there, or all but always.
    Text(TextField),
    /// Free text under a name of the client's choice.
    Named(TextField),
    Address(AddressField),
    Number(NumberField),
    /// Whether the client is known.
    Flag,
}

impl Kind {
    pub(super) fn operators(&self) -> &'static [&'static str] {
        match self {
            Self::Word(_) | Self::Flag => &["equals", "in"],
            Self::Text(TextField::Host) => &["equals", "in", "prefix", "suffix", "contains", "matches", "pattern"],
            Self::Text(_) => &["equals", "in", "prefix", "suffix", "contains", "matches"],
            Self::Named(_) => &["equals", "in", "prefix", "suffix", "contains", "matches", "present"],
            Self::Address(_) => &["equals", "in", "cidr"],
            Self::Number(_) => &["equals", "in", "min", "max"],
        }
    }

    /// What a value means that stands without an operator.
    pub(super) fn bare_operator(&self, value: &Matching) -> &'static str {
        match (self, &value.tree) {
            (Self::Text(TextField::Host), _) => "pattern",
            (_, Tree::List(_)) => "in",
            _ => "equals",
        }
    }

    pub(super) fn compile(&self, operator: &str, value: &Matching, context: &Context) -> Result<Test, Wrong> {
        match self {
            Self::Word(field) => {
                let texts = texts(operator, value)?;
                texts.iter().try_for_each(|(at, text)| check_word(field, at, text, context))?;
                Ok(text_test(field, one_of(&texts)))
            }
            Self::Text(field) | Self::Named(field) => text(field, operator, value),
            Self::Address(field) => address(*field, operator, value),
            Self::Number(field) => number(*field, operator, value),
            Self::Flag => flag(operator, value),
        }
    }
}

fn text(field: &TextField, operator: &str, value: &Matching) -> Result<Test, Wrong> {
    if operator == "present" {
        let Tree::Flag(present) = value.tree else { return Err(must_be(operator, value, "true or false")) };
        let test = text_test(field, TextTest::Present);
        return Ok(if present { test } else { test.negated() });
    }
    let texts = texts(operator, value)?;
    if matches!(operator, "equals" | "in") {
        return Ok(text_test(field, one_of(&texts)));
    }
    let tests = texts.iter().map(|(at, text)| one_text(field, operator, at, text));
    Ok(text_test(field, TextTest::any(tests.collect::<Result<_, _>>()?)))
}

fn one_text(field: &TextField, operator: &str, at: &Matching, text: &str) -> Result<TextTest, Wrong> {
    let octets = || text.as_bytes().into();
    let wrong = |why: String| Wrong::new(at.position, why);
    Ok(match operator {
        "prefix" if *field == TextField::Path && !text.starts_with('/') => {
            return Err(wrong(format!("prefix = \"{}\" must begin with \"/\"", text.escape_debug())));
        }
        "prefix" if *field == TextField::Path => TextTest::Segments(octets()),
        "prefix" => TextTest::Prefix(octets()),
        "suffix" => TextTest::Suffix(octets()),
        "contains" => TextTest::contains(text),
        "matches" => TextTest::Matches(regex(text).map_err(wrong)?),
        _ => TextTest::Host(HostPattern::parse(text).map_err(wrong)?),
    })
}

fn text_test(field: &TextField, test: TextTest) -> Test {
    is(Predicate::Text { field: field.clone(), test, absent: false })
}

fn one_of(texts: &[(&Matching, &str)]) -> TextTest {
    TextTest::one_of(texts.iter().map(|(_, text)| text.as_bytes().into()).collect())
}

/// What no request can ever be is a mistake.
fn check_word(field: &TextField, at: &Matching, text: &str, context: &Context) -> Result<(), Wrong> {
    let listeners: Vec<&str> = context.listeners.iter().map(|name| &**name).collect();
    let words: &[&str] = match field {
        TextField::Protocol => &["http", "https"],
        TextField::HttpVersion => &["1.0", "1.1", "2"],
        TextField::TlsVersion => &["1.2", "1.3"],
        TextField::Listener => &listeners,
        TextField::Country if Country::new(text).is_none() => {
            return Err(Wrong::new(
                at.position,
                format!("\"{}\" is no code of two capital letters", text.escape_debug()),
            ));
        }
        TextField::Method if !crate::http::is_token(text.as_bytes()) => {
            return Err(Wrong::new(at.position, format!("\"{}\" is no method", text.escape_debug())));
        }
        _ => return Ok(()),
    };
    if words.contains(&text) {
        return Ok(());
    }
    let nearest = crate::config::nearest(text, words.iter().copied()).map(str::to_owned);
    let message = format!("there is no \"{}\"", text.escape_debug());
    Err(Wrong { nearest, ..Wrong::new(at.position, message) })
}

fn address(field: AddressField, operator: &str, value: &Matching) -> Result<Test, Wrong> {
    let nets = texts(operator, value)?.into_iter().map(|(at, text)| {
        let net = nets::net(text).filter(|_| operator == "cidr" || !text.contains('/'));
        let kind = if operator == "cidr" { "network such as 10.0.0.0/8" } else { "address; networks stand in cidr" };
        net.ok_or_else(|| Wrong::new(at.position, format!("\"{}\" is no {kind}", text.escape_debug())))
    });
    let nets = Nets::new(nets.collect::<Result<_, _>>()?);
    Ok(is(Predicate::Address { field, nets }))
}

fn number(field: NumberField, operator: &str, value: &Matching) -> Result<Test, Wrong> {
    let one = |value: &Matching| match value.tree {
        Tree::Number(number) if number >= 0 => Ok(number),
        _ => Err(must_be(operator, value, "a whole number from 0")),
    };
    let test = match operator {
        "min" => NumberTest::Min(one(value)?),
        "max" => NumberTest::Max(one(value)?),
        _ => NumberTest::In(values(operator, value)?.iter().map(|value| one(value)).collect::<Result<_, _>>()?),
    };
    Ok(is(Predicate::Number { field, test, absent: false }))
}

fn flag(operator: &str, value: &Matching) -> Result<Test, Wrong> {
    let flags = values(operator, value)?.into_iter().map(|value| match value.tree {
        Tree::Flag(flag) => Ok(is(Predicate::ClientKnown(flag))),
        _ => Err(must_be(operator, value, "true or false")),
    });
    Ok(Test::any(flags.collect::<Result<_, _>>()?))
}

/// The texts of a value.
fn texts<'m>(operator: &str, value: &'m Matching) -> Result<Vec<(&'m Matching, &'m str)>, Wrong> {
    let one = |value: &'m Matching| match &value.tree {
        Tree::Text(text) if text.len() > VALUE_MAX => {
            let message = format!("a value of {} octets; allowed: at most {VALUE_MAX}", text.len());
            Err(Wrong::new(value.position, message))
        }
        Tree::Text(text) => Ok((value, text.as_str())),
        _ => Err(must_be(operator, value, "a string")),
    };
    values(operator, value)?.into_iter().map(one).collect()
}

/// A value, or the values of a list, which `equals` does not take.
fn values<'m>(operator: &str, value: &'m Matching) -> Result<Vec<&'m Matching>, Wrong> {
    match &value.tree {
        Tree::List(_) if operator == "equals" => Err(must_be(operator, value, "one value; lists stand in in")),
        Tree::List(list) if list.is_empty() => Err(Wrong::new(value.position, format!("{operator} = [] is empty"))),
        Tree::List(list) if list.len() > VALUES_MAX => {
            let message = format!("{operator} has {} values; allowed: at most {VALUES_MAX}", list.len());
            Err(Wrong::new(value.position, message))
        }
        Tree::List(list) => Ok(list.iter().collect()),
        _ if operator == "in" => Err(must_be(operator, value, "a list")),
        _ => Ok(vec![value]),
    }
}

fn must_be(operator: &str, value: &Matching, what: &str) -> Wrong {
    Wrong::new(value.position, format!("{operator} must be {what}"))
}
