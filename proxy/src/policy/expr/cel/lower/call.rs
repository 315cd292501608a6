//! Operators and functions.

use cel::IdedExpr;
use cel::common::ast::{CallExpr, operators};

use super::super::super::nets::{self, Nets};
use super::super::super::test::Test;
use super::super::super::text::TextTest;
use super::super::Fault;
use super::super::term::{Arithmetic, Comparison, List, Map, Number, Part, Term, Text};
use super::{Lowering, Typed, simplify};
use crate::base::regex;
use crate::config::value::HostPattern;

/// Names of functions, for suggestions.
const FUNCTIONS: &[&str] = &[
    "host_match",
    "path_prefix",
    "cidr",
    "matches",
    "startsWith",
    "endsWith",
    "contains",
    "size",
    "exists",
    "all",
    "has",
];

impl<'c> Lowering<'c> {
    pub(super) fn call(&mut self, expr: &'c IdedExpr, call: &'c CallExpr) -> Result<Typed, Fault> {
        let arguments: Vec<&'c IdedExpr> = call.target.as_deref().into_iter().chain(&call.args).collect();
        let is_method = call.target.is_some();
        match (call.func_name.as_str(), is_method, arguments.as_slice()) {
            (name, false, [left, right]) if operator(name).is_some() => self.binary(expr, name, left, right),
            (operators::LOGICAL_NOT, false, [inner]) => Ok(Typed::Flag(self.flag(inner)?.negated())),
            (operators::NEGATE, false, [inner]) => Ok(Typed::Number(simplify::negative(self.number(inner)?))),
            (operators::CONDITIONAL, false, [condition, yes, no]) => self.conditional(expr, condition, yes, no),
            ("size", _, [inner]) => self.size(inner),
            (name @ ("startsWith" | "endsWith" | "contains"), true, [whole, part]) => self.part(name, whole, part),
            (name @ ("host_match" | "path_prefix" | "cidr"), false, [whole, part]) => self.part(name, whole, part),
            ("matches", _, [text, pattern]) => self.matches(text, pattern),
            (name, ..) => Err(self.no_call(expr, name, is_method, call.args.len())),
        }
    }

    /// What is wrong with a call that is none of the above.
    fn no_call(&self, expr: &IdedExpr, name: &str, is_method: bool, count: usize) -> Fault {
        let usage = match name {
            "host_match" => "host_match(host, pattern)",
            "path_prefix" => "path_prefix(path, prefix)",
            "cidr" => "cidr(ip, network)",
            "matches" => "text.matches(pattern)",
            "startsWith" => "text.startsWith(prefix)",
            "endsWith" => "text.endsWith(suffix)",
            "contains" => "text.contains(part)",
            "size" => "size(text or list)",
            "exists" => "list.exists(name, condition)",
            "all" => "list.all(name, condition)",
            "has" => "has(tls.sni)",
            _ => return self.unknown(expr, "function", name, FUNCTIONS),
        };
        let on = if is_method { "of a value " } else { "" };
        let s = if count == 1 { "" } else { "s" };
        self.fault(expr, format!("{name} called {on}with {count} argument{s}; it is {usage}"))
    }

    fn binary(
        &mut self,
        expr: &'c IdedExpr,
        name: &str,
        left: &'c IdedExpr,
        right: &'c IdedExpr,
    ) -> Result<Typed, Fault> {
        match operator(name) {
            Some(Operator::And) => Ok(Typed::Flag(Test::all(vec![self.flag(left)?, self.flag(right)?]))),
            Some(Operator::Or) => Ok(Typed::Flag(Test::any(vec![self.flag(left)?, self.flag(right)?]))),
            Some(Operator::In) => self.within(expr, left, right),
            Some(Operator::At) => self.at(expr, left, right),
            Some(Operator::Arithmetic(arithmetic)) => {
                let numbers = Box::new((self.number(left)?, self.number(right)?));
                Ok(Typed::Number(Number::Arithmetic(arithmetic, numbers)))
            }
            Some(Operator::Compare { comparison, swapped, negated }) => {
                let (left, right) = (self.typed(left)?, self.typed(right)?);
                let (left, right) = if swapped { (right, left) } else { (left, right) };
                let test = self.compared(expr, comparison, left, right)?;
                Ok(Typed::Flag(if negated { test.negated() } else { test }))
            }
            None => Err(self.unknown(expr, "operator", name, &[])),
        }
    }

