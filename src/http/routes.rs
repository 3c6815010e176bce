//! The routes: every path and method there is, as one list.

use hyper::Method;

use crate::paths::{CONFIRM_EMAIL, RESET_PASSWORD, RESET_PASSWORD_LINK, SCHEMA};

/// What a path and a method ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    Register,
    LogIn,
    ObtainTokens,
    Refresh,
    Profile,
    ChangeProfile,
    DeleteAccount,
    ForgotPassword,
    ResetPassword,
    ChangePassword,
    ResendVerification,
    OpenResetLink,
    AnswerReset,
    LogOut,
    LogOutEverywhere,
    Sessions,
    EndSession,
    VerifyToken,
    BlacklistToken,
    RevokedSessions,
    OpenVerificationLink,
    AnswerVerification,
    KeySet,
    Schema,
    Alive,
    Ready,
}

/// The list; the methods of a path follow each other. Paths are written without their trailing
/// slash; each works with it as well.
pub(super) const ROUTES: &[(Method, &str, Route)] = &[
    (Method::POST, "/api/register", Route::Register),
    (Method::POST, "/api/login", Route::LogIn),
    (Method::POST, "/api/token", Route::ObtainTokens),
    (Method::POST, "/api/token/refresh", Route::Refresh),
    (Method::POST, "/api/token/verify", Route::VerifyToken),
    (Method::POST, "/api/token/blacklist", Route::BlacklistToken),
    (Method::POST, "/api/logout", Route::LogOut),
    (Method::POST, "/api/logout/all", Route::LogOutEverywhere),
    (Method::GET, "/api/sessions", Route::Sessions),
    (Method::DELETE, "/api/sessions/{id}", Route::EndSession),
    (Method::GET, "/.well-known/revoked-sessions", Route::RevokedSessions),
    (Method::GET, "/api/profile", Route::Profile),
    (Method::PATCH, "/api/profile", Route::ChangeProfile),
    (Method::PUT, "/api/profile", Route::ChangeProfile),
    (Method::DELETE, "/api/profile", Route::DeleteAccount),
    (Method::POST, "/api/forgot-password", Route::ForgotPassword),
    (Method::POST, "/api/reset-password", Route::ResetPassword),
    (Method::POST, "/api/change-password", Route::ChangePassword),
    (Method::POST, "/api/resend-verification", Route::ResendVerification),
    (Method::GET, RESET_PASSWORD_LINK, Route::OpenResetLink),
    (Method::GET, RESET_PASSWORD, Route::OpenResetLink),
    (Method::POST, RESET_PASSWORD, Route::AnswerReset),
    (Method::GET, CONFIRM_EMAIL, Route::OpenVerificationLink),
    (Method::POST, CONFIRM_EMAIL, Route::AnswerVerification),
    (Method::GET, "/.well-known/jwks.json", Route::KeySet),
    (Method::GET, SCHEMA, Route::Schema),
    (Method::GET, "/healthz", Route::Alive),
    (Method::GET, "/readyz", Route::Ready),
];

/// A path that exists.
#[derive(Debug)]
pub(super) struct Resource {
    /// The path as the list has it: with the names of its parameters, never their values, so that
    /// it can be logged.
    pub(super) pattern: &'static str,
    /// What its methods ask for.
    routes: &'static [(Method, &'static str, Route)],
    /// Its methods.
    pub(super) methods: Vec<Method>,
}

/// Whether scripts of allowed origins may call `path`, known or not: everything but the pages.
pub(super) fn is_for_scripts(path: &str) -> bool {
    ["/api", "/.well-known", "/healthz", "/readyz"].iter().any(|top| {
        path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

impl Resource {
    /// What `method` asks for here. `HEAD` asks for what `GET` does.
    pub(super) fn route(&self, method: &Method) -> Option<Route> {
        let method = if method == Method::HEAD { &Method::GET } else { method };
        self.routes.iter().find(|(known, ..)| known == method).map(|(.., route)| *route)
    }
}

/// Finds paths.
#[derive(Debug)]
pub(super) struct RouteTable {
    paths: matchit::Router<Resource>,
}

impl RouteTable {
    /// The table of the list.
    ///
    /// # Panics
    /// If two of its paths contradict each other; a test makes it.
    #[expect(clippy::expect_used, reason = "the list is ours, and a test builds the table")]
    pub(super) fn new() -> Self {
        let mut paths = matchit::Router::new();
        for routes in ROUTES.chunk_by(|(_, one, _), (_, next, _)| one == next) {
            let Some((_, pattern, _)) = routes.first() else { continue };
            let methods = routes.iter().map(|(method, ..)| method.clone()).collect();
            let resource = Resource { pattern, routes, methods };
            paths.insert(*pattern, resource).expect("paths that do not contradict");
        }
        Self { paths }
    }

    /// The resource at `path`, with or without a trailing slash.
    pub(super) fn find(&self, path: &str) -> Option<&Resource> {
        let path = path.strip_suffix('/').unwrap_or(path);
        self.paths.at(path).ok().map(|found| found.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_have_no_business_with_pages() {
        for (path, expected) in [
            ("/api/login/", true),
            ("/api/sessions/1", true),
            ("/.well-known/jwks.json", true),
            ("/healthz", true),
            ("/readyz/", true),
            ("/api/nowhere", true),
            ("/.well-known/nowhere/", true),
            ("/reset-password", false),
            ("/reset-password/x/", false),
            ("/", false),
            ("/nowhere", false),
            ("/apix", false),
            ("/healthzz", false),
        ] {
            assert_eq!(is_for_scripts(path), expected, "{path}");
        }
    }

    #[test]
    fn every_route_is_found_with_and_without_its_slash() {
        let table = RouteTable::new();
        for (method, path, route) in ROUTES {
            for path in [(*path).to_owned(), format!("{path}/")] {
                let resource = table.find(&path).unwrap();
                assert_eq!(resource.route(method), Some(*route), "{method} {path}");
            }
        }
    }

    #[test]
    fn other_paths_are_not_found() {
        let table = RouteTable::new();
        for path in
            ["", "/", "//", "/api", "/api/login//", "//api/login", "/API/login", "/api/login/x"]
        {
            assert!(table.find(path).is_none(), "{path}");
        }
    }

    #[test]
    fn head_asks_for_what_get_does_and_other_methods_for_nothing() {
        let table = RouteTable::new();
        let profile = table.find("/api/profile").unwrap();
        assert_eq!(profile.route(&Method::HEAD), Some(Route::Profile));
        assert_eq!(profile.route(&Method::TRACE), None);
        assert_eq!(table.find("/api/login").unwrap().route(&Method::HEAD), None);
    }
}
