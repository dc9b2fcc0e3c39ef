//! Texts into tokens.

use super::CompileError;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Ident(String),
    Int(u64),
    Uint(u64),
    Double(f64),
    Str(String),
    Bytes(Vec<u8>),
    /// Operators and brackets.
    Sign(&'static str),
    End,
}

const SIGNS: [&str; 26] = [
    "&&", "||", "==", "!=", "<=", ">=", ".?", "[?", "<", ">", "+", "-", "*", "/", "%", "!", "(", ")", "[", "]", "{",
    "}", ".", ",", "?", ":",
];
const MAX_TOKENS: usize = 20_000;

pub(super) fn tokens(text: &str) -> Result<Vec<(Token, usize)>, CompileError> {
    let mut all = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let Some(c) = rest.chars().next() else { break };
        let fail = |what: String| CompileError::new(text, at, what);
        if c.is_whitespace() {
            at += c.len_utf8();
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        if all.len() >= MAX_TOKENS {
            return Err(fail("Syntax error: expression code point size exceeds limit".to_owned()));
        }
        let (token, length) = if let Some(found) = quoted(rest) {
            found.map_err(fail)?
        } else if c.is_ascii_digit() || (c == '.' && rest[1..].starts_with(|d: char| d.is_ascii_digit())) {
            number(rest).ok_or_else(|| fail("Syntax error: invalid number".to_owned()))?
        } else if c.is_ascii_alphabetic() || c == '_' {
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            (Token::Ident(rest[..end].to_owned()), end)
        } else if let Some(inner) = rest.strip_prefix('`') {
            let end =
                inner.find('`').ok_or_else(|| fail("Syntax error: token recognition error at: '`'".to_owned()))?;
            (Token::Ident(inner[..end].to_owned()), end + 2)
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| fail(format!("Syntax error: token recognition error at: '{c}'")))?;
            (Token::Sign(sign), sign.len())
        };
        all.push((token, at));
        at += length;
    }
    all.push((Token::End, text.len()));
    Ok(all)
}

fn number(text: &str) -> Option<(Token, usize)> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
        let number = u64::from_str_radix(&hex[..end], 16).ok()?;
        let unsigned = hex[end..].starts_with(['u', 'U']);
        return Some(if unsigned { (Token::Uint(number), end + 3) } else { (Token::Int(number), end + 2) });
    }
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let mut end = digits(text);
    let mut is_double = false;
    if text[end..].starts_with('.') && text[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
        is_double = true;
        end += 1 + digits(&text[end + 1..]);
    }
    if text[end..].starts_with(['e', 'E']) {
        let after = &text[end + 1..];
        let sign = usize::from(after.starts_with(['+', '-']));
        let length = digits(&after[sign..]);
        if length > 0 {
            is_double = true;
            end += 1 + sign + length;
        }
    }
    if is_double {
        return Some((Token::Double(text[..end].parse().ok()?), end));
    }
    let number = text[..end].parse().ok()?;
    let unsigned = text[end..].starts_with(['u', 'U']);
    Some(if unsigned { (Token::Uint(number), end + 1) } else { (Token::Int(number), end) })
}

/// A string or bytes literal, if the text begins with one: the token and its length.
fn quoted(text: &str) -> Option<Result<(Token, usize), String>> {
    let (mut raw, mut bytes, mut prefix) = (false, false, 0);
    for c in text.chars().take(2) {
        match c {
            'r' | 'R' if !raw => raw = true,
            'b' | 'B' if !bytes => bytes = true,
            _ => break,
        }
        prefix += 1;
    }
    let body = &text[prefix..];
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let triple: String = std::iter::repeat_n(quote, 3).collect();
    let close = if body.starts_with(&triple) { triple } else { quote.to_string() };
    let mut out = Vec::new();
    let mut rest = &body[close.len()..];
    loop {
        if rest.starts_with(&close) {
            break;
        }
        let Some(c) = rest.chars().next().filter(|c| *c != '\n' || close.len() == 3) else {
            return Some(Err(format!("Syntax error: token recognition error at: '{quote}'")));
        };
        rest = &rest[c.len_utf8()..];
        if c != '\\' || raw {
            let mut buffer = [0; 4];
            out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
            continue;
        }
        match escape(rest, bytes, &mut out) {
            Some(length) => rest = &rest[length..],
            None => return Some(Err("Syntax error: invalid escape sequence".to_owned())),
        }
    }
    let length = text.len() - rest.len() + close.len();
    Some(Ok(if bytes {
        (Token::Bytes(out), length)
    } else {
        match String::from_utf8(out) {
            Ok(text) => (Token::Str(text), length),
            Err(_) => return Some(Err("Syntax error: invalid UTF-8".to_owned())),
        }
    }))
}

/// What follows a backslash; its length.
fn escape(rest: &str, bytes: bool, out: &mut Vec<u8>) -> Option<usize> {
    let c = rest.chars().next()?;
    let simple = match c {
        'n' => b'\n',
        't' => b'\t',
        'r' => b'\r',
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'v' => 11,
        '\\' | '"' | '\'' | '`' | '?' => c as u8,
        'x' | 'X' => return code(rest.get(1..3)?, 16, bytes, out).map(|()| 3),
        'u' => return code(rest.get(1..5)?, 16, false, out).map(|()| 5),
        'U' => return code(rest.get(1..9)?, 16, false, out).map(|()| 9),
        '0'..='3' => return code(rest.get(0..3)?, 8, bytes, out).map(|()| 3),
        _ => return None,
    };
    out.push(simple);
    Some(1)
}

fn code(digits: &str, radix: u32, bytes: bool, out: &mut Vec<u8>) -> Option<()> {
    let number = u32::from_str_radix(digits, radix).ok()?;
    if bytes {
        out.push(u8::try_from(number).ok()?);
    } else {
        let mut buffer = [0; 4];
        out.extend_from_slice(char::from_u32(number)?.encode_utf8(&mut buffer).as_bytes());
    }
    Some(())
}