    fn compared(&self, expr: &IdedExpr, comparison: Comparison, left: Typed, right: Typed) -> Result<Test, Fault> {
        match (left, right) {
            (Typed::Text(left), Typed::Text(right)) => Ok(simplify::texts(comparison, left, right)),
            (Typed::Number(left), Typed::Number(right)) => Ok(simplify::numbers(comparison, left, right)),
            (Typed::Flag(left), Typed::Flag(right)) if comparison == Comparison::Equal => {
                Ok(Test::Term(Box::new(Term::Same(left, right))))
            }
            (left, right) => {
                let message = format!("{} cannot be compared with {} so", left.kind(), right.kind());
                Err(self.fault(expr, message))
            }
        }
    }

    fn within(&mut self, expr: &'c IdedExpr, left: &'c IdedExpr, right: &'c IdedExpr) -> Result<Typed, Fault> {
        match (self.typed(left)?, self.typed(right)?) {
            (Typed::Text(key), Typed::Map(map)) => self.has_key(expr, key, map),
            (Typed::Text(text), Typed::List(list)) if !matches!(list, List::Numbers(_)) => {
                Ok(Typed::Flag(simplify::text_in(text, list)))
            }
            (Typed::Number(number), Typed::List(list @ List::Numbers(_))) => {
                Ok(Typed::Flag(simplify::number_in(number, list)))
            }
            (left, right) => {
                Err(self.fault(expr, format!("{} cannot be in {}, or not in such a one", left.kind(), right.kind())))
            }
        }
    }

    pub(super) fn has_key(&self, expr: &IdedExpr, key: Text, map: Map) -> Result<Typed, Fault> {
        Ok(Typed::Flag(match self.key(expr, map, &key)? {
            Some(name) => simplify::present(simplify::field_of(map, name)),
            None => Test::Term(Box::new(Term::KeyIn(key, map))),
        }))
    }

    fn at(&mut self, expr: &'c IdedExpr, left: &'c IdedExpr, right: &'c IdedExpr) -> Result<Typed, Fault> {
        match (self.typed(left)?, self.typed(right)?) {
            (Typed::Map(map), Typed::Text(key)) => self.value_of(right, map, key),
            (Typed::List(list @ List::Numbers(_)), Typed::Number(index)) => {
                Ok(Typed::Number(Number::At(Box::new(list), Box::new(index))))
            }
            (Typed::List(list), Typed::Number(index)) => Ok(Typed::Text(Text::At(Box::new(list), Box::new(index)))),
            (left, right) => Err(self.fault(expr, format!("{} has no place for {}", left.kind(), right.kind()))),
        }
    }

    fn conditional(
        &mut self,
        expr: &'c IdedExpr,
        condition: &'c IdedExpr,
        yes: &'c IdedExpr,
        no: &'c IdedExpr,
    ) -> Result<Typed, Fault> {
        let condition = self.flag(condition)?;
        Ok(match (self.typed(yes)?, self.typed(no)?) {
            (Typed::Flag(yes), Typed::Flag(no)) => Typed::Flag(Test::Term(Box::new(Term::If(condition, yes, no)))),
            (Typed::Text(yes), Typed::Text(no)) => Typed::Text(Text::If(Box::new(condition), Box::new((yes, no)))),
            (Typed::Number(yes), Typed::Number(no)) => {
                Typed::Number(Number::If(Box::new(condition), Box::new((yes, no))))
            }
            (yes, no) => {
                let message = format!("either {} or {}: both must be bools, ints or strings", yes.kind(), no.kind());
                return Err(self.fault(expr, message));
            }
        })
    }

