use super::*;

#[test]
fn results_are_read() {
    let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.57s";
    assert_eq!(result_line(line), Some((12, 3)));
    assert_eq!(result_line("test result: ok. 0 passed; 0 failed; 0 ignored"), Some((0, 0)));
    assert_eq!(result_line("test apply ... ok"), None);
    assert_eq!(result_line("test result: what?"), None);
}
