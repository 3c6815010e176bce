//! People who have an account, before the attack on them begins.

use std::net::SocketAddr;

use super::asker::{Asker, credentials, post};
use crate::Result;
use crate::population::Person;

pub(super) const PASSWORD: &str = "tide-Lamp 7 orchard";
/// Where honest people are.
pub(super) const HOME: &str = "203.0.113.7";

/// The address of the person with this number.
pub(super) fn email(number: usize) -> String {
    format!("person-{number}@example.org")
}

/// Registers the first `count` people.
pub(super) fn register(address: SocketAddr, count: usize) -> Result<()> {
    let mut asker = Asker::connect(address)?;
    for number in 0..count {
        let body = format!(
            r#"{{"email":"{}","password":"{PASSWORD}","password_confirm":"{PASSWORD}"}}"#,
            email(number)
        );
        let told = asker.ask(&post("/api/register/", HOME, &body))?;
        if told.status != 201 {
            return Err(format!("a registration was answered {}", told.status).into());
        }
    }
    Ok(())
}

/// Logs the first `count` people in.
pub(super) fn log_in(address: SocketAddr, count: usize) -> Result<Vec<Person>> {
    let mut asker = Asker::connect(address)?;
    let mut people = Vec::new();
    for number in 0..count {
        let told = asker.ask(&post("/api/login/", HOME, &credentials(&email(number), PASSWORD)))?;
        let (access, refresh) = (told.field("access")?, told.field("refresh")?);
        people.push(Person { email: email(number), access, refresh });
    }
    Ok(people)
}
