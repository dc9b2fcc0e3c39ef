use super::*;

#[test]
fn mountinfo_lines() {
    let line = r"36 35 98:0 /mnt1 /a\040b\134c rw,noatime master:1 - ext3 /dev/root rw,errors=continue";
    let want = Mount { target: PathBuf::from(r"/a b\c"), kind: "ext3".into() };
    assert_eq!(parse(line), Some(want));
    assert_eq!(parse("garbage"), None);
}
