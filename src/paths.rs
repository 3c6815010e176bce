//! The paths that mails and pages lead to, and that `http` answers.

/// Confirms an address or a change of it, or calls such a change off; the ticket is in the query.
pub const CONFIRM_EMAIL: &str = "/api/verify-email/confirm";

/// Where a new password is chosen and sent; a mailed link has the ticket behind it. A frontend
/// has the same path for this.
pub const RESET_PASSWORD: &str = "/reset-password";

/// Where the description of the API is.
pub const SCHEMA: &str = "/api/schema";

/// The link to [`RESET_PASSWORD`], as the list of routes writes it.
pub const RESET_PASSWORD_LINK: &str = "/reset-password/{token}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_is_below_the_page() {
        assert_eq!(RESET_PASSWORD_LINK, format!("{RESET_PASSWORD}/{{token}}"));
    }
}
