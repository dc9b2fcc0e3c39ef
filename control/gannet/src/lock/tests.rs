use super::*;

#[test]
fn a_role_is_played_once_and_names_its_player() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(holder(dir.path(), "up"), None);
    let first = take(dir.path(), "up", "stop it").unwrap();
    let own = Pid::from_raw(i32::try_from(std::process::id()).unwrap());
    assert_eq!(holder(dir.path(), "up"), Some(own));
    let second = take(dir.path(), "up", "stop it").err().unwrap().to_string();
    assert!(second.contains(&format!("process {own}")) && second.ends_with("stop it"), "{second}");
    assert_eq!(holder(dir.path(), "node"), None);
    drop(first);
    // The number is still in the file, but nobody holds it.
    assert_eq!(holder(dir.path(), "up"), None);
    take(dir.path(), "up", "stop it").unwrap();
}
