//! What a form brought, and a form as it is shown again: with what was typed and what is wrong with it.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use chathook_domain::refusal::{Code, Refusal};

use super::failure::PageError;

/// The fields of a form that was sent and whose token was right.
#[derive(Debug, Clone, Default)]
pub struct Form(Arc<Vec<(String, String)>>);

impl Form {
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        Self(Arc::new(form_urlencoded::parse(bytes).into_owned().collect()))
    }

    /// What was typed, without spaces around it; empty where there is no such field.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
    }

    /// Whether a checkbox is ticked.
    #[must_use]
    pub fn is_ticked(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    /// All values of a field that comes several times, such as checkboxes of one name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl<S: Sync> FromRequestParts<S> for Form {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PageError> {
        let form = parts.extensions.get::<Self>().cloned();
        form.ok_or_else(|| Refusal::new(Code::BadRequest, "This page wants a form.").into())
    }
}

/// A form as a template shows it.
#[derive(Debug, Clone, Default)]
pub struct Filled {
    values: Vec<(String, String)>,
    refusal: Option<Refusal>,
}

impl Filled {
    /// What a new form begins with.
    #[must_use]
    pub fn with(values: &[(&str, &str)]) -> Self {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { values, refusal: None }
    }

    /// What was sent, and why it was not taken. Passwords are never sent back.
    #[must_use]
    pub fn refused(form: &Form, refusal: Refusal) -> Self {
        let typed = form.0.iter().filter(|(name, _)| name != "csrf" && name != "password");
        Self { values: typed.cloned().collect(), refusal: Some(refusal) }
    }

    #[must_use]
    pub fn value(&self, name: &str) -> &str {
        self.values.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    }

    #[must_use]
    pub fn is_ticked(&self, name: &str) -> bool {
        self.values.iter().any(|(known, _)| known == name)
    }

    /// Whether this one of several checkboxes of one name is ticked.
    #[must_use]
    pub fn holds(&self, name: &str, value: &str) -> bool {
        self.values.iter().any(|(known, held)| known == name && held == value)
    }

    /// What is wrong with this field.
    #[must_use]
    pub fn error(&self, name: &str) -> Option<String> {
        self.refusal.as_ref()?.of_field(name).map(|message| complaint(name, message))
    }

    /// What else is wrong, where these fields show their own.
    #[must_use]
    pub fn error_besides(&self, fields: &[&str]) -> Option<String> {
        let refusal = self.refusal.as_ref()?;
        let further = refusal.details.iter().map(|(field, message)| (Some(field.as_str()), message));
        let all = std::iter::once((refusal.field.as_deref(), &refusal.message)).chain(further);
        let is_shown = |field: Option<&str>| field.is_some_and(|field| fields.contains(&field));
        let rest: Vec<&str> =
            all.filter(|(field, _)| !is_shown(*field)).map(|(_, message)| message.as_str()).collect();
        (!rest.is_empty()).then(|| rest.join(" "))
    }

    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }
}

/// The sentence without "The field 'x'", which it stands beside.
fn complaint(field: &str, message: &str) -> String {
    let rest = message.strip_prefix(&format!("The field '{field}' ")).unwrap_or(message);
    let mut letters = rest.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_stands_at_its_field_without_naming_it() {
        let form = Form::parse(b"name=+A+b+&password=secret&on=1&triggers=a&triggers=b&csrf=x");
        assert_eq!(form.text("name"), "A b");
        assert_eq!(form.all("triggers").collect::<Vec<_>>(), ["a", "b"]);
        assert!(form.is_ticked("on") && !form.is_ticked("off"));
        let of = |field, complaint| Refusal::field(Code::BadRequest, field, complaint);
        let filled = Filled::refused(&form, of("name", "is too odd").and(of("on", "must be off")));
        assert_eq!(filled.error("name").as_deref(), Some("Is too odd."));
        assert_eq!(filled.error("on").as_deref(), Some("Must be off."));
        assert_eq!(filled.error("other"), None);
        assert_eq!(filled.error_besides(&["name", "on"]), None);
        assert_eq!(filled.error_besides(&["name"]).as_deref(), Some("The field 'on' must be off."));
        let all = "The field 'name' is too odd. The field 'on' must be off.";
        assert_eq!(filled.error_besides(&["other"]).as_deref(), Some(all));
        assert_eq!((filled.value("password"), filled.value("csrf")), ("", ""));
    }
}
