use super::*;

#[test]
fn the_command_line_is_consistent() {
    use clap::CommandFactory as _;
    Cli::command().debug_assert();
}

#[test]
fn durations_have_units() {
    for (text, seconds) in [("90", 90), ("90s", 90), ("2m", 120), ("1h", 3600), ("0", 0)] {
        assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
    }
    for text in ["", "m", "2d", "-1", "1.5m", "99999999999999999999h", "18446744073709551615h"] {
        assert!(parse_duration(text).is_err(), "{text}");
    }
}

#[test]
fn room_for_connections_is_a_power_of_two() {
    use crate::settings::Flows;
    for (text, bits) in [("64", 6), ("65536", 16), ("256k", 18), ("1M", 20), ("4194304", 22)] {
        assert_eq!(text.parse(), Ok(Flows(bits)), "{text}");
    }
    for text in ["", "0", "32", "100000", "8M", "k", "1G", "-64", "18014398509481984k"] {
        assert!(text.parse::<Flows>().is_err(), "{text}");
    }
}
