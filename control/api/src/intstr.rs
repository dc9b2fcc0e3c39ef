//! Fields that take a number or a text: ports by name, counts by percentage.

use serde_json::Value;

/// A number, or a text (a port's name, a percentage).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IntOrString {
    Int(i64),
    Str(String),
}

/// Which way a fraction of a percentage goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    Up,
    Down,
}

impl IntOrString {
    /// `None` if the value is neither an integer nor a string.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Number(n) => n.as_i64().map(Self::Int),
            Value::String(s) => Some(Self::Str(s.clone())),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The number before `%`, if this is a percentage.
    #[must_use]
    pub fn percent(&self) -> Option<i64> {
        match self {
            Self::Int(_) => None,
            Self::Str(s) => s.strip_suffix('%').filter(|p| p.bytes().all(|b| b.is_ascii_digit()))?.parse().ok(),
        }
    }

    /// The number itself, or the percentage of `total`; `None` if the text is no percentage.
    #[must_use]
    pub fn of(&self, total: i64, round: Round) -> Option<i64> {
        match self {
            Self::Int(n) => Some(*n),
            Self::Str(_) => {
                let product = self.percent()?.checked_mul(total)?;
                Some(match round {
                    Round::Up => product.div_euclid(100) + i64::from(product.rem_euclid(100) != 0),
                    Round::Down => product.div_euclid(100),
                })
            }
        }
    }
}

impl From<IntOrString> for Value {
    fn from(value: IntOrString) -> Self {
        match value {
            IntOrString::Int(n) => n.into(),
            IntOrString::Str(s) => s.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages() {
        let quarter = IntOrString::Str("25%".into());
        assert_eq!(quarter.of(3, Round::Up), Some(1));
        assert_eq!(quarter.of(3, Round::Down), Some(0));
        assert_eq!(IntOrString::Int(2).of(3, Round::Down), Some(2));
        assert_eq!(IntOrString::Str("http".into()).of(3, Round::Up), None);
        assert_eq!(IntOrString::Str("-5%".into()).percent(), None);
    }
}
