//! Tokens into trees, by precedence; macros become nodes of their own.

use super::CompileError;
use super::ast::{Expr, Kind, Literal, MAX_DEPTH, Verb};
use super::lex::{Token, tokens};

/// Nesting of brackets and unary operators.
const MAX_NESTING: usize = 50;

pub(super) fn parse(text: &str) -> Result<Expr, CompileError> {
    let mut parser = Parser { text, tokens: tokens(text)?, next: 0, nesting: 0 };
    let expr = parser.ternary()?;
    match parser.peek() {
        Token::End => Ok(expr),
        other => {
            let other = shown(other);
            Err(parser.fail(format!("Syntax error: mismatched input '{other}' expecting <EOF>")))
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(Token, usize)>,
    next: usize,
    nesting: usize,
}

fn shown(token: &Token) -> String {
    match token {
        Token::Ident(name) => name.clone(),
        Token::Int(n) | Token::Uint(n) => n.to_string(),
        Token::Double(n) => n.to_string(),
        Token::Str(text) => format!("{text:?}"),
        Token::Bytes(_) => "b\"\"".to_owned(),
        Token::Sign(sign) => (*sign).to_owned(),
        Token::End => "<EOF>".to_owned(),
    }
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next.min(self.tokens.len() - 1)].0
    }

    fn at(&self) -> usize {
        self.tokens[self.next.min(self.tokens.len() - 1)].1
    }

    fn fail(&self, what: impl Into<String>) -> CompileError {
        CompileError::new(self.text, self.at(), what)
    }

    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += 1;
        token
    }

    fn eat(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if *found == sign);
        if found {
            self.next += 1;
        }
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), CompileError> {
        if self.eat(sign) {
            return Ok(());
        }
        let found = shown(self.peek());
        Err(self.fail(format!("Syntax error: mismatched input '{found}' expecting '{sign}'")))
    }

    fn node(&self, kind: Kind, at: usize) -> Result<Expr, CompileError> {
        let expr = Expr::new(kind, at);
        if expr.depth > MAX_DEPTH {
            return Err(CompileError::new(self.text, at, "Syntax error: expression recursion limit exceeded"));
        }
        Ok(expr)
    }

    fn ternary(&mut self) -> Result<Expr, CompileError> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING {
            return Err(self.fail(format!("Syntax error: expression recursion limit exceeded: {MAX_NESTING}")));
        }
        let at = self.at();
        let condition = self.either()?;
        let expr = if self.eat("?") {
            let yes = self.either()?;
            self.expect(":")?;
            let no = self.ternary()?;
            self.node(Kind::If(condition.into(), yes.into(), no.into()), at)?
        } else {
            condition
        };
        self.nesting -= 1;
        Ok(expr)
    }

    fn either(&mut self) -> Result<Expr, CompileError> {
        let at = self.at();
        let mut all = vec![self.both()?];
        while self.eat("||") {
            all.push(self.both()?);
        }
        if all.len() == 1 { Ok(all.remove(0)) } else { self.node(Kind::Or(all), at) }
    }

    fn both(&mut self) -> Result<Expr, CompileError> {
        let at = self.at();
        let mut all = vec![self.binary(0)?];
        while self.eat("&&") {
            all.push(self.binary(0)?);
        }
        if all.len() == 1 { Ok(all.remove(0)) } else { self.node(Kind::And(all), at) }
    }

    /// Relations, sums, products; `level` is the weakest that may be taken.
    fn binary(&mut self, level: u8) -> Result<Expr, CompileError> {
        let mut left = self.unary()?;
        loop {
            let at = self.at();
            let (name, own) = match self.peek() {
                Token::Sign(sign @ ("==" | "!=" | "<" | "<=" | ">" | ">=")) => (*sign, 0),
                Token::Ident(word) if word == "in" => ("in", 0),
                Token::Sign(sign @ ("+" | "-")) => (*sign, 1),
                Token::Sign(sign @ ("*" | "/" | "%")) => (*sign, 2),
                _ => return Ok(left),
            };
            if own < level {
                return Ok(left);
            }
            self.next += 1;
            let right = self.binary(own + 1)?;
            left = self.node(Kind::Call { name: name.to_owned(), target: None, args: vec![left, right] }, at)?;
        }
    }

    fn unary(&mut self) -> Result<Expr, CompileError> {
        let at = self.at();
        let mut signs: Vec<&str> = Vec::new();
        while let Token::Sign(sign @ ("!" | "-")) = self.peek() {
            signs.push(sign);
            self.next += 1;
            if signs.len() > MAX_NESTING {
                return Err(self.fail("Syntax error: expression recursion limit exceeded"));
            }
        }
        // A minus before a number is part of it: the smallest integer has no positive twin.
        let mut expr = None;
        if signs.last() == Some(&"-") {
            let literal = match self.peek() {
                Token::Int(n) => Some(match i64::try_from(*n) {
                    Ok(n) => Literal::Int(-n),
                    Err(_) if *n == 1 << 63 => Literal::Int(i64::MIN),
                    Err(_) => return Err(self.fail("Syntax error: invalid int literal")),
                }),
                Token::Double(n) => Some(Literal::Double(-n)),
                _ => None,
            };
            if let Some(literal) = literal {
                signs.pop();
                self.next += 1;
                let start = self.node(Kind::Literal(literal), at)?;
                expr = Some(self.members(start)?);
            }
        }
        let mut expr = match expr {
            Some(expr) => expr,
            None => {
                let start = self.primary()?;
                self.members(start)?
            }
        };
        for sign in signs.into_iter().rev() {
            let name = if sign == "!" { "!_" } else { "-_" };
            expr = self.node(Kind::Call { name: name.to_owned(), target: None, args: vec![expr] }, at)?;
        }
        Ok(expr)
    }

    fn members(&mut self, mut expr: Expr) -> Result<Expr, CompileError> {
        loop {
            let at = self.at();
            let optional = matches!(self.peek(), Token::Sign(".?" | "[?"));
            if self.eat(".") || self.eat(".?") {
                let Token::Ident(name) = self.take() else {
                    self.next -= 1;
                    return Err(self.fail("Syntax error: no viable alternative at input '.'"));
                };
                expr = if !optional && self.eat("(") {
                    let args = self.list(")")?;
                    self.method(expr, name, args, at)?
                } else {
                    self.node(Kind::Select { of: expr.into(), field: name, optional }, at)?
                };
            } else if self.eat("[") || self.eat("[?") {
                let index = self.ternary()?;
                self.expect("]")?;
                expr = self.node(Kind::Index { of: expr.into(), index: index.into(), optional }, at)?;
            } else {
                return Ok(expr);
            }
        }
    }

    fn list(&mut self, close: &str) -> Result<Vec<Expr>, CompileError> {
        let mut all = Vec::new();
        while !self.eat(close) {
            if !all.is_empty() {
                self.expect(",")?;
                if self.eat(close) {
                    break;
                }
            }
            all.push(self.ternary()?);
        }
        Ok(all)
    }

    fn primary(&mut self) -> Result<Expr, CompileError> {
        let at = self.at();
        let literal = match self.take() {
            Token::Int(n) => match i64::try_from(n) {
                Ok(n) => Literal::Int(n),
                Err(_) => return Err(CompileError::new(self.text, at, "Syntax error: invalid int literal")),
            },
            Token::Uint(n) => Literal::Uint(n),
            Token::Double(n) => Literal::Double(n),
            Token::Str(text) => Literal::Str(text),
            Token::Bytes(bytes) => Literal::Bytes(bytes),
            Token::Ident(name) => return self.name(name, at),
            Token::Sign("(") => {
                let inner = self.ternary()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => {
                let mut items = Vec::new();
                while !self.eat("]") {
                    if !items.is_empty() {
                        self.expect(",")?;
                        if self.eat("]") {
                            break;
                        }
                    }
                    let optional = self.eat("?");
                    items.push((self.ternary()?, optional));
                }
                return self.node(Kind::List(items), at);
            }
            Token::Sign("[?") => {
                let mut items = vec![(self.ternary()?, true)];
                while self.eat(",") {
                    let optional = self.eat("?");
                    items.push((self.ternary()?, optional));
                }
                self.expect("]")?;
                return self.node(Kind::List(items), at);
            }
            Token::Sign("{") => {
                let mut entries = Vec::new();
                while !self.eat("}") {
                    if !entries.is_empty() {
                        self.expect(",")?;
                        if self.eat("}") {
                            break;
                        }
                    }
                    let optional = self.eat("?");
                    let key = self.ternary()?;
                    self.expect(":")?;
                    entries.push((key, self.ternary()?, optional));
                }
                return self.node(Kind::Map(entries), at);
            }
            Token::Sign(".") => return self.primary(),
            other => {
                let what = format!("Syntax error: mismatched input '{}' expecting an expression", shown(&other));
                return Err(CompileError::new(self.text, at, what));
            }
        };
        self.node(Kind::Literal(literal), at)
    }

    fn name(&mut self, name: String, at: usize) -> Result<Expr, CompileError> {
        let literal = match name.as_str() {
            "true" => Some(Literal::Bool(true)),
            "false" => Some(Literal::Bool(false)),
            "null" => Some(Literal::Null),
            _ => None,
        };
        if let Some(literal) = literal {
            return self.node(Kind::Literal(literal), at);
        }
        if !self.eat("(") {
            return self.node(Kind::Ident(name), at);
        }
        let mut args = self.list(")")?;
        if name == "has" && args.len() == 1 {
            return match args.remove(0).kind {
                Kind::Select { of, field, optional: false } => self.node(Kind::Has { of, field }, at),
                _ => Err(CompileError::new(self.text, at, "invalid argument to has() macro")),
            };
        }
        self.node(Kind::Call { name, target: None, args }, at)
    }

    /// A method, or one of the macros that look like one.
    fn method(&mut self, target: Expr, name: String, mut args: Vec<Expr>, at: usize) -> Result<Expr, CompileError> {
        let variable = |expr: &Expr| match &expr.kind {
            Kind::Ident(name) => Some(name.clone()),
            _ => None,
        };
        let namespace = variable(&target);
        if namespace.as_deref() == Some("cel") && name == "bind" && args.len() == 3 {
            let bound = variable(&args[0]);
            let (body, init) = (args.pop(), args.pop());
            if let (Some(name), Some(body), Some(init)) = (bound, body, init) {
                return self.node(Kind::Bind { name, init: init.into(), body: body.into() }, at);
            }
            return Err(CompileError::new(self.text, at, "cel.bind() variable names must be simple identifiers"));
        }
        let verb = match (name.as_str(), args.len()) {
            ("all", 2 | 3) => Some(Verb::All),
            ("exists", 2 | 3) => Some(Verb::Exists),
            ("exists_one" | "existsOne", 2 | 3) => Some(Verb::ExistsOne),
            ("map", 2 | 3) => Some(Verb::Map),
            ("filter", 2) => Some(Verb::Filter),
            ("transformList", 3 | 4) => Some(Verb::TransformList),
            ("transformMap", 3 | 4) => Some(Verb::TransformMap),
            _ => None,
        };
        if let Some(verb) = verb {
            let wrong = || CompileError::new(self.text, at, "argument must be a simple name");
            let first = variable(&args[0]).ok_or_else(wrong)?;
            let two = match verb {
                Verb::All | Verb::Exists | Verb::ExistsOne => args.len() == 3,
                Verb::TransformList | Verb::TransformMap => true,
                Verb::Map | Verb::Filter => false,
            };
            let second = if two { Some(variable(&args[1]).ok_or_else(wrong)?) } else { None };
            let body: Vec<Expr> = args.drain(if two { 2.. } else { 1.. }).collect();
            return self.node(Kind::Each { verb, over: target.into(), first, second, body }, at);
        }
        if matches!(name.as_str(), "optMap" | "optFlatMap") && args.len() == 2 {
            let flat = name == "optFlatMap";
            if let (Some(name), Some(body)) = (variable(&args[0]), args.pop()) {
                return self.node(Kind::OptMap { name, of: target.into(), body: body.into(), flat }, at);
            }
        }
        // `ip.isCanonical(x)`, `sets.contains(a, b)`: functions with a dotted name.
        if let Some(namespace) = namespace.filter(|n| super::library::is_namespaced(n, &name)) {
            let name = format!("{namespace}.{name}");
            return self.node(Kind::Call { name, target: None, args }, at);
        }
        self.node(Kind::Call { name, target: Some(target.into()), args }, at)
    }
}
