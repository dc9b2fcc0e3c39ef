//! Evaluation: one walk over the tree, every step paid for.

use std::rc::Rc;

use super::ast::{Expr, Kind, Verb};
use super::{EvalError, Val, Variables, functions};

pub(super) struct Run<'a> {
    variables: &'a Variables<'a>,
    /// Variables of macros, innermost last.
    locals: Vec<(&'a str, Val)>,
    /// Cost that is left.
    pub(super) left: u64,
}

type Outcome = Result<Val, EvalError>;

impl<'a> Run<'a> {
    pub(super) fn new(variables: &'a Variables<'a>, limit: u64) -> Self {
        Self { variables, locals: Vec::new(), left: limit }
    }

    pub(super) fn pay(&mut self, cost: u64) -> Result<(), EvalError> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(EvalError::Cost)
            }
        }
    }

    pub(super) fn eval(&mut self, expr: &'a Expr) -> Outcome {
        self.pay(1)?;
        match &expr.kind {
            Kind::Literal(literal) => Ok(literal.value()),
            Kind::Ident(name) => self.variable(name),
            Kind::Select { of, field, optional } => self.select(of, field, *optional),
            Kind::Has { of, field } => self.has(of, field),
            Kind::Index { of, index, optional } => self.index(of, index, *optional),
            Kind::Call { name, target, args } => self.call(name, target.as_deref(), args),
            Kind::And(all) => self.junction(all, false),
            Kind::Or(all) => self.junction(all, true),
            Kind::If(condition, yes, no) => match self.eval(condition)? {
                Val::Bool(true) => self.eval(yes),
                Val::Bool(false) => self.eval(no),
                _ => Err(EvalError::Overload),
            },
            Kind::List(items) => self.list(items),
            Kind::Map(entries) => self.map(entries),
            Kind::Each { verb, over, first, second, body } => self.each(*verb, over, first, second.as_deref(), body),
            Kind::Bind { name, init, body } => {
                let value = self.eval(init)?;
                self.with(name, value, body)
            }
            Kind::OptMap { name, of, body, flat } => match self.eval(of)? {
                Val::Optional(None) => Ok(Val::Optional(None)),
                Val::Optional(Some(inner)) => {
                    let value = self.with(name, (*inner).clone(), body)?;
                    Ok(if *flat { value } else { Val::Optional(Some(Rc::new(value))) })
                }
                _ => Err(EvalError::Overload),
            },
        }
    }

    fn with(&mut self, name: &'a str, value: Val, body: &'a Expr) -> Outcome {
        self.locals.push((name, value));
        let result = self.eval(body);
        self.locals.pop();
        result
    }

    fn variable(&self, name: &str) -> Outcome {
        if let Some((_, value)) = self.locals.iter().rev().find(|(known, _)| *known == name) {
            return Ok(value.clone());
        }
        if let Some(value) = self.variables.get(name) {
            return Ok(value.clone());
        }
        super::library::type_named(name)
            .map(Val::Type)
            .ok_or_else(|| EvalError::Other(format!("no such attribute(s): {name}")))
    }

    fn select(&mut self, of: &'a Expr, field: &str, optional: bool) -> Outcome {
        let value = self.eval(of)?;
        if !optional {
            return value.field(field);
        }
        let value = match value {
            Val::Optional(None) => return Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) => (*inner).clone(),
            value => value,
        };
        Ok(Val::Optional(value.field(field).ok().map(Rc::new)))
    }

    fn has(&mut self, of: &'a Expr, field: &str) -> Outcome {
        let value = match self.eval(of)? {
            Val::Optional(None) => return Ok(Val::Bool(false)),
            Val::Optional(Some(inner)) => (*inner).clone(),
            value => value,
        };
        match value {
            Val::Map(_) => Ok(Val::Bool(value.field(field).is_ok())),
            _ => Err(EvalError::Overload),
        }
    }

    fn index(&mut self, of: &'a Expr, index: &'a Expr, optional: bool) -> Outcome {
        let value = self.eval(of)?;
        let key = self.eval(index)?;
        let (value, optional) = match value {
            Val::Optional(None) => return Ok(Val::Optional(None)),
            Val::Optional(Some(inner)) => ((*inner).clone(), true),
            value => (value, optional),
        };
        let found = at(&value, &key);
        match found {
            Ok(found) if optional => Ok(Val::Optional(Some(Rc::new(found)))),
            Err(EvalError::Key(_) | EvalError::Other(_)) if optional => Ok(Val::Optional(None)),
            other => other,
        }
    }

    /// `&&` (`deciding` false) and `||` (`deciding` true): an error counts only if nothing decides.
    fn junction(&mut self, all: &'a [Expr], deciding: bool) -> Outcome {
        let mut error = None;
        for expr in all {
            match self.eval(expr) {
                Ok(Val::Bool(flag)) if flag == deciding => return Ok(Val::Bool(deciding)),
                Ok(Val::Bool(_)) => {}
                Ok(_) => error = error.or(Some(EvalError::Overload)),
                Err(EvalError::Cost) => return Err(EvalError::Cost),
                Err(other) => error = error.or(Some(other)),
            }
        }
        error.map_or(Ok(Val::Bool(!deciding)), Err)
    }

    fn list(&mut self, items: &'a [(Expr, bool)]) -> Outcome {
        let mut all = Vec::with_capacity(items.len());
        for (item, optional) in items {
            match (self.eval(item)?, optional) {
                (Val::Optional(inner), true) => all.extend(inner.map(|inner| (*inner).clone())),
                (_, true) => return Err(EvalError::Overload),
                (value, false) => all.push(value),
            }
        }
        Ok(Val::list(all))
    }

    fn map(&mut self, entries: &'a [(Expr, Expr, bool)]) -> Outcome {
        let mut all: Vec<(Val, Val)> = Vec::with_capacity(entries.len());
        for (key, value, optional) in entries {
            let key = self.eval(key)?;
            let value = match (self.eval(value)?, optional) {
                (Val::Optional(None), true) => continue,
                (Val::Optional(Some(inner)), true) => (*inner).clone(),
                (_, true) => return Err(EvalError::Overload),
                (value, false) => value,
            };
            if all.iter().any(|(known, _)| known.same(&key)) {
                return Err(EvalError::Other("insertion failed: key already exists".to_owned()));
            }
            all.push((key, value));
        }
        Ok(Val::Map(Rc::new(all)))
    }

    fn each(
        &mut self,
        verb: Verb,
        over: &'a Expr,
        first: &'a str,
        second: Option<&'a str>,
        body: &'a [Expr],
    ) -> Outcome {
        let over = self.eval(over)?;
        let pairs: Vec<(Val, Val)> = match &over {
            Val::List(items, _) => items
                .iter()
                .enumerate()
                .map(|(i, item)| (Val::Int(i64::try_from(i).unwrap_or(0)), item.clone()))
                .collect(),
            Val::Map(entries) => entries.to_vec(),
            _ => return Err(EvalError::Overload),
        };
        let is_map = matches!(over, Val::Map(_));
        let (mut found, mut error) = (0_usize, None);
        let mut made: Vec<Val> = Vec::new();
        let mut entries: Vec<(Val, Val)> = Vec::new();
        for (key, value) in pairs {
            self.pay(1)?;
            let depth = self.locals.len();
            match second {
                Some(second) => {
                    self.locals.push((first, key.clone()));
                    self.locals.push((second, value.clone()));
                }
                None => self.locals.push((first, if is_map { key.clone() } else { value.clone() })),
            }
            let outcome = self.step(verb, body);
            self.locals.truncate(depth);
            match (verb, outcome) {
                (_, Err(EvalError::Cost)) => return Err(EvalError::Cost),
                (Verb::All | Verb::Exists, Err(other)) => error = error.or(Some(other)),
                (_, Err(other)) => return Err(other),
                (Verb::All, Ok(Some(Val::Bool(false)))) => return Ok(Val::Bool(false)),
                (Verb::Exists, Ok(Some(Val::Bool(true)))) => return Ok(Val::Bool(true)),
                (Verb::All | Verb::Exists, Ok(Some(Val::Bool(_)))) => {}
                (Verb::ExistsOne, Ok(Some(Val::Bool(flag)))) => found += usize::from(flag),
                (Verb::Filter, Ok(Some(Val::Bool(true)))) => made.push(if is_map { key } else { value }),
                (Verb::Filter, Ok(Some(Val::Bool(false)))) => {}
                (Verb::Map | Verb::TransformList, Ok(item)) => made.extend(item),
                (Verb::TransformMap, Ok(item)) => entries.extend(item.map(|item| (key, item))),
                (Verb::All | Verb::Exists | Verb::ExistsOne | Verb::Filter, Ok(_)) => return Err(EvalError::Overload),
            }
        }
        match (verb, error) {
            (_, Some(error)) => Err(error),
            (Verb::All, None) => Ok(Val::Bool(true)),
            (Verb::Exists, None) => Ok(Val::Bool(false)),
            (Verb::ExistsOne, None) => Ok(Val::Bool(found == 1)),
            (Verb::TransformMap, None) => Ok(Val::Map(Rc::new(entries))),
            (Verb::Map | Verb::Filter | Verb::TransformList, None) => Ok(Val::list(made)),
        }
    }

    /// One round of a macro: its body's value, or none if a filter before it said no.
    fn step(&mut self, verb: Verb, body: &'a [Expr]) -> Result<Option<Val>, EvalError> {
        match (verb, body) {
            (Verb::Map | Verb::TransformList | Verb::TransformMap, [filter, body]) => match self.eval(filter)? {
                Val::Bool(true) => self.eval(body).map(Some),
                Val::Bool(false) => Ok(None),
                _ => Err(EvalError::Overload),
            },
            (_, [body, ..]) => self.eval(body).map(Some),
            (_, []) => Ok(None),
        }
    }

    fn call(&mut self, name: &str, target: Option<&'a Expr>, args: &'a [Expr]) -> Outcome {
        let mut values = Vec::with_capacity(args.len() + 1);
        if let Some(target) = target {
            let value = self.eval(target)?;
            // The other side of `or` is not evaluated if it is not needed.
            if let (Val::Optional(Some(inner)), "or" | "orValue", [_]) = (&value, name, args) {
                return Ok(if name == "or" { value.clone() } else { (**inner).clone() });
            }
            values.push(value);
        }
        for arg in args {
            values.push(self.eval(arg)?);
        }
        self.pay(functions::cost(name, &values))?;
        let result = functions::call(name, target.is_some(), &values)?;
        Ok(result)
    }
}

/// The element of a list, the entry of a map.
fn at(value: &Val, key: &Val) -> Outcome {
    match (value, key) {
        (Val::List(items, _), Val::Int(i)) => index_of(items, usize::try_from(*i).ok(), i),
        (Val::List(items, _), Val::Uint(i)) => index_of(items, usize::try_from(*i).ok(), i),
        (Val::List(items, _), Val::Double(i)) if i.fract() == 0.0 && *i >= 0.0 && *i < 1e9 =>
        {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
            index_of(items, Some(*i as usize), i)
        }
        (Val::Map(_), key) => value.get(key).cloned().ok_or_else(|| EvalError::Key(functions::shown(key))),
        _ => Err(EvalError::Overload),
    }
}

fn index_of(items: &[Val], index: Option<usize>, shown: &dyn std::fmt::Display) -> Outcome {
    index
        .and_then(|index| items.get(index))
        .cloned()
        .ok_or_else(|| EvalError::Other(format!("index out of bounds: {shown}")))
}
