//! Builds a message (RFC 5322) with a text and an HTML part (RFC 2046).

use std::time::{Duration, UNIX_EPOCH};

use lettre::Address;
use lettre::address::Envelope;
use lettre::message::header::{
    ContentTransferEncoding, ContentType, HeaderName, HeaderValue, MessageId as MessageIdHeader,
};
use lettre::message::{Body, Mailbox, Message, MultiPart, MultiPartKind, SinglePart};

use super::MailSetupError;
use super::templates::Rendered;
use crate::config::PublicUrl;
use crate::domain::{Email, QueuedMail};

/// The longest line of a message, in bytes and without its end (RFC 5322, section 2.1.1).
const MAX_LINE: usize = 998;

/// What all messages share.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    from: Mailbox,
    /// The part after the `@` of a `Message-ID`.
    message_id_domain: String,
}

/// A message, ready to be sent.
pub(super) struct Composed {
    pub(super) from: Address,
    pub(super) to: Address,
    /// With angle brackets.
    pub(super) message_id: String,
    /// The whole message: 7-bit, lines ending in CRLF.
    pub(super) raw: Vec<u8>,
}

impl Sender {
    /// Reads the sender from the configuration.
    pub(super) fn new(from: &str, public_url: &PublicUrl) -> Result<Self, MailSetupError> {
        let mailbox = parse_mailbox(from)
            .ok_or_else(|| MailSetupError::From { from: from.escape_debug().to_string() })?;
        let message_id_domain =
            public_url.mail_domain().unwrap_or(mailbox.email.domain()).to_owned();
        Ok(Self { from: mailbox, message_id_domain })
    }

    /// Builds the message. The same mail gives the same bytes at every attempt.
    ///
    /// # Errors
    /// Why the message cannot be built.
    pub(super) fn compose(
        &self,
        mail: &QueuedMail,
        rendered: &Rendered,
    ) -> Result<Composed, String> {
        let to = recipient(&mail.to);
        let envelope = Envelope::new(Some(self.from.email.clone()), vec![to.clone()])
            .map_err(|error| format!("the envelope: {error}"))?;
        let message_id = format!("<{}@{}>", mail.message_id, self.message_id_domain);
        // A `Date` cannot hold years of five digits.
        let date = u64::try_from(mail.queued_at.to_utc().unix_timestamp()).unwrap_or(0);
        // The templates never see the message's random part, so no line of theirs can be this.
        let boundary = format!("=_{}", mail.message_id);
        let message = Message::builder()
            // Otherwise it would be parsed from the header, by the parser that `recipient` avoids.
            .envelope(envelope)
            .from(self.from.clone())
            .to(Mailbox::new(None, to.clone()))
            .subject(rendered.subject.clone())
            .date(UNIX_EPOCH + Duration::from_secs(date))
            .header(MessageIdHeader::from(message_id.clone()))
            // RFC 3834, section 5: asks for no automatic replies.
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Auto-Response-Suppress", "All"))
            .multipart(
                MultiPart::builder()
                    .kind(MultiPartKind::Alternative)
                    .boundary(boundary)
                    .singlepart(part(ContentType::TEXT_PLAIN, &rendered.text))
                    .singlepart(part(ContentType::TEXT_HTML, &rendered.html)),
            )
            .map_err(|error| format!("the message: {error}"))?;
        Ok(Composed { from: self.from.email.clone(), to, message_id, raw: message.formatted() })
    }
}

/// An [`Email`] is ASCII and consists of atoms, dots and labels, so it cannot end a command or a
/// header. It is not parsed again, since that would refuse a local part of more than 64 bytes; the
/// recipient's server decides about those.
fn recipient(email: &Email) -> Address {
    let deliverable = email.deliverable();
    let (local_part, domain) = deliverable.rsplit_once('@').unwrap_or((&deliverable, ""));
    Address::new_dangerous(local_part, domain)
}

/// A sender that every mail server accepts: the domain in ASCII, nothing that could end a header.
fn parse_mailbox(from: &str) -> Option<Mailbox> {
    if from.contains(char::is_control) {
        return None;
    }
    let mailbox: Mailbox = from.trim().parse().ok()?;
    let domain = mailbox.email.domain();
    let email = if domain.is_ascii() {
        mailbox.email
    } else {
        Address::new(mailbox.email.user(), idna::domain_to_ascii(domain).ok()?).ok()?
    };
    email.user().is_ascii().then(|| Mailbox::new(mailbox.name, email))
}

fn header(name: &'static str, value: &'static str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// One part. It is sent unencoded if that is allowed, that is, for ASCII in lines of up to 998
/// bytes (RFC 5322, section 2.1.1), so that a link stays in one piece in the source as well;
/// otherwise in a suitable encoding.
fn part(content_type: ContentType, text: &str) -> SinglePart {
    let is_plain = text.is_ascii() && !text.contains(['\0', '\r']);
    let is_short = text.lines().all(|line| line.len() <= MAX_LINE);
    let body = if is_plain && is_short {
        let lines = text.replace('\n', "\r\n").into_bytes();
        Body::dangerous_pre_encoded(lines, ContentTransferEncoding::SevenBit)
    } else {
        Body::new(text.to_owned())
    };
    SinglePart::builder().header(content_type).body(body)
}
