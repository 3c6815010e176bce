//! What the connections of a scenario ask for, and what they take for an answer.

use std::io::Write;

use crate::answer::Answer;
use crate::client::Script;
use crate::population::{PASSWORD, Person};

type Judged = Result<(), String>;

/// Whose turn it is: the connections share out those there are, and each goes round its own. Where
/// there are more connections than turns, several have the same one.
struct Turns {
    connections: usize,
    count: usize,
    /// Whose turn it is at each connection.
    current: Vec<usize>,
}

impl Turns {
    fn new(connections: usize, count: usize) -> Self {
        let current = (0..connections).map(|connection| connection % count.max(1)).collect();
        Self { connections, count, current }
    }

    fn current(&self, connection: usize) -> usize {
        self.current.get(connection).copied().unwrap_or_default()
    }

    fn next(&mut self, connection: usize) {
        if let Some(current) = self.current.get_mut(connection) {
            let next = *current + self.connections;
            *current = if next < self.count { next } else { connection % self.count.max(1) };
        }
    }
}

/// Connections ask the same again and again, and must be told the same each time.
pub(crate) struct Repeated {
    asked: Vec<Asked>,
    turns: Turns,
}

struct Asked {
    request: Vec<u8>,
    /// What the first answer must contain.
    contains: String,
    /// The first answer's body, once there is one.
    body: Vec<u8>,
}

impl Repeated {
    /// Is the server there?
    pub(crate) fn ready(connections: usize) -> Self {
        let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let contains = r#"{"status":"ok"}"#.to_owned();
        let asked = Asked { request: request.to_vec(), contains, body: Vec::new() };
        Self { asked: vec![asked], turns: Turns::new(connections, 1) }
    }

    /// The profiles of all these people.
    pub(crate) fn profiles(connections: usize, people: &[Person]) -> Self {
        let asked = people.iter().map(|person| Asked {
            request: profile_request(person),
            contains: format!("\"email\":\"{}\"", person.email),
            body: Vec::new(),
        });
        Self { asked: asked.collect(), turns: Turns::new(connections, people.len()) }
    }

    /// The same requests to a server that gives one answer whatever is asked.
    pub(crate) fn profiles_of_ceiling(connections: usize, people: &[Person]) -> Self {
        let mut same = Self::profiles(connections, people);
        same.asked.iter_mut().for_each(|asked| asked.contains.clear());
        same
    }
}

fn profile_request(person: &Person) -> Vec<u8> {
    format!(
        "GET /api/profile/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        person.access
    )
    .into_bytes()
}

impl Script for Repeated {
    fn request(&mut self, connection: usize, request: &mut Vec<u8>) {
        if let Some(asked) = self.asked.get(self.turns.current(connection)) {
            request.clear();
            request.extend_from_slice(&asked.request);
        }
    }

    fn answer(&mut self, connection: usize, answer: &Answer<'_>) -> Judged {
        expect(answer, 200)?;
        let current = self.turns.current(connection);
        let asked = self.asked.get_mut(current).ok_or("an unknown connection")?;
        if asked.body.is_empty() {
            if !String::from_utf8_lossy(answer.body).contains(&asked.contains) {
                return Err(format!("an answer lacks {}", asked.contains));
            }
            asked.body.extend_from_slice(answer.body);
        }
        if self.asked.len() > self.turns.connections {
            self.turns.next(connection);
        }
        let asked = self.asked.get(current).ok_or("an unknown connection")?;
        if asked.body == answer.body { Ok(()) } else { Err("another answer than before".into()) }
    }
}

/// Connections rotate sessions, each its own.
pub(crate) struct Refreshes {
    tokens: Vec<String>,
    turns: Turns,
}

impl Refreshes {
    pub(crate) fn new(connections: usize, people: &[Person]) -> Self {
        let tokens = people.iter().map(|person| person.refresh.clone()).collect();
        Self { tokens, turns: Turns::new(connections, people.len()) }
    }
}

impl Script for Refreshes {
    fn request(&mut self, connection: usize, request: &mut Vec<u8>) {
        if let Some(token) = self.tokens.get(self.turns.current(connection)) {
            post(request, "/api/token/refresh/", &["{\"refresh\":\"", token, "\"}"]);
        }
    }

    fn answer(&mut self, connection: usize, answer: &Answer<'_>) -> Judged {
        expect(answer, 200)?;
        let current = self.turns.current(connection);
        let token = self.tokens.get_mut(current).ok_or("an unknown connection")?;
        let successor = answer.text_field("refresh").ok_or("an answer has no refresh token")?;
        if answer.text_field("access").is_none_or(str::is_empty) {
            return Err("an answer has no access token".to_owned());
        }
        if token == successor {
            return Err("a refresh token was not rotated".to_owned());
        }
        token.clear();
        token.push_str(successor);
        self.turns.next(connection);
        Ok(())
    }
}

