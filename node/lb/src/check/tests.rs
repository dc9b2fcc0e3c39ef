use std::time::Duration;

use tokio::net::TcpListener;

use super::*;
use crate::config::Config;

fn check(text: &str) -> HealthCheck {
    let config = Config::parse(&format!("interface: eth0\nhealthCheck: {text}\n")).expect("the check is well");
    config.health_check.expect("the file has one")
}

async fn next(verdicts: &mut mpsc::Receiver<Verdict>) -> bool {
    let verdict = time::timeout(Duration::from_secs(30), verdicts.recv()).await;
    verdict.expect("a verdict within half a minute").expect("the checks run").healthy
}

#[tokio::test]
async fn a_server_that_goes_is_unhealthy_until_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let check = check(&format!("{{tcp: {port}, interval: 10ms, unhealthy: 2, healthy: 2}}"));
    let target = Target { address: IpAddr::from([127, 0, 0, 1]), check };
    let (mut checks, mut verdicts) = Checks::new();
    checks.set([(target.clone(), true)]);
    assert!(checks.is_healthy(&target));
    drop(listener);
    assert!(!next(&mut verdicts).await);
    assert!(checks.take(&Verdict { target: target.clone(), healthy: false }));
    assert!(!checks.is_healthy(&target));
    let _listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
    assert!(next(&mut verdicts).await);
    checks.set([]);
    assert!(!checks.take(&Verdict { target, healthy: true }), "nobody asks any more");
}

#[tokio::test]
async fn an_answer_of_an_error_is_no_health() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("it is bound").port();
    let target = Target { address: IpAddr::from([127, 0, 0, 1]), check: check(&format!("{{http: {{port: {port}}}}}")) };
    for (answer, well) in [("200 OK", true), ("302 Found", true), ("503 Service Unavailable", false)] {
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            stream.write_all(format!("HTTP/1.1 {answer}\r\n\r\n").as_bytes()).await.expect("it is written");
            stream
        };
        let (result, _stream) = tokio::join!(ask(&target), serve);
        assert_eq!(result.is_ok(), well, "{answer}: {result:?}");
    }
}
