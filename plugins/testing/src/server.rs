//! An HTTP server for cases: it answers as the case says, and remembers what it was asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// What the case has the server say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    is_cut: bool,
}

impl HttpRequest {
    /// The first header of that name, which is given in small letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query, as it was written.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let query = self.target.split_once('?')?.1;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}

impl HttpAnswer {
    /// An answer with a body.
    #[must_use]
    pub fn new(status: u16, body: impl ToString) -> Self {
        Self { status, headers: Vec::new(), body: body.to_string(), is_cut: false }
    }

    /// No answer: the connection ends when the request has been read.
    #[must_use]
    pub fn none() -> Self {
        Self { is_cut: true, ..Self::new(0, "") }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// A server on a free port of the loopback interface. It ends with this.
pub struct HttpServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<HttpRequest>>>,
    stopping: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

/// A client that says nothing for so long is left alone.
const READ_LIMIT: Duration = Duration::from_secs(10);

impl HttpServer {
    /// Starts it. Requests are answered one after the other.
    ///
    /// # Panics
    /// When no port can be had.
    #[must_use]
    pub fn start(mut answer: impl FnMut(&HttpRequest) -> HttpAnswer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (requests, stopping) = (Arc::<Mutex<Vec<HttpRequest>>>::default(), Arc::<AtomicBool>::default());
        let (heard, stop) = (requests.clone(), stopping.clone());
        let serving = std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if stop.load(Ordering::Acquire) {
                    return;
                }
                let Some(request) = read(&stream) else { continue };
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
                write(stream, &answer(&request));
            }
        });
        Self { address, requests, stopping, serving: Some(serving) }
    }

    /// The URL of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What connectors are to be granted: its host and port.
    #[must_use]
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What it was asked so far.
    #[must_use]
    pub fn requests(&self) -> Vec<HttpRequest> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // Wakes it.
        let _woken = TcpStream::connect(self.address);
        if let Some(serving) = self.serving.take() {
            let _ended = serving.join();
        }
    }
}

/// `None` for what is no request, such as the connection that wakes the server.
fn read(stream: &TcpStream) -> Option<HttpRequest> {
    stream.set_read_timeout(Some(READ_LIMIT)).ok()?;
    let mut reader = BufReader::new(stream);
    let line = |reader: &mut BufReader<&TcpStream>| {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let first = line(&mut reader)?;
    let mut words = first.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let header = line(&mut reader)?;
        let Some((name, value)) = header.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
    let is_chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value.eq_ignore_ascii_case("chunked"));
    let body = if is_chunked { chunks(&mut reader)? } else { exactly(&mut reader, length)? };
    Some(HttpRequest { method, target, headers, body: String::from_utf8(body).ok()? })
}

fn exactly(reader: &mut impl Read, bytes: usize) -> Option<Vec<u8>> {
    let mut body = vec![0; bytes];
    reader.read_exact(&mut body).ok()?;
    Some(body)
}

fn chunks(reader: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut size = String::new();
        reader.read_line(&mut size).ok()?;
        let bytes = usize::from_str_radix(size.trim(), 16).ok()?;
        let chunk = exactly(reader, bytes + 2)?;
        if bytes == 0 {
            return Some(body);
        }
        body.extend_from_slice(&chunk[..bytes]);
    }
}

/// A client that has gone does not hear it.
fn write(mut stream: TcpStream, answer: &HttpAnswer) {
    if answer.is_cut {
        return;
    }
    let HttpAnswer { status, headers, body, .. } = answer;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = if *status == 304 || *status == 204 { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let _gone =
        write!(stream, "HTTP/1.1 {status} -\r\n{headers}{length}connection: close\r\n\r\n{body}").and_then(|()| stream.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(server: &HttpServer, request: &str) -> String {
        let mut stream = TcpStream::connect(server.host()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn it_answers_and_remembers() {
        let server = HttpServer::start(|request| match request.method.as_str() {
            "POST" => HttpAnswer::new(201, request.body.to_uppercase()).header("x-a", "b"),
            "GET" => HttpAnswer::new(200, request.parameter("p").unwrap_or("none")),
            _ => HttpAnswer::none(),
        });
        let said = ask(&server, "POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
        assert!(said.starts_with("HTTP/1.1 201 ") && said.contains("x-a: b\r\n") && said.ends_with("\r\n\r\nABC"), "{said}");
        let said = ask(&server, "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n");
        assert!(said.ends_with("ABC"), "{said}");
        assert!(ask(&server, "GET /b?q=1&p=7 HTTP/1.1\r\n\r\n").ends_with('7'));
        assert_eq!(ask(&server, "DELETE /c HTTP/1.1\r\n\r\n"), "");
        let targets: Vec<String> = server.requests().into_iter().map(|request| request.target).collect();
        assert_eq!(targets, ["/a", "/a", "/b?q=1&p=7", "/c"]);
    }
}
