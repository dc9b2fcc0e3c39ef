//! Types and the worst cost of expressions, before they run.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::CompileError;
use super::ast::{Expr, Kind, Literal, Verb};
use super::library;
use super::value::escape;
use crate::custom::schema::{Additional, Props};

/// Worst cost; saturates.
pub type Cost = u64;

/// The type of an expression. Sizes are upper bounds: elements, entries, bytes.
#[derive(Debug, Clone)]
pub enum Type {
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    Str(u64),
    Bytes,
    Duration,
    Timestamp,
    List(Box<Type>, u64),
    Map(Box<Type>, u64),
    Object(Arc<BTreeMap<String, Type>>),
    Opaque(&'static str),
    Optional(Box<Type>),
}

/// Longest request: what is not bounded cannot be longer.
const REQUEST_BYTES: u64 = 3 << 20;
/// Assumed of texts that functions make.
const MADE_BYTES: u64 = 1_000;
/// Assumed of what is not typed.
const DYN_SIZE: u64 = 1_000;

impl Type {
    /// The type of values of a schema.
    #[must_use]
    pub fn of(schema: &Props) -> Self {
        let bound = |given: Option<i64>, otherwise: u64| given.and_then(|n| u64::try_from(n).ok()).unwrap_or(otherwise);
        if schema.int_or_string {
            return Type::Dyn;
        }
        let kind = match schema.kind.as_str() {
            "boolean" => Type::Bool,
            "integer" => Type::Int,
            "number" => Type::Double,
            "string" => match schema.format.as_str() {
                "byte" => Type::Bytes,
                "duration" => Type::Duration,
                "date" | "date-time" => Type::Timestamp,
                _ if !schema.bounds.one_of_values.is_empty() => Type::Str(
                    schema
                        .bounds
                        .one_of_values
                        .iter()
                        .filter_map(|v| v.as_str())
                        .map(|v| v.len() as u64)
                        .max()
                        .unwrap_or(0),
                ),
                "uuid" | "ipv4" | "ipv6" | "cidr" | "mac" if schema.bounds.max_length.is_none() => Type::Str(64),
                _ => Type::Str(bound(schema.bounds.max_length, REQUEST_BYTES)),
            },
            "array" => {
                let most = REQUEST_BYTES / (schema.items.as_deref().map_or(1, least_bytes) + 1);
                let items = schema.items.as_deref().map_or(Type::Dyn, Type::of);
                Type::List(items.into(), bound(schema.bounds.max_items, most))
            }
            "object" => match &schema.additional {
                Additional::Schema(inner) => {
                    let most = REQUEST_BYTES / (least_bytes(inner) + 4);
                    Type::Map(Type::of(inner).into(), bound(schema.bounds.max_properties, most))
                }
                Additional::Any => Type::Map(Type::Dyn.into(), bound(schema.bounds.max_properties, REQUEST_BYTES / 6)),
                Additional::Absent | Additional::Forbidden => object(schema),
            },
            _ => Type::Dyn,
        };
        if schema.nullable && !matches!(kind, Type::Dyn) { Type::Optional(kind.into()).nullable() } else { kind }
    }

    /// A nullable value is compared with null, or used as what it is: known as neither.
    fn nullable(self) -> Self {
        match self {
            Type::Optional(inner) => match *inner {
                kind @ (Type::Object(_) | Type::List(..) | Type::Map(..)) => kind,
                _ => Type::Dyn,
            },
            kind => kind,
        }
    }

