//! Answers of an HTTP/1.1 server, read as far as a client that knows what it asked needs.

use std::ops::Range;

/// One whole answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    /// Status line and header fields, up to the empty line.
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// The answer that `bytes` begin with, and how long it is; `None` while it is not all there.
    /// The server is ours: it names every body's length.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Option<(Self, usize)>, &'static str> {
        let Some(head_length) = end_of_head(bytes) else { return Ok(None) };
        let head = slice(bytes, 0..head_length);
        let status = status(head).ok_or("no HTTP/1.1 status line")?;
        let length = match header(head, "content-length") {
            Some(length) => number(length).ok_or("an unreadable Content-Length")?,
            None if status == 204 || status == 304 => 0,
            None => return Err("no Content-Length"),
        };
        let whole = head_length.saturating_add(length);
        if bytes.len() < whole {
            return Ok(None);
        }
        let body = slice(bytes, head_length..whole);
        Ok(Some((Self { status, head, body }, whole)))
    }

    /// The value of a header field, whose name is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&'a [u8]> {
        header(self.head, name)
    }

    /// The text of a field in a flat JSON body, as it stands there: no escapes are undone, as
    /// tokens have none.
    pub(crate) fn text_field(&self, name: &str) -> Option<&'a str> {
        let body = std::str::from_utf8(self.body).ok()?;
        let mut rest = body;
        loop {
            let (_, after_quote) = rest.split_once('"')?;
            rest = after_quote;
            if let Some(value) = rest.strip_prefix(name).and_then(|rest| rest.strip_prefix("\":\""))
            {
                return value.split_once('"').map(|(value, _)| value);
            }
        }
    }
}

fn slice(bytes: &[u8], range: Range<usize>) -> &[u8] {
    bytes.get(range).unwrap_or_default()
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn status(head: &[u8]) -> Option<u16> {
    let digits = head.strip_prefix(b"HTTP/1.1 ")?.get(..3)?;
    number(digits)?.try_into().ok()
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a [u8]> {
    head.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let (start, rest) = line.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b":")?;
        start.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}
