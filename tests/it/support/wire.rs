//! A small HTTP client over a real socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::{PASSWORD, PATIENCE, Tokens};

/// A connection that stays open from each request to the next.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

/// An answer as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct WireReply {
    pub(crate) status: u16,
    /// Everything before the body, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl WireReply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// A text of the body's JSON object.
    pub(crate) fn field(&self, name: &str) -> String {
        let body = self.json();
        let value = body.get(name).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("no {name}: {body}")).to_owned()
    }
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// Takes a connection over.
    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Sends bytes as they are.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Reads one answer; an error if the connection ends before there is one.
    pub(crate) fn receive(&mut self) -> io::Result<WireReply> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let head = head.to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.stream.read_exact(&mut body)?;
        Ok(WireReply { status, head, body })
    }

    /// Whatever comes until the server closes the connection.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// A GET with an access token, or without one if that is empty.
    pub(crate) fn get(&mut self, target: &str, access: &str) -> io::Result<WireReply> {
        let token = if access.is_empty() {
            String::new()
        } else {
            format!("Authorization: Bearer {access}\r\n")
        };
        self.send(format!("GET {target} HTTP/1.1\r\nHost: test\r\n{token}\r\n").as_bytes())?;
        self.receive()
    }

    /// A POST of JSON.
    pub(crate) fn post(&mut self, target: &str, body: &Value) -> io::Result<WireReply> {
        let body = body.to_string();
        let length = body.len();
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        self.send(request.as_bytes())?;
        self.receive()
    }
    pub(crate) fn register(&mut self, email: &str) {
        let body = json!({"email": email, "password": PASSWORD, "password_confirm": PASSWORD});
        let reply = self.post("/api/register/", &body).unwrap();
        assert_eq!(reply.status, 201, "{reply:?}");
    }

    pub(crate) fn log_in(&mut self, email: &str) -> Tokens {
        let body = json!({"email": email, "password": PASSWORD});
        let reply = self.post("/api/login/", &body).unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        Tokens { access: reply.field("access"), refresh: reply.field("refresh") }
    }

    pub(crate) fn refresh(&mut self, token: &str) -> WireReply {
        self.post("/api/token/refresh/", &json!({"refresh": token})).unwrap()
    }
}
