//! How a Service's new connections are spread over its endpoints: annotations of the Service, and a label of its pods. The API warns of
//! what it does not understand, and the fabric leaves it out.

/// Annotation of a Service: `even` (what it is without), `random` or `maglev`.
pub const ALGORITHM: &str = "gannet.io/lb-algorithm";
/// Annotation of a Service: slots of its Maglev rings, a prime from [`SIZES`].
pub const MAGLEV_SIZE: &str = "gannet.io/maglev-size";
/// Label of a pod: its share of new connections beside the Service's other pods, up to [`MAX_WEIGHT`]; 1 without, 0 for none. A label and
/// not an annotation, because labels are at hand without decoding the pod.
pub const WEIGHT: &str = "gannet.io/lb-weight";

/// Sizes that a ring may have, if they are prime.
pub const SIZES: std::ops::RangeInclusive<u32> = 251..=65_521;
/// Largest weight.
pub const MAX_WEIGHT: u32 = 1_000;

/// How a connection's endpoint is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    #[default]
    Even,
    Random,
    Maglev,
}

/// What a Service's annotations say; what is not understood counts as absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    pub algorithm: Algorithm,
    /// 0: not given.
    pub maglev_size: u32,
    /// What was not understood, and why.
    pub ignored: Vec<String>,
}

/// Reads a Service's annotations; `annotation` gives the value of one.
pub fn spread<'a>(annotation: impl Fn(&str) -> Option<&'a str>) -> Spread {
    let mut spread = Spread::default();
    match annotation(ALGORITHM).map(str::trim) {
        None | Some("even") => {}
        Some("random") => spread.algorithm = Algorithm::Random,
        Some("maglev") => spread.algorithm = Algorithm::Maglev,
        Some(other) => {
            spread.ignored.push(format!("annotation {ALGORITHM} {other:?} is none of even, random, maglev"));
        }
    }
    if let Some(text) = annotation(MAGLEV_SIZE).map(str::trim) {
        match text.parse() {
            Ok(size) if SIZES.contains(&size) && is_prime(size) => spread.maglev_size = size,
            Ok(_) | Err(_) => spread.ignored.push(format!(
                "annotation {MAGLEV_SIZE} {text:?} is no prime from {} to {}",
                SIZES.start(),
                SIZES.end()
            )),
        }
    }
    spread
}

fn is_prime(number: u32) -> bool {
    number > 1 && (2..).take_while(|n| n * n <= number).all(|n| !number.is_multiple_of(n))
}

/// The weight that a pod's label gives.
///
/// # Errors
/// What is wrong with it; the pod then has the weight of one without.
pub fn weight(label: &str) -> Result<u32, String> {
    let weight = label.parse().ok().filter(|weight| *weight <= MAX_WEIGHT);
    weight.ok_or_else(|| format!("label {WEIGHT} {label:?} is no number from 0 to {MAX_WEIGHT}; it counts as 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_told_and_counts_as_absent() {
        let read =
            |pairs: &[(&str, &'static str)]| spread(|name| pairs.iter().find(|pair| pair.0 == name).map(|pair| pair.1));
        let good = read(&[(ALGORITHM, " maglev"), (MAGLEV_SIZE, "16381")]);
        assert_eq!(good, Spread { algorithm: Algorithm::Maglev, maglev_size: 16_381, ignored: Vec::new() });
        assert_eq!(spread(|_| None), Spread::default());
        for size in ["16384", "0", "7", "65537", "-3", "many", "4294967311"] {
            let bad = read(&[(ALGORITHM, "maglev"), (MAGLEV_SIZE, size)]);
            assert_eq!((bad.algorithm, bad.maglev_size), (Algorithm::Maglev, 0), "{size}");
            assert!(bad.ignored[0].contains(MAGLEV_SIZE) && bad.ignored[0].contains(size), "{:?}", bad.ignored);
        }
        let both = read(&[(ALGORITHM, "fastest"), (MAGLEV_SIZE, "250")]);
        assert_eq!((both.algorithm, both.maglev_size), (Algorithm::Even, 0));
        assert!(both.ignored[0].contains("fastest") && both.ignored[1].contains("250"), "{:?}", both.ignored);
    }

    #[test]
    fn weights_have_a_range() {
        assert_eq!(["0", "7", "1000"].map(weight), [Ok(0), Ok(7), Ok(1_000)]);
        for bad in ["1001", "-1", "heavy", "", "1.5"] {
            assert!(weight(bad).is_err_and(|said| said.contains(WEIGHT)), "{bad}");
        }
    }
}
