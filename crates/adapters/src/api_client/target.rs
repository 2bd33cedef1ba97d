//! The path of a call, and what is asked of it.

/// The path of a call, with whatever bytes its ids hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target(String);

impl Target {
    #[must_use]
    pub fn of(segments: &[&str]) -> Self {
        Self(segments.iter().fold(String::new(), |path, segment| path + "/" + &escaped(segment)))
    }

    /// Something below it; what was asked of it is not asked of that.
    #[must_use]
    pub fn below(&self, segments: &[&str]) -> Self {
        let path = self.0.split('?').next().unwrap_or_default();
        Self(format!("{path}{}", Self::of(segments).0))
    }

    /// The same with something asked of it.
    #[must_use]
    pub fn with(self, name: &str, value: &str) -> Self {
        let mark = if self.0.contains('?') { '&' } else { '?' };
        Self(format!("{}{mark}{}={}", self.0, escaped(name), escaped(value)))
    }

    /// The same with what may be asked of it.
    #[must_use]
    pub fn with_any(self, name: &str, value: Option<&str>) -> Self {
        match value {
            None => self,
            Some(value) => self.with(name, value),
        }
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A segment that, on its way through a proxy, could make this the path of something else.
    pub(super) fn stray(&self) -> Option<&str> {
        let path = self.0.split('?').next().unwrap_or_default();
        path.split('/').skip(1).find(|segment| matches!(*segment, "" | "." | ".."))
    }
}

/// Everything but RFC 3986's unreserved characters.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_leave_its_place_in_the_path() {
        let target = Target::of(&["apps", "a/../b?c=d", "webhooks"]).with("key", "ana&x=1");
        assert_eq!(target.as_str(), "/apps/a%2F..%2Fb%3Fc%3Dd/webhooks?key=ana%26x%3D1");
    }

    #[test]
    fn what_a_proxy_could_read_as_another_path_is_not_sent() {
        for stray in ["", ".", ".."] {
            assert_eq!(Target::of(&["apps", "dev", "webhooks", stray]).stray(), Some(stray));
        }
        assert_eq!(Target::of(&["apps", "a.b", "..."]).with("x", "/../").stray(), None);
    }
}
