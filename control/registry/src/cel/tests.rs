use serde_json::{Value, json};

use super::*;
use crate::custom::schema::Props;

fn run(text: &str, this: Value) -> String {
    let program = match compile(text, &[("self", Type::Dyn)]) {
        Ok(program) => program,
        Err(error) => return format!("compile: {}", error.what),
    };
    let variables = Variables::from([("self", from_json(&this))]);
    match program.evaluate(&variables, &mut Budget::new(OBJECT_BUDGET)) {
        Ok(Val::Bool(flag)) => flag.to_string(),
        Ok(value) => value.to_json().map_or_else(|| format!("{value:?}"), |v| v.to_string()),
        Err(error) => format!("error: {error}"),
    }
}

#[test]
fn the_language_and_its_libraries() {
    let this = json!({"a": 3, "s": "hello", "l": [1, 2, 3], "m": {"x": "y"}, "names": ["b", "a"]});
    for (text, expected) in [
        ("1 + 2 * 3 == 7", "true"),
        ("self.a > 2 && self.s.startsWith('he')", "true"),
        ("self.l.all(x, x > 0) && self.l.exists(x, x == 2) && self.l.exists_one(x, x == 3)", "true"),
        ("self.l.map(x, x * 2)", "[2,4,6]"),
        ("self.l.filter(x, x > 1).size()", "2"),
        ("has(self.b)", "false"),
        ("has(self.m.x) && 'x' in self.m && 2 in self.l", "true"),
        ("self.b", "error: no such key: b"),
        ("self.b == 1 || true", "true"),
        ("self.l[5]", "error: index out of bounds: 5"),
        ("1 / 0", "error: division by zero"),
        ("9223372036854775807 + 1", "error: integer overflow"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("self.s.matches('^h.*o$')", "true"),
        ("self.s.substring(1, 3) + self.s.upperAscii()", "\"elHELLO\""),
        ("'a,b,c'.split(',')", r#"["a","b","c"]"#),
        ("['a', 'b'].join('-')", "\"a-b\""),
        ("'%s is %d'.format(['x', 3])", "\"x is 3\""),
        ("self.names.isSorted()", "false"),
        ("[3, 1, 2].max() + [1, 2].sum()", "6"),
        ("duration('1h') > duration('59m')", "true"),
        ("timestamp('2024-01-01T00:00:00Z') + duration('24h') == timestamp('2024-01-02T00:00:00Z')", "true"),
        ("timestamp('2024-02-01T00:00:00Z').getMonth()", "1"),
        ("quantity('1Gi').isGreaterThan(quantity('500Mi')) && isQuantity('x') == false", "true"),
        ("ip('10.0.0.1').family() == 4 && cidr('10.0.0.0/8').containsIP('10.1.2.3') && !isIP('x')", "true"),
        ("url('https://a.b:80/c?d=e').getHostname()", "\"a.b\""),
        ("sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1])", "true"),
        ("'ab12'.find('[0-9]+')", "\"12\""),
        ("self.?b.orValue(7)", "7"),
        ("self.?m.?x.hasValue()", "true"),
        ("optional.none().orValue('z')", "\"z\""),
        ("cel.bind(x, 2, x * x)", "4"),
        ("type(1) == int && type('') == string", "true"),
        ("string(1) + string(true)", "\"1true\""),
        ("int('12') == 12 && double('1.5') == 1.5", "true"),
        ("{'a': 1}['a'] == 1 && {'a': 1}.a == 1", "true"),
        ("true ? 1 : 2", "1"),
        ("1 == 1.0 && 2u == 2", "true"),
        ("semver('1.2.3').isLessThan(semver('1.10.0'))", "true"),
        ("!format.dns1123Label().validate('a-b').hasValue()", "true"),
        ("nope", "compile: undeclared reference to 'nope' (in container '')"),
        ("1 + ", "compile: Syntax error: mismatched input '<EOF>' expecting an expression"),
        ("1 + 'a'", "compile: found no matching overload for '_+_' applied to '(int, string)'"),
    ] {
        assert_eq!(run(text, this.clone()), expected, "{text}");
    }
}

#[test]
fn types_come_from_schemas() {
    let schema = Props::parse(&json!({"type": "object", "properties": {
        "a": {"type": "integer"}, "s": {"type": "string"}, "d": {"type": "string", "format": "duration"},
        "x-y": {"type": "string"}, "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}}}));
    let kind = Type::of(&schema);
    let what = |text: &str| compile(text, &[("self", kind.clone())]).map(|_| ()).map_err(|e| e.what);
    assert_eq!(what("self.a > 1 && self.x__dash__y == 's' && self.d < duration('1m')"), Ok(()));
    assert_eq!(what("self.b"), Err("undefined field 'b'".to_owned()));
    assert_eq!(
        what("self.a == 's'"),
        Err("found no matching overload for '_==_' applied to '(int, string)'".to_owned())
    );
    assert_eq!(
        what("self.a.startsWith('s')"),
        Err("found no matching overload for 'startsWith' applied to '(int, string)'".to_owned())
    );
    let value = typed(&schema, &json!({"set": ["a", "b"], "d": "30s", "x-y": "q"}));
    let program =
        compile("self.set == ['b', 'a'] && self.d == duration('30s') && self.x__dash__y == 'q'", &[("self", kind)]);
    let got = program.unwrap().evaluate(&Variables::from([("self", value)]), &mut Budget::new(OBJECT_BUDGET));
    assert!(matches!(got, Ok(Val::Bool(true))), "{got:?}");
}

#[test]
fn work_is_bounded() {
    for deep in ["(".repeat(10_000), "!".repeat(10_000), "-".repeat(10_000), "[".repeat(10_000), "a.b".repeat(10_000)] {
        assert!(compile(&deep, &[]).is_err());
    }
    let chain = vec!["1"; 5_000].join("+");
    assert!(compile(&chain, &[]).is_err());
    let text = "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))";
    let program = compile(text, &[("self", Type::Dyn)]).unwrap();
    let many = from_json(&json!((0..1_000).collect::<Vec<i32>>()));
    let mut budget = Budget::new(OBJECT_BUDGET);
    assert_eq!(program.evaluate(&Variables::from([("self", many)]), &mut budget).unwrap_err(), EvalError::Cost);
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "[a-z0-9.()\\[\\]{}?:!&|+*/<>='\"\\\\ ,-]{0,60}") {
        if let Ok(program) = compile(&text, &[("a", Type::Dyn)]) {
            let _ = program.evaluate(&Variables::from([("a", Val::Int(1))]), &mut Budget::new(10_000));
        }
    }
}
