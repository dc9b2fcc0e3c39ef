//! The functions there are, for the checker: name, whether method or global, numbers of arguments, result.

use super::Type;

/// How a function may be called.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// As a method, with so many arguments besides its target.
    pub(super) method: Option<(usize, usize)>,
    pub(super) global: Option<(usize, usize)>,
    pub(super) result: Kind,
}

/// What a function gives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int,
    Uint,
    Double,
    Str,
    Bytes,
    Strings,
    Duration,
    Timestamp,
    Quantity,
    Opaque,
    Dyn,
}

impl Kind {
    pub(super) fn of(self) -> Type {
        match self {
            Kind::Bool => Type::Bool,
            Kind::Int => Type::Int,
            Kind::Uint => Type::Uint,
            Kind::Double => Type::Double,
            Kind::Str => Type::Str(1_000),
            Kind::Bytes => Type::Bytes,
            Kind::Strings => Type::List(Type::Str(1_000).into(), 1_000),
            Kind::Duration => Type::Duration,
            Kind::Timestamp => Type::Timestamp,
            Kind::Quantity => Type::Opaque("kubernetes.Quantity"),
            Kind::Opaque | Kind::Dyn => Type::Dyn,
        }
    }
}

const fn global(name: &'static str, args: usize, result: Kind) -> Function {
    Function { name, method: None, global: Some((args, args)), result }
}

const fn method(name: &'static str, least: usize, most: usize, result: Kind) -> Function {
    Function { name, method: Some((least, most)), global: None, result }
}

