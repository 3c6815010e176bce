//! Describes a user agent for the person who used it: "Firefox on Windows".
//!
//! A user agent is only a claim, and browsers freeze most of it (an iPad calls itself a Macintosh,
//! Windows 11 calls itself 10). So the description has only the program and the system, without
//! versions, and an unrecognised program appears under its own name or not at all.

/// The description of a user agent without useful content.
const UNKNOWN: &str = "Unknown device";

/// The longest name a program may give itself.
const MAX_NAME: usize = 40;

/// Browsers by the product token they add (RFC 9110, section 10.1.5). The first that occurs counts:
/// those built on others send the others' tokens as well.
const BROWSERS: [(&str, &str); 25] = [
    ("Edg", "Edge"),
    ("EdgA", "Edge"),
    ("EdgiOS", "Edge"),
    ("Edge", "Edge"),
    ("OPR", "Opera"),
    ("OPT", "Opera"),
    ("OPX", "Opera"),
    ("Opera", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Vivaldi", "Vivaldi"),
    ("YaBrowser", "Yandex Browser"),
    ("UCBrowser", "UC Browser"),
    ("MiuiBrowser", "Mi Browser"),
    ("DuckDuckGo", "DuckDuckGo"),
    ("Ddg", "DuckDuckGo"),
    ("Brave", "Brave"),
    ("Electron", "Electron"),
    ("FxiOS", "Firefox"),
    ("Firefox", "Firefox"),
    ("CriOS", "Chrome"),
    ("HeadlessChrome", "Headless Chrome"),
    ("Chromium", "Chromium"),
    ("Chrome", "Chrome"),
    ("MSIE", "Internet Explorer"),
    ("Trident", "Internet Explorer"),
];

/// Systems by a word that identifies them. The first that occurs counts: Android also says Linux,
/// and Windows phones and iOS also name others.
const SYSTEMS: [(&str, &str); 13] = [
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("iPod", "iPod"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("macOS", "macOS"),
    ("Darwin", "an Apple device"),
    ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"),
    ("NetBSD", "NetBSD"),
    ("Linux", "Linux"),
];

/// The device behind a user agent, in words: "Firefox on Windows", "Safari on iPhone", "curl",
/// "Unknown device".
///
/// The result is built from fixed words and from ASCII letters, digits and `._+-`.
pub fn describe(user_agent: &str) -> String {
    let system = find(&SYSTEMS, |name| words(user_agent).any(|word| word == name));
    match (program(user_agent), system) {
        (Some(program), Some(system)) => format!("{program} on {system}"),
        (Some(program), None) => program.to_owned(),
        (None, Some(system)) => format!("Unknown program on {system}"),
        (None, None) => UNKNOWN.to_owned(),
    }
}

/// The browser, or the first name that the agent gives itself.
fn program(user_agent: &str) -> Option<&str> {
    let browser = find(&BROWSERS, |name| products(user_agent).any(|product| product == name));
    if browser.is_some() {
        return browser;
    }
    // Only Safari sends its version separately; others that say "Safari" mean what they are built
    // on.
    let says = |name| products(user_agent).any(|product| product == name);
    if says("Version") && says("Safari") {
        return Some("Safari");
    }
    let name = products(user_agent).next()?;
    // Everything made for people calls itself "Mozilla" first.
    let is_name = name.len() <= MAX_NAME
        && name != "Mozilla"
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte));
    is_name.then_some(name)
}