    fn size(&mut self, inner: &'c IdedExpr) -> Result<Typed, Fault> {
        match self.typed(inner)? {
            Typed::Text(text) => Ok(Typed::Number(Number::Length(text))),
            Typed::List(list) => Ok(Typed::Number(Number::Count(Box::new(list)))),
            other => Err(self.fault(inner, format!("{} has no size", other.kind()))),
        }
    }

    fn part(&mut self, name: &str, whole: &'c IdedExpr, part: &'c IdedExpr) -> Result<Typed, Fault> {
        let (text, other) = (self.text(whole)?, self.text(part)?);
        let Text::Literal(literal) = &other else {
            let kind = match name {
                "startsWith" => Part::StartsWith,
                "endsWith" => Part::EndsWith,
                "contains" => Part::Contains,
                "path_prefix" => Part::Segments,
                "host_match" => Part::Host,
                _ => Part::Within,
            };
            return Ok(Typed::Flag(Test::Term(Box::new(Term::Part(kind, text, other)))));
        };
        let wrong = |why: String| self.fault(part, why);
        let words = String::from_utf8_lossy(literal);
        let test = match name {
            "startsWith" => TextTest::Prefix(literal.clone()),
            "endsWith" => TextTest::Suffix(literal.clone()),
            "contains" => TextTest::contains(&words),
            "path_prefix" if !literal.starts_with(b"/") => {
                return Err(wrong(format!(
                    "\"{}\" is no prefix of a path: it must begin with \"/\"",
                    words.escape_debug()
                )));
            }
            "path_prefix" => TextTest::Segments(literal.clone()),
            "host_match" => TextTest::Host(HostPattern::parse(&words).map_err(wrong)?),
            _ => {
                let no_net = || wrong(format!("\"{}\" is no network such as 10.0.0.0/8", words.escape_debug()));
                let net = nets::net(&words).filter(|_| words.contains('/')).ok_or_else(no_net)?;
                return Ok(Typed::Flag(simplify::within(text, Nets::new(vec![net]))));
            }
        };
        Ok(Typed::Flag(simplify::text(text, test)))
    }

    fn matches(&mut self, text: &'c IdedExpr, pattern: &'c IdedExpr) -> Result<Typed, Fault> {
        let text = self.text(text)?;
        let Text::Literal(source) = self.text(pattern)? else {
            return Err(self.fault(pattern, "matches takes a pattern that is a literal"));
        };
        let compiled = regex(&String::from_utf8_lossy(&source)).map_err(|why| self.fault(pattern, why))?;
        Ok(Typed::Flag(simplify::text(text, TextTest::Matches(compiled))))
    }
}

enum Operator {
    And,
    Or,
    In,
    At,
    Arithmetic(Arithmetic),
    Compare { comparison: Comparison, swapped: bool, negated: bool },
}

fn operator(name: &str) -> Option<Operator> {
    let compare = |comparison, swapped, negated| Operator::Compare { comparison, swapped, negated };
    Some(match name {
        operators::LOGICAL_AND => Operator::And,
        operators::LOGICAL_OR => Operator::Or,
        operators::IN => Operator::In,
        operators::INDEX => Operator::At,
        operators::ADD => Operator::Arithmetic(Arithmetic::Add),
        operators::SUBSTRACT => Operator::Arithmetic(Arithmetic::Subtract),
        operators::MULTIPLY => Operator::Arithmetic(Arithmetic::Multiply),
        operators::DIVIDE => Operator::Arithmetic(Arithmetic::Divide),
        operators::MODULO => Operator::Arithmetic(Arithmetic::Modulo),
        operators::EQUALS => compare(Comparison::Equal, false, false),
        operators::NOT_EQUALS => compare(Comparison::Equal, false, true),
        operators::LESS => compare(Comparison::Less, false, false),
        operators::LESS_EQUALS => compare(Comparison::LessOrEqual, false, false),
        operators::GREATER => compare(Comparison::Less, true, false),
        operators::GREATER_EQUALS => compare(Comparison::LessOrEqual, true, false),
        _ => return None,
    })
}
