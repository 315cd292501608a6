//! What a predicate says as well, said by a predicate: no interpretation, and `explain` can name it.

use super::super::super::facts::FieldName;
use super::super::super::nets::{self, Nets};
use super::super::super::predicate::{NumberTest, Predicate, TextField};
use super::super::super::test::Test;
use super::super::super::text::TextTest;
use super::super::term::{Comparison, List, Map, Number, Term, Text};

fn term(term: Term) -> Test {
    Test::Term(Box::new(term))
}

/// A text and what it must be, known now.
pub(super) fn text(text: Text, test: TextTest) -> Test {
    match text {
        // An absent field reads as an empty text.
        Text::Field(field) => Test::Is(Predicate::Text { absent: test.holds(b""), field, test }),
        Text::Literal(text) => Test::constant(test.holds(&text)),
        text => term(Term::Text(text, test)),
    }
}

fn number(number: Number, test: NumberTest) -> Test {
    match number {
        Number::Field(field) => Test::Is(Predicate::Number { absent: test.holds(-1), field, test }),
        Number::Literal(number) => Test::constant(test.holds(number)),
        number => term(Term::Number(number, test)),
    }
}

/// An address as text and the networks that it must be in.
pub(super) fn within(text: Text, nets: Nets) -> Test {
    match text {
        Text::Address(field) => Test::Is(Predicate::Address { field, nets }),
        text => term(Term::Within(text, nets)),
    }
}

pub(super) fn present(field: TextField) -> Test {
    Test::Is(Predicate::Text { field, test: TextTest::Present, absent: false })
}

/// The field that a key of a map is.
pub(super) fn field_of(map: Map, name: Box<str>) -> TextField {
    match map {
        Map::Headers => TextField::Header(FieldName::new(&name)),
        Map::Query => TextField::Query(name),
        Map::Cookies => TextField::Cookie(name),
    }
}

pub(super) fn texts(comparison: Comparison, left: Text, right: Text) -> Test {
    match (comparison, left, right) {
        (Comparison::Equal, Text::Literal(literal), other) | (Comparison::Equal, other, Text::Literal(literal)) => {
            equals(other, vec![literal])
        }
        (comparison, left, right) => term(Term::Texts(comparison, left, right)),
    }
}

/// One of some literals. An address is compared as such, if that is the same: it has one spelling.
fn equals(other: Text, literals: Vec<Box<[u8]>>) -> Test {
    if let Text::Address(field) = other {
        let spelled = |literal: &[u8]| {
            let text = std::str::from_utf8(literal).ok()?;
            let net = nets::net(text)?;
            (net.addr().to_string() == text).then_some(net)
        };
        return match literals.iter().map(|literal| spelled(literal)).collect::<Option<Vec<_>>>() {
            Some(nets) => Test::Is(Predicate::Address { field, nets: Nets::new(nets) }),
            None => term(Term::Text(other, TextTest::one_of(literals))),
        };
    }
    text(other, TextTest::one_of(literals))
}

pub(super) fn numbers(comparison: Comparison, left: Number, right: Number) -> Test {
    match (comparison, left, right) {
        (Comparison::Equal, Number::Literal(literal), other) | (Comparison::Equal, other, Number::Literal(literal)) => {
            number(other, NumberTest::In([literal].into()))
        }
        (Comparison::LessOrEqual, other, Number::Literal(most)) => number(other, NumberTest::Max(most)),
        (Comparison::LessOrEqual, Number::Literal(least), other) => number(other, NumberTest::Min(least)),
        (Comparison::Less, other, Number::Literal(end)) if end > i64::MIN => number(other, NumberTest::Max(end - 1)),
        (Comparison::Less, Number::Literal(end), other) if end < i64::MAX => number(other, NumberTest::Min(end + 1)),
        (comparison, left, right) => term(Term::Numbers(comparison, left, right)),
    }
}

pub(super) fn negative(number: Number) -> Number {
    match number {
        Number::Literal(literal) if literal != i64::MIN => Number::Literal(-literal),
        number => Number::Negative(Box::new(number)),
    }
}

pub(super) fn text_in(item: Text, list: List) -> Test {
    match (item, list) {
        (item, List::Texts(texts)) if texts.iter().all(|text| matches!(text, Text::Literal(_))) => {
            let literal = |text| if let Text::Literal(text) = text { Some(text) } else { None };
            equals(item, texts.into_iter().filter_map(literal).collect())
        }
        (Text::Literal(value), list @ (List::Headers(_) | List::Queries(_))) => {
            exists(list, term(Term::Text(Text::Item(0), TextTest::Equals(value))))
        }
        (item, list) => term(Term::TextIn(item, list)),
    }
}

pub(super) fn number_in(item: Number, list: List) -> Test {
    let List::Numbers(numbers) = list else { return term(Term::NumberIn(item, list)) };
    let literal = |number: &Number| if let Number::Literal(number) = number { Some(*number) } else { None };
    match numbers.iter().map(literal).collect::<Option<Vec<_>>>() {
        Some(literals) => number(item, NumberTest::In(literals.into())),
        None => term(Term::NumberIn(item, List::Numbers(numbers))),
    }
}

/// What one value of a field must be is what the field's predicate asks.
pub(super) fn exists(list: List, body: Test) -> Test {
    let body = match body {
        Test::Term(body) => match *body {
            Term::Text(Text::Item(0), test) => match list {
                List::Headers(name) => return value(TextField::Header(name), test),
                List::Queries(name) => return value(TextField::Query(name), test),
                list => return term(Term::Exists(list, term(Term::Text(Text::Item(0), test)))),
            },
            body => term(body),
        },
        body => body,
    };
    term(Term::Exists(list, body))
}

fn value(field: TextField, test: TextTest) -> Test {
    Test::Is(Predicate::Text { field, test, absent: false })
}

pub(super) fn every(list: List, body: Test) -> Test {
    term(Term::Every(list, body))
}