fn find(table: &[(&str, &'static str)], occurs: impl Fn(&str) -> bool) -> Option<&'static str> {
    table.iter().find(|(name, _)| occurs(name)).map(|(_, shown)| *shown)
}

/// The words of the agent, including those in its comments.
fn words(user_agent: &str) -> impl Iterator<Item = &str> {
    user_agent.split([' ', '(', ')', ';', ',', '/', ':']).filter(|word| !word.is_empty())
}

/// The names before a slash, and MSIE, which is followed by a space.
fn products(user_agent: &str) -> impl Iterator<Item = &str> {
    user_agent.split([' ', '(', ')', ';', ',']).filter_map(|word| match word.split_once('/') {
        Some((name, _)) => Some(name).filter(|name| !name.is_empty()),
        None => Some(word).filter(|word| *word == "MSIE"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_with_their_system() {
        for (user_agent, device) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
                "Firefox on Windows",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
                "Firefox on Linux",
            ),
            (
                "Mozilla/5.0 (Android 14; Mobile; rv:133.0) Gecko/133.0 Firefox/133.0",
                "Firefox on Android",
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_1 like Mac OS X) AppleWebKit/605.1.15 \
                 (KHTML, like Gecko) FxiOS/133.0 Mobile/15E148 Safari/605.1.15",
                "Firefox on iPhone",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/131.0.0.0 Safari/537.36",
                "Chrome on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/131.0.0.0 Mobile Safari/537.36",
                "Chrome on Android",
            ),
            (
                "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/131.0.0.0 Safari/537.36",
                "Chrome on ChromeOS",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/131.0.0.0 Safari/537.36 Edg/131.0.0.0",
                "Edge on Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/131.0.0.0 Safari/537.36 OPR/116.0.0.0",
                "Opera on Windows",
            ),
            (
                "Mozilla/5.0 (Linux; Android 14; SM-S911B) AppleWebKit/537.36 (KHTML, like Gecko) \
                 SamsungBrowser/25.0 Chrome/121.0.0.0 Mobile Safari/537.36",
                "Samsung Internet on Android",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like \
                 Gecko) Version/18.1 Safari/605.1.15",
                "Safari on macOS",
            ),
            (
                "Mozilla/5.0 (iPad; CPU OS 17_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like \
                 Gecko) Version/17.1 Mobile/15E148 Safari/604.1",
                "Safari on iPad",
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 HeadlessChrome/131.0.0.0 Safari/537.36",
                "Headless Chrome on Linux",
            ),
            (
                "Mozilla/5.0 (compatible; MSIE 10.0; Windows NT 6.2; Trident/6.0)",
                "Internet Explorer on Windows",
            ),
            (
                "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
                "Internet Explorer on Windows",
            ),
        ] {
            assert_eq!(describe(user_agent), device, "{user_agent}");
        }
    }

    #[test]
    fn other_programs_are_called_what_they_call_themselves() {
        for (user_agent, device) in [
            ("curl/8.5.0", "curl"),
            ("python-requests/2.32.3", "python-requests"),
            ("okhttp/4.12.0", "okhttp"),
            ("MyApp/3.1 (iPhone; iOS 17.1; Scale/3.00)", "MyApp on iPhone"),
            ("Dalvik/2.1.0 (Linux; U; Android 13; Pixel 7)", "Dalvik on Android"),
            ("MyApp/42 CFNetwork/1568.100.1 Darwin/24.0.0", "MyApp on an Apple device"),
        ] {
            assert_eq!(describe(user_agent), device, "{user_agent}");
        }
    }

    #[test]
    fn nothing_is_made_up_and_nothing_is_repeated_that_is_no_name() {
        let long = format!("{}/1", "a".repeat(MAX_NAME + 1));
        for (user_agent, device) in [
            ("", UNKNOWN),
            ("Mozilla/5.0", UNKNOWN),
            ("firefox", UNKNOWN),
            ("Firefoxy", UNKNOWN),
            ("NotFirefox/1.0", "NotFirefox"),
            ("<script>alert(1)</script>", UNKNOWN),
            ("\u{202e}evil/1", UNKNOWN),
            ("/1.0", UNKNOWN),
            ("1/1", UNKNOWN),
            (&long, UNKNOWN),
            ("Mozilla/5.0 (Linux; U)", "Unknown program on Linux"),
            ("Mozilla/5.0 (iPhone) AppleWebKit/605 Mobile/15E148", "Unknown program on iPhone"),
        ] {
            assert_eq!(describe(user_agent), device, "{user_agent}");
        }
    }
}
