//! What is said of a field or a token, in the words of the contract.

use serde_json::{Value, json};

pub(crate) const REQUIRED: &str = "This field is required.";
pub(crate) const NULL: &str = "This field may not be null.";
pub(crate) const BLANK: &str = "This field may not be blank.";
pub(crate) const NOT_A_STRING: &str = "Not a valid string.";
pub(crate) const NUL: &str = "Null characters are not allowed.";
pub(crate) const EMAIL: &str = "Enter a valid email address.";
pub(crate) const EMAIL_LENGTH: &str = "Ensure this field has no more than 254 characters.";
pub(crate) const EMAIL_TAKEN: &str = "user with this email already exists.";
pub(crate) const USERNAME: &str = "Enter a valid username. This value may contain only letters, numbers, and \
                        @/./+/-/_ characters.";
pub(crate) const USERNAME_LENGTH: &str = "Ensure this field has no more than 150 characters.";
pub(crate) const USERNAME_TAKEN: &str = "A user with that username already exists.";
pub(crate) const SHORT: &str = "Ensure this field has at least 8 characters.";
pub(crate) const LONG: &str = "Ensure this field has no more than 1024 bytes.";
pub(crate) const COMMON: &str = "This password is too common.";
pub(crate) const NUMERIC: &str = "This password is entirely numeric.";
pub(crate) const LIKE_EMAIL: &str = "The password is too similar to the email.";
pub(crate) const LIKE_USERNAME: &str = "The password is too similar to the username.";
pub(crate) const LIKE_SERVICE: &str = "The password is too similar to a word of this service.";
pub(crate) const DIFFER: &str = "Passwords don't match";
pub(crate) const NEW_DIFFER: &str = "New passwords don't match.";
pub(crate) const SAME: &str = "New password must be different from current password.";
pub(crate) const WRONG_CURRENT: &str = "Incorrect current password";
pub(crate) const WRONG_PASSWORD: &str = "Incorrect password";
pub(crate) const BAD_RESET_TOKEN: &str = "Invalid or expired reset token";
pub(crate) const BAD_TOKEN: &str = "Token is invalid or expired";
pub(crate) const WRONG_TYPE: &str = "Token has wrong type";

/// How an access token is refused.
pub(crate) fn bad_access(message: &str) -> (u16, Value) {
    let messages =
        json!([{"token_class": "AccessToken", "token_type": "access", "message": message}]);
    let detail = "Given token not valid for any token type";
    (401, json!({"detail": detail, "code": "token_not_valid", "messages": messages}))
}

/// How a refresh token is refused.
pub(crate) fn bad_refresh(message: &str) -> (u16, Value) {
    (401, json!({"detail": message, "code": "token_not_valid"}))
}

/// How a mailed link's token is refused.
pub(crate) fn bad_ticket() -> (u16, Value) {
    (400, json!({"non_field_errors": ["Invalid or expired verification token"]}))
}

/// What is said where no field is named.
fn detail(status: u16, detail: &str) -> (u16, Value) {
    (status, json!({"detail": detail}))
}

pub(crate) fn wrong_credentials() -> (u16, Value) {
    detail(401, "Invalid email or password")
}

pub(crate) fn no_credentials() -> (u16, Value) {
    detail(401, "Authentication credentials were not provided.")
}

pub(crate) fn not_found() -> (u16, Value) {
    detail(404, "Not found.")
}

pub(crate) fn unavailable() -> (u16, Value) {
    detail(503, "Service temporarily unavailable.")
}

pub(crate) fn user_not_found() -> (u16, Value) {
    (401, json!({"detail": "User not found", "code": "user_not_found"}))
}

pub(crate) fn bad_authorization() -> (u16, Value) {
    let detail = "Authorization header must contain two space-delimited values";
    (401, json!({"detail": detail, "code": "bad_authorization_header"}))
}
