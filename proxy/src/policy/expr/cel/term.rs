//! What an expression becomes where no predicate says the same: typed, with literals made ready.

use std::cmp::Ordering;

use super::super::facts::FieldName;
use super::super::nets::Nets;
use super::super::predicate::{AddressField, NumberField, NumberTest, TextField};
use super::super::test::Test;
use super::super::text::TextTest;

/// A yes or no.
#[derive(Debug)]
pub(in super::super) enum Term {
    Text(Text, TextTest),
    Number(Number, NumberTest),
    Texts(Comparison, Text, Text),
    Numbers(Comparison, Number, Number),
    /// Both yes or both no.
    Same(Test, Test),
    Part(Part, Text, Text),
    Within(Text, Nets),
    TextIn(Text, List),
    NumberIn(Number, List),
    KeyIn(Text, Map),
    Exists(List, Test),
    Every(List, Test),
    If(Test, Test, Test),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Comparison {
    Equal,
    Less,
    LessOrEqual,
}

impl Comparison {
    pub(super) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
        }
    }
}

/// What a text has to do with another, of which neither is a literal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Part {
    StartsWith,
    EndsWith,
    Contains,
    /// `path_prefix`.
    Segments,
    /// `host_match`.
    Host,
    /// `cidr`.
    Within,
}

#[derive(Debug)]
pub(in super::super) enum Text {
    Literal(Box<[u8]>),
    /// One that has one value at most; empty if absent.
    Field(TextField),
    /// Empty if there is none.
    Address(AddressField),
    Cookie(Box<Text>),
    /// A macro's variable, that of so many macros further out.
    Item(usize),
    At(Box<List>, Box<Number>),
    If(Box<Test>, Box<(Text, Text)>),
}

#[derive(Debug)]
pub(in super::super) enum Number {
    Literal(i64),
    /// -1 if absent.
    Field(NumberField),
    /// Characters.
    Length(Text),
    Count(Box<List>),
    Negative(Box<Number>),
    Arithmetic(Arithmetic, Box<(Number, Number)>),
    /// As for texts.
    Item(usize),
    At(Box<List>, Box<Number>),
    If(Box<Test>, Box<(Number, Number)>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Debug)]
pub(in super::super) enum List {
    Headers(FieldName),
    HeadersOf(Text),
    Queries(Box<str>),
    QueriesOf(Text),
    /// The keys of a map.
    Keys(Map),
    Texts(Box<[Text]>),
    Numbers(Box<[Number]>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Map {
    Headers,
    Query,
    Cookies,
}
