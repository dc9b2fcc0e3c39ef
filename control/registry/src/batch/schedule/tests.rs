use expect_test::expect;

use super::*;

#[test]
fn fields_and_names() {
    let Ok(Schedule::Fields(fields)) = parse("*/15 0-6/2,12 1 JAN-mar mon,5") else { panic!("fields") };
    assert_eq!(fields.minutes, 1 | 1 << 15 | 1 << 30 | 1 << 45);
    assert_eq!(fields.hours, 1 | 1 << 2 | 1 << 4 | 1 << 6 | 1 << 12);
    assert_eq!((fields.days, fields.months, fields.weekdays), (2, 0b1110, 0b10_0010));
    assert!(!fields.any_day && !fields.any_weekday);
    assert_eq!(parse("@weekly"), parse("0 0 * * 0"));
    assert_eq!(parse("@every 1h30m"), Ok(Schedule::Every { seconds: 5400 }));
    assert_eq!(parse("5/15 * * * *"), parse("5,20,35,50 * * * *"));
    assert!(parse("TZ=Europe/Berlin 0 0 * * *").is_ok());
}

#[test]
fn errors() {
    let all = [
        "",
        "foo",
        "* * * *",
        "60 * * * *",
        "* * 0 * *",
        "5-3 * * * *",
        "*/0 * * * *",
        "a * * * *",
        "1-2-3 * * * *",
        "1/2/3 * * * *",
        "-1 * * * *",
        "@foo",
        "@every x",
        "TZ=Mars 0 0 * * *",
        "* * * * 7",
    ];
    let lines: Vec<String> = all.iter().map(|text| format!("{text}: {}", parse(text).expect_err("wrong"))).collect();
    expect![[r#"
        : empty spec string
        foo: expected exactly 5 fields, found 1: [foo]
        * * * *: expected exactly 5 fields, found 4: [* * * *]
        60 * * * *: end of range (60) above maximum (59): 60
        * * 0 * *: beginning of range (0) below minimum (1): 0
        5-3 * * * *: beginning of range (5) beyond end of range (3): 5-3
        */0 * * * *: step of range should be a positive number: */0
        a * * * *: failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax
        1-2-3 * * * *: too many hyphens: 1-2-3
        1/2/3 * * * *: too many slashes: 1/2/3
        -1 * * * *: failed to parse int from : strconv.Atoi: parsing "": invalid syntax
        @foo: unrecognized descriptor: @foo
        @every x: failed to parse duration @every x: time: invalid duration "x"
        TZ=Mars 0 0 * * *: provided bad location Mars: unknown time zone Mars
        * * * * 7: end of range (7) above maximum (6): 7"#]]
    .assert_eq(&lines.join("\n"));
}
