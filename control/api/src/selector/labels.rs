//! Label selectors.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::{SelectorError, Unparsable, join, texts};

/// How a requirement compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
    /// The label's value is an integer above the one given.
    Gt,
    /// The label's value is an integer below the one given.
    Lt,
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub key: String,
    pub operator: Operator,
    /// Sorted, without repeats.
    pub values: Vec<String>,
}

/// All requirements must hold; no requirement selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    pub requirements: Vec<Requirement>,
}

impl Requirement {
    /// Checks that the operator has the values it needs.
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Self, SelectorError> {
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => return Err(SelectorError::NoValues),
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                return Err(SelectorError::NeedlessValues);
            }
            Operator::Gt | Operator::Lt if values.len() != 1 || values[0].parse::<i64>().is_err() => {
                return Err(SelectorError::NotAnInteger);
            }
            Operator::In
            | Operator::NotIn
            | Operator::Exists
            | Operator::DoesNotExist
            | Operator::Gt
            | Operator::Lt => {}
        }
        values.sort();
        values.dedup();
        Ok(Self { key: key.to_owned(), operator, values })
    }

    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let have = labels.get(&self.key);
        match self.operator {
            Operator::In => have.is_some_and(|v| self.values.contains(v)),
            Operator::NotIn => !have.is_some_and(|v| self.values.contains(v)),
            Operator::Exists => have.is_some(),
            Operator::DoesNotExist => have.is_none(),
            Operator::Gt => self.compares(have, |have, bound| have > bound),
            Operator::Lt => self.compares(have, |have, bound| have < bound),
        }
    }

    fn compares(&self, have: Option<&String>, holds: fn(i64, i64) -> bool) -> bool {
        let number = |s: &String| s.parse::<i64>().ok();
        match (have.and_then(number), self.values.first().and_then(number)) {
            (Some(have), Some(bound)) => holds(have, bound),
            _ => false,
        }
    }
}

impl LabelSelector {
    /// Selects everything.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects objects that carry all these labels.
    #[must_use]
    pub fn from_map(labels: &BTreeMap<String, String>) -> Self {
        let requirements = labels
            .iter()
            .map(|(k, v)| Requirement { key: k.clone(), operator: Operator::In, values: vec![v.clone()] })
            .collect();
        Self { requirements }
    }

    /// From the JSON form with `matchLabels` and `matchExpressions`. `Null` selects everything here; where a
    /// missing selector means nothing, ask before.
    pub fn from_json(value: &Value) -> Result<Self, SelectorError> {
        let mut selector = Self::from_map(&crate::meta::string_map(&value["matchLabels"]));
        for expression in value["matchExpressions"].as_array().into_iter().flatten() {
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                "Gt" => Operator::Gt,
                "Lt" => Operator::Lt,
                other => return Err(SelectorError::Operator(other.to_owned())),
            };
            let key = expression["key"].as_str().unwrap_or_default();
            selector.requirements.push(Requirement::new(key, operator, texts(&expression["values"]))?);
        }
        Ok(selector)
    }

    /// From the query text: `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>3`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { tokens: tokens(text), at: 0 };
        let mut requirements = Vec::new();
        if matches!(parser.peek(), Token::End) {
            return Ok(Self::default());
        }
        loop {
            let requirement = parser.requirement()?;
            check_key(&requirement.key)?;
            for value in &requirement.values {
                check_value(value)?;
            }
            requirements.push(requirement);
            match parser.next() {
                Token::End => return Ok(Self { requirements }),
                Token::Comma if !matches!(parser.peek(), Token::Comma) => {}
                other => return Err(unparsable(&other, "',' or 'end of string'")),
            }
        }
    }

    #[must_use]
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.requirements.iter().all(|r| r.matches(labels))
    }

    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }
}

fn check_key(key: &str) -> Result<(), SelectorError> {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    if name.is_empty() || name.len() > 63 || !is_label_text(name) {
        return Err(SelectorError::Label(format!("{key:?} is not a valid label key")));
    }
    Ok(())
}

