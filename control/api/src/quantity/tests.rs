use proptest::prelude::*;

use super::*;

#[test]
fn canonical_forms() {
    for (text, want) in [
        ("0", "0"),
        ("0m", "0"),
        ("0Gi", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("-1", "-1"),
        ("007", "7"),
        ("1000m", "1"),
        ("1500m", "1500m"),
        ("1.5", "1500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("0.1", "100m"),
        ("100m", "100m"),
        ("1.5Gi", "1536Mi"),
        ("1Gi", "1Gi"),
        ("1024Mi", "1Gi"),
        ("1024", "1024"),
        ("1023Ki", "1023Ki"),
        ("512Ki", "512Ki"),
        ("1Ki", "1Ki"),
        ("0.5Ki", "512"),
        ("0.5Mi", "512Ki"),
        ("0.001Ki", "1024m"),
        ("1000Ki", "1000Ki"),
        ("1000k", "1M"),
        ("1500k", "1500k"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("12e4", "120e3"),
        ("1e-3", "1e-3"),
        ("1.2e1", "12"),
        ("1E", "1E"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("-0.1n", "-1n"),
        ("1.1u", "1100n"),
        ("9223372036854775807", "9223372036854775807"),
        ("9223372036854775808", "9223372036854775807"),
        ("100E", "9223372036854775807"),
        ("8Ei", "9223372036854775807"),
        ("7Ei", "7Ei"),
        ("1e999999999999", "9223372036854775807"),
        ("1e-999999999999", "1e-9"),
    ] {
        assert_eq!(Quantity::parse(text).map(|q| q.to_string()).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn refused() {
    for (text, want) in [
        ("", QuantityError::Format),
        ("abc", QuantityError::Format),
        ("1.1.M", QuantityError::Format),
        (" 1", QuantityError::Format),
        ("1 ", QuantityError::Format),
        (".", QuantityError::Format),
        ("--1", QuantityError::Format),
        ("1+1", QuantityError::Suffix),
        ("0.1mi", QuantityError::Suffix),
        ("0.1am", QuantityError::Format),
        (".5i", QuantityError::Suffix),
        ("1KK", QuantityError::Suffix),
        ("-3.01e-", QuantityError::Suffix),
        ("1e", QuantityError::Suffix),
        ("1K", QuantityError::Suffix),
        ("1GB", QuantityError::Format),
        ("1é", QuantityError::Format),
    ] {
        assert_eq!(Quantity::parse(text), Err(want), "{text}");
    }
}

#[test]
fn rounding_and_arithmetic() {
    let q = |s: &str| Quantity::parse(s).expect(s);
    assert_eq!(q("1500m").value(), 2);
    assert_eq!(q("-1500m").value(), -2);
    assert_eq!(q("0.0001").milli_value(), 1);
    assert_eq!(q("2.5").milli_value(), 2500);
    assert_eq!(q("100u").round_up_to_milli().to_string(), "1m");
    assert_eq!(q("1Gi").add(q("512Mi")).to_string(), "1536Mi");
    assert_eq!(q("0").add(q("1Gi")).to_string(), "1Gi");
    assert_eq!(q("1").sub(q("1500m")).to_string(), "-500m");
    assert!(q("1Gi") > q("1G"));
    assert_eq!(q("1Ki"), q("1024"));
}

fn quantity_text() -> impl Strategy<Value = String> {
    let suffix = prop::sample::select(vec![
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2", "e+1",
    ]);
    ("[+-]?[0-9]{1,8}(\\.[0-9]{0,12})?", suffix).prop_map(|(n, s)| format!("{n}{s}"))
}

proptest! {
    #[test]
    fn canonical_form_is_stable_and_equal(text in quantity_text()) {
        let first = Quantity::parse(&text).expect("well formed");
        let again = Quantity::parse(&first.to_string()).expect("canonical form parses");
        prop_assert_eq!(first, again);
        prop_assert_eq!(first.to_string(), again.to_string());
        prop_assert!(!first.to_string().contains('.'));
    }

    #[test]
    fn sums_commute_and_undo(a in quantity_text(), b in quantity_text()) {
        let (a, b) = (Quantity::parse(&a).expect("a"), Quantity::parse(&b).expect("b"));
        prop_assert_eq!(a.add(b), b.add(a));
        if a.add(b).nanos.abs() < MAX_NANOS {
            prop_assert_eq!(a.add(b).sub(b), a);
        }
    }

    #[test]
    fn integers_are_exact(n in any::<i64>().prop_filter("in range", |n| *n != i64::MIN)) {
        let q = Quantity::parse(&n.to_string()).expect("an integer");
        prop_assert_eq!(q.value(), n);
    }

    #[test]
    fn binary_suffix_is_a_shift(n in 0_i64..1_000_000, index in 1_usize..5) {
        let q = Quantity::parse(&format!("{n}{}", BINARY_SUFFIXES[index])).expect("well formed");
        prop_assert_eq!(q.value(), n << (10 * index));
    }

    #[test]
    fn never_panics(text in "[-+0-9.eEinumkKMGTPé]{0,40}") {
        if let Ok(q) = Quantity::parse(&text) {
            let _ = (q.to_string(), q.value(), q.milli_value());
        }
    }
}
