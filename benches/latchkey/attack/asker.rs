//! One connection on which one request after the other is asked and waited for.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;
use crate::answer::Answer;

/// No answer for so long is a failure.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection to the server.
pub(super) struct Asker {
    stream: TcpStream,
    received: Vec<u8>,
}

/// An answer that outlives its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: String,
}

impl Asker {
    pub(super) fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::with_capacity(8 * 1024) })
    }

    /// Asks, and waits for the whole answer.
    pub(super) fn ask(&mut self, request: &[u8]) -> Result<Told> {
        self.stream.write_all(request)?;
        self.received.clear();
        let mut room = [0; 8 * 1024];
        loop {
            let count = self.stream.read(&mut room)?;
            if count == 0 {
                return Err("the server closed a connection instead of answering".into());
            }
            self.received.extend_from_slice(room.get(..count).unwrap_or_default());
            if let Some((answer, _)) = Answer::read(&self.received)? {
                return Ok(Told {
                    status: answer.status,
                    head: String::from_utf8_lossy(answer.head).into_owned(),
                    body: String::from_utf8_lossy(answer.body).into_owned(),
                });
            }
        }
    }
}

impl Told {
    /// The text of a field in a flat JSON body.
    pub(super) fn field(&self, name: &str) -> Result<String> {
        let answer = Answer { status: self.status, head: &[], body: self.body.as_bytes() };
        let text = answer.text_field(name).map(str::to_owned);
        Ok(text.ok_or_else(|| format!("no {name} in a {} answer", self.status))?)
    }
}

/// A POST of JSON, as through a proxy for the client at `client`.
pub(super) fn post(path: &str, client: &str, body: &str) -> Vec<u8> {
    let mut request = Vec::new();
    write_post(&mut request, path, client, body);
    request
}

/// Puts such a POST in the place of what is in `request`.
pub(super) fn write_post(request: &mut Vec<u8>, path: &str, client: &str, body: &str) {
    request.clear();
    let text = format!(
        "POST {path} HTTP/1.1\r\nHost: latchkey\r\nX-Forwarded-For: {client}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    request.extend_from_slice(text.as_bytes());
}

/// The body of a login.
pub(super) fn credentials(email: &str, password: &str) -> String {
    format!(r#"{{"email":"{email}","password":"{password}"}}"#)
}
