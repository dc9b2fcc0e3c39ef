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
