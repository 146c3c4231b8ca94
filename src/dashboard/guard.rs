//! Who may ask: hosts, tokens and names of files, judged by their words alone.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};

use crate::error::{Error, ErrorKind, Result};

/// What is asked of whoever comes.
#[derive(Debug)]
pub(super) struct Guard {
    address: SocketAddr,
    /// Where the server is seen from other machines.
    token: Option<String>,
}

/// Whether a request may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may.
    Pass,
    /// It brought the token in its address: it may, and gets a cookie.
    Welcome,
    /// It speaks to a name that is not ours.
    WrongHost,
    /// It has no token.
    NoToken,
}

impl Guard {
    /// For a server that listens there; without a token only where that is this machine alone.
    ///
    /// # Errors
    /// Where the system gives no random numbers.
    pub(super) fn new(address: SocketAddr) -> Result<Self> {
        let token = if address.ip().is_loopback() {
            None
        } else {
            Some(random()?)
        };
        Ok(Self { address, token })
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The cookie's name: cookies know no ports.
    fn cookie_name(&self) -> String {
        format!("cortado_{}", self.address.port())
    }

    /// What to set where the token was right.
    pub(super) fn cookie(&self) -> Option<String> {
        let token = self.token.as_ref()?;
        let name = self.cookie_name();
        Some(format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict"))
    }

    /// Judges a request by its headers and the token in its address.
    pub(super) fn judge(&self, headers: &HeaderMap, token: Option<&str>) -> Verdict {
        let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
        let Some(host) = text(header::HOST) else {
            return Verdict::WrongHost;
        };
        let Some(wanted) = &self.token else {
            // A page from elsewhere can make its own name lead here, but not change what the browser calls us.
            return if is_local(host) {
                Verdict::Pass
            } else {
                Verdict::WrongHost
            };
        };
        if token.is_some_and(|t| same(t, wanted)) {
            return Verdict::Welcome;
        }
        let name = self.cookie_name();
        let cookies = headers.get_all(header::COOKIE).iter();
        let cookies = cookies.filter_map(|v| v.to_str().ok());
        let mut cookies = cookies.flat_map(|v| v.split(';')).map(str::trim);
        let found = cookies.any(|c| {
            let value = c.strip_prefix(&name).and_then(|c| c.strip_prefix('='));
            value.is_some_and(|value| same(value, wanted))
        });
        if found {
            Verdict::Pass
        } else {
            Verdict::NoToken
        }
    }
}

/// Whether a `Host` header names this machine, whatever the port.
fn is_local(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = match host.strip_prefix('[') {
        Some(rest) => return rest.strip_suffix(']').is_some_and(is_loopback),
        None => host.rsplit_once(':').map_or(host, |(name, port)| {
            if port.bytes().all(|b| b.is_ascii_digit()) {
                name
            } else {
                host
            }
        }),
    };
    name.eq_ignore_ascii_case("localhost") || is_loopback(name)
}

fn is_loopback(name: &str) -> bool {
    name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Whether two texts are the same, in a time that does not tell where they differ.
fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let differ = a.iter().zip(b).fold(0, |sum, (x, y)| sum | (x ^ y));
    a.len() == b.len() && std::hint::black_box(differ) == 0
}

/// 128 random bits in hexadecimal.
///
/// # Errors
/// `Io` where the system has none.
fn random() -> Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|e| {
        Error::new(
            ErrorKind::Io,
            format!("the system gives no random numbers: {e}"),
        )
    })?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// Whether a request that changes something comes from the page itself: no form and no foreign page can send this.
pub(super) fn is_own(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let json = text("content-type").is_some_and(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("application/json")
    });
    let origin = text("origin").is_none_or(|origin| {
        let host = origin.split_once("://").map(|(_, host)| host);
        host.is_some() && host == text("host")
    });
    json && origin && text("x-cortado") == Some("1")
}

