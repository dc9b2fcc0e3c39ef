//! Expressions as trees.

use super::Val;

/// One node and where in the text it is.
#[derive(Debug, Clone)]
pub(super) struct Expr {
    pub(super) kind: Kind,
    pub(super) at: usize,
    /// Of the tree below, itself included.
    pub(super) depth: u32,
}

#[derive(Debug, Clone)]
pub(super) enum Kind {
    Literal(Literal),
    Ident(String),
    /// `a.b`; with `optional`, `a.?b`.
    Select {
        of: Box<Expr>,
        field: String,
        optional: bool,
    },
    /// `has(a.b)`.
    Has {
        of: Box<Expr>,
        field: String,
    },
    /// `a[b]`; with `optional`, `a[?b]`.
    Index {
        of: Box<Expr>,
        index: Box<Expr>,
        optional: bool,
    },
    /// Operators are functions named by their sign.
    Call {
        name: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    /// Items, each perhaps optional.
    List(Vec<(Expr, bool)>),
    Map(Vec<(Expr, Expr, bool)>),
    /// `list.all(x, ...)` and its kin; two variables are key or index, and value.
    Each {
        verb: Verb,
        over: Box<Expr>,
        first: String,
        second: Option<String>,
        body: Vec<Expr>,
    },
    /// `cel.bind(x, init, body)`, `optional.optMap(x, body)`.
    Bind {
        name: String,
        init: Box<Expr>,
        body: Box<Expr>,
    },
    OptMap {
        name: String,
        of: Box<Expr>,
        body: Box<Expr>,
        flat: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    TransformList,
    TransformMap,
}

/// A constant, free of shared pointers so that programs may be shared by threads.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(String),
    Bytes(Vec<u8>),
}

/// Depth of trees: more would be a risk to the stack of who walks them.
pub(super) const MAX_DEPTH: u32 = 120;

impl Literal {
    pub(super) fn value(&self) -> Val {
        match self {
            Literal::Null => Val::Null,
            Literal::Bool(flag) => Val::Bool(*flag),
            Literal::Int(number) => Val::Int(*number),
            Literal::Uint(number) => Val::Uint(*number),
            Literal::Double(number) => Val::Double(*number),
            Literal::Str(text) => Val::Str(text.as_str().into()),
            Literal::Bytes(bytes) => Val::Bytes(bytes.clone().into()),
        }
    }
}

impl Expr {
    pub(super) fn new(kind: Kind, at: usize) -> Self {
        let mut depth = 0;
        kind.children(&mut |child| depth = depth.max(child.depth));
        Self { kind, at, depth: depth + 1 }
    }

    pub(super) fn names(&self, variable: &str) -> bool {
        if let Kind::Ident(name) = &self.kind {
            return name == variable;
        }
        let mut found = false;
        self.kind.children(&mut |child| found = found || child.names(variable));
        found
    }
}

impl Kind {
    fn children(&self, visit: &mut dyn FnMut(&Expr)) {
        match self {
            Kind::Literal(_) | Kind::Ident(_) => {}
            Kind::Select { of, .. } | Kind::Has { of, .. } => visit(of),
            Kind::Index { of, index, .. } => {
                visit(of);
                visit(index);
            }
            Kind::Call { target, args, .. } => {
                target.iter().for_each(|target| visit(target));
                args.iter().for_each(visit);
            }
            Kind::And(all) | Kind::Or(all) => all.iter().for_each(visit),
            Kind::If(a, b, c) => {
                visit(a);
                visit(b);
                visit(c);
            }
            Kind::List(items) => items.iter().for_each(|(item, _)| visit(item)),
            Kind::Map(entries) => entries.iter().for_each(|(key, value, _)| {
                visit(key);
                visit(value);
            }),
            Kind::Each { over, body, .. } => {
                visit(over);
                body.iter().for_each(visit);
            }
            Kind::Bind { init, body, .. } => {
                visit(init);
                visit(body);
            }
            Kind::OptMap { of, body, .. } => {
                visit(of);
                visit(body);
            }
        }
    }
}
