//! CEL: parsed by the `cel` crate, checked and lowered here when a document is loaded. The crate's interpreter takes no
//! part in serving: it bounds no cost and compiles regexes anew for each call. Tests hold it against what is here.

mod depth;
mod eval;
mod lower;
mod term;

pub(super) use eval::Scope;
pub(super) use term::Term;

use cel::parser::{ParseError, Parser};

use super::test::Test;
use super::{Context, Wrong};
use crate::config::value::Expression;

/// What is wrong with an expression, and the octet of it where.
#[derive(Debug)]
struct Fault {
    offset: usize,
    message: String,
    nearest: Option<String>,
}

impl Fault {
    fn new(offset: usize, message: impl Into<String>) -> Self {
        Self { offset, message: message.into(), nearest: None }
    }
}

/// Compiles an expression.
pub(super) fn compile(expression: &Expression, context: &Context) -> Result<Test, Wrong> {
    test_of(expression.text(), context).map_err(|fault| Wrong {
        position: expression.position(fault.offset),
        message: fault.message,
        nearest: fault.nearest,
    })
}

fn test_of(text: &str, context: &Context) -> Result<Test, Fault> {
    // The parser is recursive: what it is given has been measured.
    depth::check(text)?;
    let parsed = Parser::new().parse_with_source_info(text);
    let (expr, info) = parsed.map_err(|errors| first_of(errors.errors, text))?;
    lower::lower(&expr, &info, text, context)
}

fn first_of(errors: Vec<ParseError>, text: &str) -> Fault {
    let Some(error) = errors.into_iter().next() else { return Fault::new(0, "no expression") };
    let (line, column) = (usize::try_from(error.pos.0), usize::try_from(error.pos.1));
    let start: usize = text.split_inclusive('\n').take(line.unwrap_or(1).saturating_sub(1)).map(str::len).sum();
    let message = error.msg.split(" expecting ").next().unwrap_or_default().to_lowercase();
    Fault::new((start + column.unwrap_or(1).saturating_sub(1)).min(text.len()), message)
}

#[cfg(test)]
mod tests;