/// Whether this is the name of a picture, and nothing more: no folder, nothing hidden.
pub(super) fn is_picture(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    name.len() <= 128
        && name.len() > 4
        && name.ends_with(".png")
        && !name.starts_with('.')
        && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_our_own_names_on_loopback() {
        let guard = Guard::new("127.0.0.1:8090".parse().unwrap()).unwrap();
        assert_eq!(guard.token(), None);
        for (host, verdict) in [
            ("localhost:8090", Verdict::Pass),
            ("LOCALHOST", Verdict::Pass),
            ("127.0.0.1:9999", Verdict::Pass),
            ("127.0.0.1", Verdict::Pass),
            ("[::1]:8090", Verdict::Pass),
            ("[::1]", Verdict::Pass),
            ("evil.example:8090", Verdict::WrongHost),
            ("localhost.evil.example", Verdict::WrongHost),
            ("127.0.0.1.evil.example", Verdict::WrongHost),
            ("192.168.0.7:8090", Verdict::WrongHost),
            ("localhost:x@evil.example", Verdict::WrongHost),
            ("", Verdict::WrongHost),
        ] {
            assert_eq!(
                guard.judge(&headers(&[("host", host)]), None),
                verdict,
                "{host}"
            );
        }
        assert_eq!(guard.judge(&HeaderMap::new(), None), Verdict::WrongHost);
    }

    #[test]
    fn a_token_elsewhere() {
        let guard = Guard::new("0.0.0.0:8090".parse().unwrap()).unwrap();
        let token = guard.token().unwrap().to_owned();
        assert_eq!(token.len(), 32);
        let host = ("host", "box:8090");
        let judge = |pairs: &[(&'static str, &str)], token| guard.judge(&headers(pairs), token);
        assert_eq!(judge(&[host], None), Verdict::NoToken);
        assert_eq!(judge(&[host], Some("")), Verdict::NoToken);
        assert_eq!(judge(&[host], Some(&token[1..])), Verdict::NoToken);
        assert_eq!(judge(&[host], Some(&token)), Verdict::Welcome);
        let cookie = format!("a=b; cortado_8090={token}");
        assert_eq!(judge(&[host, ("cookie", &cookie)], None), Verdict::Pass);
        let other = format!("cortado_8091={token}");
        assert_eq!(judge(&[host, ("cookie", &other)], None), Verdict::NoToken);
        let set = guard.cookie().unwrap();
        assert!(set.contains("HttpOnly") && set.contains("SameSite=Strict"));
        assert_ne!(random().unwrap(), random().unwrap());
    }

    #[test]
    fn only_the_page_itself_changes_things() {
        let json = ("content-type", "application/json; charset=utf-8");
        let (own, host) = (("x-cortado", "1"), ("host", "localhost:1"));
        assert!(is_own(&headers(&[json, own, host])));
        assert!(is_own(&headers(&[
            json,
            own,
            host,
            ("origin", "http://localhost:1")
        ])));
        assert!(!is_own(&headers(&[
            json,
            own,
            host,
            ("origin", "http://evil.example")
        ])));
        assert!(!is_own(&headers(&[json, own, host, ("origin", "null")])));
        assert!(!is_own(&headers(&[json, host])));
        assert!(!is_own(&headers(&[
            own,
            host,
            ("content-type", "text/plain")
        ])));
        assert!(!is_own(&headers(&[own, host])));
    }

    #[test]
    fn names_of_pictures() {
        assert!(is_picture("100_conv_last_0_1.png"));
        for name in [
            "../run.jsonl",
            "..png",
            ".png",
            ".x.png",
            "a/b.png",
            "a\\b.png",
            "a%2fb.png",
            "run.jsonl",
            "a.png\0",
            "ä.png",
        ] {
            assert!(!is_picture(name), "{name}");
        }
        assert!(!is_picture(&format!("{}.png", "x".repeat(200))));
    }
}
