//! Calls from this process, a new connection each: a kept one would meet one backend only.

use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Answers;

/// How long one call may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most bytes of an answer that are read.
const MAX_ANSWER_BYTES: u64 = 64 << 10;

/// Calls `calls` times.
pub async fn call(address: (IpAddr, u16), calls: u16) -> Answers {
    let mut answers = Answers::default();
    for _ in 0..calls {
        match tokio::time::timeout(TIMEOUT, get(address)).await {
            Ok(Ok(line)) => answers.add(Ok(&line)),
            Ok(Err(error)) => answers.add(Err(error.to_string())),
            Err(_) => answers.add(Err(format!("no answer in {} s", TIMEOUT.as_secs()))),
        }
    }
    answers
}

/// The first line of the body of `GET /`.
async fn get(address: (IpAddr, u16)) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let host = std::net::SocketAddr::from(address);
    stream.write_all(format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_ANSWER_BYTES).read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if head.split(' ').nth(1) != Some("200") {
        return Err(std::io::Error::other(head.lines().next().unwrap_or("an empty answer").to_owned()));
    }
    Ok(body.lines().next().unwrap_or_default().to_owned())
}