pub(super) static FUNCTIONS: &[Function] = &[
    Function { name: "size", method: Some((0, 0)), global: Some((1, 1)), result: Kind::Int },
    global("int", 1, Kind::Int),
    global("uint", 1, Kind::Uint),
    global("double", 1, Kind::Double),
    global("bool", 1, Kind::Bool),
    global("string", 1, Kind::Str),
    global("bytes", 1, Kind::Bytes),
    global("dyn", 1, Kind::Dyn),
    global("type", 1, Kind::Dyn),
    global("duration", 1, Kind::Duration),
    global("timestamp", 1, Kind::Timestamp),
    method("contains", 1, 1, Kind::Bool),
    method("startsWith", 1, 1, Kind::Bool),
    method("endsWith", 1, 1, Kind::Bool),
    Function { name: "matches", method: Some((1, 1)), global: Some((2, 2)), result: Kind::Bool },
    method("getFullYear", 0, 1, Kind::Int),
    method("getMonth", 0, 1, Kind::Int),
    method("getDayOfMonth", 0, 1, Kind::Int),
    method("getDate", 0, 1, Kind::Int),
    method("getDayOfWeek", 0, 1, Kind::Int),
    method("getDayOfYear", 0, 1, Kind::Int),
    method("getHours", 0, 1, Kind::Int),
    method("getMinutes", 0, 1, Kind::Int),
    method("getSeconds", 0, 1, Kind::Int),
    method("getMilliseconds", 0, 1, Kind::Int),
    // strings
    method("charAt", 1, 1, Kind::Str),
    method("indexOf", 1, 2, Kind::Int),
    method("lastIndexOf", 1, 2, Kind::Int),
    method("lowerAscii", 0, 0, Kind::Str),
    method("upperAscii", 0, 0, Kind::Str),
    method("replace", 2, 3, Kind::Str),
    method("split", 1, 2, Kind::Strings),
    method("substring", 1, 2, Kind::Str),
    method("trim", 0, 0, Kind::Str),
    method("join", 0, 1, Kind::Str),
    method("format", 1, 1, Kind::Str),
    method("reverse", 0, 0, Kind::Dyn),
    global("strings.quote", 1, Kind::Str),
    // lists
    method("isSorted", 0, 0, Kind::Bool),
    method("sum", 0, 0, Kind::Dyn),
    method("min", 0, 0, Kind::Dyn),
    method("max", 0, 0, Kind::Dyn),
    method("flatten", 0, 1, Kind::Dyn),
    method("distinct", 0, 0, Kind::Dyn),
    method("slice", 2, 2, Kind::Dyn),
    // sets
    global("sets.contains", 2, Kind::Bool),
    global("sets.equivalent", 2, Kind::Bool),
    global("sets.intersects", 2, Kind::Bool),
    // math
    Function { name: "math.greatest", method: None, global: Some((1, 32)), result: Kind::Dyn },
    Function { name: "math.least", method: None, global: Some((1, 32)), result: Kind::Dyn },
    // regex
    method("find", 1, 1, Kind::Str),
    method("findAll", 1, 2, Kind::Strings),
    // urls
    global("url", 1, Kind::Opaque),
    global("isURL", 1, Kind::Bool),
    method("getScheme", 0, 0, Kind::Str),
    method("getHost", 0, 0, Kind::Str),
    method("getHostname", 0, 0, Kind::Str),
    method("getPort", 0, 0, Kind::Str),
    method("getEscapedPath", 0, 0, Kind::Str),
    method("getQuery", 0, 0, Kind::Dyn),
    // addresses
    Function { name: "ip", method: Some((0, 0)), global: Some((1, 1)), result: Kind::Opaque },
    global("isIP", 1, Kind::Bool),
    global("ip.isCanonical", 1, Kind::Bool),
    method("family", 0, 0, Kind::Int),
    method("isUnspecified", 0, 0, Kind::Bool),
    method("isLoopback", 0, 0, Kind::Bool),
    method("isLinkLocalMulticast", 0, 0, Kind::Bool),
    method("isLinkLocalUnicast", 0, 0, Kind::Bool),
    method("isGlobalUnicast", 0, 0, Kind::Bool),
    global("cidr", 1, Kind::Opaque),
    global("isCIDR", 1, Kind::Bool),
    method("containsIP", 1, 1, Kind::Bool),
    method("containsCIDR", 1, 1, Kind::Bool),
    method("masked", 0, 0, Kind::Opaque),
    method("prefixLength", 0, 0, Kind::Int),
    // quantities, versions
    global("quantity", 1, Kind::Quantity),
    global("isQuantity", 1, Kind::Bool),
    method("sign", 0, 0, Kind::Int),
    method("isInteger", 0, 0, Kind::Bool),
    method("asInteger", 0, 0, Kind::Int),
    method("asApproximateFloat", 0, 0, Kind::Double),
    method("add", 1, 1, Kind::Quantity),
    method("sub", 1, 1, Kind::Quantity),
    method("isGreaterThan", 1, 1, Kind::Bool),
    method("isLessThan", 1, 1, Kind::Bool),
    method("compareTo", 1, 1, Kind::Int),
    Function { name: "semver", method: None, global: Some((1, 2)), result: Kind::Opaque },
    Function { name: "isSemver", method: None, global: Some((1, 2)), result: Kind::Bool },
    method("major", 0, 0, Kind::Int),
    method("minor", 0, 0, Kind::Int),
    method("patch", 0, 0, Kind::Int),
    // formats
    global("format.named", 1, Kind::Dyn),
    global("format.dns1123Label", 0, Kind::Opaque),
    global("format.dns1123Subdomain", 0, Kind::Opaque),
    global("format.dns1035Label", 0, Kind::Opaque),
    global("format.qualifiedName", 0, Kind::Opaque),
    global("format.labelValue", 0, Kind::Opaque),
    global("format.uri", 0, Kind::Opaque),
    global("format.uuid", 0, Kind::Opaque),
    global("format.byte", 0, Kind::Opaque),
    global("format.date", 0, Kind::Opaque),
    global("format.datetime", 0, Kind::Opaque),
    method("validate", 1, 1, Kind::Dyn),
    // optionals
    global("optional.of", 1, Kind::Dyn),
    global("optional.none", 0, Kind::Dyn),
    global("optional.ofNonZeroValue", 1, Kind::Dyn),
    method("hasValue", 0, 0, Kind::Bool),
    method("value", 0, 0, Kind::Dyn),
    method("or", 1, 1, Kind::Dyn),
    method("orValue", 1, 1, Kind::Dyn),
];

pub(super) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// Whether `namespace.name` is a function of its own.
pub(super) fn is_namespaced(namespace: &str, name: &str) -> bool {
    find(&format!("{namespace}.{name}")).is_some()
}

/// Names of types that are values.
pub(super) fn type_named(name: &str) -> Option<&'static str> {
    ["bool", "int", "uint", "double", "string", "bytes", "list", "map", "null_type", "type"]
        .into_iter()
        .find(|known| *known == name)
}