    /// An object with these fields.
    #[must_use]
    pub fn object<'a>(fields: impl IntoIterator<Item = (&'a str, Type)>) -> Self {
        Type::Object(Arc::new(fields.into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect()))
    }

    fn name(&self) -> String {
        match self {
            Type::Dyn => "dyn".to_owned(),
            Type::Null => "null".to_owned(),
            Type::Bool => "bool".to_owned(),
            Type::Int => "int".to_owned(),
            Type::Uint => "uint".to_owned(),
            Type::Double => "double".to_owned(),
            Type::Str(_) => "string".to_owned(),
            Type::Bytes => "bytes".to_owned(),
            Type::Duration => "duration".to_owned(),
            Type::Timestamp => "timestamp".to_owned(),
            Type::List(inner, _) => format!("list({})", inner.name()),
            Type::Map(inner, _) => format!("map(string, {})", inner.name()),
            Type::Object(_) => "object".to_owned(),
            Type::Opaque(name) => (*name).to_owned(),
            Type::Optional(inner) => format!("optional_type({})", inner.name()),
        }
    }

    /// Whether a value may be used where a boolean is wanted.
    #[must_use]
    pub fn is_bool(&self) -> bool {
        matches!(self, Type::Bool | Type::Dyn)
    }

    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self, Type::Str(_) | Type::Dyn)
    }

    /// What walking over a value costs.
    fn weight(&self) -> Cost {
        match self {
            Type::Str(bytes) => bytes / 10 + 1,
            Type::List(_, size) | Type::Map(_, size) => *size,
            Type::Dyn => DYN_SIZE / 10,
            _ => 1,
        }
    }

    fn size(&self) -> u64 {
        match self {
            Type::List(_, size) | Type::Map(_, size) => *size,
            _ => DYN_SIZE,
        }
    }

    fn alike(&self, other: &Type) -> bool {
        let number = |kind: &Type| matches!(kind, Type::Int | Type::Uint | Type::Double);
        match (self, other) {
            (Type::Dyn | Type::Null, _) | (_, Type::Dyn | Type::Null) => true,
            (a, b) if number(a) && number(b) => true,
            (Type::List(a, _), Type::List(b, _)) | (Type::Map(a, _), Type::Map(b, _)) => a.alike(b),
            (Type::Object(_) | Type::Map(..), Type::Object(_) | Type::Map(..)) => true,
            (Type::Optional(a), Type::Optional(b)) => a.alike(b),
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

fn object(schema: &Props) -> Type {
    let mut fields: BTreeMap<String, Type> =
        schema.properties.iter().map(|(name, schema)| (escape(name), Type::of(schema))).collect();
    if schema.is_root || schema.embedded {
        let name = || Type::Str(253);
        fields.insert("apiVersion".to_owned(), name());
        fields.insert("kind".to_owned(), name());
        fields.insert("metadata".to_owned(), Type::object([("name", name()), ("generateName", name())]));
    }
    Type::Object(Arc::new(fields))
}

/// The least bytes a value of the schema takes in a request.
fn least_bytes(schema: &Props) -> u64 {
    match schema.kind.as_str() {
        "object" => {
            schema
                .bounds
                .required
                .iter()
                .map(|name| name.len() as u64 + 4 + schema.properties.get(name).map_or(1, least_bytes))
                .sum::<u64>()
                + 2
        }
        "string" | "array" => 2,
        _ => 1,
    }
}

pub(super) fn check(text: &str, expr: &Expr, variables: &[(&str, Type)]) -> Result<(Type, Cost), CompileError> {
    let scope = variables.iter().map(|(name, kind)| ((*name).to_owned(), kind.clone())).collect();
    let mut checker = Checker { text, scope };
    checker.node(expr)
}

struct Checker<'a> {
    text: &'a str,
    scope: Vec<(String, Type)>,
}

type Checked = Result<(Type, Cost), CompileError>;

impl Checker<'_> {
    fn fail(&self, at: usize, what: impl Into<String>) -> CompileError {
        CompileError::new(self.text, at, what)
    }

    fn node(&mut self, expr: &Expr) -> Checked {
        let (kind, cost) = match &expr.kind {
            Kind::Literal(literal) => (
                match literal {
                    Literal::Null => Type::Null,
                    Literal::Bool(_) => Type::Bool,
                    Literal::Int(_) => Type::Int,
                    Literal::Uint(_) => Type::Uint,
                    Literal::Double(_) => Type::Double,
                    Literal::Str(text) => Type::Str(text.len() as u64),
                    Literal::Bytes(_) => Type::Bytes,
                },
                0,
            ),
            Kind::Ident(name) => match self.scope.iter().rev().find(|(known, _)| known == name) {
                Some((_, kind)) => (kind.clone(), 1),
                None if library::type_named(name).is_some() => (Type::Dyn, 0),
                None => {
                    return Err(self.fail(expr.at, format!("undeclared reference to '{name}' (in container '')")));
                }
            },
            Kind::Select { of, field, optional } => {
                let (of, cost) = self.node(of)?;
                let kind = self.field(&of, field, expr.at)?;
                (if *optional { optional_of(kind) } else { kind }, cost + 1)
            }
            Kind::Has { of, field } => {
                let (of, cost) = self.node(of)?;
                self.field(&of, field, expr.at)?;
                (Type::Bool, cost + 1)
            }
            Kind::Index { of, index, optional } => {
                let (of, cost) = self.node(of)?;
                let (index, more) = self.node(index)?;
                let kind = match (&of, &index) {
                    (Type::List(inner, _), Type::Int | Type::Uint | Type::Dyn) | (Type::Map(inner, _), _) => {
                        (**inner).clone()
                    }
                    (Type::Dyn | Type::Optional(_) | Type::Object(_), _) => Type::Dyn,
                    _ => return Err(self.overload("_[_]", &[of, index], expr.at)),
                };
                (if *optional { optional_of(kind) } else { kind }, cost.saturating_add(more) + 1)
            }
            Kind::Call { name, target, args } => return self.call(expr.at, name, target.as_deref(), args),
            Kind::And(all) | Kind::Or(all) => {
                let mut total: Cost = 0;
                for one in all {
                    let (kind, cost) = self.node(one)?;
                    if !kind.is_bool() {
                        let sign = if matches!(expr.kind, Kind::And(_)) { "_&&_" } else { "_||_" };
                        return Err(
                            self.fail(one.at, format!("expected type 'bool' but found '{}' in '{sign}'", kind.name()))
                        );
                    }
                    total = total.saturating_add(cost);
                }
                (Type::Bool, total)
            }
            Kind::If(condition, yes, no) => {
                let (kind, cost) = self.node(condition)?;
                let ((yes, a), (no, b)) = (self.node(yes)?, self.node(no)?);
                if !kind.is_bool() || !yes.alike(&no) {
                    return Err(self.overload("_?_:_", &[kind, yes, no], expr.at));
                }
                (if matches!(yes, Type::Null) { no } else { yes }, cost.saturating_add(a.max(b)))
            }
            Kind::List(items) => {
                let (mut kind, mut total): (Option<Type>, Cost) = (None, 10);
                for (item, _) in items {
                    let (own, cost) = self.node(item)?;
                    total = total.saturating_add(cost);
                    kind = Some(match kind {
                        None => own,
                        Some(known) if known.alike(&own) => known,
                        Some(_) => Type::Dyn,
                    });
                }
                (Type::List(kind.unwrap_or(Type::Dyn).into(), items.len() as u64), total)
            }
            Kind::Map(entries) => {
                let mut total: Cost = 30;
                for (key, value, _) in entries {
                    total = total.saturating_add(self.node(key)?.1).saturating_add(self.node(value)?.1);
                }
                (Type::Map(Type::Dyn.into(), entries.len() as u64), total)
            }
            Kind::Each { verb, over, first, second, body } => {
                return self.each(expr.at, *verb, over, first, second.as_deref(), body);
            }
            Kind::Bind { name, init, body } => {
                let (kind, cost) = self.node(init)?;
                let (kind, more) = self.with(vec![(name.clone(), kind)], body)?;
                (kind, cost.saturating_add(more))
            }
            Kind::OptMap { name, of, body, flat } => {
                let (of, cost) = self.node(of)?;
                let inner = match of {
                    Type::Optional(inner) => *inner,
                    _ => Type::Dyn,
                };
                let (kind, more) = self.with(vec![(name.clone(), inner)], body)?;
                (if *flat { kind } else { Type::Optional(kind.into()) }, cost.saturating_add(more))
            }
        };
        Ok((kind, cost))
    }

    fn with(&mut self, names: Vec<(String, Type)>, body: &Expr) -> Checked {
        let depth = self.scope.len();
        self.scope.extend(names);
        let result = self.node(body);
        self.scope.truncate(depth);
        result
    }

    fn field(&self, of: &Type, field: &str, at: usize) -> Result<Type, CompileError> {
        match of {
            Type::Object(fields) => {
                fields.get(field).cloned().ok_or_else(|| self.fail(at, format!("undefined field '{field}'")))
            }
            Type::Map(inner, _) => Ok((**inner).clone()),
            Type::Optional(inner) => self.field(inner, field, at).map(optional_of),
            Type::Dyn => Ok(Type::Dyn),
            other => Err(self.fail(at, format!("type '{}' does not support field selection", other.name()))),
        }
    }

    fn each(
        &mut self,
        at: usize,
        verb: Verb,
        over: &Expr,
        first: &str,
        second: Option<&str>,
        body: &[Expr],
    ) -> Checked {
        let (over, cost) = self.node(over)?;
        let (key, value) = match &over {
            Type::List(inner, _) => (Type::Int, (**inner).clone()),
            Type::Map(inner, _) => (Type::Str(MADE_BYTES), (**inner).clone()),
            Type::Object(_) => (Type::Str(MADE_BYTES), Type::Dyn),
            Type::Dyn | Type::Optional(_) => (Type::Dyn, Type::Dyn),
            other => {
                let what = format!(
                    "expression of type '{}' cannot be range of a comprehension (must be list, map, or dynamic)",
                    other.name()
                );
                return Err(self.fail(at, what));
            }
        };
        let is_list = matches!(over, Type::List(..) | Type::Dyn);
        let names = match second {
            Some(second) => vec![(first.to_owned(), key.clone()), (second.to_owned(), value.clone())],
            None => vec![(first.to_owned(), if is_list { value.clone() } else { key.clone() })],
        };
        let (mut last, mut round): (Type, Cost) = (Type::Dyn, 4);
        for (i, one) in body.iter().enumerate() {
            let (kind, cost) = self.with(names.clone(), one)?;
            let decides =
                matches!(verb, Verb::All | Verb::Exists | Verb::ExistsOne | Verb::Filter) || i + 1 < body.len();
            if decides && !kind.is_bool() {
                return Err(self.fail(one.at, format!("expected type 'bool' but found '{}'", kind.name())));
            }
            round = round.saturating_add(cost);
            last = kind;
        }
        let size = over.size();
        let kind = match verb {
            Verb::All | Verb::Exists | Verb::ExistsOne => Type::Bool,
            Verb::Map | Verb::TransformList => Type::List(last.into(), size),
            Verb::TransformMap => Type::Map(last.into(), size),
            Verb::Filter => Type::List(if is_list { value } else { key }.into(), size),
        };
        Ok((kind, cost.saturating_add(size.saturating_mul(round))))
    }

    fn overload(&self, name: &str, kinds: &[Type], at: usize) -> CompileError {
        let kinds: Vec<String> = kinds.iter().map(Type::name).collect();
        self.fail(at, format!("found no matching overload for '{name}' applied to '({})'", kinds.join(", ")))
    }

    fn call(&mut self, at: usize, name: &str, target: Option<&Expr>, args: &[Expr]) -> Checked {
        let mut kinds = Vec::with_capacity(args.len() + 1);
        let mut total: Cost = 1;
        for expr in target.into_iter().chain(args) {
            let (kind, cost) = self.node(expr)?;
            total = total.saturating_add(cost);
            kinds.push(kind);
        }
        if let Some(kind) = self.operator(at, name, &kinds)? {
            let weights = kinds.iter().map(Type::weight);
            let walk = match name {
                "==" | "!=" | "<" | "<=" | ">" | ">=" => weights.min().unwrap_or(1),
                "in" => kinds[1].weight(),
                _ => {
                    if matches!(kind, Type::Str(_) | Type::List(..)) {
                        weights.fold(0, Cost::saturating_add)
                    } else {
                        1
                    }
                }
            };
            return Ok((kind, total.saturating_add(walk)));
        }
        let Some(function) = library::find(name) else {
            return Err(self.fail(at, format!("undeclared reference to '{name}' (in container '')")));
        };
        let shape = if target.is_some() { function.method } else { function.global };
        if shape.is_none_or(|(least, most)| args.len() < least || args.len() > most) || !self.suits(name, &kinds) {
            return Err(self.overload(name, &kinds, at));
        }
        if matches!(name, "matches" | "find" | "findAll")
            && let Some(Expr { kind: Kind::Literal(Literal::Str(pattern)), at, .. }) = args.last()
            && crate::custom::schema::regex(pattern).is_err()
        {
            return Err(self.fail(*at, "invalid matches argument"));
        }
        let weights: Vec<Cost> = kinds.iter().map(Type::weight).collect();
        let walk = match name {
            "matches" | "find" | "findAll" | "sets.contains" | "sets.equivalent" | "sets.intersects" => {
                weights.iter().fold(1, |a: Cost, b| a.saturating_mul(*b))
            }
            "distinct" => weights[0].saturating_mul(weights[0]),
            "size" | "hasValue" | "value" | "orValue" | "or" | "type" | "dyn" | "optional.of" | "int" | "double" => 0,
            _ => weights.iter().fold(0, |a: Cost, b| a.saturating_add(*b)),
        };
        let kind = match (name, kinds.first()) {
            ("value" | "orValue", Some(Type::Optional(inner))) => (**inner).clone(),
            ("or", Some(kind @ Type::Optional(_))) => kind.clone(),
            ("optional.of" | "optional.ofNonZeroValue", Some(kind)) => Type::Optional(kind.clone().into()),
            ("min" | "max" | "sum", Some(Type::List(inner, _))) => (**inner).clone(),
            ("ip" | "masked", _) if name == "ip" => Type::Opaque("net.IP"),
            ("cidr" | "masked", _) => Type::Opaque("net.CIDR"),
            _ => function.result.of(),
        };
        Ok((kind, total.saturating_add(walk)))
    }

    /// The result of an operator; none if the name is no operator's.
    fn operator(&self, at: usize, name: &str, kinds: &[Type]) -> Result<Option<Type>, CompileError> {
        let number = |kind: &Type| matches!(kind, Type::Int | Type::Uint | Type::Double);
        let shown = match name {
            "!_" | "-_" => name.to_owned(),
            "in" => "@in".to_owned(),
            _ => format!("_{name}_"),
        };
        let result = match (name, kinds) {
            ("==" | "!=", [a, b]) => a.alike(b).then_some(Type::Bool),
            ("<" | "<=" | ">" | ">=", [a, b]) => {
                let ordered = !matches!(a, Type::List(..) | Type::Map(..) | Type::Object(_) | Type::Null)
                    && !matches!(b, Type::Null);
                (ordered && a.alike(b)).then_some(Type::Bool)
            }
            ("in", [item, of]) => match of {
                Type::List(inner, _) => inner.alike(item).then_some(Type::Bool),
                Type::Map(..) | Type::Dyn | Type::Object(_) => Some(Type::Bool),
                _ => None,
            },
            ("!_", [kind]) => kind.is_bool().then_some(Type::Bool),
            ("-_", [kind]) => (number(kind) || matches!(kind, Type::Dyn | Type::Duration)).then(|| kind.clone()),
            ("+" | "-" | "*" | "/" | "%", [a, b]) => match (name, a, b) {
                (_, Type::Dyn, _) | (_, _, Type::Dyn) => Some(Type::Dyn),
                (_, Type::Int, Type::Int) | (_, Type::Uint, Type::Uint) => Some(a.clone()),
                ("+" | "-" | "*" | "/", Type::Double, Type::Double) => Some(Type::Double),
                ("+", Type::Str(x), Type::Str(y)) => Some(Type::Str(x.saturating_add(*y))),
                ("+", Type::Bytes, Type::Bytes) => Some(Type::Bytes),
                ("+", Type::List(x, m), Type::List(y, n)) if x.alike(y) => {
                    Some(Type::List(x.clone(), m.saturating_add(*n)))
                }
                ("+" | "-", Type::Duration, Type::Duration) => Some(Type::Duration),
                ("+", Type::Duration, Type::Timestamp) | ("+" | "-", Type::Timestamp, Type::Duration) => {
                    Some(Type::Timestamp)
                }
                ("-", Type::Timestamp, Type::Timestamp) => Some(Type::Duration),
                _ => None,
            },
            _ => return Ok(None),
        };
        match result {
            Some(kind) => Ok(Some(kind)),
            None => Err(self.overload(&shown, kinds, at)),
        }
    }

    /// Whether the first argument may be what the function is called on.
    fn suits(&self, name: &str, kinds: &[Type]) -> bool {
        let text = |kind: Option<&Type>| kind.is_none_or(Type::is_text);
        match name {
            "startsWith" | "endsWith" | "contains" | "matches" => text(kinds.first()) && text(kinds.get(1)),
            "lowerAscii" | "upperAscii" | "trim" | "split" | "replace" | "substring" | "charAt" | "find"
            | "findAll" | "format" | "url" | "isURL" | "isIP" | "isCIDR" | "quantity" | "isQuantity" => {
                text(kinds.first())
            }
            "size" => matches!(
                kinds.first(),
                Some(Type::Str(_) | Type::Bytes | Type::List(..) | Type::Map(..) | Type::Dyn | Type::Object(_))
            ),
            _ => true,
        }
    }
}

fn optional_of(kind: Type) -> Type {
    match kind {
        kind @ Type::Optional(_) => kind,
        kind => Type::Optional(kind.into()),
    }
}
