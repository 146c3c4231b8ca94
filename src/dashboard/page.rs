//! The page: one text, into which data is put.

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

/// As the front end's build left it.
const PAGE: &str = include_str!("page/built/index.html");
/// The policy that lets it run and nothing else: its script and style by their hashes.
pub(super) const POLICY: &str = include_str!("page/built/policy.txt");
/// Where data goes.
const MARK: &str = "<!--CORTADO_DATA-->";

/// The page with data in it.
///
/// # Errors
/// `Format` where the data cannot be written as JSON.
pub(super) fn with_data(data: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string(data).map_err(|e| {
        Error::new(
            ErrorKind::Format,
            format!("the page cannot be written: {e}"),
        )
    })?;
    // Nothing in a text can end the script that holds it.
    let json = json.replace('<', "\\u003c");
    let script = format!("<script type=\"application/json\" id=\"cortado-data\">{json}</script>");
    Ok(match PAGE.split_once(MARK) {
        Some((before, after)) => format!("{before}{script}{after}"),
        None => format!("{script}{PAGE}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn data_cannot_break_out() {
        let page = with_data(&json!({"title": "</script><script>alert(1)</script>"})).unwrap();
        let at = page.find("cortado-data").unwrap();
        let end = page[at..].find("</script>").unwrap();
        assert!(page[at..at + end].contains("\\u003c/script>\\u003cscript>"));
        assert!(!page.contains(MARK));
    }

    #[test]
    fn the_built_page_has_its_mark_and_asks_nobody() {
        assert_eq!(PAGE.matches(MARK).count(), 1);
        assert!(!PAGE.contains("src=\"http") && !PAGE.contains("href=\"http"));
        assert!(POLICY.contains("default-src 'none'") && POLICY.contains("connect-src 'self'"));
        assert!(POLICY.contains("script-src 'sha256-") && !POLICY.contains("unsafe"));
        assert!(axum::http::HeaderValue::from_static(POLICY).len() > 50);
    }
}
