//! The words of the design as types. Past the edge there are only these, never a `String` that
//! "was checked".

pub mod authentication;
pub mod client;
pub mod device;
pub mod email;
pub mod event;
pub mod invisible;
pub mod mail;
pub mod mailbox;
pub mod password;
pub mod session;
pub mod ticket;
pub mod user;
pub mod username;

pub(crate) mod hex;

pub use authentication::{Authentication, Factor};
pub use client::{AddressBlock, Client};
pub use email::{Email, EmailProblem};
pub use event::{Actor, Author, Authorised, Event, EventKind, Local};
pub use mail::{MailId, MailKind, MessageId, QueuedMail};
pub use mailbox::Mailbox;
pub use password::{NewPassword, PasswordHash, PasswordPolicy, PasswordProblem};
pub use session::{Rotation, Session, SessionId, Shown, Theft};
pub use ticket::{Purpose, Ticket, TicketId, TicketState, TicketUse};
pub use user::{PendingEmail, User, UserId};
pub use username::{Username, UsernameProblem};
