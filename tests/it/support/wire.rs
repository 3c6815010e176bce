//! A small HTTP client over a real socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use hyper::HeaderMap;
use serde_json::{Value, json};

use super::{PASSWORD, PATIENCE, Reply, Tokens};

/// A connection that stays open from each request to the next.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
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
    pub(crate) fn receive(&mut self) -> io::Result<Reply> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let fields = head.lines().filter_map(|line| line.split_once(": "));
        let headers = fields.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers: HeaderMap = headers.collect();
        let length = headers.get("content-length").map(|length| length.to_str().unwrap());
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.stream.read_exact(&mut body)?;
        Ok(Reply { status, headers, body: body.into() })
    }

    /// Whatever comes until the server closes the connection.
    pub(crate) fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// A GET with an access token, or without one if that is empty.
    pub(crate) fn get(&mut self, target: &str, access: &str) -> io::Result<Reply> {
        let header = if access.is_empty() { "" } else { "\r\nAuthorization: Bearer " };
        let request = format!("GET {target} HTTP/1.1\r\nHost: test{header}{access}\r\n\r\n");
        self.send(request.as_bytes())?;
        self.receive()
    }

    /// A POST of JSON.
    pub(crate) fn post(&mut self, target: &str, body: &Value) -> io::Result<Reply> {
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
        Tokens::of(&self.post("/api/login/", &body).unwrap())
    }

    pub(crate) fn refresh(&mut self, token: &str) -> Reply {
        self.post("/api/token/refresh/", &json!({"refresh": token})).unwrap()
    }
}