/// As many bytes as a refresh, to a ceiling that commits the record whose place the path names.
pub(crate) struct Commits {
    path: &'static str,
    body: String,
    places: Vec<usize>,
    turns: Turns,
}

impl Commits {
    /// The connections share out the places, and send what this person would.
    pub(crate) fn new(connections: usize, person: &Person, places: Vec<usize>) -> Self {
        let turns = Turns::new(connections, places.len());
        Self { path: "commit", body: person.refresh.clone(), places, turns }
    }

    /// The same, each after a hash.
    pub(crate) fn after_hash(self) -> Self {
        Self { path: "login", ..self }
    }
}

impl Script for Commits {
    fn request(&mut self, connection: usize, request: &mut Vec<u8>) {
        let is_same = self.places.len() <= self.turns.connections && !request.is_empty();
        if !is_same && let Some(place) = self.places.get(self.turns.current(connection)) {
            let path = format!("/{}/{place}", self.path);
            post(request, &path, &["{\"refresh\":\"", &self.body, "\"}"]);
        }
    }

    fn answer(&mut self, connection: usize, answer: &Answer<'_>) -> Judged {
        self.turns.next(connection);
        expect(answer, 200)
    }
}

/// Each connection logs in to an account of its own.
pub(crate) struct Logins {
    emails: Vec<String>,
}

impl Logins {
    pub(crate) fn new(people: &[Person]) -> Self {
        Self { emails: people.iter().map(|person| person.email.clone()).collect() }
    }
}

impl Script for Logins {
    fn request(&mut self, connection: usize, request: &mut Vec<u8>) {
        if let Some(email) = self.emails.get(connection)
            && request.is_empty()
        {
            let body = ["{\"email\":\"", email, "\",\"password\":\"", PASSWORD, "\"}"];
            post(request, "/api/login/", &body);
        }
    }

    fn answer(&mut self, connection: usize, answer: &Answer<'_>) -> Judged {
        expect(answer, 200)?;
        let email = self.emails.get(connection).ok_or("an unknown connection")?;
        let is_theirs = answer.text_field("email") == Some(email.as_str());
        if is_theirs { Ok(()) } else { Err("a login as someone else".to_owned()) }
    }
}

/// Each request registers somebody new.
pub(crate) struct Registrations {
    next: u64,
}

impl Registrations {
    /// `series` must be another for each load on one server.
    pub(crate) const fn new(series: u64) -> Self {
        Self { next: series * 1_000_000 }
    }
}

impl Script for Registrations {
    fn request(&mut self, _: usize, request: &mut Vec<u8>) {
        self.next += 1;
        let email = format!("newcomer.{}@example.com", self.next);
        let password = [PASSWORD, "\",\"password_confirm\":\"", PASSWORD].concat();
        let body = ["{\"email\":\"", &email, "\",\"password\":\"", &password, "\"}"];
        post(request, "/api/register/", &body);
    }

    fn answer(&mut self, _: usize, answer: &Answer<'_>) -> Judged {
        expect(answer, 201)
    }
}

/// Keeps the last answer as it came, for a ceiling to repeat.
pub(crate) struct Recorded<'a> {
    pub(crate) script: &'a mut dyn Script,
    pub(crate) answer: Vec<u8>,
}

impl Script for Recorded<'_> {
    fn request(&mut self, connection: usize, request: &mut Vec<u8>) {
        self.script.request(connection, request);
    }

    fn answer(&mut self, connection: usize, answer: &Answer<'_>) -> Judged {
        if answer.header("content-type") != Some(b"application/json") {
            return Err("an answer is not JSON".to_owned());
        }
        self.answer = [answer.head, answer.body].concat();
        self.script.answer(connection, answer)
    }
}

fn post(request: &mut Vec<u8>, path: &str, body: &[&str]) {
    let length: usize = body.iter().map(|part| part.len()).sum();
    request.clear();
    // Writing to a vector does not fail.
    let _ = write!(
        request,
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    for part in body {
        request.extend_from_slice(part.as_bytes());
    }
}

fn expect(answer: &Answer<'_>, status: u16) -> Judged {
    if answer.status == status {
        return Ok(());
    }
    // Of tokens no error of ours has any.
    let body = String::from_utf8_lossy(answer.body);
    Err(format!("status {} where {status} was due: {body}", answer.status))
}
