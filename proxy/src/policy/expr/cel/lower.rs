//! From the parser's tree to a test: names, types and literals are checked, costs are added up, and what a predicate can
//! say becomes one.

mod call;
mod simplify;

use cel::IdedExpr;
use cel::common::ast::{ComprehensionExpr, Expr, LiteralValue, SelectExpr, SourceInfo, operators};

use super::super::Context;
use super::super::facts::FieldName;
use super::super::predicate::{AddressField, NumberField, Predicate, TextField};
use super::super::test::Test;
use super::Fault;
use super::term::{List, Map, Number, Text};

/// Steps that asking may take: nodes, those of a macro's body once for each element that its list may have.
const COST_MAX: u64 = 20_000;
/// Macros inside each other.
const MACROS_MAX: usize = 2;

/// Compiles a tree whose text nests within bounds.
pub(super) fn lower(expr: &IdedExpr, info: &SourceInfo, text: &str, context: &Context) -> Result<Test, Fault> {
    let mut lowering = Lowering { context, info, text, variables: Vec::new(), factor: 1, cost: 0 };
    match lowering.typed(expr)? {
        Typed::Flag(test) => Ok(test),
        other => Err(Fault::new(0, format!("the result is {}; it must be a bool", other.kind()))),
    }
}

struct Lowering<'c> {
    context: &'c Context,
    info: &'c SourceInfo,
    text: &'c str,
    /// Of the macros around, the outermost first.
    variables: Vec<(&'c str, Element)>,
    /// How often what is at hand is asked.
    factor: u64,
    cost: u64,
}

/// What a list holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    Text,
    Number,
}

/// An expression of a known type.
enum Typed {
    Flag(Test),
    Number(Number),
    Text(Text),
    List(List),
    Map(Map),
    /// `tls`, of which only fields are of use.
    Tls,
}

impl Typed {
    fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "a bool",
            Self::Number(_) => "an int",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) | Self::Tls => "a map",
        }
    }
}

impl List {
    fn element(&self) -> Element {
        if let Self::Numbers(_) = self { Element::Number } else { Element::Text }
    }

    /// Elements that it may have.
    fn length_max(&self, context: &Context) -> u64 {
        match self {
            Self::Headers(_) | Self::HeadersOf(_) | Self::Keys(Map::Headers) => context.fields_max,
            Self::Queries(_) | Self::QueriesOf(_) | Self::Keys(_) => context.queries_max,
            Self::Texts(texts) => texts.len() as u64,
            Self::Numbers(numbers) => numbers.len() as u64,
        }
    }
}

impl<'c> Lowering<'c> {
    fn typed(&mut self, expr: &'c IdedExpr) -> Result<Typed, Fault> {
        self.charge(expr)?;
        match &expr.expr {
            Expr::Ident(name) => self.variable(expr, name),
            Expr::Literal(literal) => literal_of(literal).map_err(|why| self.fault(expr, why)),
            Expr::Select(select) => self.select(expr, select),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => self.list(expr, &list.elements),
            Expr::Comprehension(comprehension) => self.quantifier(expr, comprehension),
            _ => Err(self.fault(expr, "maps and messages cannot be made here")),
        }
    }

    fn charge(&mut self, expr: &IdedExpr) -> Result<(), Fault> {
        self.cost = self.cost.saturating_add(self.factor);
        if self.cost > COST_MAX {
            return Err(
                self.fault(expr, format!("costs more than {COST_MAX} steps, with lists as long as they may be"))
            );
        }
        Ok(())
    }

    fn fault(&self, expr: &IdedExpr, message: impl Into<String>) -> Fault {
        Fault::new(self.offset(expr), message)
    }

    /// Where an expression stands: a method's call at its name, as other calls do.
    fn offset(&self, expr: &IdedExpr) -> usize {
        let start = self.info.offset_for(expr.id).map_or(0, |(start, _)| start as usize).min(self.text.len());
        let is_method = match &expr.expr {
            Expr::Call(call) => call.target.is_some(),
            Expr::Comprehension(_) => true,
            Expr::Select(select) => select.test,
            _ => false,
        };
        let before = self.text.get(..start).unwrap_or_default().trim_end();
        let name = before.len() - before.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_').len();
        if is_method { before.len() - name } else { start }
    }

