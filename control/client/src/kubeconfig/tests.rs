use super::*;

fn load(text: &str) -> Result<Kubeconfig, KubeconfigError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ca.pem"), "CA").unwrap();
    std::fs::write(dir.path().join("config"), text).unwrap();
    Kubeconfig::read(&dir.path().join("config"))
}

const EMBEDDED: &str = "
apiVersion: v1
kind: Config
current-context: one
contexts: [{name: one, context: {cluster: c, user: u, namespace: shop}}]
clusters: [{name: c, cluster: {server: 'https://h:6443', certificate-authority-data: Q0E=}}]
users: [{name: u, user: {client-certificate-data: Qw==, client-key-data: Sw==}}]
";

#[test]
fn embedded_credentials_are_decoded() {
    let config = load(EMBEDDED).unwrap();
    assert_eq!((config.server.as_str(), config.namespace.as_str()), ("https://h:6443", "shop"));
    assert_eq!(config.ca_pem, b"CA");
    assert!(
        matches!(config.identity, Identity::Certificate { cert_pem, key_pem } if cert_pem == b"C" && key_pem == b"K")
    );
}

#[test]
fn files_are_found_beside_the_kubeconfig() {
    let text = EMBEDDED
        .replace("certificate-authority-data: Q0E=", "certificate-authority: ca.pem")
        .replace("client-certificate-data: Qw==, client-key-data: Sw==", "token: t");
    let config = load(&text).unwrap();
    assert_eq!(config.ca_pem, b"CA");
    assert!(matches!(config.identity, Identity::Token(token) if token == "t"));
}

#[test]
fn what_is_missing_is_named() {
    let error = load(&EMBEDDED.replace("current-context: one", "current-context: two")).unwrap_err();
    assert_eq!(error.to_string(), "the kubeconfig has no context named \"two\"");
    let error = load(&EMBEDDED.replace("Q0E=", "'%%'")).unwrap_err();
    assert!(error.to_string().starts_with("certificate-authority-data in the kubeconfig is not base64"), "{error}");
    assert!(load("- nonsense").unwrap_err().to_string().contains("is not a kubeconfig"));
}