fn check_value(value: &str) -> Result<(), SelectorError> {
    if value.len() > 63 || !(value.is_empty() || is_label_text(value)) {
        return Err(SelectorError::Label(format!("{value:?} is not a valid label value")));
    }
    Ok(())
}

fn is_label_text(text: &str) -> bool {
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    ends(text.bytes().next())
        && ends(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, &self.values);
        match (self.operator, values.as_slice()) {
            (Operator::In, [one]) => write!(f, "{key}={one}"),
            (Operator::NotIn, [one]) => write!(f, "{key}!={one}"),
            (Operator::In, many) => write!(f, "{key} in ({})", many.join(",")),
            (Operator::NotIn, many) => write!(f, "{key} notin ({})", many.join(",")),
            (Operator::Exists, _) => f.write_str(key),
            (Operator::DoesNotExist, _) => write!(f, "!{key}"),
            (Operator::Gt, many) => write!(f, "{key}>{}", many.join(",")),
            (Operator::Lt, many) => write!(f, "{key}<{}", many.join(",")),
        }
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, &self.requirements)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Equal,
    NotEqual,
    Not,
    Open,
    Close,
    Comma,
    Greater,
    Less,
    End,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut out = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(&c) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
            continue;
        }
        if !is_symbol(c) {
            let mut word = String::new();
            while let Some(&c) = chars.peek().filter(|c| !is_symbol(**c) && !c.is_whitespace()) {
                word.push(c);
                chars.next();
            }
            out.push(Token::Word(word));
            continue;
        }
        chars.next();
        let then_equal = matches!(c, '=' | '!') && chars.next_if_eq(&'=').is_some();
        out.push(match c {
            '=' => Token::Equal,
            '!' if then_equal => Token::NotEqual,
            '!' => Token::Not,
            '(' => Token::Open,
            ')' => Token::Close,
            ',' => Token::Comma,
            '>' => Token::Greater,
            _ => Token::Less,
        });
    }
    out
}

fn is_symbol(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',' | '>' | '<')
}

fn unparsable(token: &Token, expected: &'static str) -> SelectorError {
    let found = match token {
        Token::Word(w) => w.as_str(),
        Token::Equal => "=",
        Token::NotEqual => "!=",
        Token::Not => "!",
        Token::Open => "(",
        Token::Close => ")",
        Token::Comma => ",",
        Token::Greater => ">",
        Token::Less => "<",
        Token::End => "",
    };
    SelectorError::Requirement(Unparsable { found: found.to_owned(), expected })
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Token {
        self.tokens.get(self.at).cloned().unwrap_or(Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.peek() == Token::Not {
            self.next();
            let key = self.key()?;
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new());
        }
        let key = self.key()?;
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Requirement::new(&key, Operator::Exists, Vec::new());
        }
        match self.next() {
            Token::Equal => Requirement::new(&key, Operator::In, vec![self.value()]),
            Token::NotEqual => Requirement::new(&key, Operator::NotIn, vec![self.value()]),
            Token::Greater => Requirement::new(&key, Operator::Gt, vec![self.value()]),
            Token::Less => Requirement::new(&key, Operator::Lt, vec![self.value()]),
            Token::Word(w) if w == "in" => Requirement::new(&key, Operator::In, self.set()?),
            Token::Word(w) if w == "notin" => Requirement::new(&key, Operator::NotIn, self.set()?),
            other => Err(unparsable(&other, "in, notin, =, ==, !=, gt, lt")),
        }
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        match self.next() {
            Token::Word(w) => Ok(w),
            other => Err(unparsable(&other, "!, identifier, or 'end of string'")),
        }
    }

    /// An absent value is the empty one: `a=` asks for an empty label.
    fn value(&mut self) -> String {
        match self.peek() {
            Token::Word(w) => {
                self.next();
                w
            }
            _ => String::new(),
        }
    }

    fn set(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            Token::Open => {}
            other => return Err(unparsable(&other, "'('")),
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value());
            match self.next() {
                Token::Comma => {}
                Token::Close => return Ok(values),
                other => return Err(unparsable(&other, "',', or ')'")),
            }
        }
    }
}