    fn variable(&self, expr: &IdedExpr, name: &str) -> Result<Typed, Fault> {
        if let Some(up) = self.variables.iter().rev().position(|(own, _)| *own == name) {
            let element = self.variables[self.variables.len() - 1 - up].1;
            return Ok(match element {
                Element::Text => Typed::Text(Text::Item(up)),
                Element::Number => Typed::Number(Number::Item(up)),
            });
        }
        let text = |field| Ok(Typed::Text(Text::Field(field)));
        match name {
            "method" => text(TextField::Method),
            "protocol" => text(TextField::Protocol),
            "host" => text(TextField::Host),
            "path" => text(TextField::Path),
            "path_raw" => text(TextField::PathRaw),
            "listener" => text(TextField::Listener),
            "http_version" => text(TextField::HttpVersion),
            "country" if self.context.countries => text(TextField::Country),
            "remote_ip" | "client_ip" => Ok(Typed::Text(Text::Address(AddressField::Client))),
            "peer_ip" => Ok(Typed::Text(Text::Address(AddressField::Peer))),
            "port" => Ok(Typed::Number(Number::Field(NumberField::Port))),
            "asn" if self.context.networks => Ok(Typed::Number(Number::Field(NumberField::Asn))),
            "content_length" => Ok(Typed::Number(Number::Field(NumberField::ContentLength))),
            "client_known" => Ok(Typed::Flag(Test::Is(Predicate::ClientKnown(true)))),
            "headers" => Ok(Typed::Map(Map::Headers)),
            "query" => Ok(Typed::Map(Map::Query)),
            "cookies" => Ok(Typed::Map(Map::Cookies)),
            "tls" => Ok(Typed::Tls),
            "country" => Err(self.fault(expr, "country needs a database: [geoip] has no db")),
            "asn" => Err(self.fault(expr, "asn needs a database: [geoip] has no asn_db")),
            _ => Err(self.unknown(expr, "variable", name, VARIABLES)),
        }
    }

    fn unknown(&self, expr: &IdedExpr, what: &str, name: &str, known: &[&str]) -> Fault {
        let own = self.variables.iter().map(|(name, _)| *name);
        let nearest = crate::config::nearest(name, known.iter().copied().chain(own)).map(str::to_owned);
        Fault { nearest, ..self.fault(expr, format!("unknown {what} \"{}\"", name.escape_debug())) }
    }

    /// `tls.sni`, `headers.accept`, `has(..)` of either.
    fn select(&mut self, expr: &'c IdedExpr, select: &'c SelectExpr) -> Result<Typed, Fault> {
        match (self.typed(&select.operand)?, select.field.as_str()) {
            (Typed::Tls, name @ ("version" | "sni")) => {
                let field = if name == "sni" { TextField::TlsSni } else { TextField::TlsVersion };
                Ok(if select.test { Typed::Flag(simplify::present(field)) } else { Typed::Text(Text::Field(field)) })
            }
            (Typed::Tls, name) => Err(self.unknown(expr, "field", name, &["version", "sni"])),
            (Typed::Map(map), key) => {
                let key = Text::Literal(key.as_bytes().into());
                if select.test { self.has_key(expr, key, map) } else { self.value_of(expr, map, key) }
            }
            (other, name) => {
                Err(self.fault(expr, format!("{} has no field \"{}\"", other.kind(), name.escape_debug())))
            }
        }
    }

    /// `headers["x-plan"]`: the values of a key; `cookies["id"]`: its value.
    fn value_of(&self, expr: &IdedExpr, map: Map, key: Text) -> Result<Typed, Fault> {
        let name = self.key(expr, map, &key)?;
        Ok(match (map, name) {
            (Map::Headers, Some(name)) => Typed::List(List::Headers(FieldName::new(&name))),
            (Map::Headers, None) => Typed::List(List::HeadersOf(key)),
            (Map::Query, Some(name)) => Typed::List(List::Queries(name)),
            (Map::Query, None) => Typed::List(List::QueriesOf(key)),
            (Map::Cookies, Some(name)) => Typed::Text(Text::Field(TextField::Cookie(name))),
            (Map::Cookies, None) => Typed::Text(Text::Cookie(Box::new(key))),
        })
    }

    /// A key that is a literal.
    fn key(&self, expr: &IdedExpr, map: Map, key: &Text) -> Result<Option<Box<str>>, Fault> {
        let Text::Literal(octets) = key else { return Ok(None) };
        let name = String::from_utf8_lossy(octets).into_owned();
        if map == Map::Headers && name.bytes().any(|octet| octet.is_ascii_uppercase()) {
            let nearest = Some(name.to_ascii_lowercase());
            let message = format!("no header is called \"{}\": names are in lower case", name.escape_debug());
            return Err(Fault { nearest, ..self.fault(expr, message) });
        }
        Ok(Some(name.into()))
    }

