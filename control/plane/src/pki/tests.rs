use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn names(address: &str) -> Names {
    Names { dns: BTreeSet::from(["localhost".to_owned()]), addresses: BTreeSet::from([address.parse().unwrap()]) }
}

#[test]
fn a_restart_keeps_every_key_and_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::open(dir.path(), &names("10.0.0.1"), at("2026-01-01T00:00:00Z")).unwrap();
    let second = Pki::open(dir.path(), &names("10.0.0.1"), at("2026-03-01T00:00:00Z")).unwrap();
    assert_eq!(first.ca_pem, second.ca_pem);
    assert_eq!(first.serving.cert_pem, second.serving.cert_pem);
    assert_eq!(first.admin.cert_pem, second.admin.cert_pem);
    assert_eq!(first.sa_key_pem, second.sa_key_pem);
    assert_eq!(first.ca_fingerprint(), second.ca_fingerprint());
}

#[test]
fn a_certificate_near_its_end_is_renewed_under_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let first = Pki::open(dir.path(), &names("10.0.0.1"), at("2026-01-01T00:00:00Z")).unwrap();
    let later = Pki::open(dir.path(), &names("10.0.0.1"), at("2026-12-20T00:00:00Z")).unwrap();
    assert_eq!(first.ca_pem, later.ca_pem);
    assert_ne!(first.admin.cert_pem, later.admin.cert_pem);
    assert_eq!(first.admin.key_pem, later.admin.key_pem);
}

#[test]
fn another_address_gets_another_serving_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let now = at("2026-01-01T00:00:00Z");
    let first = Pki::open(dir.path(), &names("10.0.0.1"), now).unwrap();
    let moved = Pki::open(dir.path(), &names("10.0.0.2"), now).unwrap();
    assert_ne!(first.serving.cert_pem, moved.serving.cert_pem);
    assert_eq!(first.admin.cert_pem, moved.admin.cert_pem);
}

#[test]
fn no_file_is_open_to_others() {
    let dir = tempfile::tempdir().unwrap();
    Pki::open(dir.path(), &names("10.0.0.1"), at("2026-01-01T00:00:00Z")).unwrap();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", entry.path());
    }
}

#[test]
fn a_node_cannot_choose_its_subject() {
    let dir = tempfile::tempdir().unwrap();
    let now = at("2026-01-01T00:00:00Z");
    let pki = Pki::open(dir.path(), &names("10.0.0.1"), now).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut wish = rcgen::CertificateParams::new(vec!["kubernetes.default.svc".to_owned()]).unwrap();
    wish.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
    let request = wish.serialize_request(&key).unwrap().pem().unwrap();
    let issued = pki.sign_node_client("n1", &request, now).unwrap();
    let der = issue::certificate_der(&issued).unwrap();
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let subject = certificate.subject().to_string();
    assert!(subject.contains("system:node:n1") && subject.contains("O=system:nodes"), "{subject}");
    assert!(!subject.contains("system:masters"), "{subject}");
    assert!(certificate.subject_alternative_name().unwrap().is_none());
}

#[test]
fn a_damaged_file_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let now = at("2026-01-01T00:00:00Z");
    Pki::open(dir.path(), &names("10.0.0.1"), now).unwrap();
    std::fs::write(dir.path().join("ca.key"), "no key").unwrap();
    let error = Pki::open(dir.path(), &names("10.0.0.1"), now).err().unwrap();
    assert!(error.to_string().contains("ca.key is damaged"), "{error}");
}

#[test]
fn garbage_is_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let now = at("2026-01-01T00:00:00Z");
    let pki = Pki::open(dir.path(), &names("10.0.0.1"), now).unwrap();
    assert!(matches!(pki.sign_node_client("n1", "-----BEGIN", now), Err(Error::Request(_))));
}
