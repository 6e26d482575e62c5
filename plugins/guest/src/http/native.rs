//! How a native test sends requests: over `http` alone, one connection a request. In a component the worker sends them.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::{Failure, Kind, Request, Response, Target};

const TIMEOUT: Duration = Duration::from_secs(30);

pub(super) fn exchange(request: &Request, target: &Target<'_>) -> Result<Response, Failure> {
    if target.is_https {
        return Err(failure(Kind::Connection, "a native test has no TLS: use http there"));
    }
    let answer = raw(request, target)?;
    parse(&answer).ok_or_else(|| failure(Kind::Response, "the connection broke, or what came is no HTTP"))
}

fn failure(kind: Kind, why: &str) -> Failure {
    Failure::Other(kind, why.to_owned())
}

fn raw(request: &Request, target: &Target<'_>) -> Result<Vec<u8>, Failure> {
    let connecting = |error: std::io::Error| failure(Kind::Connection, &error.to_string());
    let talking = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => failure(Kind::Timeout, "no answer in time"),
        _ => failure(Kind::Response, &error.to_string()),
    };
    let with_port = if target.authority.contains(':') { target.authority.to_owned() } else { format!("{}:80", target.authority) };
    let address = with_port.to_socket_addrs().map_err(connecting)?.next();
    let address = address.ok_or_else(|| failure(Kind::Connection, "the name has no address"))?;
    let timeout = request.timeout.unwrap_or(TIMEOUT);
    let mut stream = TcpStream::connect_timeout(&address, timeout).map_err(connecting)?;
    stream.set_read_timeout(Some(timeout)).map_err(talking)?;
    let mut head = format!("{} {} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", request.method, target.path, target.authority)
        .into_bytes();
    for (name, value) in &request.headers {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(format!("content-length: {}\r\n\r\n", request.body.len()).as_bytes());
    stream.write_all(&head).and_then(|()| stream.write_all(&request.body)).map_err(talking)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(talking)?;
    Ok(answer)
}

/// `None`: it is cut, or no HTTP.
fn parse(answer: &[u8]) -> Option<Response> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header =
        |line: &str| line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim().as_bytes().to_vec()));
    let response = Response { status, headers: lines.filter_map(header).collect(), body: body.to_vec() };
    if response.header("transfer-encoding").is_some() {
        // Test servers that want to be read natively say how long their answers are.
        return None;
    }
    let is_whole = response.header("content-length").is_none_or(|length| length.parse() == Ok(body.len()));
    is_whole.then_some(response)
}