    fn list(&mut self, expr: &IdedExpr, elements: &'c [IdedExpr]) -> Result<Typed, Fault> {
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for element in elements {
            match self.typed(element)? {
                Typed::Text(text) => texts.push(text),
                Typed::Number(number) => numbers.push(number),
                other => return Err(self.fault(element, format!("{} in a list", other.kind()))),
            }
        }
        match (texts.is_empty(), numbers.is_empty()) {
            (true, true) => Err(self.fault(expr, "an empty list")),
            (false, false) => Err(self.fault(expr, "strings and ints in one list")),
            (false, true) => Ok(Typed::List(List::Texts(texts.into()))),
            (true, false) => Ok(Typed::List(List::Numbers(numbers.into()))),
        }
    }

    /// `exists` and `all`, which the parser has written out as folds over the list.
    fn quantifier(&mut self, expr: &'c IdedExpr, fold: &'c ComprehensionExpr) -> Result<Typed, Fault> {
        let (Some((exists, body)), None) = (body_of(fold), &fold.iter_var2) else {
            return Err(self.fault(expr, "only exists and all go through lists"));
        };
        if self.variables.len() == MACROS_MAX {
            return Err(self.fault(expr, format!("macros nest more than {MACROS_MAX} deep")));
        }
        let list = match self.typed(&fold.iter_range)? {
            Typed::List(list) => list,
            Typed::Map(map @ (Map::Headers | Map::Query)) => List::Keys(map),
            other => return Err(self.fault(expr, format!("{} cannot be gone through", other.kind()))),
        };
        let outer = self.factor;
        self.factor = outer.saturating_mul(list.length_max(self.context));
        self.variables.push((&fold.iter_var, list.element()));
        let body = self.flag(body);
        self.variables.pop();
        self.factor = outer;
        let body = body?;
        Ok(Typed::Flag(if exists { simplify::exists(list, body) } else { simplify::every(list, body) }))
    }

    fn flag(&mut self, expr: &'c IdedExpr) -> Result<Test, Fault> {
        match self.typed(expr)? {
            Typed::Flag(test) => Ok(test),
            other => Err(self.fault(expr, format!("{} where a bool must be", other.kind()))),
        }
    }

    fn text(&mut self, expr: &'c IdedExpr) -> Result<Text, Fault> {
        match self.typed(expr)? {
            Typed::Text(text) => Ok(text),
            other => Err(self.fault(expr, format!("{} where a string must be", other.kind()))),
        }
    }

    fn number(&mut self, expr: &'c IdedExpr) -> Result<Number, Fault> {
        match self.typed(expr)? {
            Typed::Number(number) => Ok(number),
            other => Err(self.fault(expr, format!("{} where an int must be", other.kind()))),
        }
    }
}

/// Names of variables, for suggestions.
const VARIABLES: &[&str] = &[
    "method",
    "protocol",
    "host",
    "path",
    "path_raw",
    "remote_ip",
    "client_ip",
    "peer_ip",
    "client_known",
    "headers",
    "query",
    "cookies",
    "listener",
    "http_version",
    "tls",
    "country",
    "port",
    "asn",
    "content_length",
];

/// Whether it is `exists` rather than `all`, and what it asks of an element.
fn body_of(fold: &ComprehensionExpr) -> Option<(bool, &IdedExpr)> {
    let (Expr::Literal(LiteralValue::Boolean(start)), Expr::Call(step)) = (&fold.accu_init.expr, &fold.loop_step.expr)
    else {
        return None;
    };
    let exists = !**start;
    let operator = if exists { operators::LOGICAL_OR } else { operators::LOGICAL_AND };
    match step.args.as_slice() {
        [_, body] if step.func_name == operator => Some((exists, body)),
        _ => None,
    }
}

fn literal_of(literal: &LiteralValue) -> Result<Typed, &'static str> {
    match literal {
        LiteralValue::Boolean(flag) => Ok(Typed::Flag(Test::constant(**flag))),
        LiteralValue::Int(number) => Ok(Typed::Number(Number::Literal(**number))),
        LiteralValue::String(text) => Ok(Typed::Text(Text::Literal(text.inner().as_bytes().into()))),
        LiteralValue::UInt(_) | LiteralValue::Double(_) => Err("numbers are ints: 443, not 443u or 443.0"),
        LiteralValue::Bytes(_) => Err("there are strings, but no bytes"),
        LiteralValue::Null => Err("nothing is null: what is absent is \"\", [] or -1"),
    }
}
